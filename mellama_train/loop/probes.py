"""Forgetting probes: what the model in training scores on tasks of `mibe`, as it is now."""

from __future__ import annotations

import copy
import tempfile
from typing import Any

from mellama_train.engines.engine import Engine
from mellama_train.recipe.config import ProbePlan


def probe(engine: Engine, tokenizer: Any, plan: ProbePlan) -> dict[str, float]:
    """Figures "probe/TASK" (its headline metric), on the same documents each time.

    Every rank asks the model the same questions in the same batches: where weights are sharded, each forward pass
    needs all of them.
    """
    import mibe
    from mibe.models.hf import from_loaded

    with engine.live() as model, tempfile.TemporaryDirectory() as folder:
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
