"""A run of before a task had all its figures is read as it is, and brought up to date by scoring it again."""

import json
import random

import pytest
from scripted import Scripted

import mibe
from mibe.analysis.rescore import rescore
from mibe.analysis.verify import verify
from mibe.cli import main
from mibe.data.store import data_dir
from mibe.errors import RunError, UsageError
from mibe.leaderboard.consistency import why_not
from mibe.leaderboard.runs import read_results
from mibe.registry import load_task
from mibe.results.log import latest_rows
from mibe.results.table import render

NEW = {"micro_f1_positive", "detection_f1"}


def test_an_older_run_of_ddi_gets_the_figures_of_the_field(tmp_path):
    task = load_task("ddi")
    rng = random.Random(1)
    (data_dir() / "ddi").mkdir(parents=True)
    targets = [rng.choice(task.labels) for _ in range(60)]
    rows = [{"id": str(n), "inputs": {"text": f"text {n}"}, "target": target} for n, target in enumerate(targets)]
    (data_dir() / "ddi" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = Scripted(lambda prompt: random.Random(prompt).choice(task.labels))
    done = mibe.evaluate(model=model, tasks="ddi", resamples=5, output_dir=tmp_path / "runs")
    today = done.scores("ddi")
    part = done.record["tasks"]["ddi"]
    part["version"] = 1
    part["figures"] = {name: figure for name, figure in part["figures"].items() if name not in NEW}
    (done.path / "run.json").write_text(json.dumps(done.record))

    old = mibe.load_run(done.path)
    assert "macro_f1_positive" in render(old.record["tasks"], "text") and not NEW & set(old.scores("ddi"))
    assert verify(done.path).failed == []

    new = rescore(done.path)
    assert new.scores("ddi") == today and new.record["tasks"]["ddi"]["version"] == task.version
    table = render(new.record["tasks"], "text")
    assert "micro_f1_positive" in table and "detection_f1" in table
    assert 0 < today["micro_f1_positive"] < today["detection_f1"] < 1
    earlier = json.loads((new.path / new.record["earlier"] / "run.json").read_text())
    assert earlier["tasks"]["ddi"]["version"] == 1


def test_scoring_again_says_what_changed_and_why(tmp_path, capsys):
    texts = iter(["yes", "no", "So I conclude maybe.", "yes", *["no"] * 16])
    run = mibe.evaluate(model=Scripted(lambda _: next(texts)), tasks="pubmedqa", limit=20, output_dir=tmp_path / "runs")
    log = run.path / "samples" / "pubmedqa.jsonl"
    rows = {row["output"]: row for row in latest_rows(log)}
    lines = []
    for row in latest_rows(log):
        # As an older parser may have left them: one unread, one misread, and one read that is not an answer.
        if row is not rows["yes"] and row["output"] == "So I conclude maybe.":
            row |= {"outcome": "unparsed", "prediction": None}
        elif row["id"] == rows["yes"]["id"]:
            row |= {"prediction": "no"}
        lines.append(json.dumps(row) + "\n")
    log.write_text("".join(lines))
    record = json.loads((run.path / "run.json").read_text())
    record["tasks"]["pubmedqa"] |= {"version": 1}
    record["tasks"]["pubmedqa"]["figures"]["accuracy"]["value"] = 0.25
    (run.path / "run.json").write_text(json.dumps(record))
    assert main(["rescore", str(run.path)]) == 0
    told = capsys.readouterr().err
    version, accuracy = load_task("pubmedqa").version, run.scores("pubmedqa")["accuracy"]
    assert f"pubmedqa: version 1 → {version}; accuracy 0.250 → {accuracy:.3f}\n" in told
    assert f"pubmedqa: 1 read that was not: {rows['So I conclude maybe.']['id']}\n" in told
    assert f"pubmedqa: 1 read as another answer: {rows['yes']['id']}\n" in told and "not read any more" not in told
    assert main(["rescore", str(run.path)]) == 0
    again = capsys.readouterr().err
    assert f"pubmedqa: version {version} as before; every figure has the value it had" in again


def test_a_run_is_scored_by_another_protocol_as_a_run_of_its_own(tmp_path, capsys):
    model = Scripted(lambda prompt: "The effect is unknown, so: maybe." if "OUTPUT:" in prompt else "2")
    run = mibe.evaluate(model=model, tasks="pubmedqa,mmlu", limit=40, resamples=5, output_dir=tmp_path)
    before = (run.path / "run.json").read_bytes()
    assert main(["rescore", str(run.path), "--protocol", "paper"]) == 0
    paper = mibe.load_run(run.path.with_name(f"{run.path.name}-paper"))
    assert f"run folder: {paper.path}" in capsys.readouterr().err
    assert (run.path / "run.json").read_bytes() == before and verify(paper.path).failed == []
    # "unknown" is "no" to the released code; the default reads "maybe".
    assert {row["prediction"] for row in run.rows("pubmedqa")} == {"maybe"}
    assert {row["prediction"] for row in paper.rows("pubmedqa")} == {"no"}
    gold = [row["target"] for row in paper.rows("pubmedqa")]
    assert paper.scores("pubmedqa")["accuracy"] == gold.count("no") / 40
    # Letters were asked for: an index is no answer, whatever the paper's own prompt asks for.
    assert paper.scores("mmlu")["missing"] == 1.0
    settings = paper.record["settings"]
    assert (paper.record["protocol"], settings["prompts"], settings["asked_under"]) == ("paper", "table", "default")
    assert "generated under the protocol default" in why_not(read_results([paper.path])[0][0], None)

    # And back: the default again, with the figures that it had.
    again = rescore(paper.path, protocol="default")
    assert again.scores("pubmedqa") == run.scores("pubmedqa") and again.scores("mmlu") == run.scores("mmlu")
    assert again.record["settings"]["prompts"] is None and "asked_under" not in again.record["settings"]
    with pytest.raises(RunError, match="is there already"):
        rescore(run.path, protocol="paper")
    with pytest.raises(UsageError, match="unknown protocol 'papre'"):
        rescore(run.path, protocol="papre")
    assert len(list(tmp_path.iterdir())) == 3


def test_what_the_paper_asked_is_not_always_what_the_default_reads(tmp_path):
    run = mibe.evaluate(
        model=Scripted(lambda _: "2"), tasks="mmlu", limit=5, resamples=5, protocol="paper", output_dir=tmp_path
    )
    with pytest.raises(UsageError, match="index of an option"):
        rescore(run.path, protocol="default")
    assert [path.name for path in tmp_path.iterdir()] == [run.path.name]
