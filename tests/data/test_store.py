"""Prepared data: what is accepted, what is refused and how, and what `verify` finds."""

import gzip
import json
import subprocess
import sys
import tracemalloc

import pytest

from mibe.data import store
from mibe.data.schema import from_line, to_line
from mibe.errors import DataError
from mibe.task import Example

GOOD = '{"id": "1", "inputs": {"text": "a"}, "target": "yes"}'


@pytest.fixture
def data(own_folders):
    """Writes `<name>/<split>.jsonl` in the data directory."""

    def write(content, name="mine", file="test.jsonl"):
        path = own_folders / "data" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_importing_the_store_loads_nothing_heavy():
    heavy = "numpy pandas datasets huggingface_hub pyarrow platformdirs mibe.registry"
    code = f"import sys, mibe.data.store, mibe.data.prepare; print([m for m in '{heavy}'.split() if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_data_folder_is_the_users_cache_unless_it_is_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("MIBE_DATA_DIR", str(tmp_path))
    assert store.data_dir() == tmp_path
    monkeypatch.delenv("MIBE_DATA_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert store.data_dir() == tmp_path / "cache" / "mibe" / "data"


def test_hand_made_data_needs_no_manifest(data):
    data(b"\xef\xbb\xbf" + f"{GOOD}\r\n\r\n{GOOD.replace('1', '2')}".encode())
    assert [e.id for e in store.iter_examples("mine", "test")] == ["1", "2"]
    assert store.load_examples("mine", "test")[0] == Example("1", {"text": "a"}, "yes")
    assert store.load_manifest("mine") is None
    (finding,) = store.verify("mine")
    assert finding.startswith("no manifest: ")
    assert store.find("mine").bundled is False


@pytest.mark.parametrize("file", ["train.jsonl", "train.jsonl.gz"])
def test_an_example_is_read_by_its_place(data, file):
    lines = [GOOD.replace("1", f"é{n}") for n in range(5)]
    content = b"\xef\xbb\xbf" + f"{lines[0]}\r\n\r\n{lines[1]}\n \t\n{lines[2]}\n{lines[3]}\n{lines[4]}".encode()
    path = data(gzip.compress(content) if file.endswith(".gz") else content, file=file)
    split = store.StoredSplit("mine", "train")
    assert [split[n].id for n in (4, 0, 2, 1, 3)] == ["é4", "é0", "é2", "é1", "é3"]
    assert [split[n] for n in range(5)] == list(split) == store.load_examples("mine", "train")
    with pytest.raises(IndexError):
        split[5]
    path.unlink()
    with pytest.raises(DataError, match="cannot read"):
        split[0]


def test_lines_hold_the_whole_example():
    example = Example("é 1", {"question": "a\u2028b\u0085"}, "B", ("x", "y"), {"subject": "anatomy"})
    line = to_line(example)
    assert "\\u2028" not in line and "é" in line
    assert from_line(line) == example
    assert json.loads(to_line(Example("1", {"text": ""}, []))) == {"id": "1", "inputs": {"text": ""}, "target": []}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "2"', "not JSON"),
        ("[1]", "one JSON object, not a list"),
        ("null", "one JSON object, not null"),
        ('{"id": 2, "inputs": {"text": "a"}, "target": "x"}', "id must be a string"),
        ('{"id": "", "inputs": {"text": "a"}, "target": "x"}', "id must be a string that is not empty"),
        ('{"id": "2", "inputs": "a", "target": "x"}', "inputs must be an object of texts"),
        ('{"id": "2", "inputs": {}, "target": "x"}', "inputs must be an object of texts"),
        ('{"id": "2", "inputs": {"text": 3}, "target": "x"}', "inputs must be an object of texts"),
        ('{"id": "2", "inputs": {"text": "a"}}', "target is missing"),
        ('{"id": "2", "inputs": {"text": "a"}, "target": null}', "target is missing"),
        ('{"id": "2", "inputs": {"text": "a"}, "target": "x", "label": "x"}', "unknown key label"),
        ('{"id": "2", "inputs": {"text": "a"}, "target": "x", "metadata": {"year": 1}}', "metadata must be"),
        ('{"id": "2", "inputs": {"q": "a"}, "target": "C", "choices": ["x", "y"]}', "'C' is not the letter of one"),
        ('{"id": "2", "inputs": {"q": "a"}, "target": ["A"], "choices": ["x", "y"]}', "is not the letter of one"),
        ('{"id": "2", "inputs": {"q": "a"}, "target": "A", "choices": ["x"]}', "at least two texts"),
        ('{"id": "2", "inputs": {"q": "a"}, "target": "A", "choices": "xy"}', "at least two texts"),
        (GOOD, "the id '1' occurs a second time"),
    ],
)
def test_a_bad_line_is_named(data, line, message):
    path = data(f"{GOOD}\n{line}\n")
    with pytest.raises(DataError) as error:
        store.load_examples("mine", "test")
    assert f"{path}, line 2: " in str(error.value)
    assert message in str(error.value)
    assert any(message in finding for finding in store.verify("mine"))


