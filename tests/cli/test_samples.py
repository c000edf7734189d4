"""`mibe samples` shows what was asked for, in a terminal that obeys none of it, and no credentialed text."""

import json
from dataclasses import replace

import pytest
from scripted import Scripted

import mibe
from mibe.cli.main import main
from mibe.data import store
from mibe.models.base import Response
from mibe.task import credentialed

EVIL = "no\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\r\nsecond line"
ANSWERS = [EVIL, "yes", "I cannot tell anything.", Response(text="It may well", finish_reason="length")]


def scored(tmp_path, task="pubmedqa"):
    answers = iter([*ANSWERS, *["no"] * 100])
    return mibe.evaluate(
        model=Scripted(lambda _: next(answers)), tasks=task, limit=12, resamples=20, output_dir=tmp_path / "runs"
    )


@pytest.fixture
def samples(tmp_path, capfd):
    """What the command prints for the run, and its news."""
    run = scored(tmp_path)

    def command(*arguments, check=0):
        assert main(["samples", str(run.path), *arguments]) == check
        return capfd.readouterr()

    command.run = run
    return command


def shown(out):
    return [json.loads(line) for line in out.splitlines()]


def test_wrong_samples_are_those_of_the_run(samples):
    out, news = samples("--task", "pubmedqa", "--wrong", "--format", "json")
    assert {row["id"] for row in shown(out)} == set(samples.run.wrong("pubmedqa")["id"])
    assert f"{len(shown(out))} of 12 samples" in news


def test_an_outcome_a_text_and_both_at_once(samples):
    by_outcome = {row["output"] for row in shown(samples("--outcome", "unparsed", "--format", "json").out)}
    assert by_outcome == {EVIL, "I cannot tell anything."}
    found = shown(samples("--search", "CANNOT", "--format", "json").out)
    assert [row["output"] for row in found] == ["I cannot tell anything."]
    assert samples("--search", "cannot", "--outcome", "truncated").out == ""
    assert [r["outcome"] for r in shown(samples("--outcome", "truncated", "--format", "json").out)] == ["truncated"]


def test_a_terminal_obeys_nothing_of_an_output(samples):
    out = samples("--search", "second line", "--prompts").out
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(out)
    assert "  │ nognp\n  │ second line\n" in out
    assert "  read:   null\n" in out and "  prompt:\n  │ Your task is to answer biomedical questions" in out
    # Data stays what it is.
    assert shown(samples("--search", "second line", "--format", "json").out)[0]["output"] == EVIL


def test_the_first_are_shown_and_the_rest_counted(samples):
    out, news = samples("--limit", "3", "--format", "json")
    assert len(shown(out)) == 3 and "12 of 12 samples; the first 3 are shown (--limit)" in news


def test_a_wrong_name_is_one_line(samples):
    assert "has no task 'medqa'; it has pubmedqa" in samples("--task", "medqa", check=2).err
    assert "--limit 0 is out of range" in samples("--limit", "0", check=2).err


def test_a_grade_is_neither_right_nor_wrong(samples):
    log = samples.run.samples_path("pubmedqa")
    rows = [json.loads(line) | {"scores": {"rougeL": 0.25}} for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "have a grade" in samples("--task", "pubmedqa", "--wrong", check=2).err
    # Where every task is looked through, one with grades has none to show.
    assert "0 of 12 samples" in samples("--wrong").err


def test_of_a_credentialed_task_ids_outcomes_and_scores_alone(tmp_path, capfd):
    notes = replace(
        mibe.load_task("pubmedqa"), name="notes", dataset="pubmedqa", access=credentialed("Hospital agreement 7")
    )
    assert store.find(notes.data_name) is not None
    mibe.register_task(notes)
    run = scored(tmp_path, "notes")
    for form in ("text", "json"):
        assert main(["samples", str(run.path), "--wrong", "--prompts", "--format", form]) == 0
        out, _ = capfd.readouterr()
        assert run.wrong("notes")["id"][0] in out and "accuracy" in out
        assert not any(text in out for text in ("second line", "cannot", "yes", "target", "Context"))
    assert main(["samples", str(run.path), "--search", "second"]) == 2
    out, error = capfd.readouterr()
    assert out == "" and "credentialed" in error and str(run.samples_path("notes")) in error
