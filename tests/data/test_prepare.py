"""Preparing data writes all of it or none, and says in the manifest where it came from."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from words_source import Words

from mibe.data import prepare as module
from mibe.data import store
from mibe.data.prepare import prepare
from mibe.errors import DataError, UsageError
from mibe.registry import load_task
from mibe.run.plan import plan_task
from mibe.run.settings import Settings
from mibe.task import Example, credentialed

LINES = "train,a\ntrain,b\ntest,c\ntest,d\ntest,\n"


@pytest.fixture
def words(tmp_path):
    (tmp_path / "words.txt").write_text(LINES)
    return tmp_path


def test_what_is_written_can_be_read_and_is_sound(words, own_folders):
    manifest = prepare("words", Words(), words)
    folder = own_folders / "data" / "words"
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "test.jsonl", "train.jsonl"]
    assert [e.inputs["text"] for e in store.iter_examples("words", "test")] == ["c", "d", ""]
    assert store.load_manifest("words") == manifest
    assert store.verify("words") == []
    content = (folder / "test.jsonl").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert manifest["splits"]["test"] == {"file": "test.jsonl", "bytes": len(content), "sha256": sha256}
    assert store.data_fingerprint("words", "test") == sha256
    raw = (words / "words.txt").read_bytes()
    assert manifest["sources"] == [{"file": "words.txt", "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}]
    assert manifest["counts"] == {"train": 2, "test": 3} and list(manifest["counts"]) == ["train", "test"]
    assert (manifest["variant"], manifest["licence"], manifest["reader"]) == ("official", "CC0-1.0", "Words")
    assert manifest["notes"] == ["test: 1 examples with an empty text"]
    assert str(words) not in json.dumps(manifest), "a manifest holds no paths of the machine"


def test_documents_in_two_splits_are_noted(words):
    (words / "words.txt").write_text("train,Same  text\ntrain,b\ntest,c\ntest,same text\ntest,e\n")
    assert prepare("words", Words(), words)["notes"] == ["train: 1 documents also stand in test"]
    (words / "words.txt").write_text("train,Same  text\ntrain,b\ntest,same text\ntest,same text\ntest,e\n")
    assert prepare("words", Words(), words)["notes"] == ["train: 1 documents also stand in test, 2 examples there"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            LINES + "test,e\n",
            r"words: expected 3 test examples, found 4; .*whole official release.*words.txt .*\(other\)",
        ),
        ("train,a\ntrain,b\n", r"there is no test split in these files. Download words.txt"),
    ],
)
def test_wrong_counts_are_refused_and_old_data_stays(words, lines, message):
    prepare("words", Words(), words)
    (words / "words.txt").write_text(lines)
    with pytest.raises(DataError, match=message):
        prepare("words", Words(), words)
    assert len(store.load_examples("words", "test")) == 3
    assert prepare("words", Words(), words, variant="other")["variant"] == "other"


def test_a_split_may_be_missing_and_is_noted(words):
    (words / "words.txt").write_text("test,c\ntest,d\ntest,e\n")
    assert prepare("words", Words(), words)["notes"] == ["train: not among the source files"]


def test_an_unknown_variant_is_an_error(words):
    with pytest.raises(UsageError, match="words has no variant 'blurb'; it has official, other"):
        prepare("words", Words(), words, variant="blurb")


def test_ids_must_be_unique_and_examples_in_the_schema(words, own_folders):
    class Twice(Words):
        def read(self, raw, *, variant):
            return {"test": [Example("1", {"text": "a"}, "x")] * 3}

    with pytest.raises(DataError, match="the id '1' occurs twice in test"):
        prepare("words", Twice(), words)

    class Nothing(Words):
        def read(self, raw, *, variant):
            return {"test": [Example(str(i), {"text": "a"}, None) for i in range(3)]}

    with pytest.raises(DataError, match="the example '0' of test cannot be written: target is missing"):
        prepare("words", Nothing(), words)
    assert list((own_folders / "data").iterdir()) == []


def test_credentialed_data_is_for_its_owner_alone(words, own_folders):
    before = os.umask(0)
    try:
        prepare("words", Words(), words, access=credentialed("n2c2 DUA"))
        prepare("open", Words(), words)
    finally:
        os.umask(before)
    modes = {
        p.relative_to(own_folders / "data").as_posix(): stat.S_IMODE(p.stat().st_mode)
        for p in (own_folders / "data").rglob("*")
    }
    assert modes["words"] == 0o700
    assert {modes[f"words/{name}"] for name in ("manifest.json", "test.jsonl", "train.jsonl")} == {0o600}
    assert modes["open/test.jsonl"] == 0o666 and modes["open"] == 0o777


def test_data_made_by_hand_is_never_overwritten(words, own_folders):
    folder = own_folders / "data" / "words"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("mine")
    with pytest.raises(DataError, match=r"words was made by hand .* move it away first"):
        prepare("words", Words(), words)
    assert (folder / "test.jsonl").read_text() == "mine"


def test_a_full_disk_is_said_and_old_data_stays(words, own_folders, monkeypatch):
    prepare("words", Words(), words)
    (words / "words.txt").write_text(LINES.replace(",c", ",new"))
    real = os.fdopen
    calls = []

    def full(*args):
        calls.append(args)
        if len(calls) == 2:
            os.close(args[0])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    monkeypatch.setattr(module.os, "fdopen", full)
    with pytest.raises(DataError, match=r"cannot write .*words: No space left on device; nothing was changed"):
        prepare("words", Words(), words)
    assert store.verify("words") == []
    assert store.load_examples("words", "test")[0].inputs["text"] == "c"
    assert [p.name for p in (own_folders / "data").iterdir()] == ["words"], "nothing half-written is left"


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from words_source import Words
from mibe.data.prepare import prepare
left = int(sys.argv[3])
rename = Path.rename
def killing(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), 9)
    left -= 1
    return rename(self, target)
Path.rename = killing
prepare("words", Words(), Path(sys.argv[2]))
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("renames", "text"), [(0, "c"), (1, "c"), (2, "new")])
def test_a_kill_at_any_moment_leaves_whole_data(words, own_folders, renames, text):
    prepare("words", Words(), words)
    (words / "words.txt").write_text(LINES.replace(",c", ",new"))
    here = str(Path(__file__).parents[1] / "helpers")
    done = subprocess.run([sys.executable, "-c", KILLED, here, str(words), str(renames)], env=os.environ)
    assert done.returncode == -9
    assert store.load_examples("words", "test")[0].inputs["text"] == text
    assert store.verify("words") == []
    prepare("words", Words(), words)
    assert store.load_examples("words", "test")[0].inputs["text"] == "new"
    assert not store.previous(own_folders / "data" / "words").exists()


def test_what_a_killed_run_left_is_removed_a_day_later(words, own_folders):
    for name, age in ((".words.1.new", 2 * module.ABANDONED), (".words.2.new", 60)):
        folder = own_folders / "data" / name
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    prepare("words", Words(), words)
    assert sorted(p.name for p in (own_folders / "data").iterdir()) == [".words.2.new", "words"]


def test_verify_finds_what_was_changed(words, own_folders):
    prepare("words", Words(), words)
    file = own_folders / "data" / "words" / "test.jsonl"
    content = file.read_text()
    file.write_text(content.replace('"c"', '"changed"'))
    assert store.verify("words") == [
        "test.jsonl was changed since it was written (sha256 differs); "
        "prepare it again: mibe data prepare words --from PATH"
    ]
    file.write_text("".join(content.splitlines(True)[:2]))
    assert "test.jsonl holds 2 examples where the manifest says 3" in store.verify("words")[0]
    file.rename(file.with_name("extra.jsonl"))
    assert [f.split(";")[0] for f in store.verify("words")] == [
        "extra.jsonl is not in the manifest",
        "the test split is missing",
    ]


def test_a_train_split_stands_beside_the_test_split_that_is_here(tmp_path):
    """Five worked examples of a set whose test split alone is in the package."""
    questions = [
        {
            "question": f"question {i}?",
            "options": {letter: f"{letter} of {i}" for letter in "ABCDE"},
            "answer_idx": "ABCDE"[i % 5],
            "answer": f"{'ABCDE'[i % 5]} of {i}",
        }
        for i in range(10)
    ]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(question) + "\n" for question in questions))
    settings = Settings(num_fewshot=5, limit=2)
    task = load_task("medqa")
    with pytest.raises(DataError, match="mibe data download medqa --with-train, or mibe data prepare medqa"):
        plan_task(task, settings)
    packaged = store.load_examples("medqa", "test")
    manifest = prepare("medqa", task.source, file, variant="pool", labels=task.labels)
    assert manifest["counts"] == {"train": 10, "test": 1273} and "test: as it was here" in manifest["notes"]
    assert store.load_examples("medqa", "test") == packaged and store.verify("medqa") == []
    plan = plan_task(task, settings)
    assert len(plan.shots.choose("")) == 5
    # Of the test split it says the same as before: runs with and without the pool are of the same documents.
    bundled = store.BUNDLED / "medqa" / "manifest.json"
    assert manifest["splits"]["test"]["sha256"] == json.loads(bundled.read_text())["splits"]["test"]["sha256"]


def test_a_train_split_needs_a_test_split_to_stand_beside(words):
    with pytest.raises(DataError, match="is not here"):
        prepare("words", Words(variants=("official", "pool")), words, variant="pool")
