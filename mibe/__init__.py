"""MIBE: how good is this medical language model? Twelve medical data sets, MMLU and diagnosis, scored with intervals.

>>> import mibe
>>> run = mibe.evaluate(model="demo", tasks=["pubmedqa"], limit=50)  # doctest: +SKIP
>>> run.table()  # doctest: +SKIP

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mibe.terminal.version import VERSION

if TYPE_CHECKING:
    from mibe.analysis.compare import Comparison, Difference, compare
    from mibe.analysis.drawn import Drawn, DrawnSample, answered_by, drawn_samples
    from mibe.data.documents import examples, prepared_splits
    from mibe.prompting.training import TrainingSample, also_in_test, training_samples
    from mibe.registry import list_tasks, load_task, register_task
    from mibe.results.included import include
    from mibe.results.run import Run, load_run
    from mibe.rewards.reward import Reward, Rewarded, reward
    from mibe.run.evaluate import evaluate
    from mibe.terminal.progress import Silent

__version__ = VERSION

_WHERE = {
    "answered_by": "mibe.analysis.drawn",
    "also_in_test": "mibe.prompting.training",
    "compare": "mibe.analysis.compare",
    "Comparison": "mibe.analysis.compare",
    "Difference": "mibe.analysis.compare",
    "drawn_samples": "mibe.analysis.drawn",
    "Drawn": "mibe.analysis.drawn",
    "DrawnSample": "mibe.analysis.drawn",
    "evaluate": "mibe.run.evaluate",
    "examples": "mibe.data.documents",
    "include": "mibe.results.included",
    "list_tasks": "mibe.registry",
    "load_task": "mibe.registry",
    "register_task": "mibe.registry",
    "Reward": "mibe.rewards.reward",
    "Rewarded": "mibe.rewards.reward",
    "reward": "mibe.rewards.reward",
    "Run": "mibe.results.run",
    "load_run": "mibe.results.run",
    "Silent": "mibe.terminal.progress",
    "prepared_splits": "mibe.data.documents",
    "training_samples": "mibe.prompting.training",
    "TrainingSample": "mibe.prompting.training",
}

__all__ = [
    "Comparison",
    "Difference",
    "Drawn",
    "DrawnSample",
    "Reward",
    "Rewarded",
    "Run",
    "Silent",
    "TrainingSample",
    "also_in_test",
    "answered_by",
    "compare",
    "drawn_samples",
    "evaluate",
    "examples",
    "include",
    "list_tasks",
    "load_run",
    "load_task",
    "prepared_splits",
    "register_task",
    "reward",
    "training_samples",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'mibe' has no attribute {name!r}")
