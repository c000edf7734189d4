"""A run scores what it should, keeps every response, and goes on where it stopped."""

import csv
import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from run_logs import responses
from scripted import Scripted

import mibe
from mibe.analysis.rescore import rescore
from mibe.errors import DataError, ModelError, RunError, UsageError
from mibe.models.base import Response
from mibe.registry import load_task
from mibe.results.cache import cache_path
from mibe.results.log import read_rows
from mibe.results.table import FORMATS, render


def run(model, tmp_path, **settings):
    arguments = {"tasks": "pubmedqa", "limit": 20, "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=tmp_path / "runs", **arguments)


def test_accuracy_is_the_share_of_right_answers(tmp_path):
    done = run(lambda prompts: ["yes"] * len(prompts), tmp_path, limit=None)
    task = done.record["tasks"]["pubmedqa"]
    # The official test set has 276 yes, 169 no, 55 maybe.
    assert task["figures"]["accuracy"]["value"] == 276 / 500
    assert task["figures"]["macro_f1"]["value"] == pytest.approx((2 * 276 / (276 + 500)) / 3)
    low, high = (task["figures"]["accuracy"][k] for k in ("low", "high"))
    assert low < 276 / 500 < high and 0.05 < high - low < 0.12
    assert task["confusion"]["counts"] == [[276, 0, 0, 0], [169, 0, 0, 0], [55, 0, 0, 0]]
    assert task["outcomes"] == {"parsed": 500, "unparsed": 0, "truncated": 0, "refused": 0, "error": 0}


def test_each_outcome_is_counted_and_errors_are_not_scored(tmp_path):
    kinds = [
        Response(text="yes", finish_reason="stop"),
        Response(text="The abstract is about", finish_reason="length"),
        Response(text="I cannot say anything of use here.", finish_reason="stop"),
        Response(text="", finish_reason="filter"),
        Response(text="", finish_reason="error", error="server went away"),
    ]
    count = iter(range(1000))
    done = run(Scripted(lambda _: kinds[next(count) % 5]), tmp_path)
    task = done.record["tasks"]["pubmedqa"]
    assert task["outcomes"] == {"parsed": 4, "unparsed": 4, "truncated": 4, "refused": 4, "error": 4}
    assert task["scored"] == 16 and task["figures"]["accuracy"]["n"] == 16
    assert done.failed == 4 and done.record["status"] == "incomplete"
    assert task["rates"]["error"]["value"] == pytest.approx(0.2)


def test_failed_samples_are_asked_again_by_the_same_command_and_only_those(tmp_path):
    flaky = Scripted(lambda p: Response(text="", finish_reason="error", error="x") if len(p) % 3 == 0 else "no")
    first = run(flaky, tmp_path)
    assert 0 < first.failed < 20
    well = Scripted(lambda _: "no")
    second = run(well, tmp_path, use_cache=False)
    assert second.path == first.path
    assert len(well.asked) == first.failed and second.failed == 0
    assert second.record["status"] == "finished" and len(second.record["sessions"]) == 2
    assert len(second.samples("pubmedqa")) == 20


def test_a_model_that_breaks_in_the_middle_loses_nothing(tmp_path):
    def breaks(prompt):
        if len(broken.asked) > 7:
            raise ModelError("the engine died")
        return "yes"

    broken = Scripted(breaks)
    with pytest.raises(ModelError):
        run(broken, tmp_path, use_cache=False)
    well = Scripted(lambda _: "yes")
    done = run(well, tmp_path, use_cache=False)
    assert len(well.asked) == 20 - 7
    assert not set(well.asked) & set(broken.asked[:7])
    assert done.scores("pubmedqa") == run(Scripted(lambda _: "yes"), tmp_path / "other", use_cache=False).scores(
        "pubmedqa"
    )


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path):
    def interrupted(prompt):
        if len(stopped.asked) > 5:
            raise KeyboardInterrupt
        return "yes"

    stopped = Scripted(interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(stopped, tmp_path, use_cache=False)
    [record] = (tmp_path / "runs").glob("*/run.json")
    assert json.loads(record.read_text())["status"] == "interrupted"
    well = Scripted(lambda _: "yes")
    run(well, tmp_path, use_cache=False)
    assert len(well.asked) == 15


def test_another_model_task_or_setting_is_another_run(tmp_path):
    def fails(_):
        return Response(text="", finish_reason="error", error="x")

    paths = {run(Scripted(fails), tmp_path).path}
    paths.add(run(Scripted(fails, identity="scripted-2"), tmp_path).path)
    paths.add(run(Scripted(fails), tmp_path, limit=19).path)
    paths.add(run(Scripted(fails), tmp_path, num_fewshot=1).path)
    paths.add(run(Scripted(fails), tmp_path, tasks="medqa").path)
    assert len(paths) == 5


def test_the_cache_is_shared_between_runs_and_never_between_models(tmp_path):
    first = Scripted(lambda _: "yes")
    run(first, tmp_path)
    again = Scripted(lambda _: "no")
    done = run(again, tmp_path)
    assert again.asked == [] and set(done.samples("pubmedqa")["output"]) == {"yes"}
    assert done.record["tasks"]["pubmedqa"]["timing"]["from_cache"] == 20
    other = Scripted(lambda _: "no", identity="scripted-2")
    assert set(run(other, tmp_path).samples("pubmedqa")["output"]) == {"no"}
    longer = Scripted(lambda _: "no")
    run(longer, tmp_path, max_new_tokens=7)
    assert len(longer.asked) == 20


def test_a_new_parser_asks_nothing_again(tmp_path, monkeypatch):
    first = Scripted(lambda _: "yes")
    run(first, tmp_path / "a")
    newer = replace(load_task("pubmedqa"), version=99)
    monkeypatch.setattr("mibe.tasks.pubmedqa.TASK", newer)
    done = run(Scripted(lambda _: "no"), tmp_path / "b")
    assert done.record["tasks"]["pubmedqa"]["version"] == 99
    assert done.record["tasks"]["pubmedqa"]["timing"]["from_cache"] == 20


def test_responses_reach_the_cache_while_a_long_chunk_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("mibe.run.stream.CACHE_SECONDS", 0.0)
    stored = []

    def answer(_):
        with closing(sqlite3.connect(cache_path())) as database:
            stored.append(database.execute("SELECT count(*) FROM responses").fetchone()[0])
        return "yes"

    run(Scripted(answer), tmp_path)
    assert stored == list(range(20))


def test_a_limit_is_part_of_a_larger_limit_and_not_the_head_of_the_file(tmp_path):
    small = set(run(Scripted(lambda _: "A"), tmp_path, tasks="mmlu", limit=50).samples("mmlu")["id"])
    large = set(run(Scripted(lambda _: "A"), tmp_path, tasks="mmlu", limit=200).samples("mmlu")["id"])
    assert len(small) == 50 and small < large
    assert len({ident.split("/")[0] for ident in large}) > 30


def test_mmlu_is_broken_down_by_subject_and_category(tmp_path):
    done = run(Scripted(lambda _: "B"), tmp_path, tasks="mmlu,mmlu_medical", limit=None)
    parts = done.record["tasks"]["mmlu"]["breakdowns"]
    assert len(parts["subject"]) == 57 and len(parts["category"]) == 4
    assert done.record["tasks"]["mmlu"]["scored"] == 14042
    total = sum(f["accuracy"]["value"] * f["accuracy"]["n"] for f in parts["subject"].values())
    assert total / 14042 == pytest.approx(done.scores("mmlu")["accuracy"])
    medical = done.record["tasks"]["mmlu_medical"]
    assert len(medical["breakdowns"]["subject"]) == 6
    assert medical["breakdowns"]["subject"]["anatomy"] == parts["subject"]["anatomy"]


def test_shots_are_listed_in_the_record_and_in_every_prompt(tmp_path):
    model = Scripted(lambda _: "yes")
    done = run(model, tmp_path, num_fewshot=5)
    [ids] = done.record["tasks"]["pubmedqa"]["shots"].values()
    assert len(ids) == 5
    heads = {text.rsplit("INPUT:", 1)[0] for text in model.asked}
    assert len(heads) == 1 and heads.pop().count("OUTPUT: ") == 5


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"tasks": "pubmedq"}, UsageError, "did you mean pubmedqa"),
        ({"tasks": ""}, UsageError, "no task was named"),
        ({"limit": 0}, UsageError, "--limit 0 is out of range"),
        ({"num_fewshot": -1}, UsageError, "--num-fewshot -1 is out of range"),
        ({"num_fewshot": 10_000}, UsageError, "--num-fewshot 10000 is out of range, the train split has 450"),
        (
            {"tasks": "medqa", "num_fewshot": 5},
            DataError,
            "medqa: --num-fewshot 5 takes its examples from a train split",
        ),
        ({"split": "dev"}, DataError, "pubmedqa has no dev split here; it has"),
        ({"scoring": "likelihood"}, UsageError, "unknown scoring"),
        ({"shots": 5}, UsageError, "unknown setting 'shots'"),
        ({"tasks": "ddi"}, DataError, "mibe data prepare ddi --from"),
    ],
)
def test_bad_requests_end_before_the_model_is_asked(tmp_path, settings, error, message):
    model = Scripted(lambda _: "yes")
    with pytest.raises(error, match=message):
        run(model, tmp_path, **settings)
    assert model.asked == [] and not (tmp_path / "runs").exists()


