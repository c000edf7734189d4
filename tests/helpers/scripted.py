"""A model for tests of runs: its answers are a function, and it remembers what it was asked."""

import random

from mibe.models.base import Response


class Scripted:
    """A model that answers from a function of the prompt and counts what it was asked."""

    name = "scripted"
    is_remote = False
    is_chat = False
    context_window = None

    def __init__(self, answer, identity="scripted-1"):
        self.identity = {"model": identity}
        self.answer = answer
        self.asked = []

    def render(self, messages):
        return "\n\n".join(m["content"] for m in messages)

    def count_tokens(self, text):
        return len(text)

    def generate(self, requests):
        order = list(range(len(requests)))
        random.Random(1).shuffle(order)
        for index in order:
            self.asked.append(requests[index].text)
            answer = self.answer(requests[index].text)
            yield index, answer if isinstance(answer, Response) else Response(text=answer, finish_reason="stop")

    def loglikelihood(self, requests):
        for index, request in enumerate(requests):
            yield index, tuple(-float(len(c)) * (2 if "maybe" in c else 1) for c in request.continuations)

    def device_memory_peak(self):
        return None

    def close(self):
        pass
