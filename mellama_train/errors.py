"""The errors that mellama_train raises on purpose. Each message is one clear line that says what to do next."""

from __future__ import annotations

from collections.abc import Sequence


class TrainError(Exception):
    """Base of all errors below; the command line prints it as one line and exits with code 2."""


class RecipeError(TrainError):
    """A YAML file has an unknown or contradictory key, or a value out of range; the message names the line."""


class CorpusError(TrainError):
    """A source, a shard or a corpus is missing, damaged, empty or does not fit what is asked of it."""


class ModelLoadError(TrainError):
    """A model or tokenizer cannot be loaded, or does not go with the data or with the options asked for."""


class DataError(TrainError):
    """A sample file is missing, empty or malformed, or a sample does not fit the context."""


class CheckpointError(TrainError):
    """A checkpoint is incomplete or altered, belongs to another recipe, or cannot be written."""


class ExportError(TrainError):
    """What is to be exported is no model, cannot be merged or cannot be written."""


class EngineError(TrainError):
    """The engine asked for is not installed, or cannot do what was asked of it on this machine."""


class PluginError(TrainError):
    """A trainer of another package cannot be loaded, does not keep to the contract, or failed."""


class StoppedError(TrainError):
    """A signal ended the run early; a checkpoint is written, and the same command goes on."""


class DivergenceError(TrainError):
    """The loss or the gradient became infinite, no number, or much larger than before."""


SHOWN = 10
"""Places in a message; the number of all of them stands before."""


def listed(places: Sequence[str]) -> str:
    """The first places of a message, with dots where there are more."""
    return ", ".join(places[:SHOWN]) + (", …" if len(places) > SHOWN else "")


def one_line(error: BaseException) -> str:
    """The first line of what another library's error says, or its name where it says nothing.

    A first line that ends in a colon only announces the second.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:300]
