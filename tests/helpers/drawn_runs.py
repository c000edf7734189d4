"""Runs with several draws a document."""

from collections import Counter

from scripted import Scripted

import mibe
from mibe.models.base import Response


class InTurn(Scripted):
    """A model that answers a prompt the first time as the first of some models, then as the second, and so on."""

    def __init__(self, models):
        super().__init__(None, identity=models[0].identity["model"])
        self.name = models[0].name
        self._models = models
        self._seen = Counter()

    def generate(self, requests):
        for index, request in enumerate(requests):
            model = self._models[self._seen[request.text] % len(self._models)]
            self._seen[request.text] += 1
            yield index, Response(text=model.answer(request.text), finish_reason="stop")


def drawn_run(folder, models, **settings):
    """A run whose k-th draw of each document is the answer of the k-th model. `settings` are `evaluate`'s."""
    arguments = {"use_cache": False, "resamples": 50, "repeats": len(models)} | settings
    return mibe.evaluate(model=InTurn(models), output_dir=folder, **arguments)
