"""Suites: named settings of the paper, one JSON file each, in this folder.

A file holds `title`, `source` (where in the paper the setting is) and `num_fewshot`: task → number of worked examples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from mibe.errors import unknown

ORDER = ("zero_shot", "few_shot", "supervised", "commercial", "forgetting", "ablation", "diagnosis")


@dataclass(frozen=True)
class Suite:
    """Tasks with the number of worked examples for each, and the table or figure of the paper that used them."""

    name: str
    title: str
    source: str
    num_fewshot: Mapping[str, int]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the paper."""
        return tuple(self.num_fewshot)


def list_suites() -> list[str]:
    """Names of all suites."""
    return list(ORDER)


def load_suite(name: str) -> Suite:
    """The suite of this name. Raises `UsageError` with the nearest names when there is none."""
    if name not in ORDER:
        raise unknown("suite", name, ORDER)
    content = json.loads(files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return Suite(name, **content)
