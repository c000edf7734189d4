"""Clinical notes: MIMIC-III `NOTEEVENTS.csv`, MIMIC-IV-Note `discharge.csv` and `radiology.csv`, MIMIC-CXR reports.

All of it is credentialed: the level goes with every shard that is made of it.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from mellama_train.corpus.documents import Broken, Document, Documents
from mellama_train.corpus.streams import open_binary, open_text
from mellama_train.errors import CorpusError


def read_noteevents(path: Path) -> Documents:
    """The notes of MIMIC-III; those that a physician marked as an error are left out. Fields: CATEGORY, DESCRIPTION."""
    for row in table_rows(path, ("ROW_ID", "CATEGORY", "ISERROR", "TEXT")):
        if isinstance(row, Broken):
            yield row
        elif row["ISERROR"].strip() not in ("1", "1.0"):
            yield Document(f"mimic-iii:{row['ROW_ID']}", row["TEXT"], _without_text(row))


def read_iv_notes(path: Path) -> Documents:
    """The notes of MIMIC-IV-Note, discharge summaries or radiology reports. Field: NOTE_TYPE."""
    for row in table_rows(path, ("NOTE_ID", "NOTE_TYPE", "TEXT")):
        if isinstance(row, Broken):
            yield row
        else:
            yield Document(f"mimic-iv:{row['NOTE_ID']}", row["TEXT"], _without_text(row))


def read_cxr_reports(path: Path) -> Documents:
    """A report `s50414267.txt`, or all of `mimic-cxr-reports.zip`."""
    if path.suffix != ".zip":
        with open_binary(path) as stream:
            yield _report(path.name, stream.read(), str(path))
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".txt"):
                    yield _report(PurePosixPath(name).name, archive.read(name), f"{path}:{name}")
    except (zipfile.BadZipFile, EOFError) as error:
        raise CorpusError(f"{path} is damaged or cut short ({error}); get it again") from None
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}") from None


def _report(name: str, content: bytes, where: str) -> Document | Broken:
    try:
        return Document(f"mimic-cxr:{name.removesuffix('.txt')}", content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Broken(where, f"not UTF-8 ({error.reason})")


def table_rows(path: Path, required: Iterable[str]) -> Iterator[dict[str, str] | Broken]:
    """The rows of a table by the names of its columns in capitals: releases differ in the case of the header."""
    csv.field_size_limit(sys.maxsize)
    # A note spans many lines in quotes, hence newline="".
    with open_text(path, newline="") as stream:
        reader = csv.reader(_without_nul(stream), strict=True)
        try:
            header = [name.strip().upper() for name in next(reader, [])]
            if missing := [name for name in required if name not in header]:
                raise CorpusError(f"{path} lacks the column {missing[0]}; it has {', '.join(header) or 'none'}")
            for row in reader:
                if len(row) == len(header):
                    yield dict(zip(header, row, strict=True))
                else:
                    yield Broken(f"{path}:{reader.line_num}", f"{len(row)} fields where the header has {len(header)}")
        except csv.Error as error:
            # After a quote that is never closed nothing can be trusted to be a row.
            raise CorpusError(f"{path}:{reader.line_num}: not a whole CSV table ({error}); get it again") from None


def _without_nul(stream: io.TextIOBase | Iterable[str]) -> Iterator[str]:
    for line in stream:
        yield line.replace("\0", "")


def _without_text(row: dict[str, str]) -> dict[str, str]:
    return {name: value.strip() for name, value in row.items() if name != "TEXT"}
