"""Tasks as rewards: what right, wrong and unreadable responses get, in which forms they come, and what is refused."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
from reward_examples import EXAMPLES, gold

import mibe
from mibe.errors import DataUseError, ModelError, UsageError
from mibe.metrics.classification import MacroF1
from mibe.models.base import Response
from mibe.models.local.dummy import DummyModel
from mibe.registry import load_task, register_task
from mibe.task import Example, Outcome, credentialed


def scores(name, *responses, **settings):
    reward = mibe.reward(name, **settings)
    return [given.score for given in reward.judge(responses, [EXAMPLES[reward.task.name]] * len(responses))]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_gold_answer_gets_all_and_its_outcome_and_value_stand_beside(name):
    task = load_task(name)
    (given,) = mibe.reward(name).judge([gold(task)], [EXAMPLES[name]])
    assert given.score == given.right == 1.0
    assert given.outcome is Outcome.PARSED
    assert given.prediction not in (None, [], "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_terms_are_off_and_leave_a_gold_answer_all_it_has(name):
    task = load_task(name)
    assert scores(name, gold(task), format=0.1, length=0.2) == pytest.approx([1.0])
    (given,) = mibe.reward(name).judge([gold(task)], [EXAMPLES[name]])
    assert (given.form, given.brief) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "response", "expected"),
    [
        ("pubmedqa", "no", 0.0),
        ("medqa_4", "The answer is (A) Metformin.", 1.0),
        ("medqa_4", "The answer is (B) Insulin glargine.", 0.0),
        ("emrqa", "Lisinopril 10 mg, daily", 1.0),
        ("emrqa", "lisinopril", 0.0),
        # Of two labels one is right: 2 · 1 / (2 + 2); one of one and two of three: 2 / 3 and 4 / 5.
        ("hoc", "inducing angiogenesis; cellular energetics", 0.5),
        ("hoc", "inducing angiogenesis", 2 / 3),
        ("hoc", "inducing angiogenesis; resisting cell death; cellular energetics", 0.8),
        # Two of three entities found and nothing else marked: 4 / 5. A boundary that is off is a miss and a wrong one.
        (
            "i2b2",
            'The patient was given <span class="treatment">aspirin</span> for <span class="problem">chest pain</span> '
            "and an EKG was normal.",
            0.8,
        ),
        (
            "bc5cdr",
            'The patient was given <span class="treatment">aspirin</span> for chest <span class="problem">pain</span> '
            "and an EKG was normal.",
            0.5,
        ),
        ("nejm_cpc", "1. Gout\n2. Pseudogout\n3. Sepsis", 1 / 2),
        ("nejm_cpc", "1. Gout\n2. Lupus\n3. Sepsis\n4. Lyme disease\n5. CPPD\n6. Pseudogout", 1 / 5),
        ("nejm_cpc", "1. Gout\n2. Lupus\n3. Sepsis\n4. Lyme disease\n5. Trauma\n6. Pseudogout", 0.0),
        # ROUGE-L: 8 of 12 and 14 words in common in their order; then 1 of 4 and 9.
        (
            "pubmedsum",
            "Early mobilisation after hip fracture lowered mortality in all of the patients.",
            16 / 26,
        ),
        ("mimic_cxr", "Opacity of unclear origin.", 2 / 13),
    ],
)
def test_an_answer_gets_what_the_tasks_own_metric_gives_it(name, response, expected):
    assert scores(name, response) == pytest.approx([expected])


def test_no_answer_is_nothing_and_says_why():
    reward = mibe.reward("pubmedqa")
    responses = ["", "The abstract is about hips.", "I cannot answer medical questions."]
    given = reward.judge(responses, [EXAMPLES["pubmedqa"]] * 3)
    assert [one.outcome for one in given] == [Outcome.UNPARSED, Outcome.UNPARSED, Outcome.REFUSED]
    assert [one.score for one in given] == [0.0] * 3
    assert [one.prediction for one in given] == [None] * 3


def test_a_document_without_entities_wants_its_sentence_back():
    example = replace(EXAMPLES["bc5cdr"], target=[])
    sentence = example.inputs["text"]
    reward = mibe.reward("bc5cdr")
    assert reward(None, [sentence, f'{sentence[:-1]} <span class="problem">.</span>'], [example] * 2) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("yes", 1.0),
        ([{"role": "assistant", "content": "yes"}], 1.0),
        ({"role": "assistant", "content": "yes"}, 1.0),
        ([{"role": "user", "content": "yes"}, {"role": "assistant", "content": "no"}], 0.0),
        ([{"role": "assistant", "content": [{"type": "text", "text": "y"}, {"type": "text", "text": "es"}]}], 1.0),
        ([{"role": "assistant", "content": None}], 0.0),
        ([], 0.0),
    ],
)
def test_responses_are_texts_or_turns_of_a_chat(response, expected):
    prompt = [{"role": "user", "content": "Does it?"}]
    assert mibe.reward("pubmedqa")([prompt], [response], [EXAMPLES["pubmedqa"]]) == [expected]


def test_a_reasoning_is_stripped_also_one_that_the_prompt_opened():
    example = EXAMPLES["pubmedqa"]
    reward = mibe.reward("pubmedqa")
    assert reward(None, ["<think>It says no.</think>yes", "It says no.</think>\n\nyes"], [example] * 2) == [1.0, 1.0]
    # Without knowing the prompt, this is an answer; with it, a reasoning that never ended.
    assert reward(None, ["The answer is yes."], [example]) == [1.0]
    (given,) = reward.judge(["The answer is yes."], [example], prompts=["Does it?\n<think>\n"])
    assert (given.score, given.outcome) == (0.0, Outcome.UNPARSED)
    in_chat = mibe.reward("pubmedqa", prompt_end="<|im_start|>assistant\n<think>\n")
    turns = [{"role": "user", "content": "Does it?"}]
    assert in_chat([turns, turns], ["The answer is yes.", "So yes.</think>yes"], [example] * 2) == [0.0, 1.0]


def test_of_a_cut_response_only_what_it_states_counts():
    example = EXAMPLES["medqa_4"]
    reward = mibe.reward("medqa_4")
    half = "A) Metformin lowers glucose. B) Insulin"
    (given,) = reward.judge([half], [example], cut=[True])
    assert (given.score, given.outcome) == (0.0, Outcome.TRUNCATED)
    assert reward(None, ["The answer is A. It", half], [example] * 2, cut=[True, True]) == [1.0, 0.0]


def test_the_letter_of_an_option_with_the_text_of_the_right_one_is_right():
    example = replace(EXAMPLES["medqa_4"], choices=("Metformin", "Insulin", "Metformin", "Acarbose"))
    reward = mibe.reward("medqa_4", format=0.1)
    (given,) = reward.judge(["C"], [example])
    assert (given.prediction, given.score) == ("A", pytest.approx(1.0))


def test_the_terms_of_form_and_length_have_their_weights_and_need_an_answer():
    weighed = ("the trial", "its arms", "who was left out", "how long they were seen", "what was measured", "by whom")
    talks = "".join(f"After weighing {what} with some care, " for what in weighed) + "the answer is yes."
    (bare, wrong, said, long, none) = mibe.reward("pubmedqa", format=0.2, length=0.1).judge(
        ["Yes.", "no", "The answer is yes.", talks, "nothing to say"], [EXAMPLES["pubmedqa"]] * 5
    )
    assert (bare.form, bare.brief, bare.score) == (1.0, 1.0, pytest.approx(1.0))
    assert (wrong.form, wrong.brief, wrong.score) == (1.0, 1.0, pytest.approx(0.3))
    assert (said.form, said.brief, said.score) == (0.0, 1.0, pytest.approx(0.8))
    # Of 64 tokens at four characters each there is room for 256.
    assert long.brief == pytest.approx(2 - len(talks) / 256)
    assert long.score == pytest.approx(0.7 + 0.1 * long.brief)
    assert (none.form, none.brief, none.score) == (0.0, 0.0, 0.0)


def test_lists_and_marked_sentences_have_their_forms():
    reward = mibe.reward("nejm_cpc", format=0.5)
    example = EXAMPLES["nejm_cpc"]
    listed, told = reward.judge(["1. Gout\n2. Pseudogout", "It may be gout, pseudogout or sepsis."], [example] * 2)
    assert (listed.form, told.form) == (1.0, 0.0)
    assert mibe.reward("emrqa", format=0.5).judge(['"lisinopril"'], [EXAMPLES["emrqa"]])[0].form == 1.0
    sentence = EXAMPLES["bc5cdr"].inputs["text"]
    marked, made_up = mibe.reward("bc5cdr", format=0.5).judge(
        [sentence, f'{sentence} <span class="problem">Fever</span>'], [EXAMPLES["bc5cdr"]] * 2
    )
    # Form is not truth: an answer that there is nothing to mark is in form, though it is wrong here.
    assert (marked.form, marked.right, made_up.form) == (1.0, 0.0, 0.0)


def test_scores_are_those_of_a_run():
    """Where nobody cheats, the mean of the rewards is the figure of the run."""
    task = load_task("pubmedqa")
    examples = list(mibe.examples(task, "test"))[:60]
    run = mibe.evaluate(model="dummy", model_args={"answer": "yes"}, tasks="pubmedqa", limit=60)
    answered = {row["id"]: row for row in run.rows("pubmedqa")}
    chosen = [example for example in mibe.examples(task, "test") if example.id in answered]
    assert len(examples) == len(chosen) == 60
    given = mibe.reward("pubmedqa")(None, [answered[example.id]["output"] for example in chosen], chosen)
    assert given == [answered[example.id]["scores"]["accuracy"] for example in chosen]
    assert sum(given) / 60 == pytest.approx(run.scores("pubmedqa")["accuracy"])


def test_a_reward_goes_to_another_process_by_its_tasks_name():
    reward = mibe.reward("emrqa", format=0.1, length=0.05, prompt_end="<think>\n")
    again = pickle.loads(pickle.dumps(reward))
    assert again == reward
    # The task has functions that no pickle takes; its name is enough.
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).task.name)"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(reward), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "emrqa"


def test_a_task_of_ones_own_is_taken_as_it_is():
    task = replace(load_task("pubmedqa"), name="mine")
    assert mibe.reward(task)(None, ["yes", "no"], [EXAMPLES["pubmedqa"]] * 2) == [1.0, 0.0]
    register_task(task)
    assert mibe.reward("mine") == mibe.reward(task)


def test_what_cannot_be_is_one_line():
    only_corpus = replace(load_task("pubmedqa"), name="corpus", metrics=(MacroF1(("yes", "no")),), headline="macro_f1")
    with pytest.raises(UsageError, match="corpus has figures of all documents together alone \\(macro_f1\\)"):
        mibe.reward(only_corpus)
    with pytest.raises(UsageError, match="did you mean pubmedqa"):
        mibe.reward("pubmedqq")
    for weights in ({"format": -0.1}, {"length": 1.0}, {"format": 0.5, "length": 0.5}, {"format": float("nan")}):
        with pytest.raises(UsageError, match="leave something for the answer"):
            mibe.reward("pubmedqa", **weights)
    with pytest.raises(UsageError, match="2 responses and 1 examples"):
        mibe.reward("pubmedqa")(None, ["yes", "no"], [EXAMPLES["pubmedqa"]])
    with pytest.raises(UsageError, match="a response is a text or turns of a chat"):
        mibe.reward("pubmedqa")(None, [{"content": 7}], [EXAMPLES["pubmedqa"]])
    with pytest.raises(UsageError, match="--judge is for diagnoses"):
        mibe.reward("pubmedqa", judge="dummy")
    assert mibe.reward("pubmedqa")([], [], []) == []


class Arbiter(DummyModel):
    """Says that a diagnosis is right where the question names gout."""

    name = "arbiter"

    def __init__(self, is_remote=False, fails=False):
        super().__init__()
        self.is_remote = is_remote
        self.fails = fails
        self.asked = []

    def generate(self, requests):
        for index, request in enumerate(requests):
            self.asked.append(request.text)
            if self.fails:
                yield index, Response(text="", finish_reason="error", error=f"overloaded: {request.text}")
            else:
                is_gout = "Predicted diagnosis: Gout True diagnosis" in request.text
                yield index, Response(text="y" if is_gout else "n", finish_reason="stop")


CASE = Example(id="1", inputs={"case": "A hot knee."}, target=["Urate arthropathy"])
SECRET = "secret case text"


def test_a_judge_decides_on_diagnoses_and_its_rank_counts():
    reward = mibe.reward("nejm_cpc", judge=Arbiter())
    assert reward(None, ["1. Sepsis\n2. Gout", "1. Sepsis", "1. Urate arthropathy"], [CASE] * 3) == [0.5, 0.0, 1.0]
    assert mibe.reward("nejm_cpc")(None, ["1. Gout"], [CASE]) == [0.0]


def test_credentialed_text_goes_to_no_remote_judge_unasked():
    task = replace(load_task("nejm_cpc"), name="notes", access=credentialed("Notes Agreement"))
    remote = Arbiter(is_remote=True)
    with pytest.raises(DataUseError, match="notes came under the Notes Agreement and arbiter is remote"):
        mibe.reward(task, judge=remote)
    assert remote.asked == []
    assert mibe.reward(task, judge=Arbiter())(None, ["1. Gout"], [CASE]) == [1.0]
    register_task(task)
    allowed = mibe.reward(task, judge=remote, allow_egress=["notes"], agreement="amendment 4")
    assert allowed(None, ["1. Gout"], [CASE]) == [1.0]
    # There is no way round it.
    with pytest.raises(DataUseError):
        mibe.Reward(task, judged_by=remote)
    with pytest.raises(DataUseError):
        replace(allowed, agreement=None)


def test_a_judge_that_fails_ends_the_training_and_quotes_no_credentialed_text():
    with pytest.raises(ModelError, match="the judge arbiter failed on 1 of 1 cases: judge arbiter: overloaded"):
        mibe.reward("nejm_cpc", judge=Arbiter(fails=True))(None, ["1. Gout"], [CASE])
    task = replace(load_task("nejm_cpc"), name="notes", access=credentialed("Notes Agreement"))
    case = replace(CASE, target=[SECRET])
    with pytest.raises(ModelError, match="failed on 1 of 1 cases$") as raised:
        mibe.reward(task, judge=Arbiter(fails=True))(None, ["1. Gout"], [case])
    assert SECRET not in str(raised.value)
