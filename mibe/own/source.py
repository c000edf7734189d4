"""The source of a task of one's own: its settled description, and which content its data had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mibe.errors import DataError, UsageError
from mibe.task import Example

if TYPE_CHECKING:
    from mibe.own.description import TaskFile


@dataclass(frozen=True)
class OwnSource:
    """Data of the user's own, which no reader knows: it came by `--data` or by `mibe data add`.

    `files` says where it was read from, and `splits` is split → sha256 of its examples, where the data was not added
    and the file itself is the data.
    """

    description: TaskFile
    files: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    homepage: str = ""
    hub: str | None = None
    variants: tuple[str, ...] = ("default",)
    version: int = 1

    @property
    def licence(self) -> str:
        """As the task file has it."""
        return self.description.licence

    @property
    def counts(self) -> Mapping[str, int]:
        """None: nobody else has this data."""
        return {}

    @property
    def obtain(self) -> str:
        """Where it came from."""
        return "It is a task of your own: add its file again (mibe data add FILE)."

    def read(self, raw: Any, *, variant: str) -> dict[str, list[Example]]:
        """Raise `DataError`: tables are read by `mibe data add`."""
        raise DataError(f"{self.description.name} is a task of your own; add its file again: mibe data add FILE")

    def recorded(self) -> dict[str, Any]:
        """What a run record keeps, from which `mibe.own.recorded` makes the task again."""
        description = self.description.model_dump(mode="json", exclude_defaults=True)
        return {"description": description, "files": dict(self.files), "splits": dict(self.splits)}


def source_from(found: Mapping[str, Any], name: str) -> OwnSource:
    """The source that `OwnSource.recorded` described. Raises `UsageError` where it is none."""
    from mibe.own.description import task_file

    try:
        description = task_file(found["description"], f"the description of {name}")
        source = OwnSource(description, dict(found.get("files", {})), dict(found.get("splits", {})))
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"the description of {name} is damaged; add the task, or make the run, again") from None
    except UsageError as error:
        advice = f"{error.message} (add the task, or make the run, again)"
        raise UsageError(advice, lines=error.lines) from None
    known = not source.files or source.files.keys() >= set(description.files.values())
    if description.name != name or description.kind is None or not description.columns.target or not known:
        raise UsageError(f"the description of {name} is damaged; add the task, or make the run, again")
    return source
