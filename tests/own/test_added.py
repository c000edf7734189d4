"""`mibe data add`: a task file as a first-class task, in every place where tasks are."""

import json
import stat
from pathlib import Path

import pytest
from scripted import Scripted

import mibe
from mibe.cli.main import main
from mibe.data import store
from mibe.errors import DataError, UsageError
from mibe.harness.definitions import definitions
from mibe.own.added import add, added_names, added_task, remove
from mibe.own.description import TaskFile, json_schema, read_task_file
from mibe.prompting.training import also_in_test, training_samples
from mibe.registry import list_tasks, load_task

FILE = """
title = "Triage of messages"
kind = "label"
labels = ["urgent", "routine", "administrative"]
aliases = { emergency = "urgent" }
shots = 2
max_new_tokens = 16
metrics = ["macro_f1", "accuracy"]
version = 2

[prompt]
instruction = "How urgent is the message?"
input = "MESSAGE: {note}"
cue = "URGENCY:"
cut = ["note"]

[columns]
input = "note"
target = "urgency"

[files]
train = "train.csv"
test = "test.csv"
"""
TEST = "note,urgency\nchest pain,emergency\na shower,routine\na bill,administrative\nan arm is weak,urgent\n"
TRAIN = "note,urgency\na wasp sting,urgent\na coffee,routine\na form,administrative\n"


@pytest.fixture
def triage(tmp_path):
    (tmp_path / "test.csv").write_text(TEST, encoding="utf-8")
    (tmp_path / "train.csv").write_text(TRAIN, encoding="utf-8")
    path = tmp_path / "triage.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_an_added_task_is_a_task(triage, tmp_path, capsys):
    assert main(["data", "add", str(triage)]) == 0
    assert "triage: train 3, test 4" in capsys.readouterr().out
    task = load_task("triage")
    assert (task.title, task.shots, task.max_new_tokens, task.version) == ("Triage of messages", 2, 16, 2)
    assert task.headline == "macro_f1" and "triage" in list_tasks() and added_names() == ["triage"]
    folder = store.data_dir() / "triage"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    for command, told in [
        (["tasks", "-v"], "triage  Triage of messages"),
        (["data", "list"], "train 3, test 4"),
        (["check", "triage"], "triage test: 4 gold answers, macro_f1 1: each is read as itself"),
        (["data", "verify", "triage"], "triage: sound"),
        (["show", "triage", "--num-fewshot", "2"], "How urgent is the message?\n\nMESSAGE: "),
    ]:
        assert main(command) == 0 and told in capsys.readouterr().out


def test_it_is_evaluated_and_its_run_read_again(triage, tmp_path, capsys):
    add(triage, {})
    model = Scripted(lambda prompt: "emergency")
    done = mibe.evaluate(model=model, tasks="triage", num_fewshot=2, output_dir=tmp_path / "runs")
    # Two of four are urgent: precision 1/2 and recall 1 make an F1 of 2/3, of which a third is the mean over labels.
    assert done.scores("triage")["accuracy"] == 2 / 4
    assert done.scores("triage")["macro_f1"] == pytest.approx(2 / 9)
    assert all(prompt.count("URGENCY:") == 3 for prompt in model.asked)
    for command in ("report", "rescore", "verify"):
        assert main([command, str(done.path)]) == 0
    # The task is today's where it is there, and the record's where it was removed.
    triage.write_text(FILE.replace("emergency", "stat").replace("version = 2", "version = 3"), encoding="utf-8")
    (tmp_path / "test.csv").write_text(TEST.replace("emergency", "stat"), encoding="utf-8")
    add(triage, {})
    again = mibe.load_run(done.path)
    assert main(["rescore", str(done.path)]) == 0
    again = mibe.load_run(done.path)
    assert again.record["tasks"]["triage"]["version"] == 3 and again.scores("triage")["accuracy"] == 0
    remove("triage")
    capsys.readouterr()
    assert len(list(again.rows("triage"))) == 4
    assert main(["rescore", str(done.path)]) == 2
    assert "mibe data add FILE" in capsys.readouterr().err


def test_it_is_trained_on_and_runs_through_the_other_door(triage):
    add(triage, {})
    samples = list(training_samples(load_task("triage"), "train"))
    assert [sample.answer for sample in samples] == ["urgent", "routine", "administrative"]
    assert samples[0].messages[-1]["content"] == "How urgent is the message?\nMESSAGE: a wasp sting\nURGENCY:"
    assert also_in_test(load_task("triage")) == {}
    assert 'dataset_name: "triage"' in definitions()["mibe_triage.yaml"]


@pytest.mark.slow
def test_lm_evals_runner_gets_its_documents_and_prompts(triage):
    pytest.importorskip("lm_eval", reason="lm-eval comes with the extra hf")
    from mibe.harness.task import MibeTask

    add(triage, {"access": "open"})
    found = MibeTask({"task": "mibe_triage", "dataset_name": "triage"})
    texts = {found.doc_to_text(doc): found.doc_to_target(doc) for doc in found.test_docs()}
    assert len(texts) == 4
    assert texts["How urgent is the message?\nMESSAGE: chest pain\nURGENCY:"] == "urgent"


