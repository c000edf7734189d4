"""A task's gold answers, read and scored by the task itself."""

import json
from dataclasses import replace

import pytest

import mibe
from mibe.analysis.check import check
from mibe.cli.main import main
from mibe.data.prepare import prepare
from mibe.data.store import data_dir
from mibe.errors import DataError, UsageError
from mibe.parsers.labels import OneLabel
from mibe.registry import load_task
from mibe.task import credentialed

SHIPPED = {"pubmedqa": 1000, "medqa": 1273, "medqa_4": 1273, "medmcqa": 4183, "mmlu_medical": 1242, "mtsample": 401}
REAL = {
    "ddi": ("ddi2013", None, 33508),
    "hoc": ("hoc", None, 1580),
    "bc5cdr": ("bc5cdr", None, 13938),
    "sumpubmed": ("sumpubmed", "sample", 400),
    "diagnosis_open": ("diagnosis_cases", None, 112),
}
"""Task → folder of its official files, variant and number of gold answers."""


def own_data(name, targets, field="text", **more):
    folder = data_dir() / name
    folder.mkdir(parents=True)
    rows = [{"id": f"d{n}", "inputs": {field: f"text {n}"}, "target": t} | more for n, t in enumerate(targets)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", SHIPPED)
def test_gold_answers_of_shipped_data_are_right(name):
    found = check(load_task(name))
    assert all(checked.holds and checked.value == 1 for checked in found)
    assert sum(checked.count for checked in found) == SHIPPED[name]


@pytest.mark.parametrize("name", REAL)
def test_gold_answers_of_official_data_are_right(name, shared):
    folder, variant, count = REAL[name]
    if not (shared / "data" / folder).exists():
        pytest.skip(f"the files of {folder} are not beside this checkout")
    task = load_task(name)
    prepare(name, task.source, shared / "data" / folder, variant=variant)
    found = check(task)
    assert [checked.misread for checked in found] == [()] * len(found)
    assert all(checked.holds for checked in found) and sum(checked.count for checked in found) == count


def test_each_answer_that_is_not_read_as_itself_is_named(capsys):
    task = replace(
        load_task("pubmedqa"), name="plugged_in", dataset="plugged_in", parser=OneLabel(("yes", "no", "perhaps"))
    )
    mibe.register_task(task)
    own_data("plugged_in", ["yes", "maybe", "no", "maybe"], "question")
    assert main(["check", "plugged_in"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        "plugged_in test: 4 gold answers, accuracy 0.5: 2 are not read as themselves",
        "  d1: 'maybe' is read as unparsed",
        "  d3: 'maybe' is read as unparsed",
    ]
    assert main(["check", "plugged_in", "--format", "json"]) == 2
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["count"], found["value"], found["holds"]) == (4, 0.5, False)
    assert [bad["id"] for bad in found["misread"]] == ["d1", "d3"]


def test_a_figure_that_is_no_mean_over_samples_is_right_where_it_counts_as_the_gold_does(capsys):
    task = load_task("ddi")
    own_data("ddi", [*task.labels, "DDI-effect"])
    assert main(["check", "ddi", "--split", "test"]) == 0
    assert capsys.readouterr().out == "ddi test: 6 gold answers, macro_f1 1: each is read as itself\n"
    wrong = replace(task, prompt=replace(task.prompt, answer=lambda example: "DDI-int"))
    (found,) = check(wrong)
    assert [bad.id for bad in found.misread] == ["d0", "d1", "d2", "d4", "d5"]
    assert found.value == pytest.approx(2 * 1 / (6 + 1) / 5)


def test_a_label_without_a_gold_answer_is_said(capsys):
    own_data("ddi", ["DDI-effect", "DDI-false"])
    assert main(["check", "ddi"]) == 2
    assert "macro_f1 0.4: each is read as itself, and yet a perfect model would not score 1" in capsys.readouterr().out


def test_text_of_credentialed_data_is_not_shown():
    task = replace(load_task("pubmedqa"), access=credentialed("an agreement"), parser=OneLabel(("yes", "no")))
    (*_, test) = check(task)
    assert len(test.misread) == 55 and {(bad.answer, bad.read) for bad in test.misread} == {(None, None)}


def test_data_that_is_not_here():
    with pytest.raises(DataError, match="the data of bionli is not here"):
        check(load_task("bionli"))
    with pytest.raises(UsageError, match="medqa has no train split here; it has test"):
        check(load_task("medqa"), "train")