def test_bytes_that_are_not_utf8_are_named(data):
    data(GOOD.encode() + b'\n{"id": "\xe9"}')
    with pytest.raises(DataError, match=r"test.jsonl, line 2: byte 9 of the line is not UTF-8"):
        store.load_examples("mine", "test")


def test_a_truncated_gzip_file_is_named(data):
    data(gzip.compress(GOOD.encode())[:-10], file="test.jsonl.gz")
    with pytest.raises(DataError, match="not a whole gzip file"):
        list(store.iter_examples("mine", "test"))


def test_missing_data_says_what_to_download_and_the_command():
    with pytest.raises(DataError) as error:
        store.splits("ddi")
    assert "DDICorpus-2013.zip" in str(error.value)
    assert str(error.value).endswith("mibe data prepare ddi --from PATH")
    with pytest.raises(DataError, match=r"Put your own examples.*unheard_of/test.jsonl"):
        store.load_examples("unheard_of", "test")


def test_missing_splits_and_bad_names(data):
    data(GOOD)
    with pytest.raises(DataError, match="mine has no train split in .*; it has test"):
        store.iter_examples("mine", "train")
    with pytest.raises(DataError, match="cannot be the name of a data set"):
        store.find("../mine")


def test_splits_come_in_order_and_the_users_copy_comes_first(data):
    assert store.find("pubmedqa").bundled
    for split in ("extra", "test", "valid", "train"):
        data(GOOD, name="pubmedqa", file=f"{split}.jsonl")
    assert store.splits("pubmedqa") == ["train", "valid", "test", "extra"]
    assert not store.find("pubmedqa").bundled


def test_an_empty_folder_does_not_hide_the_bundled_data(own_folders):
    (own_folders / "data" / "medqa").mkdir(parents=True)
    assert store.find("medqa").bundled


def test_the_fingerprint_is_that_of_the_content(data):
    data(GOOD)
    plain = store.data_fingerprint("mine", "test")
    data(gzip.compress(GOOD.encode()), name="packed", file="test.jsonl.gz")
    assert store.data_fingerprint("packed", "test") == plain
    data(GOOD.replace("yes", "no"))
    assert store.data_fingerprint("mine", "test") != plain


def test_a_damaged_manifest_is_an_error(data):
    data(GOOD)
    data("{", file="manifest.json")
    with pytest.raises(DataError, match=r"manifest.json is damaged .* mibe data prepare mine --from PATH"):
        store.load_manifest("mine")
    data("{}", file="manifest.json")
    assert "not a manifest" in store.verify("mine")[0]


def test_a_large_split_is_read_line_by_line(data):
    text = "x" * 1000
    data("\n".join(f'{{"id": "{i}", "inputs": {{"text": "{text}"}}, "target": "yes"}}' for i in range(20_000)))
    tracemalloc.start()
    count = sum(1 for _ in store.iter_examples("mine", "test"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 6e6, "20 MB of text must not be held at once"