def test_a_changed_file_is_told_and_added_again(triage, tmp_path, capsys):
    add(triage, {})
    (tmp_path / "test.csv").write_text(TEST + "a fever,routine\n", encoding="utf-8")
    assert main(["data", "verify", "triage"]) == 2
    assert "test.csv was changed since it was added" in capsys.readouterr().out
    manifest, _ = add(triage, {})
    assert manifest["counts"] == {"train": 3, "test": 5}
    assert main(["data", "verify", "triage"]) == 0
    (tmp_path / "test.csv").unlink()
    assert main(["data", "verify", "triage"]) == 0


def test_a_bad_file_replaces_nothing(triage, tmp_path):
    add(triage, {})
    (tmp_path / "test.csv").write_text(TEST + "a fever,rutine\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 6: 'rutine' is none of the labels; did you mean routine\?"):
        add(triage, {})
    triage.write_text(FILE.replace('"macro_f1"', '"f2"'), encoding="utf-8")
    (tmp_path / "test.csv").write_text(TEST, encoding="utf-8")
    with pytest.raises(UsageError, match="unknown metric 'f2'"):
        add(triage, {})
    assert store.load_manifest("triage")["counts"]["test"] == 4


def test_names(triage, tmp_path, capsys):
    for name in ("pubmedqa", "mibe"):
        with pytest.raises(UsageError, match=f"the name '{name}' is taken"):
            add(triage, {"name": name})
    (store.data_dir() / "by_hand").mkdir(parents=True)
    with pytest.raises(UsageError, match="by_hand holds other data; give the task another name"):
        add(triage, {"name": "by_hand"})
    with pytest.raises(UsageError, match="no task was added"):
        remove("triage")
    add(triage, {})
    with pytest.raises(UsageError, match="unknown task of your own 'triag'; did you mean triage"):
        remove("triag")
    with pytest.raises(UsageError, match="pubmedqa is no task that was added"):
        remove("pubmedqa")
    assert main(["data", "remove", "triage"]) == 0 and "is removed" in capsys.readouterr().out
    assert added_task("triage") is None and not (store.data_dir() / "triage").exists()


def test_a_table_is_added_without_a_task_file(tmp_path, capsys):
    (tmp_path / "test.csv").write_text(TEST, encoding="utf-8")
    command = ["data", "add", str(tmp_path / "test.csv"), "--input", "note", "--target", "urgency", "--kind", "label"]
    assert main([*command, "--name", "mine", "--access", "open"]) == 0
    assert load_task("mine").access.level == "open"
    assert stat.S_IMODE((store.data_dir() / "mine").stat().st_mode) & 0o077
    assert "private" not in capsys.readouterr().err


def test_a_damaged_description_hides_no_other_task(triage, tmp_path):
    add(triage, {})
    add(triage, {"name": "second"})
    path = store.data_dir() / "second" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text("{", encoding="utf-8")
    assert added_names() == ["triage"]
    manifest["task"]["description"]["kind"] = "poem"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UsageError, match=r"the description of second: kind: input should be 'label'"):
        load_task("second")


def test_splits_by_a_column(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text(
        "note,urgency,part\na,urgent,train\nb,routine,Test\nc,urgent,dev\nd,routine,test\n", encoding="utf-8"
    )
    said = {"columns": {"input": "note", "target": "urgency", "split": "part"}, "kind": "label"}
    assert add(path, said)[0]["counts"] == {"train": 1, "valid": 1, "test": 2}
    path.write_text(path.read_text(encoding="utf-8") + "e,routine,\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 6: part is empty"):
        add(path, said)
    path.write_text("note,urgency,part\na,urgent,../test\nb,routine,test\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"'../test' cannot be the name of a split"):
        add(path, said)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name = ", "is no TOML"),
        ("kinds = 'label'", "unknown key 'kinds'; did you mean kind"),
        ("[columns]\ninputs = 'a'", r"unknown key in \[columns\] 'inputs'; did you mean input"),
        ("kind = 'poem'\nshots = -1", "kind: input should be 'label'.*\n.*shots: input should be greater"),
        ("[columns]\ninput = 'note'\ntarget = 'urgency'", "the task file names no data"),
        ("files = 'nothing.csv'\n[columns]\ninput = 'note'\ntarget = 'urgency'", "cannot read .*nothing.csv"),
    ],
)
def test_what_is_no_task_file(tmp_path, text, why):
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((DataError, UsageError), match=why):
        add(path, {})


def test_the_schema_is_printed_and_names_every_key(capsys):
    assert main(["data", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json_schema() and schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(TaskFile.model_fields)
    assert schema["$defs"]["Kind"]["enum"][:2] == ["label", "labels"]
    assert all(field.get("description") for field in schema["$defs"]["Columns"]["properties"].values())


def test_the_schema_takes_what_the_file_may_say(triage):
    jsonschema = pytest.importorskip("jsonschema")
    import tomllib

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(FILE), schema)
    with pytest.raises(jsonschema.ValidationError, match="kinds"):
        jsonschema.validate({"kinds": "label"}, schema)
    # One file may be named without a table, and so may a prompt that is an instruction alone.
    short = {"files": "notes.csv", "prompt": "How urgent?", "columns": {"input": "note", "target": "urgency"}}
    jsonschema.validate(short, schema)
    assert TaskFile.model_validate(short).prompt.instruction == "How urgent?"
    assert read_task_file(triage).files == {"train": "train.csv", "test": "test.csv"}


def test_the_list_of_tasks_needs_neither_pydantic_nor_numpy_for_names(triage):
    import subprocess
    import sys

    add(triage, {})
    code = (
        "import sys; from mibe.registry import list_tasks; assert 'triage' in list_tasks();"
        "assert not {'pydantic', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
