"""Runs on a model that reasons: what it is asked, what the log keeps, what the figures and the record say."""

import json

import pytest
from scripted import Scripted

import mibe
from mibe.analysis.outputs import score_outputs
from mibe.analysis.rescore import rescore
from mibe.cli import main
from mibe.data.documents import examples
from mibe.errors import UsageError
from mibe.models.base import Response, Sampling
from mibe.models.reasoning import Reasoning
from mibe.registry import load_task
from mibe.report.prompts import documents_of
from mibe.report.samples import pieces
from mibe.results.log import latest_rows
from mibe.results.table import render
from mibe.run.settings import Settings
from mibe.terminal.progress import Silent

THOUGHT = "<think>\nmaybe yes\n</think>\n\n"


class Thinker(Scripted):
    """Every third response is cut in its reasoning; the others answer "no" after it."""

    reasoning = Reasoning("think", True, "its prompt ends in <think>", ("enable_thinking",))
    context_window = 12_000

    def __init__(self):
        super().__init__(lambda text: "")

    def generate(self, requests):
        for index, request in enumerate(requests):
            self.asked.append(request.sampling)
            if index % 3 == 0:
                yield index, Response(
                    text="so the answer is yes. But", finish_reason="length", answer_at=None, budget_cut=True,
                    new_tokens=30, reasoning_tokens=30,
                )  # fmt: skip
            else:
                yield (
                    index,
                    Response(
                        text=THOUGHT + "no",
                        finish_reason="stop",
                        answer_at=len(THOUGHT),
                        new_tokens=12,
                        reasoning_tokens=10,
                    ),
                )


class Heard(Silent):
    def __init__(self):
        self.lines = []

    def message(self, text):
        self.lines.append(text)


@pytest.fixture
def run(tmp_path):
    heard, model = Heard(), Thinker()
    done = mibe.evaluate(
        model=model, tasks="pubmedqa", limit=6, output_dir=tmp_path, progress=heard, use_cache=False, resamples=50
    )
    return done, heard.lines, model


def rows_of(run):
    return list(latest_rows(run.path / "samples" / "pubmedqa.jsonl"))


def test_the_first_lines_say_that_it_reasons_how_that_is_known_and_its_room(run):
    _, lines, model = run
    room = (12_000 - load_task("pubmedqa").max_new_tokens) // 2
    (line,) = [line for line in lines if "reasons" in line]
    assert "its prompt ends in <think>" in line and f"{room:,} tokens" in line and "enable_thinking" in line
    assert {(s.thinking_budget, s.at_budget) for s in model.asked} == {(room, "stop")}


def test_the_log_keeps_the_whole_text_and_the_figures_see_the_answers(run):
    done, _, _ = run
    rows = rows_of(done)
    whole = [row for row in rows if row["outcome"] == "parsed"]
    cut = [row for row in rows if row["outcome"] == "truncated"]
    assert {(row["output"], row["answer_at"], row["prediction"]) for row in whole} == {
        (THOUGHT + "no", len(THOUGHT), "no")
    }
    assert {(row["answer_at"], row["prediction"], row["budget_cut"]) for row in cut} == {(None, None, True)}
    assert (len(whole), len(cut)) == (4, 2)
    task = done.record["tasks"]["pubmedqa"]
    assert task["budget_cut"] == 2 and task["rates"]["budget_cut"]["value"] == pytest.approx(1 / 3)
    assert task["timing"]["new_tokens"] == 4 * 12 + 2 * 30 and task["timing"]["reasoning_tokens"] == 4 * 10 + 2 * 30
    assert done.record["model"]["reasoning"]["format"] == "think"
    text = render(done.record["tasks"], "text")
    assert "budget-cut" in text and "33.3%" in text


