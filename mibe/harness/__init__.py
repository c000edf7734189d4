"""The other front door: every registered task for lm-eval's own runner (`docs/lm-eval.md`)."""

from mibe.harness.definitions import definitions, harness_path, prefixed
from mibe.harness.launching import run

__all__ = ["definitions", "harness_path", "prefixed", "run"]
