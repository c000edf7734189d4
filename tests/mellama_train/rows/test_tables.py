"""Samples of Parquet files and data sets: the same as those of the JSON lines that they were made of."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from hub_server import hub

from mellama_train.errors import DataError
from mellama_train.model.provenance import grown
from mellama_train.recipe.stages import HubDataset, TuningRecipe
from mellama_train.recipe.yaml_schema import as_json, parse
from mellama_train.rows.packed import file_samples
from mellama_train.rows.samples import read_samples

datasets = pytest.importorskip("datasets")

CALL = {"type": "function", "function": {"name": "dose", "arguments": {"of": "x"}}}
RECORDS = [
    # Two kinds of calls in one column: a table gives each the arguments of the other, empty.
    {
        "messages": [
            {"role": "user", "content": "How much?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "5 mg", "tool_call_id": "1"},
            {"role": "assistant", "content": "Take 5 mg."},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "When?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "function": {"name": "when", "arguments": {"day": 3}}}],
            },
        ]
    },
    {"instruction": "Name it.", "input": "Fever.", "output": "Flu.", "source": "alpaca"},
]


def lines_of(folder):
    file = folder / "lines.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return file


def table():
    """All records in one table, as a hub's viewer would show them."""
    keys = {key for record in RECORDS for key in record}
    return datasets.Dataset.from_list([{key: record.get(key) for key in keys} for record in RECORDS])


def conversations(source):
    return [sample.messages for sample in read_samples(source)]


@pytest.fixture
def as_lines(tmp_path):
    return conversations(lines_of(tmp_path))


def test_a_parquet_file_gives_what_its_lines_give(tmp_path, as_lines):
    file = tmp_path / "notes.parquet"
    table().to_parquet(file)
    found = list(read_samples(file))
    assert [sample.messages for sample in found] == as_lines
    assert [sample.source for sample in found] == ["notes", "notes", "alpaca"]
    assert found[2].place == f"{file}, record 3"


def test_a_folder_of_save_to_disk_and_one_of_data_files(tmp_path, as_lines, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    table().save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": table().select([0]), "dev": table()}).save_to_disk(tmp_path / "splits")
    (tmp_path / "files").mkdir()
    table().to_parquet(tmp_path / "files" / "train.parquet")
    assert conversations(HubDataset(dataset=str(tmp_path / "saved"))) == as_lines
    assert conversations(HubDataset(dataset=str(tmp_path / "splits"), split="dev")) == as_lines
    assert conversations(HubDataset(dataset=str(tmp_path / "splits"))) == as_lines[:1]
    assert conversations(HubDataset(dataset=str(tmp_path / "files"))) == as_lines
    with pytest.raises(DataError, match="cannot read .*splits, nowhere split: "):
        list(read_samples(HubDataset(dataset=str(tmp_path / "splits"), split="nowhere")))


def test_a_recipe_names_files_and_data_sets_in_one_list(tmp_path):
    about = {
        "model": {"path": str(tmp_path)},
        "output": "out",
        "batch": {"rows": 1},
        "data": {"files": ["a/b.jsonl", {"dataset": "owner/name", "split": "train[:10]", "revision": "v1"}]},
    }
    recipe = parse(yaml.safe_dump(about), TuningRecipe, "recipe")
    assert recipe.data.files[1] == HubDataset(dataset="owner/name", split="train[:10]", revision="v1")
    recorded = as_json(recipe)
    assert parse(json.dumps(recorded), TuningRecipe, "again") == recipe
    # Nothing is known of the terms of a hub's data: the card will say so.
    found = grown(recorded, steps=1, tokens={}).sources
    assert [(source.name, source.access) for source in found] == [("b.jsonl", "unknown"), ("owner/name", "unknown")]


def test_the_terms_of_a_data_set_are_those_of_the_manifest_in_its_folder(tmp_path):
    about = {"sources": {"notes": {"access": "credentialed", "agreement": "DUA 1.5"}}}
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    recorded = {"model": {"path": "m"}, "data": {"files": [{"dataset": str(tmp_path), "split": "train"}]}}
    (source,) = grown(recorded, steps=1, tokens={"notes": 5}).sources
    assert (source.name, source.access, source.agreements) == ("notes", "credentialed", ("DUA 1.5",))


@pytest.mark.parametrize("name", ["broken.parquet", "missing.parquet"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, name):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=f"cannot read .*{name}: ") as raised:
        list(file_samples([tmp_path / name]))
    assert "\n" not in str(raised.value)


def test_what_is_missing_or_meant_otherwise_is_said(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"is a folder; a data set in one is given as \{dataset: "):
        list(read_samples(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r'read by the package datasets: pip install "mibe\[hub\]"'):
        list(read_samples(HubDataset(dataset="owner/name")))


READ = """
import json, sys
from mellama_train.recipe.stages import HubDataset
from mellama_train.rows.samples import read_samples
samples = list(read_samples(HubDataset(**json.loads(sys.argv[1]))))
print(json.dumps([[s.place, s.source, s.messages[-1]["content"]] for s in samples]))
"""


def test_a_data_set_of_a_hub_by_split_and_revision(tmp_path):
    def file(*answers):
        return "".join(json.dumps({"prompt": "q", "response": answer}) + "\n" for answer in answers).encode()

    def read(**asked):
        # In a process of its own: the libraries read the address of their hub when they are imported.
        place = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", READ, json.dumps({"dataset": "clinic/notes", **asked})]
        done = subprocess.run(command, env=os.environ | place, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    with hub() as server:
        server.datasets["clinic/notes", "main"] = {"train.jsonl": file("new")}
        server.datasets["clinic/notes", "v1"] = {"train.jsonl": file("a", "b", "c"), "test.jsonl": file("t")}
        assert read() == [["clinic/notes, train split, record 1", "notes", "new"]]
        assert [row[2] for row in read(revision="v1", split="train[1:]")] == ["b", "c"]


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DataError, match=r"cannot read owner/name, train split: ") as raised:
        list(file_samples([HubDataset(dataset="owner/name")]))
    assert "\n" not in str(raised.value)
