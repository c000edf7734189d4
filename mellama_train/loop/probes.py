"""Forgetting probes: what the model in training scores on tasks of `mibe`, as it is now."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mellama_train.engines.engine import Engine
from mellama_train.engines.ranks import Ranks
from mellama_train.loop.stopping import Stop
from mellama_train.model import varlen
from mellama_train.model.adapters import bare
from mellama_train.recipe.config import ProbePlan

LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
"""What a launcher tells a process of the others, by which `mibe` would share the documents among them."""


def probe(engine: Engine, tokenizer: Any, plan: ProbePlan, ranks: Ranks, stop: Stop) -> dict[str, float]:
    """Figures "probe/TASK" (its headline metric), on the same documents each time.

    Every rank asks the model the same questions in the same batches, and takes each next token from the first rank's
    logits: where weights are sharded, each forward pass needs all ranks, and no rounding may part them. Raises
    `StoppedError` before any of these passes.
    """
    import mibe
    from mibe.models.hf import from_loaded

    with (
        engine.live() as model,
        varlen.set_aside(bare(model)),
        _one_mind(model, ranks, stop),
        _alone(),
        tempfile.TemporaryDirectory() as folder,
    ):
        kept = copy.deepcopy(model.generation_config)
        wrapped = from_loaded(model, copy.deepcopy(tokenizer), name="probe", batch_size=plan.batch_size)
        try:
            run = mibe.evaluate(
                model=wrapped,
                tasks=list(plan.tasks),
                limit=plan.limit,
                num_fewshot=plan.num_fewshot,
                scoring=plan.scoring,
                output_dir=folder,
                use_cache=False,
                progress=mibe.Silent(),
                resamples=100,
            )
        finally:
            model.generation_config = kept
        return {f"probe/{name}": run.scores(name)[task["headline"]] for name, task in run.record["tasks"].items()}


@contextmanager
def _one_mind(model: Any, ranks: Ranks, stop: Stop) -> Iterator[None]:
    """The logits after the last token of each row are the first rank's on all ranks, and all stop together."""
    hooks = [
        model.register_forward_pre_hook(lambda _, inputs: stop.look(), prepend=True),
        model.register_forward_hook(lambda _, inputs, output: ranks.as_on_first(output.logits[:, -1])),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _alone() -> Iterator[None]:
    """No launcher is known of."""
    told = {name: os.environ.pop(name) for name in LAUNCHERS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(told)
