"""One reader for each raw format, found by its name. A reader streams one file: it holds one document at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias

from mellama_train.corpus.documents import Documents
from mibe.task import OPEN, Access, credentialed

Format: TypeAlias = Literal["pmc", "pubmed", "jsonl", "mimic-iii", "mimic-iv-note", "mimic-cxr", "text", "lines"]
PHYSIONET = credentialed("PhysioNet Credentialed Health Data Use Agreement 1.5.0")


@dataclass(frozen=True, slots=True)
class Reader:
    """Where the function lies that reads a file of the format, the access its data has, and the files in a folder."""

    where: str
    access: Access = OPEN
    suffixes: tuple[str, ...] = ()

    def read(self, path: Path) -> Documents:
        """The documents of one file, as they are asked for."""
        module, _, name = self.where.partition(":")
        function: Callable[[Path], Documents] = getattr(import_module(f"{__name__}.{module}"), name)
        return function(path)


FORMATS: Mapping[Format, Reader] = {
    "pmc": Reader("jats:read_pmc", suffixes=(".nxml", ".xml", ".tar", ".tgz")),
    "pubmed": Reader("medline:read_pubmed", suffixes=(".xml",)),
    "jsonl": Reader("json_lines:read_json_lines", suffixes=(".jsonl", ".json")),
    "mimic-iii": Reader("mimic:read_noteevents", PHYSIONET, (".csv",)),
    "mimic-iv-note": Reader("mimic:read_iv_notes", PHYSIONET, (".csv",)),
    "mimic-cxr": Reader("mimic:read_cxr_reports", PHYSIONET, (".txt", ".zip")),
    "text": Reader("text:read_text", suffixes=(".txt", ".md")),
    "lines": Reader("text:read_lines", suffixes=(".txt",)),
}
