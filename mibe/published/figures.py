"""The figures that the versions of the Me-LLaMA paper print, as data, with notes on what is odd about them.

`published.csv` is read by machine from the tables of the paper: v1 is arXiv 2402.12749 of February 2024 (tables 1 to 4
and the discussion), v2 the preprint of December 2024 (tables 4 to 6). `journal.csv` is table 3 of the journal version
(npj Digital Medicine, March 2025, doi 10.1038/s41746-025-01533-1, CC BY): the preprint's table 6 with two more models.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mibe.errors import UsageError

VERSIONS = {"v1": "arxiv-2024-02", "v2": "preprint-2024-12", "journal": "npj-2025-03"}
"""Version of the paper → its name in the `source` column."""

PREPRINTS, JOURNAL = "published.csv", "journal.csv"

SETTINGS = ("zero_shot", "few_shot", "supervised")

FORGETTING = ("v1", "4")
"""Version and table with MMLU beside MedQA for models and their backbones."""

BACKBONES = {
    "PMC-LLaMA-7B": "LLaMA-7B",
    "Meditron-7B": "LLaMA2-7B",
    "PMC-LLaMA-13B": "LLaMA2-13B",
    "Me-LLaMA-13B": "LLaMA2-13B",
}
"""Model → the model whose figures table 4 of v1 subtracts from its own."""

TEST_DOCUMENTS = {
    "pubmedqa": 500,
    "medqa": 1273,
    "medmcqa": 4183,
    "emrqa": 26804,
    "i2b2": 7451,
    "ddi": 5761,
    "hoc": 315,
    "mtsample": 999,
    "pubmedsum": 6658,
    "mimic_cxr": 1606,
    "bionli": 6308,
    "mednli": 1422,
    "mmlu": 14042,
    "nejm_cpc": 70,
}
"""Data set → documents in the paper's test set (v2, table 3 and text; MedNLI's as released, see the notes)."""

OFFICIAL_TEST_SETS = frozenset({"pubmedqa", "medqa", "medmcqa", "pubmedsum", "mednli", "mmlu"})
"""Data sets of which the paper takes the official test set; of the others it does not say which documents it has."""

CATEGORIES = {
    "question answering": ("pubmedqa", "medqa", "medmcqa", "emrqa"),
    "named entity recognition": ("i2b2",),
    "relation extraction": ("ddi",),
    "classification": ("hoc", "mtsample"),
    "summarization": ("pubmedsum", "mimic_cxr"),
    "natural language inference": ("bionli", "mednli"),
}
"""The paper's categories and data sets, in its order (v2, table 3)."""

TITLES = {
    "pubmedqa": "PubMedQA",
    "medqa": "MedQA",
    "medmcqa": "MedMCQA",
    "emrqa": "EmrQA",
    "i2b2": "i2b2",
    "ddi": "DDI",
    "hoc": "HoC",
    "mtsample": "MTSample",
    "pubmedsum": "PubMed",
    "mimic_cxr": "MIMIC-CXR",
    "bionli": "BioNLI",
    "mednli": "MedNLI",
    "mmlu": "MMLU",
    "nejm_cpc": "NEJM CPC",
    "nejm_cpc_human": "NEJM CPC, rated by people",
}
"""Data set → the paper's name of it."""

HUMAN = "_human"
"""What follows the name of a task where its figures are by people's ratings."""

HUMAN_FIGURES = ("top1_accuracy", "top5_accuracy")
"""The figures of the paper's human evaluation (v2, figure 4, which prints no numbers)."""

MIBE = tuple(dataset for datasets in CATEGORIES.values() for dataset in datasets)
"""The twelve data sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One figure of one model as a table of the paper prints it; `note` is the paper's own remark on it."""

    source: str
    table: str
    setting: str
    dataset: str
    metric: str
    model: str
    value: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is odd about the figures of a data set, in one setting or version or (None) in all."""

    dataset: str
    note: str
    setting: str | None = None
    source: str | None = None


def all_figures() -> tuple[Published, ...]:
    """Every figure of v1 and v2."""
    return _read(PREPRINTS)


@cache
def _read(file: str) -> tuple[Published, ...]:
    text = files(__package__).joinpath(file).read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(Published(**{**row, "value": float(row["value"])}) for row in rows)  # type: ignore[arg-type]


def load_published(version: str) -> tuple[Published, ...]:
    """The figures of one of `VERSIONS`, one for each model, data set and metric in a setting; of "none", none.

    Where two tables of a version print the same figure, that of the first table counts (the second is the ablation,
    which repeats models of the first); `notes` say where they differ. Raises `UsageError` for another version.
    """
    if version == "none":
        return ()
    if version not in VERSIONS:
        raise UsageError(f"unknown version {version!r} of the paper; known: {', '.join(VERSIONS)}, none")
    found: dict[tuple[str, str, str, str], Published] = {}
    for figure in sorted(_of(version), key=lambda figure: figure.table):
        found.setdefault((figure.setting, figure.dataset, figure.metric, figure.model), figure)
    return tuple(found.values())


def forgetting_figures() -> tuple[Published, ...]:
    """Table 4 of v1: MMLU and MedQA of models and their backbones."""
    version, table = FORGETTING
    return tuple(figure for figure in _of(version) if figure.table == table)


def load_notes(datasets: Sequence[str], *, setting: str, version: str) -> tuple[Note, ...]:
    """The notes on some data sets in one setting and version of the paper, in the order of the data sets."""
    entries = json.loads(files(__package__).joinpath("notes.json").read_text(encoding="utf-8"))
    notes = [Note(**entry) for entry in entries]
    return tuple(
        note
        for dataset in dict.fromkeys(datasets)
        for note in notes
        if note.dataset == dataset
        and note.setting in (None, setting)
        and (note.source is None or note.source == VERSIONS.get(version))
    )


def _of(version: str) -> list[Published]:
    return [figure for file in (PREPRINTS, JOURNAL) for figure in _read(file) if figure.source == VERSIONS[version]]
