"""Group-relative policy optimisation as a trainer: tasks of mibe as prompts and as rewards, by TRL."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import mibe
from mellama_train.errors import TrainError
from mellama_train.recipe.problems import Problem
from mellama_train.rl.recipe import GrpoRecipe
from mellama_train.trainers.contract import Trainer
from mibe.errors import MibeError

if TYPE_CHECKING:
    from mellama_train.engines.ranks import Ranks
    from mellama_train.model.provenance import TestSets
    from mellama_train.plan.text import Plan
    from mellama_train.plan.work import Question
    from mellama_train.rl.tasks import Prompts

TERMS = 80
"""Characters of a prompt's beginning that `--show` leaves out nothing of; longer prompts are shown whole as well."""


def _run(recipe: GrpoRecipe, ranks: Ranks) -> Path:
    from mellama_train.model.loading import load_tokenizer
    from mellama_train.model.provenance import task_source
    from mellama_train.rl.grpo import open_trainer, run_steps
    from mellama_train.rl.running import Job, to_end
    from mellama_train.trainers.handover import hand_over

    tokenizer, prompts = load_tokenizer(recipe.model), _prompts_on(ranks, recipe)
    tokens: Counter[str] = Counter()
    weights = recipe.data.weights or {}

    def handed_over(folder: Path, steps: int, seen: Mapping[str, int]) -> Path:
        return hand_over(
            folder,
            trainer=GRPO,
            recipe=recipe,
            model=recipe.model.path,
            sources=[
                task_source(name, weight=weights.get(name), tokens=seen.get(name)) for name in recipe.data.tasks
            ],
            test_sets=_looked_for(prompts),
            steps=steps,
            about=f"group-relative policy optimisation on {', '.join(recipe.data.tasks)}",
        )

    job = Job(
        rows=prompts.describe(),
        steps=run_steps(recipe, len(prompts.rows)),
        open=lambda watch: open_trainer(recipe, ranks, prompts, tokenizer, tokens, watch),
        tokens=tokens,
        hand_over=handed_over,
    )
    return to_end(recipe, ranks, job)