def test_rescoring_changes_nothing_and_mends_what_an_older_run_read(run):
    done, _, _ = run
    before = rows_of(done)
    rescore(done.path)
    assert rows_of(done) == before
    # As a run of before wrote it: the unfinished reasoning was read, and nothing says where answers begin.
    log = done.path / "samples" / "pubmedqa.jsonl"
    old = [{key: value for key, value in row.items() if key not in ("answer_at", "budget_cut")} for row in before]
    old = [row | ({"prediction": "yes", "outcome": "parsed"} if row["prediction"] is None else {}) for row in old]
    log.write_text("".join(json.dumps(row) + "\n" for row in old))
    record = json.loads((done.path / "run.json").read_text())
    record["tasks"]["pubmedqa"]["first_prompt"] += "<think>\n"
    (done.path / "run.json").write_text(json.dumps(record))
    again = rescore(done.path)
    assert [row["prediction"] for row in rows_of(done)] == [row["prediction"] for row in before]
    assert again.record["tasks"]["pubmedqa"]["budget_cut"] == 2


def test_the_page_marks_what_was_read_of_the_answer_alone(run):
    done, _, _ = run
    rows = rows_of(done)
    documents = documents_of("pubmedqa", done.record, rows)
    parsed = next(row for row in rows if row["outcome"] == "parsed")
    assert pieces(parsed, documents) == [THOUGHT, "no", ""]


def test_scores_of_text_from_elsewhere_know_where_an_answer_begins(tmp_path):
    task = load_task("pubmedqa")
    idents = [example.id for _, example in zip(range(3), examples(task, "test"), strict=False)]
    outputs = [
        {"output": "It is yes. But", "finish_reason": "length", "prompt": "Q\n<think>\n"},
        {"output": "<think>It is yes", "finish_reason": "stop"},
        {"output": "yes, no, </think>no", "prompt": "Q\n<think>\n"},
    ]
    file = tmp_path / "outputs.jsonl"
    lines = [{"id": ident} | item for ident, item in zip(idents, outputs, strict=True)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = score_outputs(task, file, partial=True, resamples=20)
    assert {name: count for name, count in scores["outcomes"].items() if count} == {
        "parsed": 1, "unparsed": 1, "truncated": 1,
    }  # fmt: skip
    assert scores["budget_cut"] == 1


def test_a_budget_must_be_a_number_above_nothing():
    with pytest.raises(UsageError, match="--thinking-budget 0"):
        mibe.evaluate(model="dummy", tasks="pubmedqa", thinking_budget=0)
    with pytest.raises(UsageError, match="unknown at budget 'go on'; known: stop, close"):
        mibe.evaluate(model="dummy", tasks="pubmedqa", at_budget="go on")


def test_closing_at_the_budget_is_refused_before_a_model_that_cannot_is_asked(tmp_path):
    model = Thinker()
    with pytest.raises(UsageError, match="scripted cannot do --at-budget close"):
        mibe.evaluate(model=model, tasks="pubmedqa", limit=5, at_budget="close", output_dir=tmp_path)
    assert not model.asked and not list(tmp_path.iterdir())


def test_without_room_to_think_runs_and_caches_are_known_by_what_they_always_were():
    """Written out here, as a run of before had it: such a run goes on, and its cached answers are found."""
    assert Settings().asked() == {
        "num_fewshot": 0,
        "limit": None,
        "split": "test",
        "scoring": "generate",
        "seed": 1234,
        "max_new_tokens": None,
        "fewshot_per_document": False,
        "resamples": 1000,
        "protocol": "default",
        "bertscore": None,
        "shard": None,
    }
    assert Sampling(max_new_tokens=16).in_key() == {"max_new_tokens": 16, "stop": (), "temperature": 0.0, "seed": 0}
    assert Sampling(max_new_tokens=16, thinking_budget=99).in_key()["thinking_budget"] == 99
    assert Settings(thinking_budget=99).asked()["thinking_budget"] == 99


def test_the_command_line_has_both(tmp_path, capsys):
    arguments = ["eval", "--model", "dummy", "--tasks", "pubmedqa", "--limit", "4", "--output-dir", str(tmp_path)]
    assert main([*arguments, "--thinking-budget", "50"]) == 0
    [path] = tmp_path.iterdir()
    assert mibe.load_run(path).record["tasks"]["pubmedqa"]["thinking_budget"] == 50
    assert main([*arguments, "--at-budget", "close"]) == 2
    assert "--at-budget close" in capsys.readouterr().err
