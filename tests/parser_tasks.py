"""The parser of each task: the task's own where there is a task file, and what it will use where there is none yet."""

from __future__ import annotations

from mibe.errors import UsageError
from mibe.parsers.extracted import ExtractedAnswer
from mibe.parsers.labels import OneLabel
from mibe.parsers.plain import PlainText
from mibe.parsers.ranked import RankedDiagnoses
from mibe.parsers.spans import MarkedSpans
from mibe.parsers.vocabularies import NLI_ALIASES
from mibe.registry import load_task
from mibe.task import Parser

NLI = OneLabel(("entailment", "contradiction", "neutral"), aliases=NLI_ALIASES)
OTHERS: dict[str, Parser] = {
    "bionli": NLI,
    "mednli": NLI,
    "i2b2": MarkedSpans(("problem", "treatment", "test")),
    "emrqa": ExtractedAnswer(),
    "nejm_cpc": RankedDiagnoses(),
    "pubmedsum": PlainText(),
    "mimic_cxr": PlainText(),
}
NAMES = ("pubmedqa", "medqa", "medmcqa", "mmlu", "ddi", "hoc", "mtsample", *OTHERS)


def parser_of(name: str) -> Parser:
    try:
        return load_task(name).parser
    except UsageError:
        return OTHERS[name]


PARSERS: dict[str, Parser] = {name: parser_of(name) for name in NAMES}
