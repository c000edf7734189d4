"""Prompts are built as documented: shots balanced and never leaked, cuts only where they may be."""

import tracemalloc
from collections import Counter
from dataclasses import replace

import pytest

from mibe.data import store
from mibe.data.prepare import prepare
from mibe.errors import DataError, UsageError
from mibe.prompting import PromptBuilder, Shots, layout, plain_text, stop_strings
from mibe.prompting.cutting import CUT_MARK, cut_middle
from mibe.registry import load_task
from mibe.task import Example


class WordModel:
    """A model of known window whose tokens are words."""

    name = "words"

    def __init__(self, window=None, chat=False):
        self.context_window = window
        self.is_chat = chat

    def render(self, messages):
        if not self.is_chat:
            return messages[0]["content"]
        return "".join(f"<{m['role']}>{m['content']}</>" for m in messages) + "<assistant>"

    def count_tokens(self, text):
        return len(text.split())


@pytest.fixture
def task():
    return load_task("pubmedqa")


def document(number, target="yes", context="Some context."):
    return Example(id=f"d{number}", inputs={"question": f"Is it {number}?", "context": context}, target=target)


def pool(count=60):
    return [document(n, ("yes", "yes", "no", "maybe")[n % 4]) for n in range(count)]


def test_zero_shot_text_is_the_papers_words(task):
    assert plain_text(task.prompt, (), document(1)) == (
        "Your task is to answer biomedical questions using the given abstract. "
        "Only output yes, no, or maybe as answer.\nINPUT: Is it 1?\nCONTEXT: Some context.\nOUTPUT:"
    )


def test_few_shot_text_has_the_instruction_once(task):
    text = plain_text(task.prompt, (document(2, "no"),), document(1))
    assert text.count("Your task is") == 1
    assert text.endswith("OUTPUT: no\n\nINPUT: Is it 1?\nCONTEXT: Some context.\nOUTPUT:")


def test_chat_shots_are_turns(task):
    turns = layout(task.prompt, (document(2, "no"),), document(1), chat=True)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == "no"
    assert turns[0]["content"].startswith("Your task is") and "Your task is" not in turns[2]["content"]


def test_options_are_lettered():
    task = load_task("medqa")
    example = Example(id="q", inputs={"question": "Which {one}?"}, target="B", choices=("x", "y", "z"))
    assert plain_text(task.prompt, (), example).endswith("Question: Which {one}?\nOptions:\nA. x\nB. y\nC. z\nAnswer:")


def test_plain_text_stops_where_the_next_document_would_begin(task):
    assert stop_strings(task.prompt, chat=False) == ("\n\nINPUT:",)
    assert stop_strings(task.prompt, chat=True) == ()


def test_shots_are_balanced_over_labels_whatever_their_share(task):
    chosen = Shots.prepare(task, pool(), [], 5, seed=1).choose("")
    assert sorted(Counter(e.target for e in chosen).values()) == [1, 2, 2]
    assert len({e.id for e in chosen}) == 5


def test_shots_do_not_depend_on_the_order_of_the_file(task):
    chosen = Shots.prepare(task, pool(), [], 5, seed=1).choose("")
    assert chosen == Shots.prepare(task, pool()[::-1], [], 5, seed=1).choose("")
    assert chosen != Shots.prepare(task, pool(), [], 5, seed=2).choose("")


@pytest.mark.parametrize(
    ("name", "folder", "ids"),
    [
        ("pubmedqa", None, "24946973 16968183 22813804 23096188 24827404"),
        ("mmlu", None, " ".join(f"abstract_algebra/train/{n}" for n in range(5))),
        ("mtsample", None, "17 301 28 4 0"),
        ("hoc", "hoc", "22873102 23123564 23248303 20118229 22995475"),
        (
            "ddi",
            "ddi2013",
            "DDI-DrugBank.d108.s0.p0 DDI-DrugBank.d3.s18.p6 DDI-DrugBank.d172.s7.p1 DDI-DrugBank.d237.s6.p3 "
            "DDI-DrugBank.d410.s8.p5",
        ),
    ],
)
def test_the_shots_of_a_seed_are_those_they_always_were(request, name, folder, ids):
    """Chosen by version 0.1.0, which held the whole train split in memory."""
    task = load_task(name)
    if folder is not None:
        prepare(name, task.source, request.getfixturevalue("shared") / "data" / folder)
    test = store.load_examples(name, "test")
    shots = Shots.prepare(task, store.StoredSplit(name, "train"), test, 5, seed=1234)
    assert [shot.id for shot in shots.choose(shots.matching(test[0]))] == ids.split()


@pytest.mark.parametrize(("size", "count", "draws"), [(5, 1, 5), (5, 2, 20), (5, 5, 24), (60, 1, 12)])
def test_every_draw_of_shots_is_another(size, count, draws):
    few = [document(n, "yes") for n in range(size)]
    for task in (load_task("mmlu"), load_task("pubmedqa")):
        shots = Shots.prepare(task, few, [], count, seed=1)
        chosen = [[each.id for each in replace(shots, draw=draw).choose("")] for draw in range(draws)]
        assert len({tuple(ids) for ids in chosen}) == draws
        # Whichever is asked for first.
        again = Shots.prepare(task, few, [], count, seed=1)
        assert [each.id for each in replace(again, draw=draws - 1).choose("")] == chosen[-1]


def test_more_draws_than_there_are_is_an_error():
    shots = Shots.prepare(load_task("mmlu"), [document(n) for n in range(5)], [], 1, seed=1)
    with pytest.raises(
        UsageError, match="shots:8 is out of range: 5 draws of 1 worked examples were found that differ"
    ):
        replace(shots, draw=7).check_draws()


