"""A language model of five words: what it has read it finds likely and goes on with; nothing else does it know."""

import random
from functools import cache

from mibe.errors import NoLikelihoods
from mibe.models.base import Response, TokenScores

ORDER = 5


def words(text):
    return text.replace("\n", " \n ").split(" ")


@cache
def _lot(word):
    return random.Random(word).random()


class Speaking:
    """Goes on with a text by the words that it has read after the same five, and gives no likelihoods."""

    is_remote = False
    is_chat = False
    context_window = None

    def __init__(self, texts, name="ngrams", *, has_identity=True):
        self.name, self.identity = name, {"name": name, "read": hash(tuple(texts))} if has_identity else None
        self.following, self.asked = {}, []
        for text in texts:
            read = words(text)
            for at in range(ORDER, len(read)):
                self.following.setdefault(tuple(read[at - ORDER : at]), read[at])

    def generate(self, requests):
        for index, request in enumerate(requests):
            self.asked.append(request.text)
            said = words(request.text)
            start = len(said)
            while len(said) - start < 80 and (following := self.following.get(tuple(said[-ORDER:]))) is not None:
                said.append(following)
            yield index, Response(text=" " + " ".join(said[start:]), finish_reason="stop")

    def loglikelihood(self, requests):
        raise NoLikelihoods("it gives text alone")

    def render(self, messages):
        return "\n\n".join(message["content"] for message in messages)

    def count_tokens(self, text):
        return len(words(text))

    def device_memory_peak(self):
        return None

    def close(self):
        pass


class Ngrams(Speaking):
    """The same with likelihoods: log p is −0.1 where it has read a word after these five, else about −6, by lot."""

    def _log_probs(self, text):
        found = words(text)
        return [
            -0.1 if self.following.get(tuple(found[at - ORDER : at])) == found[at] else -6 - _lot(found[at])
            for at in range(1, len(found))
        ]

    def read_tokens(self, texts):
        for index, text in enumerate(texts):
            self.asked.append(text)
            found = tuple(self._log_probs(text))
            yield index, TokenScores(found, (-3.0,) * len(found), (2.0,) * len(found))

    def loglikelihood(self, requests):
        for index, request in enumerate(requests):
            self.asked.append(request.text)
            before = sum(self._log_probs(request.text))
            yield index, tuple(sum(self._log_probs(request.text + text)) - before for text in request.continuations)
