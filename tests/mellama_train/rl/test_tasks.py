"""Prompts of a pass: those of `mibe eval`, mixed by weight, without any document of a test set."""

from collections import Counter

import pytest

pytest.importorskip("transformers", reason="transformers comes with the extra train")

from rl_parts import pubmedqa_documents, recipe, small_pubmedqa, write_split
from training_parts import make_tokenizer, save_chat_model
from transformers import AutoTokenizer

import mibe
from mellama_train.errors import DataError
from mellama_train.rl.tasks import answer_tokens, read_prompts, shares
from mibe.models.local.counting import TokenizerOnly
from mibe.prompting import PromptBuilder
from mibe.task import Example


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_chat_model(folder)
    return folder


def read(model, tmp_path, **changes):
    return read_prompts(recipe(model, tmp_path / "run", **changes), AutoTokenizer.from_pretrained(model))


def test_shares_are_in_the_ratio_of_the_weights_and_leave_no_document_out():
    sizes = {"a": 100, "b": 30, "c": 7}
    assert shares(sizes, None) == sizes
    assert shares(sizes, {"a": 1, "b": 1, "c": 1}) == {"a": 100, "b": 100, "c": 100}
    # b needs 30 at weight 1, so the unit is 30; a needs 100 at weight 4, a unit of 25: the larger one counts.
    assert shares(sizes, {"a": 4, "b": 1, "c": 0.1}) == {"a": 280, "b": 70, "c": 7}


def test_prompts_are_those_of_an_evaluation(model, own_folders, monkeypatch, tmp_path):
    small_pubmedqa(own_folders / "data", monkeypatch)
    found = read(model, tmp_path)
    task, tokenizer = mibe.load_task("pubmedqa"), AutoTokenizer.from_pretrained(model)
    asked = TokenizerOnly("x", tokenizer, chat_template=True, context_window=2048)
    for row, example in zip(found.rows, pubmedqa_documents(6), strict=True):
        rendered = PromptBuilder(task, asked, None, max_new_tokens=6).build(example)
        assert row.asked == tuple(rendered.messages)
        assert row.tokens == len(tokenizer(rendered.text, add_special_tokens=False)["input_ids"])
        assert row.example == example
    assert found.counts == {"pubmedqa": 6}
    assert found.test_sets.tasks == ("pubmedqa",)
    assert (found.test_sets.found, found.test_sets.left_out) == (0, 0)


def test_a_plain_prompt_is_one_text_that_an_invented_next_document_ends(own_folders, monkeypatch, tmp_path):
    small_pubmedqa(own_folders / "data", monkeypatch)
    wanted = recipe(tmp_path, tmp_path / "run", data={"tasks": ["pubmedqa"], "form": "plain"}, context=400)
    row = read_prompts(wanted, make_tokenizer()).rows[0]
    assert isinstance(row.asked, str)
    assert row.asked.endswith("OUTPUT:")
    assert row.stop == ("\n\nINPUT:",)


def test_the_longest_answer_is_the_longest_of_the_tasks_own(model, tmp_path):
    tasks = ["pubmedqa", "mmlu"]
    longest = max(mibe.load_task(name).max_new_tokens for name in tasks)
    wanted = {"data": {"tasks": tasks}, "context": 2048}
    assert answer_tokens(recipe(model, tmp_path / "run", rollouts={"group": 4}, **wanted)) == longest
    assert answer_tokens(recipe(model, tmp_path / "run", **wanted)) == 6


def test_a_weighted_mixture_has_each_document_as_often_as_its_task_asks_for(model, own_folders, monkeypatch, tmp_path):
    small_pubmedqa(own_folders / "data", monkeypatch, count=6)
    write_split(own_folders / "data", "hoc", "train", [Example("h", {"text": "Cells that evade growth."}, ["none"])])
    weights = {"pubmedqa": 2, "hoc": 1}
    found = read(model, tmp_path, data={"tasks": weights}, context=1024)
    assert found.counts == {"pubmedqa": 6, "hoc": 3}
    assert Counter(row.key for row in found.rows)["hoc", "h"] == 3
    assert found.describe() == read(model, tmp_path, data={"tasks": weights}, context=1024).describe()


LONG = "The mean duration of the stay in the ward fell from eleven days to six days in those who were treated early."


@pytest.mark.parametrize("how", ["the whole document", "a passage"])
def test_a_document_of_a_test_set_is_refused_or_left_out(model, own_folders, monkeypatch, tmp_path, how):
    """Here another task's: its test set holds the document, or one long sentence of it among others."""
    small_pubmedqa(own_folders / "data", monkeypatch)
    stolen = Example("s", {"question": "Is early treatment better?", "context": LONG}, "yes")
    context = LONG if how == "the whole document" else f"Nothing else is the same here. {LONG} And so it ends."
    known = Example(
        "t", {"question": stolen.inputs["question"] if context == LONG else "Was it?", "context": context}, "no"
    )
    write_split(own_folders / "data", "pubmedqa", "train", [*pubmedqa_documents(5), stolen])
    write_split(own_folders / "data", "pubmedqa", "test", [known])
    with pytest.raises(DataError) as refused:
        read(model, tmp_path)
    assert str(refused.value).startswith("1 documents of the train splits also stand in a test set")
    assert "pubmedqa/s (= pubmedqa/t)" in str(refused.value)
    found = read(model, tmp_path, data={"tasks": ["pubmedqa"], "test_documents": "skip"})
    assert [row.example.id for row in found.rows] == ["0", "1", "2", "3", "4"]
    assert found.left_out == {"pubmedqa": {"in a test set": 1, "too long": 0}}
    assert (found.test_sets.found, found.test_sets.left_out) == (1, 1)


def test_a_prompt_beside_which_no_answer_fits_ends_the_run_or_is_left_out(model, own_folders, monkeypatch, tmp_path):
    """The question is never cut, so that one prompt stays too long."""
    small_pubmedqa(own_folders / "data", monkeypatch)
    long = Example("long", {"question": "Does it help? " * 40, "context": "Yes."}, "yes")
    write_split(own_folders / "data", "pubmedqa", "train", [*pubmedqa_documents(2), long])
    with pytest.raises(
        DataError, match=r"pubmedqa, document long: a prompt of \d+ tokens and an answer of 6 do not fit"
    ):
        read(model, tmp_path)
    found = read(model, tmp_path, data={"tasks": ["pubmedqa"], "too_long": "skip"})
    assert found.left_out == {"pubmedqa": {"in a test set": 0, "too long": 1}}
    assert all(row.tokens + 6 <= 128 for row in found.rows)


def test_a_task_of_which_nothing_is_left_is_refused(model, own_folders, monkeypatch, tmp_path):
    small_pubmedqa(own_folders / "data", monkeypatch)
    write_split(own_folders / "data", "pubmedqa", "test", pubmedqa_documents(6))
    with pytest.raises(DataError, match="nothing is left of the train split of pubmedqa: 6 in a test set"):
        read(model, tmp_path, data={"tasks": ["pubmedqa"], "test_documents": "skip"})
