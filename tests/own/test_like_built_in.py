"""A built-in set as a table of one's own: the same prompts, the same reading, the same figures."""

import csv
import json
import random

import pytest
from scripted import Scripted

import mibe
from mibe.data.documents import examples
from mibe.own.opening import open_file
from mibe.prompting import plain_text
from mibe.registry import load_task, register_task

COUNT = 40


def as_table(folder, name, form):
    """The first documents of a built-in task as a table, their answers in the target column."""
    rows = []
    for example in list(examples(load_task(name), "test"))[:COUNT]:
        options = dict(zip("ABCDE", example.choices, strict=False))
        rows.append({"id": example.id, **example.inputs, **options, "gold": example.target})
    path = folder / f"mine.{form}"
    if form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "form", "columns"),
    [
        ("pubmedqa", "csv", {"input": ["question", "context"]}),
        ("medqa", "csv", {"input": "question", "choices": ["A", "B", "C", "D", "E"]}),
        ("medmcqa", "jsonl", {"input": "question", "choices": ["A", "B", "C", "D"]}),
    ],
)
def test_prompts_and_figures_are_those_of_the_built_in_task(tmp_path, name, form, columns):
    built_in = load_task(name)
    prompt = {part: getattr(built_in.prompt, part) for part in ("instruction", "input", "cue")}
    labels = list(built_in.labels) if built_in.labels == ("yes", "no", "maybe") else []
    task, _ = open_file(
        as_table(tmp_path, name, form),
        columns={**columns, "target": "gold", "id": "id"},
        prompt=prompt,
        labels=labels,
        access="open",
    )
    register_task(task)
    chosen = list(examples(built_in, "test"))[:COUNT]
    for mine, theirs in zip(examples(task, "test"), chosen, strict=True):
        assert plain_text(task.prompt, (), mine) == plain_text(built_in.prompt, (), theirs)
        assert (mine.target, mine.choices) == (theirs.target, theirs.choices)
    said = ["The answer is {}.", "**{}**", "I think {}, since it fits.", "It is hard to tell.", "{}"]
    dice = random.Random(1)
    answers = {
        plain_text(built_in.prompt, (), e): dice.choice(said).format(dice.choice(built_in.answers(e))) for e in chosen
    }
    done = mibe.evaluate(model=Scripted(answers.__getitem__), tasks=task.name, output_dir=tmp_path / "runs")
    read = [
        built_in.parser(answers[plain_text(built_in.prompt, (), e)], choices=e.choices, inputs=e.inputs) for e in chosen
    ]
    rows = {row["id"]: row for row in done.rows(task.name)}
    assert [rows[e.id]["prediction"] for e in chosen] == [
        built_in.counts_as(e, r) for e, r in zip(chosen, read, strict=True)
    ]
    right = sum(r == e.target for e, r in zip(chosen, read, strict=True))
    assert done.scores(task.name)["accuracy"] == pytest.approx(right / COUNT) and 0 < right < COUNT
