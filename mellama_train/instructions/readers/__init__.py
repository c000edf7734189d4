"""One reader for each public form of a source. A reader streams: it holds one record, or one table to join with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mellama_train.corpus.streams import COMPRESSIONS
from mellama_train.errors import DataError
from mellama_train.instructions.items import Items


class Reader(Protocol):
    """Finds the files of a source at a path that a user gave, and reads them."""

    def files(self, path: Path) -> list[Path]:
        """The files to be read, in a fixed order; none when there is no such file. Raises `DataError`."""
        ...

    def read(self, files: Sequence[Path]) -> Items:
        """The items of these files, as they are asked for. Raises `DataError` or `CorpusError` with the place."""
        ...


@dataclass(frozen=True, slots=True)
class EachFile:
    """Reads file by file. A folder stands for its files with these suffixes, compressed or not; a `*` for many."""

    read_file: Callable[[Path], Items]
    suffixes: tuple[str, ...]

    def files(self, path: Path) -> list[Path]:
        """The file itself, or all files that the folder or pattern stands for."""
        if path.is_dir():
            endings = (*self.suffixes, *(suffix + packed for suffix in self.suffixes for packed in COMPRESSIONS))
            return sorted(p for p in path.rglob("*") if p.is_file() and p.name.lower().endswith(endings))
        return sorted(p for p in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if p.is_file())

    def read(self, files: Sequence[Path]) -> Items:
        """The items of all files, one file after another."""
        for file in files:
            yield from self.read_file(file)


def unknown_form(path: Path, known: str) -> DataError:
    """The error for a file that is in none of the forms a source is known in."""
    return DataError(f"{path}: no form of this source; known: {known}")
