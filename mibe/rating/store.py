"""Ratings on disk: one SQLite database for each task of a run.

Every click is one transaction that is on the disk before its answer leaves (write-ahead log, synchronous FULL), so a
killed server or a power cut loses nothing that was called saved. The database holds ids, ranks, marks and what raters
wrote themselves, no text of a case, and is for its owner alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from mibe.data.disk import open_plain
from mibe.errors import DataError, RunError

if TYPE_CHECKING:
    from mibe.rating.cases import Listed

MAGIC = b"SQLite format 3\0"
APPLICATION = 0x6D696265
"""SQLite's application id of our databases ("mibe")."""

SCHEMA = 2
"""Databases of schema 1, which could not leave a case out, are read as they are and written in this one."""

TABLES = """
CREATE TABLE review (
    rater TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, confirmed INTEGER NOT NULL DEFAULT 0,
    unsure INTEGER NOT NULL DEFAULT 0, comment TEXT NOT NULL DEFAULT '', changed TEXT NOT NULL,
    left_out INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (rater, id)
);
CREATE TABLE mark (
    rater TEXT NOT NULL, id TEXT NOT NULL, rank INTEGER NOT NULL, match INTEGER NOT NULL, changed TEXT NOT NULL,
    PRIMARY KEY (rater, id, rank)
);
"""

WAIT = 5.0
"""Seconds to wait for another process that is writing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What one rater said of one list: marks by rank, and whether the rater is done with it.

    Once confirmed, there is a mark for every rank; before, a rank without one has not been decided on. `left_out`: the
    case's reference is wrong, so that the case is to count nowhere, whatever the marks.
    """

    digest: str = ""
    marks: Mapping[int, bool] = field(default_factory=dict)
    confirmed: bool = False
    unsure: bool = False
    comment: str = ""
    left_out: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing more is asked of the rater."""
        return self.confirmed or self.left_out


class Ratings:
    """The open database of one task of one run, for any thread.

    A failed write raises `RunError` and leaves what was there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        with _errors(path):
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self._connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            # A file system that cannot share memory keeps the rollback journal, which is as durable.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                version = _version(self._connection, path)
                if version == 0:
                    for statement in TABLES.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA application_id = {APPLICATION}")
                elif version == 1:
                    self._connection.execute("ALTER TABLE review ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def review(self, rater: str, listed: Listed) -> Review:
        """What the rater said of this very list; nothing where there is no rating, or one of another list."""
        found = self.reviews(rater).get(listed.id, Review())
        return found if found.digest == listed.digest else Review()

    def reviews(self, rater: str) -> dict[str, Review]:
        """All that the rater said, by the id of the case."""
        with self._lock, _errors(self.path):
            return _reviews(self._connection, rater, SCHEMA)

    def mark(self, rater: str, listed: Listed, rank: int, match: bool) -> None:
        """Keep one mark."""
        with self._writing(rater, listed):
            self._mark(rater, listed, rank, match)

    def note(self, rater: str, listed: Listed, *, unsure: bool, comment: str) -> None:
        """Keep how sure the rater is, and the comment."""
        with self._writing(rater, listed):
            self._note(rater, listed, unsure, comment)

    def leave_out(self, rater: str, listed: Listed, left_out: bool) -> None:
        """Keep that the case counts nowhere, its reference being wrong, or that it does after all."""
        with self._writing(rater, listed):
            self._connection.execute(
                "UPDATE review SET left_out = ?, changed = ? WHERE rater = ? AND id = ?",
                (left_out, _now(), rater, listed.id),
            )

    def confirm(self, rater: str, listed: Listed, *, matches: Collection[int], unsure: bool, comment: str) -> None:
        """Keep a finished rating: the ranks in `matches` match and all others do not."""
        with self._writing(rater, listed):
            for rank in range(1, len(listed.diagnoses) + 1):
                self._mark(rater, listed, rank, rank in matches)
            self._note(rater, listed, unsure, comment)
            self._connection.execute(
                "UPDATE review SET confirmed = 1, changed = ? WHERE rater = ? AND id = ?", (_now(), rater, listed.id)
            )

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _mark(self, rater: str, listed: Listed, rank: int, match: bool) -> None:
        self._connection.execute(
            "INSERT INTO mark VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET match = excluded.match, "
            "changed = excluded.changed WHERE match != excluded.match",
            (rater, listed.id, rank, match, _now()),
        )

    def _note(self, rater: str, listed: Listed, unsure: bool, comment: str) -> None:
        self._connection.execute(
            "UPDATE review SET unsure = ?, comment = ?, changed = ? WHERE rater = ? AND id = ?",
            (unsure, comment, _now(), rater, listed.id),
        )

    @contextmanager
    def _writing(self, rater: str, listed: Listed) -> Iterator[None]:
        """A transaction in which the rater's review of this list is there; one of an older list is gone."""
        with self._lock, _errors(self.path), self._transaction():
            key = (rater, listed.id)
            stored = self._connection.execute("SELECT digest FROM review WHERE rater = ? AND id = ?", key).fetchone()
            if stored is not None and stored[0] != listed.digest:
                self._connection.execute("DELETE FROM mark WHERE rater = ? AND id = ?", key)
                self._connection.execute("DELETE FROM review WHERE rater = ? AND id = ?", key)
            self._connection.execute(
                "INSERT INTO review (rater, id, digest, changed) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*key, listed.digest, _now()),
            )
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # Immediate: a second process waits at the start, not in the middle where SQLite would refuse it.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    try:
        with open_plain(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_reviews(path: Path) -> dict[str, dict[str, Review]]:
    """Rater → id of the case → review, from a database that is only read. Raises `RunError` or `DataError`."""
    with _errors(path):
        open_plain(path).close()
    with _errors(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT)) as base:
        version = _version(base, path)
        if version == 0:
            return {}
        raters = [rater for (rater,) in base.execute("SELECT DISTINCT rater FROM review ORDER BY rater")]
        return {rater: _reviews(base, rater, version) for rater in raters}


def _reviews(base: sqlite3.Connection, rater: str, version: int) -> dict[str, Review]:
    marks: dict[str, dict[int, bool]] = {}
    for ident, rank, match in base.execute("SELECT id, rank, match FROM mark WHERE rater = ? ORDER BY rank", (rater,)):
        marks.setdefault(ident, {})[rank] = bool(match)
    left_out = "0" if version == 1 else "left_out"
    rows = base.execute(
        f"SELECT id, digest, confirmed, unsure, comment, {left_out} FROM review WHERE rater = ?", (rater,)
    )
    return {
        ident: Review(
            digest=digest,
            marks=marks.get(ident, {}),
            confirmed=bool(confirmed),
            unsure=bool(unsure),
            comment=comment,
            left_out=bool(left_out),
        )
        for ident, digest, confirmed, unsure, comment, left_out in rows
    }


def _version(base: sqlite3.Connection, path: Path) -> int:
    """The schema of a database, 0 for a new one. Raises `DataError` for one that is not ours or is newer."""
    version, application, tables = (
        base.execute(query).fetchone()[0]
        for query in ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
    )
    if (version, application, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION:
        raise DataError(f"{path} holds no ratings of mibe")
    if version not in (1, SCHEMA):
        raise DataError(f"{path} was written by another version of mibe (schema {version}); use that one")
    return int(version)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Failures of the disk and of SQLite as our own errors."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise RunError(f"cannot read or write the ratings in {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no database of ratings, or is damaged: {error}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
