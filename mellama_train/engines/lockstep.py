"""A debug mode: ranks that would stop waiting for each other say so instead of hanging."""

from __future__ import annotations

from functools import partial
from typing import Any

from mellama_train.engines.ranks import Ranks
from mellama_train.errors import EngineError

END = "the end of the pass"


class Lockstep:
    """Before a layer with weights of its own runs, all ranks compare which one it is.

    Where weights are sharded each such call is a collective, in the forward pass and where activations are computed
    again; ranks that make other calls, or another number of them, hang or abort without a word.
    """

    def __init__(self, model: Any, ranks: Ranks) -> None:
        self._ranks = ranks
        for name, layer in model.named_modules():
            if next(layer.parameters(recurse=False), None) is not None:
                # Ahead of the engine's own hook, which gathers the weights.
                layer.register_forward_pre_hook(partial(self._enter, name), prepend=True)

    def _enter(self, name: str, layer: Any, inputs: Any) -> None:
        self._meet(name)

    def end_pass(self) -> None:
        """Forward, or forward and backward, of one micro-batch is over on this rank. Raises `EngineError`."""
        self._meet(END)

    def _meet(self, place: str) -> None:
        places = self._ranks.gather(place)
        other = next((rank for rank, found in enumerate(places) if found != places[0]), None)
        if other is not None:
            raise EngineError(
                f"ranks are out of step: rank 0 is at {places[0]}, rank {other} at {places[other]}; a layer of this "
                "model is called by what the data holds, which sharded weights do not go with: use DDP, or zero: 1 or 2"
            )
