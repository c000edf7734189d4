"""A budget that is never passed: by no session of a run, killed or not, and by none of its shards that run beside it.

Money is booked before it is spent. The journal in the run folder says what was spent and what is held for requests that
are under way, and is on the disk before a request goes out. What a killed process held counts as spent: nobody knows
what became of it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from mibe.data.disk import disk_error, open_plain, write_atomically
from mibe.errors import RunError

JOURNAL = "cost.jsonl"
LOCK = "cost.lock"
MOST = 1e12
"""USD, above which a line is damaged and no balance."""
LARGEST = 1 << 20
"""Bytes of a journal, above which it is begun anew with its last line."""

_TAIL = 4096


@dataclass(frozen=True, slots=True)
class Balance:
    """USD that a run has spent, and that it holds for requests under way."""

    spent: float = 0.0
    held: float = 0.0

    @property
    def total(self) -> float:
        """The most that the run can have cost."""
        return self.spent + self.held


class Journal:
    """The balance of one run, on the disk: the last whole line counts, and a line that a kill has torn does not.

    `shared` is what the shards of one run have in common; their journals lie in folders beside this one. None stands
    for a run that shares with nobody. Belongs to the process that holds the run folder.
    """

    def __init__(self, folder: Path, shared: str | None = None) -> None:
        self.path = folder / JOURNAL
        self._shared = shared
        self._file: int | None = None
        self._strangers: set[Path] = set()

    def balance(self) -> Balance | None:
        """What the journal says, None where there is none. Raises `RunError` where nothing in it can be read."""
        if not self.path.exists():
            return None
        found = _last(self.path)
        if found is None:
            raise RunError(
                f"{self.path} is damaged, and what this run has spent is not known: delete it to count what the "
                "sample logs say alone, or begin anew with another --output-dir"
            )
        return found[0]

    def begin(self, balance: Balance) -> None:
        """Open the journal, and write its first line where there is none. Raises `RunError` where that fails."""
        with _disk_errors(self):
            if self.path.exists():
                self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            else:
                self._renew(balance)

    def _renew(self, balance: Balance) -> None:
        self.close()
        write_atomically(self.path, self._line(balance))
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def note(self, balance: Balance) -> None:
        """Add a line, which is with the operating system before this returns."""
        # The line end before it ends whatever was torn there.
        line = f"\n{self._line(balance)}".encode()
        if os.write(self._opened, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def book(self, balance: Balance) -> None:
        """The same for a line that `sync` is to follow; a journal that has grown large is begun anew with it."""
        if os.fstat(self._opened).st_size > LARGEST:
            self._renew(balance)
        else:
            self.note(balance)

    def sync(self) -> None:
        """Force what was written to the disk."""
        os.fsync(self._opened)

    @property
    def _opened(self) -> int:
        assert self._file is not None, "begin comes first"
        return self._file

    @contextmanager
    def alone(self) -> Iterator[float]:
        """What the other shards have spent or hold, none of which books anything meanwhile."""
        if self._shared is None:
            yield 0.0
            return
        with (self.path.parent.parent / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._others(self._shared)

    def _others(self, shared: str) -> float:
        total = 0.0
        for path in self.path.parent.parent.glob(f"*/{JOURNAL}"):
            if path == self.path or path in self._strangers:
                continue
            found = _last(path)
            if found is None:
                raise RunError(
                    f"{path} is damaged, and what that run has spent is not known: move its folder away, or give "
                    "another --output-dir"
                )
            balance, of = found
            if of == shared:
                total += balance.total
            else:
                self._strangers.add(path)
        return total

    def _line(self, balance: Balance) -> str:
        return json.dumps({**asdict(balance), "of": self._shared}) + "\n"

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def _disk_errors(journal: Journal) -> Iterator[None]:
    """Failures of the disk as `RunError` with what to do."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, journal.path) from error


def _last(path: Path) -> tuple[Balance, Any] | None:
    """The last whole line of a journal: the balance, and whose it is. None where nothing in it can be read."""
    try:
        journal = open_plain(path)
    except OSError:
        return None
    with journal as file:
        size = file.seek(0, os.SEEK_END)
        for start in dict.fromkeys((max(0, size - _TAIL), 0)):
            file.seek(start)
            # Of the last piece either nothing is left, or its line end is missing: it is torn.
            for line in reversed(file.read().split(b"\n")[:-1]):
                if (found := _read(line)) is not None:
                    return found
    return None


