"""The prompts are those of the paper's table A2, word for word (white space aside)."""

import pytest

from mibe.prompting import plain_text
from mibe.registry import load_task
from mibe.task import Example

ROWS = {
    "pubmedqa": "PubMedQA",
    "medqa": "MedQA",
    "medmcqa": "MedMCQA",
    "ddi": "2013 DDI",
    "hoc": "HoC",
    "mtsample": "MTSample",
}


class Placeholder(dict):
    def __missing__(self, field):
        return "{text}"


@pytest.mark.parametrize("name", ROWS)
def test_prompt_is_the_papers(shared, name):
    table = (shared / "paper" / "2024-02-arxiv-v1.txt").read_text(encoding="utf-8").split("Table A2. ")[-1]
    [row] = [line.split("\t")[1] for line in table.splitlines() if line.startswith(ROWS[name] + "\t")]
    printed = row.removeprefix("<p>").removesuffix("</p>").strip('"“”').replace("{Text}", "{text}")
    # Two marks of typesetting: an escaped dollar, and a full stop after the sentence, which ends with its own.
    printed = printed.replace("@DRUG\\$", "@DRUG$").replace("{text}. OUTPUT:", "{text} OUTPUT:")
    example = Example(id="x", inputs=Placeholder(options="{text}"), target="")
    assert " ".join(plain_text(load_task(name).prompt, (), example).split()) == " ".join(printed.split())