def test_choosing_holds_no_text_of_the_train_split(own_folders):
    folder = own_folders / "data" / "pubmedsum"
    folder.mkdir(parents=True)
    text = "x" * 1000
    lines = (f'{{"id": "PMC{n}", "inputs": {{"text": "{n} {text}"}}, "target": "{text}"}}\n' for n in range(20_000))
    (folder / "train.jsonl").write_text("".join(lines))
    tracemalloc.start()
    shots = Shots.prepare(load_task("pubmedsum"), store.StoredSplit("pubmedsum", "train"), [], 1, seed=1)
    (shot,) = shots.choose("")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shot.inputs["text"].startswith(shot.id.removeprefix("PMC"))
    assert peak < 10e6, "40 MB of text must not be held at once"


def test_a_train_split_that_changes_during_the_run_gives_no_other_shots(task):
    train = pool(8)
    shots = Shots.prepare(task, train, [], 2, seed=1)
    train.reverse()
    with pytest.raises(DataError, match="pubmedqa: the train split was replaced during the run"):
        shots.choose("")


def test_shots_are_the_same_for_every_document_unless_asked(task):
    same = Shots.prepare(task, pool(), [], 3, seed=1)
    assert same.choose(same.matching(document(1))) == same.choose(same.matching(document(2)))
    each = Shots.prepare(task, pool(), [], 3, seed=1, per_document=True)
    assert each.choose(each.matching(document(1))) != each.choose(each.matching(document(2)))


def test_mmlu_shots_are_the_first_of_the_subject_in_file_order():
    task = load_task("mmlu")
    train = [
        Example(id=f"{s}/{n}", inputs={"question": f"{s} {n}"}, target="A", choices=("a", "b"), metadata={"subject": s})
        for s in ("virology", "anatomy")
        for n in range(5)
    ]
    shots = Shots.prepare(task, train, [], 3, seed=1)
    assert [e.id for e in shots.choose("anatomy")] == ["anatomy/0", "anatomy/1", "anatomy/2"]
    with pytest.raises(UsageError, match="5 examples for each subject"):
        Shots.prepare(task, train, [], 6, seed=1)


def test_an_example_that_is_also_evaluated_is_never_a_shot(task):
    evaluated = Example(id="t", inputs={"question": "IS it  3?", "context": "some context."}, target="yes")
    shots = Shots.prepare(task, pool(8), [evaluated], 7, seed=1)
    assert shots.leaked == ("d3",)
    assert "d3" not in {e.id for e in shots.choose("")}
    with pytest.raises(UsageError, match="--num-fewshot 8 is out of range, the train split has 7"):
        Shots.prepare(task, pool(8), [evaluated], 8, seed=1)


def test_only_the_context_is_cut_and_in_its_middle(task):
    words = " ".join(f"w{n}" for n in range(500))
    example = document(1, context=words)
    built = PromptBuilder(task, WordModel(window=100), None, max_new_tokens=10).build(example)
    assert built.cut and built.problem is None
    assert len(built.text.split()) <= 90
    assert "Is it 1?" in built.text and task.prompt.instruction in built.text and built.text.endswith("OUTPUT:")
    assert "CONTEXT: w0 w1 " in built.text and " w499\n" in built.text and CUT_MARK in built.text
    # As much as fits is kept: the words around the cut fill the window but for a few.
    assert len(built.text.split()) >= 85


def test_a_prompt_that_fits_is_never_cut(task):
    example = document(1, context=" ".join(["w"] * 50))
    words = len(plain_text(task.prompt, (), example).split())
    built = PromptBuilder(task, WordModel(window=words + 10), None, max_new_tokens=10).build(example)
    assert not built.cut and built.text == plain_text(task.prompt, (), example)
    assert PromptBuilder(task, WordModel(window=words + 9), None, max_new_tokens=10).build(example).cut


def test_question_and_options_are_never_cut():
    task = load_task("medqa")
    example = Example(id="q", inputs={"question": "long " * 500}, target="A", choices=("x", "y"))
    built = PromptBuilder(task, WordModel(window=100), None, max_new_tokens=10).build(example)
    assert not built.cut and "do not fit the context window of 100" in built.problem


def test_long_shots_take_at_most_half_of_the_window_and_are_the_same_for_all(task):
    shots = Shots.prepare(task, [document(n, context="s " * 300) for n in range(5)], [], 2, seed=1)
    builder = PromptBuilder(task, WordModel(window=400), shots, max_new_tokens=10)
    first, second = (builder.build(document(n, context="d " * 300)) for n in (8, 9))
    assert first.cut and len(first.text.split()) <= 390
    assert first.text.split("INPUT: Is it 8?")[0] == second.text.split("INPUT: Is it 9?")[0]
    assert first.text.split("INPUT: Is it 8?")[1].count("d ") > 100


def test_cut_middle_keeps_both_ends_on_whole_words():
    assert cut_middle("short", 10) == "short"
    assert cut_middle("alpha beta gamma delta epsilon zeta eta theta", 30) == f"alpha beta{CUT_MARK}eta theta"
    assert cut_middle("x" * 100, 0) == CUT_MARK


def test_five_shots_are_there_for_every_subject_of_mmlu():
    task = load_task("mmlu")
    shots = Shots.prepare(task, store.StoredSplit("mmlu", "train"), store.iter_examples("mmlu", "test"), 5, seed=1)
    assert {len(found) for found in shots.candidates.values()} == {5} and len(shots.candidates) == 57
    assert shots.leaked == ()
