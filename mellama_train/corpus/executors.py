"""Stages of a build run one after the other by datatrove's executors: on this machine, on Slurm, or on Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from mellama_train.corpus.config import Execution
from mellama_train.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that run in `tasks` tasks, after all tasks of the stage before."""

    name: str
    steps: Sequence[PipelineStep]
    tasks: int


def run(stages: Sequence[Stage], execution: Execution, logs: Path) -> None:
    """Run the stages; tasks that were completed before are left out.

    On Slurm the jobs are submitted, each depending on the one before, and the call returns.
    """
    # Threads of the tokenizer: as many as there are cores for each of the tasks that run at once.
    os.environ.setdefault("RAYON_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // execution.workers)))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    before: PipelineExecutor | None = None
    for stage in stages:
        executor = _executor(stage, execution, logs / stage.name, before)
        if execution.executor != "slurm":
            executor.run()
        before = executor
    if execution.executor == "slurm" and before is not None:
        # Launches all those that it depends on first.
        before.run()


def _executor(stage: Stage, execution: Execution, logs: Path, before: PipelineExecutor | None) -> PipelineExecutor:
    common: dict[str, Any] = {"pipeline": list(stage.steps), "tasks": stage.tasks, "logging_dir": str(logs)}
    if execution.executor == "local":
        return _Local(**common, workers=min(execution.workers, stage.tasks), **execution.arguments)
    if execution.executor == "slurm":
        name = f"corpus-{stage.name}"
        return SlurmPipelineExecutor(
            **common, **{"job_name": name, **execution.arguments}, workers=execution.workers, depends=before
        )
    if find_spec("ray") is None:
        raise CorpusError("the ray executor needs Ray: pip install ray")
    from datatrove.executor import RayPipelineExecutor

    return RayPipelineExecutor(**common, workers=execution.workers, **execution.arguments)


class _Local(LocalPipelineExecutor):  # type: ignore[misc]
    """Without datatrove's log on the screen: one line a finished task says what a person wants to know."""

    def _launch_run_for_rank(self, rank: int, *args: Any, **kwargs: Any) -> Any:
        # Here, since this runs in the process of the task.
        logger.disable("datatrove")
        stats = super()._launch_run_for_rank(rank, *args, **kwargs)
        print(f"{Path(self.logging_dir.path).name}: task {rank + 1} of {self.tasks} done", file=sys.stderr, flush=True)
        return stats
