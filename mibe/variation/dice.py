"""Dice that fall the same on every machine."""

from __future__ import annotations

import random

from mibe.task import Example


def dice(seed: int, example: Example, what: str) -> random.Random:
    """The dice of one version of one document."""
    return random.Random(f"{seed}/{what}/{example.id}")