def test_all_missing_data_is_named_at_once(tmp_path):
    model = Scripted(lambda _: "yes")
    with pytest.raises(DataError) as error:
        run(model, tmp_path, tasks=None, suite="zero_shot")
    head, *lines = str(error.value).splitlines()
    assert head.startswith("data is missing for 8 of 12 tasks; nothing was run.") and "--skip-missing" in head
    gone = ["emrqa", "i2b2", "ddi", "hoc", "pubmedsum", "mimic_cxr", "bionli", "mednli"]
    assert [line.split(":")[0].strip() for line in lines] == gone
    assert all(line.endswith(f"mibe data prepare {name} --from PATH") for line, name in zip(lines, gone, strict=True))
    with pytest.raises(DataError, match="data is missing for 2 of 2 tasks"):
        run(model, tmp_path, tasks="ddi,hoc", skip_missing=True)
    with pytest.raises(DataError, match="(?s)2 of 3 tasks.*medqa: --num-fewshot 5 takes .*ddi: the data of ddi is not"):
        run(model, tmp_path, tasks="medqa,pubmedqa,ddi", num_fewshot=5)
    assert model.asked == []


def test_what_is_skipped_stands_in_record_and_every_table(tmp_path):
    done = run(Scripted(lambda _: "yes"), tmp_path, tasks="ddi,pubmedqa,hoc", skip_missing=True)
    skipped = done.record["skipped"]
    assert list(done.record["tasks"]) == ["pubmedqa"] and list(skipped) == ["ddi", "hoc"]
    assert done.record["status"] == "finished"
    for form in FORMATS:
        table = render(done.record["tasks"], form, skipped=skipped)
        assert all(name in table for name in ("pubmedqa", "ddi", "hoc"))
    assert json.loads(render(done.record["tasks"], "json", skipped=skipped))["ddi"] == {"skipped": skipped["ddi"]}
    rows = list(csv.DictReader(io.StringIO(render(done.record["tasks"], "csv", skipped=skipped))))
    assert [(row["metric"], row["n"]) for row in rows if row["task"] == "hoc"] == [("skipped, data missing", "0")]
    assert "ddi: skipped, data missing; the data of ddi is not here." in render({}, "text", skipped=skipped)
    assert rescore(done.path).record["skipped"] == skipped
    assert run(Scripted(lambda _: "no"), tmp_path, tasks="pubmedqa", skip_missing=True).record["skipped"] == {}


