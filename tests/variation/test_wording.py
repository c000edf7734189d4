"""Other words for the same task: they ask for the same answers in the same form."""

import pytest

from mibe.errors import UsageError
from mibe.prompting.layout import plain_text
from mibe.registry import TASKS, load_task
from mibe.task import Example
from mibe.variation import variation_of
from mibe.variation.reviewed import reviewed
from mibe.variation.wording import worded

EXAMPLE = Example(id="1", inputs={"question": "Which?"}, target="A", choices=("a1", "b1", "c1", "d1"))


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_has_paraphrases_that_name_what_its_instruction_names(name):
    task = load_task(name)
    tasks = worded(task, own_answers=False)
    texts = [each.prompt.instruction for wording, each in tasks.items() if wording.startswith("paraphrase")]
    assert len(texts) == len(set(texts)) == 3
    for text in texts:
        assert "{" not in text and text != task.prompt.instruction
        # Labels that the instruction names (not those of the letters A to E) stand in each paraphrase.
        named = [label for label in task.labels if len(label) > 1 and label in task.prompt.instruction]
        assert [label for label in named if label not in text] == []
        assert [tag for tag in ('<span class="problem">', "ten diagnoses") if tag in task.prompt.instruction] == [
            tag for tag in ('<span class="problem">',) if tag in text and tag in task.prompt.instruction
        ]
        if task.labels[:1] == ("A",):
            assert task.labels[0] in text and task.labels[-1] in text


def test_no_paraphrase_is_of_a_task_that_is_not_there():
    assert reviewed("wordings")["paraphrases"].keys() == TASKS.keys()


def test_the_released_wording_is_read_as_the_released_code_asks():
    released = worded(load_task("mmlu"), own_answers=False)["released"]
    assert released.prompt.verbatim and released.parser("2") == "C"
    assert released.metrics == load_task("mmlu").metrics
    assert "released" not in worded(load_task("mmlu"), own_answers=True)


def test_a_bare_question_has_no_instruction_and_no_empty_line():
    bare = worded(load_task("mmlu"), own_answers=False)["bare"]
    assert plain_text(bare.prompt, (), EXAMPLE) == "Question: Which?\nOptions:\nA. a1\nB. b1\nC. c1\nD. d1\nAnswer:"
    shown = plain_text(bare.prompt, (EXAMPLE,), EXAMPLE)
    assert shown.startswith("Question: Which?") and "Answer: A\n\nQuestion" in shown
    assert "bare" not in worded(load_task("pubmedqa"), own_answers=False)


def test_so_many_wordings_as_are_asked_for():
    variation = variation_of(load_task("mmlu"), "wording:3", seed=1, has_shots=False, own_answers=False)
    assert [each.id for each in variation.of(EXAMPLE)] == ["1", "1~wording-released", "1~wording-bare"]
    with pytest.raises(UsageError, match="out of range"):
        variation_of(load_task("pubmedqa"), "wording:6", seed=1, has_shots=False, own_answers=False)
