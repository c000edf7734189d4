"""Text that no file can hold, from every place that text comes from: it is marked, and nothing ends."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mibe
from mibe.analysis.outputs import parse_outputs, score_outputs
from mibe.analysis.rescore import rescore
from mibe.models.base import Response
from mibe.registry import load_task
from mibe.results.log import latest_rows
from mibe.run.documents import Documents
from mibe.terminal.characters import sound

ODD = "yes\n\ud83d\0"
MARKED = "yes\n\ufffd\ufffd"


@given(st.text(st.characters() | st.characters(categories=["Cs"]) | st.just("\0")))
def test_what_is_no_character_is_marked_and_every_other_one_stays_at_its_place(text):
    found = sound(text)
    assert len(found) == len(text) and "\0" not in found and found.encode().decode() == found
    assert all(
        new == old or (new == "\ufffd" and (old == "\0" or 0xD800 <= ord(old) < 0xE000))
        for new, old in zip(found, text, strict=True)
    )


def test_a_response_is_the_border_whoever_made_it():
    response = Response(text=ODD, finish_reason="stop", answer_at=4)
    assert response.text == MARKED and response.answer == "\ufffd\ufffd"
    assert Response(text="", finish_reason="error", error="a\ud800").error == "a\ufffd"


def test_a_run_of_a_function_rescored_and_reported(tmp_path):
    def answers(prompts):
        return [ODD] * len(prompts)

    run = mibe.evaluate(model=answers, tasks="pubmedqa", limit=3, output_dir=tmp_path)
    log = run.path / "samples" / "pubmedqa.jsonl"
    rows = list(latest_rows(log))
    assert [row["output"] for row in rows] == [MARKED] * 3 and {row["prediction"] for row in rows} == {"yes"}
    # A log of before, or of others, may still hold it, as JSON's escape.
    log.write_text("".join(json.dumps(row | {"output": ODD}) + "\n" for row in rows))
    before = run.record["tasks"]["pubmedqa"]["figures"]
    assert rescore(run.path).record["tasks"]["pubmedqa"]["figures"] == before
    assert [row["output"] for row in latest_rows(log)] == [MARKED] * 3


def test_a_function_that_fails_in_odd_words_is_an_error_of_its_batch(tmp_path):
    def fails(prompts):
        raise ValueError("a \ud800 b")

    run = mibe.evaluate(model=fails, tasks="pubmedqa", limit=2, output_dir=tmp_path)
    assert {row["error"] for row in latest_rows(run.path / "samples" / "pubmedqa.jsonl")} == {"ValueError: a \ufffd b"}


def test_text_generated_elsewhere(tmp_path):
    task = load_task("pubmedqa")
    lines = [json.dumps({"output": ODD}), json.dumps({"output": "B \udfff", "choices": ["a\ud800", "b"]})]
    [first, second] = parse_outputs(task, lines)
    assert first == {"prediction": "yes", "outcome": "parsed"} and second["outcome"] in ("parsed", "unparsed")
    ident = next(iter(Documents.select(task, "test", 1, 0))).id
    outputs = tmp_path / "outputs.jsonl"
    outputs.write_text(json.dumps({"id": ident, "output": ODD}) + "\n")
    assert score_outputs(task, outputs, partial=True, resamples=2)["outcomes"]["parsed"] == 1


@pytest.mark.parametrize(
    ("explained", "printed"),
    [((), '{"prediction": "yes", "outcome": "parsed"}'), (("--explain",), '1. parsed "yes" - announced')],
)
def test_parse_prints_what_it_read(explained, printed):
    lines = json.dumps({"output": f"The answer is {ODD}", "choices": []}) + "\n"
    command = [sys.executable, "-m", "mibe", "parse", "--task", "pubmedqa", *explained]
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(printed), done.stderr
