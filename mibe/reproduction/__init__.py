"""Tables and figures of the paper as data, run again by one command each: `examples/leaderboard`, `docs/reproduce.md`.

A script holds a `Reproduction` (models × suite × figures) and hands it to `main`.
"""

from mibe.reproduction.cli import main
from mibe.reproduction.table import Reproduction, Row

__all__ = ["Reproduction", "Row", "main"]
