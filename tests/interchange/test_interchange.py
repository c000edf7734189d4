"""Exports: read back by the tools that they are for, and without credentialed text."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from scripted import Scripted

import mibe
from mibe.errors import ModelError, RunError, UsageError
from mibe.interchange import export


@pytest.fixture
def run(tmp_path):
    answer = Scripted(lambda p: "yes" if "CONTEXT" in p else "no idea")
    return mibe.evaluate(model=answer, tasks="pubmedqa,medqa", limit=30, resamples=50, output_dir=tmp_path / "runs")


def test_lm_eval_reads_its_own_form(run, tmp_path):
    utils = pytest.importorskip("lm_eval.utils")
    pytest.importorskip("pytablewriter")
    path = tmp_path / "results_2026-01-01T00-00-00.json"
    assert export(run, "lm-eval", output=path) is None
    results = json.loads(path.read_text())
    table = utils.make_table(results)
    accuracy = run.scores("pubmedqa")["accuracy"]
    assert "mibe_pubmedqa" in table and f"{accuracy:g}" in table and "±" in table
    assert utils.get_results_filenames([str(path)]) == [str(path)]
    assert results["n-samples"]["mibe_medqa"] == {"original": 1273, "effective": 30}
    assert results["results"]["mibe_pubmedqa"]["accuracy,none"] == accuracy
    low, high = results["configs"]["mibe_pubmedqa"]["metadata"]["intervals"]["accuracy"]
    assert low <= accuracy <= high


def test_a_figure_without_standard_error_is_written_as_lm_eval_does(tmp_path):
    utils = pytest.importorskip("lm_eval.utils")
    pytest.importorskip("pytablewriter")
    one = mibe.evaluate(model=Scripted(lambda _: "yes"), tasks="pubmedqa", limit=1, output_dir=tmp_path)
    assert "N/A" in utils.make_table(json.loads(export(one, "lm-eval")))


def test_a_model_cards_block_goes_through_the_hubs_own_reader(run):
    hub = pytest.importorskip("huggingface_hub")
    block = export(run, "hf-eval-results")
    card = hub.ModelCard(f"---\n{block}\n---\n# A model\n")
    found = {(each.dataset_name, each.metric_type): each for each in card.data.eval_results}
    accuracy = found["pubmedqa", "accuracy"]
    assert accuracy.metric_value == run.scores("pubmedqa")["accuracy"]
    assert (accuracy.task_type, accuracy.dataset_split) == ("question-answering", "test")
    assert accuracy.dataset_args["documents"] == 30 and accuracy.metric_args["level"] == 0.95
    assert not any("[" in metric for _, metric in found)
    assert yaml.safe_load(block)["model-index"][0]["name"] == "scripted"


@pytest.mark.parametrize("samples", [False, True])
def test_csv_and_parquet_hold_the_same_rows(run, tmp_path, samples):
    parquet = pytest.importorskip("pyarrow.parquet")
    export(run, "parquet", output=tmp_path / "run.parquet", samples=samples)
    rows = parquet.read_table(tmp_path / "run.parquet").to_pylist()
    lines = list(csv.DictReader(io.StringIO(export(run, "csv", samples=samples))))
    assert [row["task"] for row in rows] == [line["task"] for line in lines]
    if samples:
        expected = run.samples("pubmedqa")
        assert [row["id"] for row in rows if row["task"] == "pubmedqa"] == list(expected.id)
        assert [row["prediction"] for row in rows[:30]] == list(expected.prediction)
        assert json.loads(rows[0]["scores"]) == expected.scores[0]
    else:
        table = run.table()
        assert [row["value"] for row in rows] == list(table.value) and rows[0]["documents"] == 500
        assert float(lines[0]["high"]) == rows[0]["high"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_text_of_credentialed_tasks_is_in_no_export(run, tmp_path, monkeypatch, form):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("mibe.interchange.tables.is_credentialed", lambda task: task.name == "pubmedqa")
    export(run, form, output=tmp_path / "out", samples=True)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO((tmp_path / "out").read_text())))
    else:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(tmp_path / "out").to_pylist()
    private = [row for row in rows if row["task"] == "pubmedqa"]
    assert len(private) == 30 and not any(row[key] for row in private for key in ("output", "prediction", "target"))
    assert all(json.loads(row["scores"]) for row in private)
    assert all(row["target"] for row in rows if row["task"] == "medqa")


def test_credentialed_is_what_the_tasks_say():
    from mibe.data_use import is_credentialed
    from mibe.interchange import tables

    assert tables.is_credentialed is is_credentialed


def test_what_cannot_be_exported_is_refused(run, tmp_path, monkeypatch):
    for arguments, message in (
        ({"form": "xml"}, "unknown form 'xml'"),
        ({"form": "lm-eval", "samples": True}, "--samples is for csv and parquet"),
        ({"form": "parquet"}, "give --output FILE.parquet"),
    ):
        with pytest.raises(UsageError, match=message):
            export(run, **arguments)
    for form in ("csv", "parquet"):
        with pytest.raises(RunError, match="cannot write"):
            export(run, form, output=run.path / "run.json" / "x")
    (run.path / "run.json").write_text(json.dumps(run.record | {"tasks": {}}))
    with pytest.raises(RunError, match="no scores yet"):
        export(run.path, "csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ModelError, match=r"pip install 'mibe\[hub\]'"):
        export(run, "parquet", output=tmp_path / "x")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"pip install 'mibe\[hub\]'"):
        export(run, "hf-eval-results")


def test_a_failed_write_leaves_what_was_there(run, tmp_path):
    pytest.importorskip("pyarrow")
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(RunError):
        export(run, "parquet", output=target)
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == ["folder"]


def test_the_hubs_own_reader_reads_the_results(run):
    hub = pytest.importorskip("huggingface_hub")
    entries = hub.parse_eval_result_entries(yaml.safe_load(export(run, "hf-eval-yaml")))
    found = {entry.task_id: entry for entry in entries}
    assert {name: entry.dataset_id for name, entry in found.items()} == {
        "pubmedqa": "clinicalnlplab/pubmedqa_test",
        "medqa": "clinicalnlplab/medQA_test",
    }
    assert found["pubmedqa"].value == run.scores("pubmedqa")["accuracy"]
    assert found["pubmedqa"].date == run.record["sessions"][-1]["ended"]
    notes = found["pubmedqa"].notes
    assert all(said in notes for said in ("accuracy (0–1); 95 %", "30 of 500 documents", "0-shot", "protocol default"))


def test_what_the_hub_does_not_have_is_named(tmp_path):
    pytest.importorskip("huggingface_hub")
    answer = Scripted(lambda _: "A")
    some = mibe.evaluate(model=answer, tasks="medqa,medqa_4", limit=3, resamples=5, output_dir=tmp_path)
    assert export(some, "hf-eval-yaml").startswith("# not on the hub: medqa_4\n- dataset:\n")
    none = mibe.evaluate(model=answer, tasks="medqa_4", limit=3, resamples=5, output_dir=tmp_path)
    with pytest.raises(UsageError, match="the hub has no data set of medqa_4"):
        export(none, "hf-eval-yaml")


def test_a_record_of_every_eval_ever_fits_its_schema(run):
    jsonschema = pytest.importorskip("jsonschema")
    # `eval.schema.json` of every_eval_ever 0.3.0 (MIT licence, EvalEval), as its package has it.
    schema = json.loads((Path(__file__).parents[1] / "cases" / "every_eval_ever.schema.json").read_text())
    record = json.loads(export(run, "every-eval-ever"))
    jsonschema.Draft7Validator(schema).validate(record)
    assert record["schema_version"] == schema["version"]
    found = {entry["evaluation_result_id"]: entry for entry in record["evaluation_results"]}
    assert found["pubmedqa/accuracy"]["score_details"]["score"] == run.scores("pubmedqa")["accuracy"]
    interval = found["pubmedqa/accuracy"]["score_details"]["uncertainty"]["confidence_interval"]
    figure = run.record["tasks"]["pubmedqa"]["figures"]["accuracy"]
    assert (interval["lower"], interval["upper"]) == (figure["low"], figure["high"])
    assert "CONTEXT" not in json.dumps(record)
    del record["eval_library"]
    assert not jsonschema.Draft7Validator(schema).is_valid(record)


def test_inspect_reads_the_logs_that_its_writer_wrote(run, tmp_path, monkeypatch):
    inspect_log = pytest.importorskip("inspect_ai.log")
    monkeypatch.setattr("mibe.interchange.inspect_logs.is_credentialed", lambda task: task.name == "medqa")
    export(run, "inspect", output=tmp_path / "logs")
    log = inspect_log.read_eval_log(str(tmp_path / "logs" / "pubmedqa.eval"))
    assert (log.status, log.eval.task, log.eval.model) == ("success", "pubmedqa", "mibe/scripted")
    [score] = log.results.scores
    assert {name: metric.value for name, metric in score.metrics.items() if name == "accuracy"} == {
        "accuracy": run.scores("pubmedqa")["accuracy"]
    }
    rows = {row["id"]: row for row in run.rows("pubmedqa")}
    assert len(log.samples) == len(rows) == 30
    for sample in log.samples:
        row = rows[sample.id]
        assert sample.output.completion == row["output"] and sample.target == row["target"]
        assert sample.scores["mibe"].value == row["scores"] and "CONTEXT:" in sample.input
    private = inspect_log.read_eval_log(str(tmp_path / "logs" / "medqa.eval"))
    said = private.model_dump_json()
    assert "no idea" not in said and len(private.samples) == 30
    assert all(sample.target == sample.input for sample in private.samples)


def test_logs_of_inspect_need_a_folder_and_its_package(run, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="give --output FOLDER"):
        export(run, "inspect")
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    with pytest.raises(ModelError, match=r"pip install \"mibe\[inspect\]\""):
        export(run, "inspect", output=tmp_path / "logs")


def test_the_command_line_knows_every_form():
    from mibe.cli.leaderboard import EXPORTS
    from mibe.interchange import FORMS

    assert EXPORTS == FORMS
