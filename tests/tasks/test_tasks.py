"""One contract for every registered task, built-in or stand-in, on real data or on data of the official form."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from task_splits import splits_of

import mibe
from mibe.data import store
from mibe.data.prepare import describe, read_splits, write
from mibe.data.raw import RawFiles
from mibe.data.store import data_dir
from mibe.errors import ModelError
from mibe.metrics.base import is_main
from mibe.metrics.score import score
from mibe.models import load_model
from mibe.models.base import Model
from mibe.models.local.demo import gguf_file
from mibe.parsers.outcome import read
from mibe.prompting import layout, question
from mibe.registry import list_groups, list_tasks, load_task, resolve
from mibe.task import AccessLevel, Category, Example, Outcome, Task

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = {
    "bc5cdr": ("bc5cdr", None),
    "sumpubmed": ("sumpubmed", "sample"),
    "diagnosis_open": ("diagnosis_cases", None),
    "ddi": ("ddi2013", None),
    "hoc": ("hoc", None),
}
"""Task → folder of its real data and variant, for those that do not ship with the package."""

GIVE_AWAY = {
    "LONG_ANSWER", "reasoning_required_pred", "reasoning_free_pred", "final_decision", "exp", "cop", "answer",
    "answer_idx", "meta_info", "metamap_phrases", "evidence", "abstract", "abstract_text", "shorter_abstract",
    "impression", "label_cat", "gold_label", "diagnosis", "options", "target",
}  # fmt: skip
"""Fields of the raw files that hold the answer, or an explanation of it."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("official")


def examples_of(name: str, scratch: Path) -> list[Example]:
    task = load_task(name)
    examples = splits_of(name, scratch)["test"]
    return [e for e in examples if all(e.metadata.get(f) in values for f, values in task.subset.items())]


def figures(task: Task, examples: list[Example], answers: list[Any]) -> dict[str, float]:
    found = score(task.metrics, answers, [e.target for e in examples], resamples=2)
    return {name: figure.value for name, figure in found.items() if is_main(name)}


def check_round_trip(task: Task, examples: list[Example]) -> None:
    """What a worked example shows as the answer is read back, and is right by every metric."""
    predictions = [
        read(task.prompt.answer(e), "stop", task.parser, choices=e.choices, inputs=e.inputs) for e in examples
    ]
    assert {p.outcome for p in predictions} == {Outcome.PARSED}
    scores = figures(task, examples, [p.value for p in predictions])
    assert task.headline in scores
    assert {name: value for name, value in scores.items() if value < 1 - 1e-9} == {}


def test_fourteen_tasks_and_the_stand_ins() -> None:
    groups = list_groups()
    assert len(groups["mibe"]) == 12 and set(groups["mibe_open"]) >= {"bc5cdr", "sumpubmed", "diagnosis_open", "mmlu"}
    assert {*groups["mibe"], "mmlu", "nejm_cpc"} <= set(list_tasks())
    by_category = ("qa", "ner", "relation_extraction", "classification", "summarization", "nli")
    assert [task for group in by_category for task in groups[group]] == list(groups["mibe"])


@pytest.mark.parametrize("group", list_groups())
def test_groups_resolve(group: str) -> None:
    assert [task.name for task in resolve(group)] == list(list_groups()[group])


def test_anyone_can_run_the_open_group() -> None:
    tasks = resolve("mibe_open")
    assert all(task.access.level is not AccessLevel.CREDENTIALED for task in tasks)
    assert {task.category for task in tasks} >= set(Category) - {Category.NLI}, "there is no open set of inference"


