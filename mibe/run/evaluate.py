"""A run in three steps, each of which hands one value on: settle what is asked, open what it needs, run.

Every response is on disk as soon as it is there, so a run that ends for whatever reason goes on where it
stopped when the same command is given again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mibe.judge.judges import Judging
from mibe.models.base import Model
from mibe.results.run import Run
from mibe.run.opening import open_run
from mibe.run.running import run
from mibe.run.settle import check_names_together, settle
from mibe.terminal.progress import Progress


def evaluate(
    *,
    model: str | Model | Callable[[list[str]], list[str]],
    tasks: str | Iterable[str] | None = None,
    suite: str | None = None,
    model_args: Mapping[str, str] | None = None,
    name: str | None = None,
    version: str | int | None = None,
    output_dir: str | Path = "runs",
    use_cache: bool = True,
    progress: Progress | None = None,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
    judge: Judging | None = None,
    skip_missing: bool = False,
    max_cost: float | None = None,
    keep: Mapping[str, str] | None = None,
    **settings: Any,
) -> Run:
    """Score a model on tasks and return the run, which is also on disk under `output_dir`.

    Parameters
    ----------
    model:
        A name ("hf", "demo", …), a `Model`, or any callable from a list of prompts to a list of texts.
    tasks:
        Names of tasks and groups, as a list or separated by commas.
    suite:
        A named setting of the paper, tasks with their numbers of worked examples; with `tasks`, those of its tasks.
    model_args:
        Arguments of a model given by name, e.g. {"pretrained": PATH, "dtype": "bfloat16"}.
    name, version:
        What a function is known by. Its answers are kept under both, a run of it goes on where it stopped and failed
        samples are tried again, as for other models; give another version whenever it would answer otherwise. A
        function without a name is asked anew in every run.
    allow_egress, agreement:
        Names of the credentialed tasks whose text a remote model may get, and the agreement that permits it.
    judge:
        Who says whether a predicted diagnosis is the true one: "exact" (spelling alone), MODEL:ARGUMENTS (such as
        "openai:gpt-4o"), or whatever `model` may be. None leaves it to each diagnosis task's own metric.
    skip_missing:
        Leave out the tasks whose data is not here (`skipped` in the run record) in place of refusing to run.
    max_cost:
        USD that a model behind an API may cost, the judge included: the run stops before more is spent, by its earlier
        sessions and by shards of it under the same `output_dir` too.
    keep:
        Files that the run folder is to hold beside its own, name → text.
    settings:
        The fields of `Settings`: limit, shard, num_fewshot, protocol, split, scoring, seed, max_new_tokens, …

    Raises
    ------
    UsageError, DataError
        Before the model is loaded, when a name, a number or the data is not right.
    DataUseError
        Before the model is given any text, when credentialed text would leave this machine unasked.
    ModelError, RunError
        When the model cannot be loaded, or the run folder is in use or cannot be written. What was done is kept.
    LimitReached
        Before `max_cost` is passed, or when an account is empty. What was done is kept, and the same call goes on.
    """
    tasks = tasks if tasks is None or isinstance(tasks, str) else list(tasks)
    check_names_together(model, tasks, suite, settings)
    settled = settle(
        tasks=tasks,
        suite=suite,
        settings=settings,
        skip_missing=skip_missing,
        has_judge=judge is not None,
        allow_egress=allow_egress,
        agreement=agreement,
        max_cost=max_cost,
    )
    with ExitStack() as held:
        opened = open_run(
            held,
            settled,
            model=model,
            model_args=model_args,
            name=name,
            version=version,
            judge=judge,
            output_dir=Path(output_dir),
            use_cache=use_cache,
            progress=progress,
            keep=keep or {},
        )
        return run(opened)
