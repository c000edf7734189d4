"""Fixtures of the tests of runs."""

from secret_task import mibe

__all__ = ["mibe"]
