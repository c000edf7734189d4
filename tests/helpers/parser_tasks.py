"""The parser of each task that the labelled outputs are about."""

from __future__ import annotations

from mibe.registry import list_groups, load_task
from mibe.task import Parser

NAMES = (*list_groups()["mibe"], "mmlu", "nejm_cpc")

PARSERS: dict[str, Parser] = {name: load_task(name).parser for name in NAMES}
