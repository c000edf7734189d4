"""Versions of documents through all else: own data, run files, protocols, exports, trackers, forecasts."""

import csv
import io
import json
from collections import Counter

import pytest
from scripted import Scripted
from varied_runs import leaning, steady, varied_run

import mibe
from mibe import registry
from mibe.analysis.rescore import rescore
from mibe.analysis.verify import verify
from mibe.cli.main import main
from mibe.errors import UsageError
from mibe.forecast.hardware import GIB, Fleet
from mibe.forecast.prompts import forecast
from mibe.forecast.text import render as render_forecast
from mibe.interchange import export
from mibe.interchange.lm_eval import results
from mibe.interchange.tracking import tracked
from mibe.own.opening import open_file
from mibe.registry import register_task
from mibe.results.log import latest_rows
from mibe.run.settings import Settings
from mibe.view.live import Runs

VARY = "options,noise,sex"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.mktemp("varied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        return varied_run(base / "runs", vary=VARY, limit=12)


def part_of(run, task="medqa"):
    return run.record["tasks"][task]


def test_a_second_count_verifies_every_figure_and_finds_a_wrong_one(run):
    found = verify(run.path)
    checked = {check.figure for check in found.verified}
    assert not found.failed
    assert {"options:accuracy_sd", "options:flipped", "options:accuracy_at[A]", "noise:changed", "sex:divergence",
            "sex:divergence_of_baseline", "sex:accuracy[female]", "samples with versions"} <= checked  # fmt: skip
    record = json.loads((run.path / "run.json").read_text())
    wrong = record["tasks"]["medqa"]["robustness"]["options"]["figures"]["flipped"]
    (run.path / "run.json").write_text(
        json.dumps(record).replace(json.dumps(wrong), json.dumps(wrong | {"value": 0.9}))
    )
    assert [check.figure for check in verify(run.path).failed] == ["options:flipped"]
    (run.path / "run.json").write_text(json.dumps(run.record))


def test_tables_name_the_version_of_every_sample_and_have_its_figures(run):
    figures = list(csv.DictReader(io.StringIO(export(run, "csv"))))
    by_name = {row["metric"]: row for row in figures}
    assert float(by_name["accuracy"]["value"]) == run.scores("medqa")["accuracy"] and by_name["accuracy"]["n"] == "12"
    robust = part_of(run)["robustness"]["options"]["figures"]
    assert float(by_name["options:flipped"]["value"]) == robust["flipped"]["value"]
    samples = list(csv.DictReader(io.StringIO(export(run, "csv", samples=True))))
    assert len(samples) == part_of(run)["versions"]["samples"]
    assert len({row["document"] for row in samples}) == 12
    assert Counter(row["version"] for row in samples)["options:1"] == part_of(run)["robustness"]["options"]["documents"]


def test_other_forms_have_the_documents_figures_and_name_those_of_versions(run):
    found = results(run)
    own = found["results"]["mibe_medqa"]
    assert own["accuracy,none"] == run.scores("medqa")["accuracy"]
    assert found["n-samples"]["mibe_medqa"]["effective"] == own["sample_len"] == 12
    robust = part_of(run)["robustness"]["options"]["figures"]
    assert found["configs"]["mibe_medqa"]["metadata"]["versions"]["options:flipped"] == robust["flipped"]["value"]
    entries = {
        entry["metric_config"]["metric_id"]: entry
        for entry in json.loads(export(run, "every-eval-ever"))["evaluation_results"]
    }
    assert entries["accuracy"]["score_details"]["uncertainty"]["num_samples"] == 12
    less = {name for name, entry in entries.items() if entry["metric_config"]["lower_is_better"]}
    assert {"options:flipped", "options:changed", "options:accuracy_sd", "sex:divergence"} <= less
    assert not less & {"accuracy", "options:accuracy_mean", "options:accuracy_in_all", "options:accuracy_worst"}
    told = tracked(run)
    assert told.figures["medqa/accuracy"] == run.scores("medqa")["accuracy"]
    assert told.figures["medqa/options:flipped"] == robust["flipped"]["value"] and told.settings["vary"] == VARY


def test_inspect_gets_every_version_as_a_sample_that_says_so(run, tmp_path):
    logs = pytest.importorskip("inspect_ai.log")
    export(run, "inspect", output=tmp_path)
    log = logs.read_eval_log(str(tmp_path / "medqa.eval"))
    assert log.results.total_samples == part_of(run)["versions"]["samples"] == len(log.samples)
    of = {sample.id: sample.metadata.get("variant", {}).get("of", sample.id) for sample in log.samples}
    assert len(set(of.values())) == 12 and all(ident.startswith(document) for ident, document in of.items())


def test_a_model_card_and_the_hub_have_the_documents_figures_alone(run):
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("huggingface_hub")
    (model,) = yaml.safe_load(export(run, "hf-eval-results"))["model-index"]
    (result,) = model["results"]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["accuracy"] == run.scores("medqa")["accuracy"] and not any(":" in name for name in values)
    assert result["dataset"]["args"]["documents"] == 12


def test_a_notebook_and_the_terminal_show_both(run, capsys):
    page = run._repr_html_()
    robust = part_of(run)["robustness"]["options"]["figures"]["flipped"]
    assert f">{run.scores('medqa')['accuracy']:.3f}<" in page and ">12<" in page
    assert "options:flipped" in page and f"{robust['low']:.3f} – {robust['high']:.3f}" in page
    assert main(["samples", str(run.path), "--search", "~options-1", "--format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines and all(line["variant"]["stands"] == {"options": "1"} for line in lines)


def test_a_run_that_goes_on_is_counted_with_its_versions(run):
    record = json.loads((run.path / "run.json").read_text())
    del record["tasks"]["medqa"]["figures"]
    (run.path / "run.json").write_text(json.dumps(record))
    (state,) = Runs([run.path.parent]).states()
    assert state.tasks[0].of == state.tasks[0].done == part_of(run)["versions"]["samples"]
    (run.path / "run.json").write_text(json.dumps(run.record))


def test_by_the_papers_rules_a_varied_run_is_scored_on_the_same_samples(run, tmp_path):
    found = rescore(run.path, protocol="paper")
    part = part_of(found)
    assert part["samples"] == 12 and part["versions"]["samples"] == part_of(run)["versions"]["samples"]
    assert part["robustness"]["options"]["documents"] == part_of(run)["robustness"]["options"]["documents"]
    assert set(part["fairness"]) == set(part_of(run)["fairness"])
    worded = varied_run(tmp_path, vary="wording", limit=2)
    with pytest.raises(UsageError, match="leave out --protocol paper"):
        rescore(worded.path, protocol="paper")
    assert sorted(path.name for path in tmp_path.iterdir()) == [worded.path.name]


def test_released_prompts_are_varied_but_not_in_wording(tmp_path):
    found = varied_run(tmp_path, Scripted(leaning), vary="options", limit=3, prompts="released")
    assert part_of(found)["robustness"]["options"]["versions"] == 5
    with pytest.raises(UsageError, match="leave out --prompts released"):
        Settings(vary="wording", prompts="released")


def test_answers_that_are_held_to_letters_and_likelihoods_are_varied_too(tmp_path):
    class Held(Scripted):
        can = frozenset({"constrain"})

        def generate(self, requests):
            assert all(request.sampling.allowed == tuple("ABCDE") for request in requests)
            return super().generate(requests)

    part = part_of(varied_run(tmp_path, Held(steady), vary="options,wording", limit=3, constrain=True))
    assert part["robustness"]["options"]["figures"]["flipped"]["value"] == 0
    assert "released" not in part["robustness"]["wording"]["by_version"]
    likely = varied_run(tmp_path, vary="options", limit=5, tasks="mmlu", scoring="loglikelihood")
    part = part_of(likely, "mmlu")
    # Figures of probabilities are of the documents, too.
    assert part["figures"]["brier"]["n"] == part["samples"] == 5
    assert sum(bin_of["accuracy"]["n"] for bin_of in part["reliability"]) == 5
    assert not verify(likely.path).failed


CASES = [
    ("A 30-year-old woman has a cough. She is tired. Which drug?", "iron;zinc;aspirin", "B"),
    ("A 40-year-old man fell. His wrist hurts. What next?", "rest;a cast;an x-ray", "C"),
    ("A 35-year-old woman is pregnant. What now?", "iron;folate;zinc", "B"),
]


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "cases.jsonl"
    rows = [
        {"question": question, "options": options.split(";"), "answer": answer} for question, options, answer in CASES
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_own_data_is_varied_and_scored_again(cases, tmp_path):
    registry._REGISTERED.clear()
    task, _ = open_file(cases, columns={"input": "question", "target": "answer", "choices": ["options"]})
    register_task(task)
    found = varied_run(
        tmp_path / "runs", Scripted(steady), vary="options,wording,noise,sex", tasks=task.name, limit=None
    )
    part = part_of(found, task.name)
    assert part["robustness"]["options"]["versions"] == 3 and part["samples"] == 3
    assert list(part["robustness"]["wording"]["by_version"]) == ["table", "bare"]
    assert part["fairness"]["sex"]["documents"] == 2
    assert part["variation"]["refused"]["sex"] == {"pregnancy, childbirth or contraception": 1}
    ids = {row["id"] for row in latest_rows(found.samples_path(task.name))}
    registry._REGISTERED.clear()
    # The record alone makes the task again.
    again = part_of(rescore(found.path), task.name)
    assert {key: again[key] for key in ("figures", "robustness", "fairness")} == {
        key: part[key] for key in ("figures", "robustness", "fairness")
    }
    assert len(ids) == part["versions"]["samples"] and not verify(found.path).failed


def test_a_run_file_names_it_and_repeats_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [
        "eval",
        "--model",
        "dummy",
        "--tasks",
        "medqa",
        "--limit",
        "2",
        "--vary",
        "options:3",
        "--resamples",
        "10",
    ]
    assert main([*command, "--write", "run.toml"]) == 0
    assert 'vary = "options:3"' in (tmp_path / "run.toml").read_text()
    capsys.readouterr()
    assert main(["eval", "run.toml"]) == 0
    assert "options:accuracy_worst" in capsys.readouterr().out
    (made,) = [path for path in (tmp_path / "runs").iterdir() if (path / "run.json").exists()]
    assert 'vary = "options:3"' in (made / "run.toml").read_text()
    assert main(["eval", "run.toml", "--set", "vary=mood"]) == 2
    assert "way of --vary" in capsys.readouterr().err


OWN_TASK = """
from dataclasses import replace
import mibe
from mibe.registry import register_task

register_task(replace(mibe.load_task("medqa"), name="ours", dataset="medqa"))
"""


def test_a_task_of_an_included_file_is_varied(tmp_path, capsys):
    (tmp_path / "ours.py").write_text(OWN_TASK, encoding="utf-8")
    command = ["eval", "--include", str(tmp_path / "ours.py"), "--model", "dummy", "--tasks", "ours", "--limit", "2",
               "--vary", "options:2", "--resamples", "10", "--output-dir", str(tmp_path / "runs")]  # fmt: skip
    assert main(command) == 0
    assert "options:flipped" in capsys.readouterr().out
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if (path / "run.json").exists()]
    assert "robustness" in part_of(mibe.load_run(folder), "ours")


def test_a_forecast_counts_versions_and_what_they_share():
    options = {"tasks": "mmlu", "num_fewshot": 5, "limit": 6, "fleet": Fleet(gpus=1, per_copy=1), "gpu_bytes": 80 * GIB}
    once, four = forecast(**options), forecast(vary="options", **options)
    (one,), (varied,) = once.tallies, four.tallies
    assert one.documents == 6 < varied.documents <= 24
    assert varied.prompt_tokens > 3 * one.prompt_tokens
    # Of a version the examples and the question are read once: what is left is a small part.
    fresh = [each.prompt_tokens - each.shared_tokens for each in (one, varied)]
    assert fresh[0] < fresh[1] < 2 * fresh[0]
    assert f"6 documents in {varied.documents} versions (--vary options)" in render_forecast(four, "text")
