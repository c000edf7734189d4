"""The response cache that all runs share: what a model once said to a prompt, it need not say again.

A key covers the model's identity, the rendered prompt, the generation settings and the task with its version
and protocol, so that no other model, prompt or setting can ever be given this answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mibe.data.disk import cache_dir
from mibe.models.base import Response
from mibe.results import schema

Key = bytes


def cache_path() -> Path:
    """The file of the response cache, in a folder of its own that is for its owner alone."""
    return cache_dir() / "responses" / "responses.sqlite"


def cache_key(identity: Mapping[str, Any], *parts: object) -> Key:
    """The key of one response; `parts` are the prompt and how it was asked, and nothing of how it is read."""
    return hashlib.sha256(json.dumps([identity, *parts], sort_keys=True).encode()).digest()


OF_THE_MOMENT = ("latency", "first_token", "cost_is_bound")
"""Fields of a response that say what else was known or done just then, and nothing of the answer."""


def as_kept(response: Response) -> dict[str, Any]:
    """A response as the cache keeps it."""
    return {name: value for name, value in asdict(response).items() if name not in OF_THE_MOMENT}


class ResponseCache:
    """A small SQLite store. When it cannot be used, a run goes on without it after one warning.

    A damaged one is renamed to `responses.sqlite.damaged`, with a warning, and a new one begun: answers that were in
    it are asked for again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._renewed = False
        self._database: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> None:
        path = self._path
        try:
            # The file may hold credentialed text: nobody else on this machine may read it, nor see it grow.
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)
            self._database = sqlite3.connect(path, timeout=60)
            # Keys are hashes: in a table ordered by key each insert would rewrite another page, values and all.
            self._database.execute("CREATE TABLE IF NOT EXISTS responses (key BLOB PRIMARY KEY, value TEXT)")
        except (sqlite3.Error, OSError) as error:
            self._failed(error)

    def get(
        self, keys: Sequence[Key], read: Callable[[bytes], dict[str, Any]] = schema.json_object
    ) -> dict[Key, dict[str, Any]]:
        """The stored responses among `keys`, as `read` (of `mibe.results.schema`) has them."""
        found: dict[Key, dict[str, Any]] = {}
        if self._database is None:
            return found
        try:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value FROM responses WHERE key IN ({marks})"
                for key, value in self._database.execute(query, part):
                    with suppress(schema.Unfit):  # a damaged answer is none: it is asked for again and replaced
                        found[key] = read(_bytes(value))
        except sqlite3.Error as error:
            self._failed(error)
        return found

    def put(self, items: Mapping[Key, Mapping[str, Any]]) -> None:
        """Store responses, in one transaction."""
        if self._database is None or not items:
            return
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO responses VALUES (?, ?)",
                    [(key, json.dumps(value, ensure_ascii=False)) for key, value in items.items()],
                )
        except sqlite3.Error as error:
            self._failed(error)

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _failed(self, error: Exception) -> None:
        """Begin a new database in place of a damaged one, once; go on without a cache after any other failure."""
        self.close()
        if _is_damage(error) and not self._renewed:
            self._renewed = True
            try:
                aside = _set_aside(self._path)
            except OSError as cause:
                error = cause
            else:
                news = f"the response cache is damaged ({error}): kept as {aside}, a new one begins"
                warnings.warn(news, stacklevel=4)
                self._open()
                return
        warnings.warn(f"the response cache cannot be used ({error}); the run goes on without it", stacklevel=4)


def _bytes(value: object) -> bytes:
    """What stands in a cell, which in a database of somebody else's making may be of any type."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(path: Path) -> Path:
    """Rename a database and the journal of an unfinished write, which would be replayed into its successor."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists():
        journal.replace(aside.with_name(f"{aside.name}-journal"))
    return aside
