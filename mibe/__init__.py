"""MIBE: how good is this medical language model? Twelve medical data sets, MMLU and diagnosis, scored with intervals.

>>> import mibe
>>> run = mibe.evaluate(model="demo", tasks=["pubmedqa"], limit=50)  # doctest: +SKIP
>>> run.table()  # doctest: +SKIP

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mibe.documents import examples, prepared_splits
    from mibe.evaluation import evaluate
    from mibe.progress import Silent
    from mibe.registry import list_tasks, load_task, register_task
    from mibe.results.compare import Comparison, Difference, compare
    from mibe.results.run import Run, load_run
    from mibe.training import TrainingSample, also_in_test, training_samples

__version__ = "0.1.0"

_WHERE = {
    "also_in_test": "mibe.training",
    "Comparison": "mibe.results.compare",
    "Difference": "mibe.results.compare",
    "compare": "mibe.results.compare",
    "evaluate": "mibe.evaluation",
    "examples": "mibe.documents",
    "list_tasks": "mibe.registry",
    "load_task": "mibe.registry",
    "register_task": "mibe.registry",
    "Run": "mibe.results.run",
    "Silent": "mibe.progress",
    "load_run": "mibe.results.run",
    "prepared_splits": "mibe.documents",
    "training_samples": "mibe.training",
    "TrainingSample": "mibe.training",
}

__all__ = [
    "Comparison",
    "Difference",
    "Run",
    "Silent",
    "TrainingSample",
    "also_in_test",
    "compare",
    "evaluate",
    "examples",
    "list_tasks",
    "load_run",
    "load_task",
    "prepared_splits",
    "register_task",
    "training_samples",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'mibe' has no attribute {name!r}")
