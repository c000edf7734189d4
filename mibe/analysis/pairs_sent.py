"""Files of pairs are their user's own text: none of it reaches a remote model, a judge included, unless they say so."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

from mibe.data.pairs import PairFile
from mibe.data_use import Egress, check_egress, without_text_in_errors
from mibe.models.base import Model
from mibe.registry import load_task
from mibe.task import Access, AccessLevel, Task
from mibe.terminal.news import say

T = TypeVar("T")


def check_sending(file: PairFile, model: Model, allowed: Collection[str], agreement: str | None) -> Egress | None:
    """What leaves this machine when a model gets the file's text, told before it does; None where nothing does.

    Raises `DataUseError` as `mibe.data_use.check_egress` does, for the file by its `name`.
    """
    leaving = check_egress(_as_task(file), model, allowed, agreement)
    if leaving is not None:
        say(f"text of {file.name} goes to {leaving.receiver}, which its user says is permitted: {leaving.agreement}")
    elif model.is_remote and file.access is AccessLevel.NON_COMMERCIAL:
        say(f"{file.name} is for non-commercial use, and {model.name} is remote")
    return leaving


def guarded(file: PairFile, model: Model, action: Callable[[], T]) -> T:
    """The result of `action`; its errors do not quote a credentialed file's text."""
    return without_text_in_errors(_as_task(file), model, action)


def _as_task(file: PairFile) -> Task:
    """The file as what the rules of data use know: a name and an access level."""
    return replace(load_task("medqa_4"), name=file.name, access=Access(file.access))
