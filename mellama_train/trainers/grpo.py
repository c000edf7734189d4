"""Group-relative policy optimisation as a trainer: tasks of mibe as prompts and as rewards, by TRL."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mibe
from mellama_train.errors import TrainError
from mellama_train.recipe.problems import Problem
from mellama_train.recipe.stages import MAY_CHANGE
from mellama_train.rl.recipe import GrpoRecipe
from mellama_train.rl.trl import problem_of_trl
from mellama_train.trainers.contract import Trainer
from mibe.errors import MibeError

if TYPE_CHECKING:
    from mellama_train.engines.ranks import Ranks
    from mellama_train.plan.text import Plan
    from mellama_train.plan.work import Question
    from mellama_train.rl.tasks import Prompts


def _problems(recipe: GrpoRecipe) -> Iterator[Problem]:
    """What is wrong with model, engine and tasks, and whether TRL is here."""
    from mellama_train.trainers.inputs import open_task, problems

    yield from problems(recipe)
    for name in recipe.data.tasks:
        try:
            open_task(name)
            mibe.reward(name)
        except (TrainError, MibeError) as error:
            yield Problem("data.tasks", str(error))
    if problem := problem_of_trl():
        yield Problem("trainer", problem)


def _run(recipe: GrpoRecipe, ranks: Ranks) -> Path:
    from mellama_train.model.provenance import task_source
    from mellama_train.rl.grpo import open_trainer, run_steps
    from mellama_train.rl.running import Job, to_end
    from mellama_train.trainers.handover import hand_over

    tokenizer, prompts = _prompts(recipe, speaks=ranks.is_first)
    tokens: Counter[str] = Counter()
    weights = recipe.data.weights or {}

    def handed_over(folder: Path, steps: int, seen: Mapping[str, int]) -> Path:
        return hand_over(
            folder,
            trainer=GRPO,
            recipe=recipe,
            model=recipe.model.path,
            sources=[task_source(name, weight=weights.get(name), tokens=seen.get(name)) for name in recipe.data.tasks],
            test_sets=prompts.test_sets,
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


def _prompts(recipe: GrpoRecipe, *, speaks: bool) -> tuple[Any, Prompts]:
    """(tokenizer, prompts); one rank says what was left out, and under which terms the data stands."""
    from mellama_train.model.loading import load_tokenizer
    from mellama_train.rl.tasks import read_prompts
    from mellama_train.trainers.finetune import say_terms

    tokenizer = load_tokenizer(recipe.model)
    prompts = read_prompts(recipe, tokenizer)
    for name in recipe.data.tasks if speaks else ():
        say_terms(mibe.load_task(name))
        for why, count in prompts.left_out[name].items():
            if count:
                print(f"{name}: {count:,} documents of the train split are {why}, and left out", file=sys.stderr)
    return tokenizer, prompts


def _preview(recipe: GrpoRecipe) -> str:
    """Lines of what the run would do."""
    from mellama_train.rl.grpo import run_steps
    from mellama_train.rl.tasks import answer_tokens

    _, prompts = _prompts(recipe, speaks=True)
    steps, group = run_steps(recipe, len(prompts.rows)), recipe.rollouts.group
    longest = max(row.tokens for row in prompts.rows)
    return "\n".join(
        [
            "prompts of a pass: " + ", ".join(f"{name} {count:,}" for name, count in prompts.counts.items()),
            f"longest prompt: {longest:,} tokens; answers: {answer_tokens(recipe):,} at most",
            f"steps: {steps:,} of {recipe.batch.rows // group:,} prompts × {group} answers",
            f"model: {recipe.model.path}; output: {recipe.output}",
        ]
    )


def _show(recipe: GrpoRecipe, count: int, _colour: bool) -> Iterable[str]:
    """Prompts as the model is asked them, each with the answer that is right."""
    tokenizer, prompts = _prompts(recipe, speaks=True)
    for number, row in enumerate(itertools.islice(prompts.rows, count), start=1):
        text = row.asked
        if not isinstance(text, str):
            text = tokenizer.apply_chat_template(list(text), tokenize=False, add_generation_prompt=True)
        right = mibe.load_task(row.task).prompt.answer(row.example)
        yield f"--- {number}: {row.task}, document {row.example.id}, {row.tokens:,} tokens; right: {right}\n{text}"


def _forecast(recipe: GrpoRecipe, question: Question) -> Plan:
    from mellama_train.rl.plan import forecast

    return forecast(recipe, question)


GRPO = Trainer(
    name="grpo",
    about="reinforcement learning from right answers (GRPO, by TRL)",
    reads="the train splits of tasks, whose parsers and metrics are the reward",
    recipe=GrpoRecipe,
    run=_run,
    problems=_problems,
    preview=_preview,
    show=_show,
    forecast=_forecast,
    may_change=MAY_CHANGE,
)