@pytest.mark.parametrize("name", list_tasks())
class TestContract:
    def test_is_consistent(self, name: str) -> None:
        task = load_task(name)
        assert task.name == name and task.title and task.version >= 1 and task.source.version >= 1
        names = [figure for metric in task.metrics for figure in metric.names]
        assert len(names) == len(set(names)) and task.headline in names and is_main(task.headline)
        assert task.shots == {Category.SUMMARIZATION: 1, Category.DIAGNOSIS: 0}.get(task.category, 5)
        assert len(task.labels) == len(set(task.labels)) and task.max_new_tokens > 0
        assert (task.access.agreement is not None) == (task.access.level is AccessLevel.CREDENTIALED)
        assert task.source.licence and task.source.homepage.startswith("https://") and task.source.obtain.endswith(".")
        assert len(set(task.source.variants)) == len(task.source.variants) > 0

    def test_prompt_and_labels_fit_the_data(self, name: str, scratch: Path) -> None:
        task = load_task(name)
        fields = {field for _, field, _, _ in string.Formatter().parse(task.prompt.input) if field}
        for example in examples_of(name, scratch):
            assert fields - {"options"} == set(example.inputs) and ("options" in fields) == bool(example.choices)
            assert set(task.prompt.cut) <= set(example.inputs)
            if task.labels:
                targets = example.target if isinstance(example.target, list) else [example.target]
                assert set(targets) <= set(task.labels)
            assert json.loads(json.dumps(example.target)) == example.target

    def test_answers_of_worked_examples_are_read_back_and_right(self, name: str, scratch: Path) -> None:
        check_round_trip(load_task(name), examples_of(name, scratch))

    def test_no_answer_scores_nothing(self, name: str, scratch: Path) -> None:
        task, examples = load_task(name), examples_of(name, scratch)
        assert set(figures(task, examples, [None] * len(examples)).values()) == {0}

    def test_the_target_is_not_in_the_prompt(self, name: str, scratch: Path) -> None:
        task = load_task(name)
        for example in examples_of(name, scratch):
            assert not set(example.inputs) & GIVE_AWAY
            text = question(task.prompt, example)
            other = replace(example, id="⟨id⟩", target="⟨target⟩", metadata={"target": "⟨target⟩"})
            assert question(task.prompt, other) == text
            assert all(
                "⟨" not in turn["content"]
                for chat in (True, False)
                for turn in layout(task.prompt, (), other, chat=chat)
            )
            if task.category in (Category.SUMMARIZATION, Category.DIAGNOSIS):
                names = [example.target] if isinstance(example.target, str) else example.target
                assert not any(target.lower() in text.lower() for target in names)


@pytest.mark.parametrize("name", REAL)
def test_real_data_keeps_the_contract(name: str) -> None:
    folder, variant = REAL[name]
    if not (SHARED / folder).exists():
        pytest.skip(f"the files of {folder} are not beside this checkout")
    task = load_task(name)
    splits, _ = read_splits(name, task.source, SHARED / folder, variant=variant)
    check_round_trip(task, splits["test"])


@pytest.mark.parametrize("protocol", ["default", "paper"])
@pytest.mark.parametrize("name", list_tasks())
def test_runs_from_end_to_end(name: str, protocol: str, scratch: Path, tmp_path: Path) -> None:
    run_both_settings(load_model("dummy"), name, protocol, scratch, tmp_path, limit=3)


@pytest.fixture(scope="module")
def demo() -> Iterator[dict[str, Model]]:
    """The demo model as each protocol asks it: with its chat template, and with the bare prompt."""
    for needed in ("torch", "lm_eval", "gguf"):
        pytest.importorskip(needed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe"))
        try:
            gguf_file()
        except ModelError as error:
            pytest.skip(str(error))
        models = {"default": load_model("demo"), "paper": load_model("demo", {"chat_template": "off"})}
    yield models
    for model in models.values():
        model.close()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["default", "paper"])
@pytest.mark.parametrize("name", list_tasks())
def test_a_real_model_runs_from_end_to_end(
    name: str, protocol: str, demo: dict[str, Model], scratch: Path, tmp_path: Path
) -> None:
    run_both_settings(demo[protocol], name, protocol, scratch, tmp_path, limit=1)


def run_both_settings(model: Model, name: str, protocol: str, scratch: Path, tmp_path: Path, *, limit: int) -> None:
    """Zero- and few-shot, on the data in the package or on small files in the official form."""
    task = load_task(name)
    if protocol == "paper" and task.category is Category.NER and not (find_spec("bs4") and find_spec("spacy")):
        pytest.skip("the protocol of the paper reads marked sentences with bs4 and spacy")
    found = store.find(task.data_name)
    if found is None or "train" not in found.files:
        splits = splits_of(name, scratch)
        write(
            data_dir() / task.data_name,
            splits,
            describe(task.data_name, task.source, splits, _no_files(tmp_path), variant="small"),
        )
    for shots in dict.fromkeys((0, min(task.shots, 2))):
        run = mibe.evaluate(
            model=model,
            tasks=name,
            limit=limit,
            num_fewshot=shots,
            protocol=protocol,
            max_new_tokens=8,
            resamples=2,
            output_dir=tmp_path,
        )
        result = run.record["tasks"][name]
        assert run.record["status"] == "finished" and result["scored"] == min(limit, len(run.samples(name)))
        assert result["headline"] in result["figures"]


def _no_files(tmp_path: Path) -> RawFiles:
    folder = tmp_path / "none"
    folder.mkdir()
    return RawFiles(folder)
