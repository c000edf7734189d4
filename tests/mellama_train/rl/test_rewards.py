"""mibe's rewards as TRL calls them: whose answer it is, what counts of it, what is noted beside it."""

from collections import Counter, defaultdict

import pytest

pytest.importorskip("transformers", reason="transformers comes with the extra train")

from training_parts import make_tokenizer

import mibe
from mellama_train.rl.recipe import RewardTerms
from mellama_train.rl.rewards import TaskReward, prompt_end, task_rewards
from mellama_train.rl.tasks import Prompt
from mibe.task import Example

END = 7


def prompt(task, ident, target, *, stop=(), choices=()):
    asked = ({"role": "user", "content": f"Question {ident}"},) if not stop else f"Question {ident}"
    inputs = {"question": "q", "context": "c"} if task == "pubmedqa" else {"question": "q"}
    return Prompt(task=task, example=Example(ident, inputs, target, choices), asked=asked, tokens=10, stop=stop)


PROMPTS = [
    prompt("pubmedqa", "1", "yes"),
    prompt("pubmedqa", "2", "no"),
    prompt("medqa", "1", "B", choices=("ear", "nose")),
]


def call(reward, answers, ids=None):
    """TRL's call for answers [(prompt, text)]: scores, and what was noted."""
    noted = defaultdict(list)
    scores = reward(
        prompts=[found.asked for found, _ in answers],
        completions=[
            text if isinstance(found.asked, str) else [{"role": "assistant", "content": text}]
            for found, text in answers
        ],
        completion_ids=ids or [[5, 6, END]] * len(answers),
        task=[found.task for found, _ in answers],
        document=[found.example.id for found, _ in answers],
        log_metric=lambda name, value: noted[name].append(value),
        trainer_state=None,
    )
    return scores, noted


def rewards(**terms):
    tokens = Counter()
    return task_rewards(PROMPTS, RewardTerms(**terms), make_tokenizer_with_template(), {END}, tokens), tokens


def make_tokenizer_with_template():
    from training_parts import CHAT

    tokenizer = make_tokenizer()
    tokenizer.chat_template = CHAT
    return tokenizer


def test_each_task_scores_its_own_answers_by_its_own_parser():
    """The same document id in two tasks is two documents; the other task's answers get no score, not 0."""
    (pubmedqa, medqa), tokens = rewards()
    first, second, third = PROMPTS
    answers = [(first, "Yes."), (third, "B. nose"), (second, "yes"), (third, "A"), (first, "I cannot tell")]
    scores, noted = call(pubmedqa, answers)
    assert scores == [1.0, None, 0.0, None, 0.0]
    assert noted["outcomes/pubmedqa/parsed"] == [1.0, 1.0, 0.0]
    assert noted["rewards/pubmedqa/right"] == [1.0, 0.0, 0.0]
    assert call(medqa, answers)[0] == [None, 1.0, None, 0.0, None]
    assert (pubmedqa.__name__, medqa.__name__) == ("pubmedqa", "medqa")
    # 10 tokens of the prompt and 3 of the answer each.
    assert tokens == {"pubmedqa": 39, "medqa": 26}


def test_a_batch_without_answers_of_a_task_has_no_score_of_it():
    (_, medqa), _ = rewards()
    assert call(medqa, [(PROMPTS[0], "yes")]) == ([None], {})


def test_an_answer_that_the_limit_cut_is_noted_as_such():
    """Its last token ends nothing, and no answer can be read yet."""
    (pubmedqa, _), _ = rewards()
    answers = [(PROMPTS[0], "The trial shows that"), (PROMPTS[0], "The trial shows that")]
    _, noted = call(pubmedqa, answers, [[5, 6, 5], [5, 6, END]])
    assert noted["outcomes/pubmedqa/truncated"] == [1.0, 0.0]
    assert noted["outcomes/pubmedqa/unparsed"] == [0.0, 1.0]


def test_of_a_plain_answer_counts_what_stands_before_the_next_document():
    plain = prompt("pubmedqa", "1", "yes", stop=("\n\nINPUT:",))
    reward = TaskReward(mibe.reward("pubmedqa"), {"1": plain}, {END}, Counter())
    answers = [(plain, " yes\n\nINPUT: Is it so?\nOUTPUT: no"), (plain, " no\n\nINPUT: Is it so?\nOUTPUT: yes")]
    assert call(reward, answers, [[5], [5]])[0] == [1.0, 0.0]


def test_other_terms_are_weighed_by_the_reward_and_the_answer_alone_is_noted():
    (pubmedqa, _), _ = rewards(format=0.2)
    scores, noted = call(pubmedqa, [(PROMPTS[0], "yes"), (PROMPTS[0], "The answer is yes, as the trial shows.")])
    assert scores == pytest.approx([1.0, 0.8])
    assert noted["rewards/pubmedqa/right"] == [1.0, 1.0]


def test_a_thought_that_the_template_opens_is_no_answer():
    """The prompt ends within a thought; what stands before its end is not read."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
    )
    assert prompt_end(PROMPTS[0], tokenizer) == "<|assistant|><think>\n"
    (pubmedqa,) = task_rewards(PROMPTS[:2], RewardTerms(), tokenizer, {END}, Counter())
    answers = [(PROMPTS[0], "yes, no, yes"), (PROMPTS[0], "It may be no.</think>yes"), (PROMPTS[1], "yes</think>no")]
    assert call(pubmedqa, answers)[0] == [0.0, 1.0, 1.0]
