"""Gold labels that are none are found before anything is asked or written, all of them at once."""

import json
import tracemalloc
from pathlib import Path

import pytest
from scripted import Scripted
from words_source import Words

import mibe
from mibe.cli.main import main
from mibe.data import store
from mibe.data.labels import checked, is_known
from mibe.data.prepare import prepare
from mibe.data.store import data_dir
from mibe.errors import DataError
from mibe.registry import load_task
from mibe.task import Example


def own_data(name, targets, split="test"):
    folder = data_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"d{n}", "inputs": {"text": f"text {n}"}, "target": target} for n, target in enumerate(targets)]
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("settings", [{}, {"limit": 1}, {"limit": 2, "shard": "1/2"}])
def test_a_run_names_every_bad_target_before_its_first_request(tmp_path, settings):
    own_data("ddi", ["DDI-effect", "DDI-advice", "DDI-false", 3, ["DDI-int", "int"], "DDI-int"])
    model = Scripted(lambda _: "DDI-int")
    with pytest.raises(DataError) as caught:
        mibe.evaluate(model=model, tasks="ddi", output_dir=tmp_path / "runs", **settings)
    assert str(caught.value).splitlines() == [
        "ddi: 3 targets are not among the task's labels; correct the data:",
        "  d1: 'DDI-advice'",
        "  d3: 3",
        "  d4: ['DDI-int', 'int']",
    ]
    assert model.asked == [] and not (tmp_path / "runs").exists()


def test_free_answers_and_empty_sets_are_no_labels_to_check():
    assert is_known("any text", ()) and is_known([["test", 0, 4]], ())
    assert is_known([], ("a",)) and is_known(["a"], ("a",))
    assert not is_known(["a", None], ("a",)) and not is_known(None, ("a",)) and not is_known("A", ("a",))


def test_prepared_data_is_not_written_with_a_bad_target(tmp_path):
    (tmp_path / "words.txt").write_text("train,a\ntrain,b\ntest,c\ntest,d\ntest,e\n")
    assert prepare("words", Words(), tmp_path, labels=("x", "y"))["counts"] == {"train": 2, "test": 3}
    before = store.data_fingerprint("words", "test")
    with pytest.raises(DataError) as caught:
        prepare("words", Words(), tmp_path, labels=("y",))
    assert str(caught.value).splitlines() == [
        "words: 5 targets are not among the task's labels; correct the data:",
        *(f"  {where}: 'x'" for where in ("train 0", "train 1", "test 2", "test 3", "test 4")),
    ]
    assert store.data_fingerprint("words", "test") == before


def test_the_command_checks_with_the_labels_of_the_task(tmp_path, monkeypatch, capsys):
    task = load_task("nejm_cpc")
    seen = {}

    def spy(name, source, path, **settings):
        seen.update(settings)
        raise DataError("seen")

    monkeypatch.setattr("mibe.data.prepare.prepare", spy)
    assert main(["data", "prepare", "ddi", "--from", str(tmp_path)]) == 2
    assert seen["labels"] == load_task("ddi").labels and task.labels == ()


def test_the_check_holds_no_examples():
    task = load_task("mtsample")
    examples = [(n, Example(str(n), {"text": "x"}, task.labels[n % 40])) for n in range(100_000)]
    tracemalloc.start()
    assert sum(1 for _ in checked(task, examples)) == 100_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_official_data_has_none(shared):
    for name, folder in (("ddi", "ddi2013"), ("hoc", "hoc")):
        if not Path(shared / "data" / folder).exists():
            pytest.skip(f"the files of {folder} are not beside this checkout")
        task = load_task(name)
        prepare(name, task.source, shared / "data" / folder, labels=task.labels)
