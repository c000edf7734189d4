"""What tokens cost, by a price file that the user can edit.

Prices are USD per million tokens, by host and model: the same weights cost something else elsewhere. A user's own file
(`prices=PATH`, or `prices.json` in the configuration folder) has the form of the packaged one and stands before it; the
host "*" in it means every host.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs

from mibe.errors import UsageError

MILLION = 1_000_000
LARGEST_WINDOW = 10 * MILLION
"""Tokens that no model reads more than."""

KINDS = ("prompt", "cached", "completion", "batch")

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one response. `cached` are those of the prompt, `reasoning` those of the completion, that are so."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0

    def is_possible(self, window: int | None) -> bool:
        """Whether a model with this context window can have read and written so many tokens."""
        fits = self.prompt + self.completion <= (window or LARGEST_WINDOW)
        return fits and 0 <= self.cached <= self.prompt and self.prompt > 0 and self.completion >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens; `batch` is the factor for requests in a Batch job, `source` where it was found."""

    prompt: float
    completion: float
    cached: float
    batch: float
    source: str

    def of(self, usage: Usage, *, batch: bool = False) -> float:
        """USD for these tokens."""
        fresh = usage.prompt - usage.cached
        total = fresh * self.prompt + usage.cached * self.cached + usage.completion * self.completion
        return total * (self.batch if batch else 1.0) / MILLION


def find_price(host: str, model: str, own: Path | None = None) -> Price | None:
    """The price of a model at a host, or None when no file knows it.

    A dated name ("gpt-4o-2024-08-06") has the price of the undated one unless a file lists it. `own` is the user's
    file. Raises `UsageError` when that cannot be read or is not a price file.
    """
    in_configuration = config_file()
    files = [own] if own is not None else [in_configuration] if in_configuration.is_file() else []
    lists = [_read(path.name, _text(path)) for path in files]
    lists.append(_read("mibe's price list", resources.files("mibe.models").joinpath("prices.json").read_text("utf-8")))
    for prices in lists:
        for name in (model, _DATED.sub("", model)):
            for at in (host, "*"):
                if (at, name) in prices:
                    return prices[at, name]
    return None


def config_file() -> Path:
    """Where the user's own prices are looked for when no other file is named."""
    return platformdirs.user_config_path("mibe") / "prices.json"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the price file {path} cannot be read: {error}") from None


def _read(name: str, text: str) -> dict[tuple[str, str], Price]:
    """(host, model) → price."""
    try:
        content: Any = json.loads(text)
        source = f"{name}, {content['date']}"
        return {
            (host, model): _price(entry, source)
            for host, models in content["prices"].items()
            for model, entry in models.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f'{name} is not a price file ({type(error).__name__}: {error}); its form is {{"date": "2026-01-31", '
            '"prices": {"HOST": {"MODEL": {"prompt": 2.5, "completion": 10}}}}, USD per million tokens'
        ) from None


def _price(entry: dict[str, Any], source: str) -> Price:
    if unknown := sorted(set(entry) - set(KINDS)):
        raise ValueError(f"unknown kind of price {unknown[0]!r}")
    numbers = {kind: float(value) for kind, value in entry.items()}
    if any(not 0 <= number < MILLION for number in numbers.values()):
        raise ValueError("a price is a number of USD, 0 or more")
    return Price(
        prompt=numbers["prompt"],
        completion=numbers["completion"],
        cached=numbers.get("cached", numbers["prompt"]),
        batch=numbers.get("batch", 1.0),
        source=source,
    )


def check_max_cost(usd: float | None) -> None:
    """Raise `UsageError` for a limit that is no amount of money."""
    if usd is not None and not 0 < usd < MILLION:
        raise UsageError(f"--max-cost {usd} is out of range; it is a number of USD above 0")
