"""The errors that mellama_train raises on purpose. Each message is one clear line that says what to do next."""

from __future__ import annotations


class TrainError(Exception):
    """Base of all errors below; the command line prints it as one line and exits with code 2."""


class RecipeError(TrainError):
    """A YAML file has an unknown or contradictory key, or a value out of range; the message names the line."""


class CorpusError(TrainError):
    """A source, a shard or a corpus is missing, damaged, empty or does not fit what is asked of it."""