def test_a_callable_that_returns_too_few_texts_is_told_so(tmp_path):
    with pytest.raises(ModelError):
        run(lambda prompts: prompts[:-1], tmp_path)


def test_rescore_reads_the_saved_text_again_and_keeps_the_old_record(tmp_path):
    done = run(Scripted(lambda _: "yes"), tmp_path)
    samples = done.path / "samples" / "pubmedqa.jsonl"
    rows = [row | {"prediction": "no", "scores": {}} for row in read_rows(samples)]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = rescore(done.path)
    assert again.scores("pubmedqa") == done.scores("pubmedqa")
    assert set(again.samples("pubmedqa")["prediction"]) == {"yes"}
    kept = again.path / again.record["earlier"]
    assert json.loads((kept / "run.json").read_text())["tasks"] == done.record["tasks"]
    assert {row["prediction"] for row in read_rows(kept / "samples" / "pubmedqa.jsonl")} == {"no"}


def test_rescore_refuses_a_run_that_is_not_finished(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        rescore(tmp_path)


def test_kill_at_random_moments_costs_only_what_was_in_flight(tmp_path):
    """A real process, killed by SIGKILL several times, ends with the scores of an undisturbed one."""
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from scripted import Scripted\n"
        "import mibe\n"
        "asked = open(sys.argv[3], 'a')\n"
        "def answer(text):\n"
        "    time.sleep(0.02)\n"
        "    asked.write(str(hash(text) * 0 + len(text)) + '\\n'); asked.flush()\n"
        "    return 'yes' if len(text) % 2 else 'no'\n"
        "mibe.evaluate(model=Scripted(answer), tasks='pubmedqa', limit=60, resamples=50, output_dir=sys.argv[2],\n"
        "              use_cache=False)\n"
    )
    helpers = str(Path(__file__).resolve().parents[1] / "helpers")
    command = [sys.executable, str(script), helpers, str(tmp_path / "killed"), str(tmp_path / "asked")]
    kills = 0
    rng = random.Random(7)
    while True:
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        target = responses(tmp_path / "killed") + rng.randint(1, 12)
        while process.poll() is None and responses(tmp_path / "killed") < target:
            time.sleep(0.005)
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode()
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 2
    [path] = (tmp_path / "killed").iterdir()
    killed = mibe.load_run(path)
    calm = mibe.evaluate(
        model=Scripted(lambda text: "yes" if len(text) % 2 else "no"),
        tasks="pubmedqa",
        limit=60,
        resamples=50,
        output_dir=tmp_path / "calm",
        use_cache=False,
    )
    assert killed.record["tasks"]["pubmedqa"]["figures"] == calm.record["tasks"]["pubmedqa"]["figures"]
    # Each response was asked for once, but for at most one in flight at each kill.
    assert 60 <= len((tmp_path / "asked").read_text().splitlines()) <= 60 + kills


def test_the_record_says_what_is_needed_to_run_again(tmp_path):
    record = run(Scripted(lambda _: "yes"), tmp_path).record
    assert record["model"]["identity"] == {"model": "scripted-1"}
    assert record["settings"]["limit"] == 20 and record["protocol"] == "default"
    assert record["versions"]["packages"]["mibe"] == mibe.__version__
    assert record["hardware"]["cores"] == os.cpu_count() and record["memory"]["process_peak_bytes"] > 1e6
    task = record["tasks"]["pubmedqa"]
    assert task["version"] == load_task("pubmedqa").version
    assert len(task["data"]["sha256"]) == 64 and task["data"]["documents"] == 20 and task["data"]["of"] == 500
    assert "INPUT: " in task["first_prompt"]
