"""Batch jobs on disk: what was sent, under hashes of the requests and without text, so that nothing is paid twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mibe.data.disk import write_atomically
from mibe.errors import ModelError

MOST_REQUESTS = 50_000
MOST_BYTES = 200 * 1000 * 1000
"""The API's limits on the file of one job."""


@dataclass(frozen=True, slots=True)
class Job:
    """One Batch job: its input file, its id (None: being created when the process died), the requests' hashes."""

    file: str
    id: str | None
    keys: tuple[str, ...]


class Ledger:
    """The jobs of one endpoint whose answers were not all taken yet, one small file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first; a file that is not one is left alone."""
        found = []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            with suppress(ValueError, KeyError, OSError):
                entry = json.loads(path.read_text(encoding="utf-8"))
                found.append(Job(entry["file"], entry["id"], tuple(entry["keys"])))
        return found

    def write(self, job: Job) -> None:
        """Add a job or replace what is known of it. Raises `ModelError` where it cannot: the job could be lost."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._path(job), json.dumps({"file": job.file, "id": job.id, "keys": job.keys}))
        except OSError as error:
            raise ModelError(
                f"cannot keep the id of a Batch job in {self._folder}: {error.strerror}; set MIBE_CACHE_DIR to a "
                "folder that can be written"
            ) from None

    def drop(self, job: Job) -> None:
        """Forget a job whose answers were taken, or that gave none."""
        self._path(job).unlink(missing_ok=True)

    def _path(self, job: Job) -> Path:
        return self._folder / f"{hashlib.sha256(job.file.encode()).hexdigest()[:32]}.json"


def input_files(lines: Iterable[tuple[str, bytes]]) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """(keys, content) of each file: as many requests as the API's limits allow."""
    keys: list[str] = []
    content = bytearray()
    for key, line in lines:
        if keys and (len(keys) == MOST_REQUESTS or len(content) + len(line) > MOST_BYTES):
            yield tuple(keys), bytes(content)
            keys, content = [], bytearray()
        keys.append(key)
        content += line
    if keys:
        yield tuple(keys), bytes(content)
