"""What the manifest says of empty, repeated and contradictory documents, on made-up and on official data."""

import re
from pathlib import Path

import pytest

import mibe
from mibe.analysis.rescore import rescore
from mibe.data import store
from mibe.data.contents import content_notes, equal_options
from mibe.data.prepare import read_splits
from mibe.data.schema import to_line
from mibe.registry import load_task
from mibe.results.log import read_rows
from mibe.task import Example

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def example(ident, text, target="x", choices=()):
    return Example(str(ident), {"text": text}, target, tuple(choices))


def test_documents_that_contradict_each_other():
    splits = {
        "train": [example(1, "a"), example(2, "B  b"), example(3, "c", "y"), example(4, "")],
        "valid": [example(1, "only here")],
        "test": [example(1, "b b", "y"), example(2, "c", "y"), example(3, "C"), example(4, "d"), example(5, "")],
    }
    assert content_notes(splits) == [
        "train: 1 examples with an empty text",
        "test: 1 examples with an empty text",
        "test: 2 examples have the content of another one, whose answer differs",
        "train: 2 documents also stand in test, 3 examples there, 2 of them with another answer",
    ]


@pytest.mark.parametrize(
    ("choices", "target", "expected"),
    [
        (("one", "two", "one"), "A", (True, True)),
        (("one", "two", "one"), "B", (True, False)),
        (("one two", "one\u00a0 two "), "B", (True, True)),
        (("BB Bb", "Bb bb"), "A", (False, False)),
        (("3", "3"), "B", (True, True)),
    ],
)
def test_equal_options(choices, target, expected):
    assert equal_options(example(1, "q", target, choices)) == expected
    task = load_task("mmlu")
    for letter, text in zip("ABC", choices, strict=False):
        same = text.split() == choices["ABC".index(target)].split()
        assert task.counts_as(example(1, "q", target, choices), letter) == (target if same else letter)


def notes_of(name, shared, folder=None):
    if folder is None:
        return store.load_manifest(name)["notes"]
    task = load_task(name)
    _, about = read_splits(name, task.source, shared / "data" / folder)
    return about["notes"]


def numbers(notes, split, pattern):
    (found,) = [m for note in notes if note.startswith(f"{split}: ") and (m := re.search(pattern, note))]
    return [int(number) for number in found.groups()]


def test_the_table_of_the_page_is_that_of_the_data(shared):
    if not (shared / "data" / "ddi2013").exists():
        pytest.skip("the files of ddi2013 are not beside this checkout")
    ddi = notes_of("ddi", shared, "ddi2013")
    options = r"(\d+) questions have two equal options; in (\d+) of them"
    differs = r"(\d+) examples have the content of another one"
    measured = [
        *numbers(ddi, "train", r"also stand in test, (\d+) examples there, (\d+) of them with another answer"),
        *numbers(ddi, "test", differs),
        *numbers(notes_of("medmcqa", shared), "test", options),
        *numbers(notes_of("mmlu", shared), "test", options),
        *numbers(notes_of("mtsample", shared), "test", differs),
    ]
    table = PAGE.split("## Answers that contradict each other")[1].split("## ")[0]
    assert [int(n) for n in re.findall(r"\| (\d+) \|$", table, flags=re.M)] == measured
    assert measured == [101, 14, 2, 21, 4, 9, 4, 8]


@pytest.mark.parametrize(("protocol", "right"), [("default", 2), ("paper", 1)])
def test_the_letter_of_an_equal_option_is_right_and_the_row_keeps_what_was_answered(tmp_path, protocol, right):
    ident = "6946c04c-eee9-4b9d-ad2d-dbf5ccd40b94"  # B and D are "Petechial rash", and B is the key.
    found = next(e for e in store.iter_examples("medmcqa", "test") if e.id == ident)
    assert found.choices[1] == found.choices[3] and found.target == "B"
    folder = store.data_dir() / "medmcqa"
    folder.mkdir(parents=True)
    copies = [Example(str(n), {"question": f"{n}"}, found.target, found.choices) for n in range(3)]
    (folder / "test.jsonl").write_text("".join(to_line(e) + "\n" for e in copies))
    answers = iter("DBA")
    done = mibe.evaluate(
        model=lambda prompts: [next(answers) for _ in prompts], tasks="medmcqa", protocol=protocol, resamples=5,
        output_dir=tmp_path / "runs",
    )  # fmt: skip
    assert done.scores("medmcqa")["accuracy"] == pytest.approx(right / 3)
    rows = done.samples("medmcqa").fillna("").to_dict("records")
    kept = {(row["prediction"], row.get("answered", "")) for row in rows}
    assert kept == ({("B", "D"), ("B", ""), ("A", "")} if protocol == "default" else {("D", ""), ("B", ""), ("A", "")})
    again = rescore(done.path)
    assert again.scores("medmcqa") == done.scores("medmcqa")
    assert {row["id"]: row.get("answered") for row in read_rows(again.samples_path("medmcqa"))} == {
        row["id"]: row.get("answered") for row in read_rows(done.path / "history" / "1" / "samples" / "medmcqa.jsonl")
    }


def test_the_record_says_that_there_are_equal_options(tmp_path):
    done = mibe.evaluate(model="dummy", tasks="mmlu", limit=2, resamples=5, output_dir=tmp_path / "runs")
    notes = done.record["tasks"]["mmlu"]["data"]["manifest"]["notes"]
    assert any("9 questions have two equal options; in 4 of them the right one has an equal" in note for note in notes)