def _read(line: bytes) -> tuple[Balance, Any] | None:
    try:
        entry = json.loads(line)
        amounts = entry["spent"], entry["held"]
        if not all(type(usd) in (int, float) and 0 <= usd < MOST for usd in amounts):
            return None
        return Balance(*map(float, amounts)), entry.get("of")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class Budget:
    """USD that may be spent. What is under way is reserved at its worst, so that the limit is never passed.

    `spent` and `reserved` are this run's, `others` is what shards beside it had spent or held when it was last looked.
    For several threads: a judge asks in one of its own. Without a journal nothing outlives the process. `keeps` says
    whether answers do, so that whoever meets the limit can go on.
    """

    def __init__(self, limit: float | None = None, *, keeps: bool = True) -> None:
        self.limit = limit
        self.keeps = keeps
        self.spent = self.reserved = self.others = 0.0
        self.lost = 0.0
        """What sessions before this one held when they were cut off: a part of `spent`."""
        self._booked = inf
        self._journal: Journal | None = None
        self._numbers = threading.Lock()
        self._booking = threading.Lock()

    def keep(self, journal: Journal, noted: float) -> None:
        """Go on with what a journal says was spent, and book in it from now on.

        `noted` is what other files say of the run's cost: an older run has no journal. Raises `RunError` as `Journal`
        does.
        """
        before = journal.balance() or Balance(noted)
        self.lost = before.held
        self.spent = max(before.total, noted)
        journal.begin(before)
        self._booked = before.total
        self._journal = journal

    @property
    def is_passed(self) -> bool:
        """Whether what was spent and what is under way at its worst are more than the limit."""
        return self.limit is not None and self.spent + self.reserved + self.others > self.limit

    def reserve(self, worst: float) -> bool:
        """Set aside the most that a request can cost; False where that could pass the limit."""
        with self._numbers:
            self.reserved += worst
            if self.is_passed:
                self.reserved -= worst
                return False
        return True

    def reserve_anew(self, worst: float) -> bool:
        """The same, after a look at what other shards have given back meanwhile. Raises `RunError` as `book` does."""
        if self._journal is not None:
            with self._booking, _disk_errors(self._journal), self._journal.alone() as others:
                self.others = others
        return self.reserve(worst)

    def take_over(self, worst: float) -> None:
        """Set aside what a request costs that an earlier session has sent: its share of what was lost is found."""
        with self._numbers:
            found = min(worst, self.lost)
            self.lost -= found
            self.spent -= found
            self.reserved += worst

    def charge(self, cost: float) -> None:
        """Book what was spent beside all that is reserved."""
        with self._numbers:
            self.spent += cost

    def settle(self, worst: float, cost: float) -> None:
        """Give back what was set aside and book what it cost."""
        with self._numbers:
            self.reserved = max(0.0, self.reserved - worst)
            self.spent += cost
            if self._journal is not None and self._sum <= self._booked:
                self._lower(self._journal)

    @property
    def is_booked(self) -> bool:
        """Whether all that is reserved is in the journal, and may be spent."""
        return self._sum <= self._booked

    def book(self) -> bool:
        """Bring what is reserved into the journal, for all who wait to: a request may be sent once this was True.

        False where the limit could be passed, with what other shards spent meanwhile. Raises `RunError` where the
        journal cannot be written.
        """
        journal = self._journal
        if journal is None:
            return True
        with self._booking, _disk_errors(journal):
            if self.is_booked:
                return True
            with journal.alone() as others:
                with self._numbers:
                    self.others = others
                    if self.is_passed:
                        return False
                    journal.book(self._balance)
                    self._booked = self._sum
                journal.sync()
        return True

    def _lower(self, journal: Journal) -> None:
        """Note what was given back. Where that cannot be written the journal says too much, which does no harm."""
        with suppress(OSError):
            journal.note(self._balance)
            self._booked = self._sum

    @property
    def _sum(self) -> float:
        return self.spent + self.reserved

    @property
    def _balance(self) -> Balance:
        return Balance(self.spent, self.reserved)

    def __str__(self) -> str:
        """What is left to say of it, for whoever meets the limit."""
        beside = f", ${self.others:.4f} by other shards" if self.others else ""
        return f"${self.spent:.4f} are spent{beside}"

    def close(self) -> None:
        """Close the journal."""
        with self._booking, self._numbers:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
