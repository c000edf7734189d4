"""The errors that mibe raises on purpose. Each message is one clear line that says what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches


class MibeError(Exception):
    """Base of all errors below; the command line prints it as one line and exits with code 2.

    `said` is the part of the message that is a server's or a library's own: it may quote what they were given. `lines`
    are particulars, such as the rows that cannot be used: each is a line of its own below the message.
    """

    def __init__(self, message: str, *, said: str = "", lines: Iterable[str] = ()) -> None:
        self.message, self.lines = message, tuple(lines)
        super().__init__("\n".join([message, *(f"  {line}" for line in self.lines)]))
        self.said = said

    @property
    def own_words(self) -> str:
        """The message without what others said."""
        return str(self).replace(self.said, "[left out]") if self.said else str(self)


class UsageError(MibeError):
    """An argument names something unknown or lies outside its range."""


class DataError(MibeError):
    """A data set is missing, incomplete, altered or not in the format it should have."""


class ModelError(MibeError):
    """A model cannot be loaded or cannot do what was asked of it."""


class NoLikelihoods(ModelError):
    """A model gives text alone, and was asked how likely a text is."""


class RunError(MibeError):
    """A run folder is in use, unreadable, or cannot be written."""


class DataUseError(MibeError):
    """The terms of use of a data set do not permit what was asked."""


class LimitReached(MibeError):
    """Money or a quota ran out in the middle of a run: everything so far is kept, and the same command goes on."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an unknown name, with the nearest known ones."""
    close = get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")


def all_unknown(kind: str, names: Iterable[str], known: Iterable[str]) -> UsageError:
    """The same for several names, so that a command is put right once and not once a name."""
    known = list(known)
    return _together([unknown(kind, name, known) for name in names])


def check_all(*checks: Callable[[], object]) -> None:
    """Make every check; raise one `UsageError` that tells of all that are not passed."""
    found: list[UsageError] = []
    for check in checks:
        try:
            check()
        except UsageError as error:
            found.append(error)
    if found:
        raise _together(found)


def _together(errors: Sequence[UsageError]) -> UsageError:
    """One error of several: a line of their sentences, in which a question mark parts as well as a semicolon."""
    return UsageError("; ".join(map(str, errors)).replace("?; ", "? "))
