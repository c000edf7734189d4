"""Tasks whose answer is no part of the text, so that the text may change and the answer stays."""

from __future__ import annotations

from mibe.errors import UsageError
from mibe.task import Category, Task


def check_closed(task: Task, way: str) -> None:
    """Raise `UsageError` for a task whose targets are text, or places in it."""
    if not task.labels or task.category is Category.NER:
        raise UsageError(
            f"{way} is for answers that are labels or letters, and those of {task.name} are text, which may change "
            f"with its document's; leave {way} out of --vary for it"
        )
