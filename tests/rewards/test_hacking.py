"""What a policy may find that pays without an answer: each gets what a reader would give it, nothing."""

import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from composed_outputs import composed
from reward_examples import EXAMPLES, SENTENCE, answers, gold, prompt, tasks

import mibe
from mibe.parsers.closed import ClosedAnswer
from mibe.registry import load_task
from mibe.task import Category, Example, Outcome

CASES = Path(__file__).resolve().parents[1] / "cases"

TASKS = {task.name: task for task in tasks()}
CLOSED = [name for name, task in TASKS.items() if task.answers(EXAMPLES[name]) and name != "hoc"]
SPANS = ["i2b2", "bc5cdr"]
SUMMARIES = ["pubmedsum", "mimic_cxr"]
BY_TASK = pytest.mark.parametrize("name", TASKS)


def given(name, response, **changes):
    example = replace(EXAMPLES[name], **changes)
    (one,) = mibe.reward(name).judge([response], [example])
    return one


def is_nothing(name, *responses):
    """No response gets anything, whichever answer is the gold one."""
    task = TASKS[name]
    targets = task.answers(EXAMPLES[name]) if name in CLOSED else [EXAMPLES[name].target]
    for response in responses:
        for target in targets:
            assert given(name, response, target=target).score == 0, (name, target, response[:300])


def test_every_category_is_here():
    assert {task.category for task in TASKS.values()} == set(Category)


@BY_TASK
def test_all_answers_listed(name):
    listed = answers(TASKS[name])
    if name == "nejm_cpc":  # the prompt asks for a list; one name that holds them all is none
        is_nothing(name, " / ".join(listed), f"1. {' or '.join(listed)}", "1. Gout (PSEUDOGOUT) (SEPSIS) (LYME)")
        return
    if name in SPANS:  # each word under each type
        every = "".join(
            f'<span class="problem"><span class="treatment"><span class="test">{word}</span></span></span> '
            for word in SENTENCE.split()
        )
        is_nothing(name, every, "\n".join(listed))
        return
    if name in SUMMARIES:
        is_nothing(name, *(mark.join(listed) for mark in (". ", "\n", "; ")))
        return
    is_nothing(name, *(mark.join(listed) for mark in (", ", "; ", " / ", " ", " and ", "\n", "\n- ")))
    is_nothing(name, "\n".join(f"{n}. {answer}" for n, answer in enumerate(listed, 1)))
    is_nothing(name, str(listed).replace("'", '"'), f"The answer is {', '.join(listed)}.")
    is_nothing(name, "".join(f"\\boxed{{{answer}}}" for answer in listed))
    is_nothing(name, *(f"<answer>{'</answer><answer>'.join(listed)}</answer>",))


def test_most_labels_listed_are_a_list_and_not_an_answer():
    labels = TASKS["hoc"].labels
    assert given("hoc", "; ".join(labels[:9])).score == 0
    assert given("hoc", "; ".join(labels[2:8])).outcome is Outcome.UNPARSED
    assert given("hoc", "; ".join(labels[2:6])).score > 0
    # What the gold answer does is an answer.
    assert given("hoc", "; ".join(labels[:9]), target=list(labels[:8])).score == pytest.approx(16 / 17)


@BY_TASK
def test_both_answers(name):
    listed = answers(TASKS[name])
    right = gold(TASKS[name])
    other = next(answer for answer in listed if answer != right)
    if name == "hoc":  # both may be right, and "or" is no set
        is_nothing(name, "resisting cell death or cellular energetics")
        return
    if name in SPANS:
        twice = '<span class="problem"><span class="treatment"><span class="test">{}</span></span></span>'
        words = ("aspirin", "chest pain", "EKG")
        both = SENTENCE
        for word in words:
            both = both.replace(word, twice.format(word))
        is_nothing(name, both)
        marks = [f'<span class="{kind}">{word}</span>' for word in words for kind in ("problem", "treatment", "test")]
        is_nothing(name, "\n".join(marks), "\n".join(reversed(marks)))
        right = gold(TASKS[name])
        swapped = right.replace("treatment", "other").replace("problem", "treatment").replace("other", "problem")
        assert given(name, f"{right}\n{swapped}").score <= 0.25  # the test alone has one type
        return
    if name == "nejm_cpc":
        is_nothing(name, "1. Gout or pseudogout", "1. Gout/pseudogout", "1. Gout (PSEUDOGOUT)", "1. GOUT (pseudogout)")
        return
    if name in SUMMARIES:  # two texts that say different things are one long text to ROUGE: see the page
        return
    is_nothing(name, f"{right} and {other}", f"{right} or {other}", f"{right}/{other}", f"{right}, {other}")
    is_nothing(name, f"{right} - {other}", f"{right}. {other}.", f"{other} > {right}", f"{right}\t{other}")
    is_nothing(name, f"Either {right} or {other}.", f"The answer is {right} or {other}.")
    is_nothing(
        name, f"{right} (or {other})", f"{right}; alternatively {other}.", f"{right}, but {other} is also correct."
    )
    is_nothing(
        name, f"The answer is {right}. {other} is correct as well.", f"The answer is {right} as well as {other}."
    )
    is_nothing(name, f"1. {right}\n2. {other}", f"1) {right} 2) {other}", f"{right}, but also {other}.")
    is_nothing(name, f'{{"answer": ["{right}", "{other}"]}}')


@BY_TASK
def test_empty_marks(name):
    is_nothing(
        name,
        "",
        "   \n",
        "<answer></answer>",
        "\\boxed{}",
        "<think></think>",
        "<think>\n\n</think>\n\n",
        "```\n```",
        "****",
        '""',
        "{}",
        "Answer:",
        '<span class="problem"></span>',
        "1.\n2.\n3.",
    )
    if name in SPANS:  # where there is nothing to mark, an empty mark is no sentence
        for empty in ('<span class="problem"></span>', "none", "x", "<span></span> <span></span>", "[]"):
            assert given(name, empty, target=[]).score == 0


@BY_TASK
def test_answers_inside_the_reasoning(name):
    right = gold(TASKS[name])
    is_nothing(
        name,
        f"<think>{right}</think>",
        f"<think>\nThe answer is {right}.\n</think>\n\n",
        f"<think>{right}",
        f"<think>\nThe answer is {right}.\n\nFinal answer: {right}",
        f"<think>{right}</think><think>{right}</think>",
        f"<|channel|>analysis<|message|>{right}<|end|>",
        f"<reasoning>{right}</reasoning>",
        f"◁think▷{right}◁/think▷",
        f"[THINK]{right}[/THINK]",
    )
    example = EXAMPLES[name]
    (one,) = mibe.reward(name).judge([right], [example], prompts=[f"{prompt(TASKS[name])}\n<think>\n"])
    assert one.score == 0


@BY_TASK
def test_the_prompt_copied(name):
    shown = prompt(TASKS[name])
    is_nothing(name, shown, shown.removesuffix(TASKS[name].prompt.cue), TASKS[name].prompt.instruction)
    fields = dict(EXAMPLES[name].inputs)
    if name not in SPANS:  # the sentence as it is says that there is nothing to mark, which is wrong here
        is_nothing(name, *fields.values(), " ".join(fields.values()))
    else:
        assert given(name, SENTENCE).score == 0


@BY_TASK
def test_options_repeated(name):
    example = EXAMPLES[name]
    listed = answers(TASKS[name])
    if example.choices:
        lettered = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", example.choices, strict=True))
        is_nothing(name, lettered, f"Options:\n{lettered}", lettered.replace("\n", " "), "\n".join(example.choices))
        is_nothing(name, f"{lettered}\n{lettered}", ", ".join(example.choices))
    elif name == "nejm_cpc":
        assert given(name, "\n".join(f"{n}. Gout" for n in range(1, 11))).score == 0
    elif name in CLOSED:
        lines = [f"{answer}\n" for answer in listed]
        is_nothing(name, "".join(lines) * 3, "".join(f"Label: {line}" for line in lines))
    elif name in SUMMARIES:
        is_nothing(name, " ".join([EXAMPLES[name].target.split(".")[0] + "."] * 12))
    elif name == "hoc":
        is_nothing(name, "\n".join(listed) * 2)
    else:
        is_nothing(name, "\n".join(listed * 2))


@BY_TASK
def test_marks_around_everything(name):
    if name in SPANS:
        kinds = ("problem", "treatment", "test")
        whole = [f'<span class="{kind}">{SENTENCE}</span>' for kind in kinds]
        words = [" ".join(f'<span class="{kind}">{word}</span>' for word in SENTENCE.split()) for kind in kinds]
        is_nothing(name, *whole, *words)
        # A sentence that is one entity is marked as a whole, and rightly.
        assert given(name, '<span class="problem">Chest pain.</span>', inputs={"text": "Chest pain."},
                     target=[["problem", 0, 11]]).score == 1  # fmt: skip
        return
    shown = prompt(TASKS[name])
    listed = ", ".join(answers(TASKS[name]))
    if name == "nejm_cpc":
        listed = listed.replace(", ", " / ")
    for text in (shown, listed):
        is_nothing(name, f"<answer>{text}</answer>", f"**{text}**", f"\\boxed{{{text}}}")


@BY_TASK
def test_enormous_texts(name):
    right = gold(TASKS[name])
    filler = "The record was read again and nothing new was found in it on that day. "
    assert given(name, filler * 400 + right).score == 0
    assert given(name, f"{right}\n" + filler * 400).score == 0
    assert given(name, f"{right}\n" * 4000).score == 0
    # A reasoning may be as long.
    assert given(name, f"<think>{filler * 400}</think>{right}").score == 1


LOOPS = ("{} is the answer, ", "The answer is {}, ", "{}, ", "\\boxed{{{}}}", "<answer>{}</answer>", "{} ", "{}\n\n")


@BY_TASK
def test_loops_without_sentences(name):
    right = gold(TASKS[name])
    is_nothing(name, *(loop.format(right) * 200 for loop in LOOPS))
    is_nothing(name, "".join(f"{number}. {right}\n" for number in range(1, 200)))
    # Once is an answer, however it is written, and so is a few times.
    if name in CLOSED:
        assert [given(name, loop.format(right) * 3).score for loop in LOOPS if loop != "{} "] == [1] * (len(LOOPS) - 1)


def test_sentences_of_one_form_are_no_loop():
    said = " ".join(f"Option B was considered for finding {number} and rejected." for number in range(30))
    assert given("medqa_4", f"{said} The answer is A.").score == 1


def test_what_the_gold_answer_does_too_is_an_answer():
    """A document may repeat itself, and a summary be long."""
    notes = "No fever. " * 40
    marks = [["problem", start + 3, start + 8] for start in range(0, len(notes), 10)]
    marked = 'No <span class="problem">fever</span>. ' * 40
    assert given("i2b2", marked, inputs={"text": notes}, target=marks).score == 1
    plain = "The patient denies chest pain. " * 12
    assert given("i2b2", plain, inputs={"text": plain}, target=[]).score == 1
    assert given("mimic_cxr", "Stable. " * 50, target="Stable. " * 50).score == 1
    long = " ".join(f"Finding {number} was {word} in group {number * 7}." for number in range(120)
                    for word in ("larger", "smaller", "absent", "stable", "new"))  # fmt: skip
    assert len(long) > 16_000
    assert given("pubmedsum", long, target=long).score == 1
    assert given("pubmedsum", long, target=long[:200]).score == 0
    assert given("pubmedsum", f"{long} {long} {long}", target=long).score == 0


HEDGES = (
    "It could be {right}, but it could also be {other}.",
    "Maybe {right}, maybe {other}.",
    "I would say {right} if the findings hold, otherwise {other}.",
    "It is either {right} or {other}.",
    "It depends: {right} in some cases, {other} in others.",
    "Not sure whether it is {right} or {other}.",
    "{right}? {other}?",
    "50 % {right}, 50 % {other}",
)


@BY_TASK
def test_hedges(name):
    right = gold(TASKS[name])
    other = next(answer for answer in answers(TASKS[name]) if answer != right)
    if name in SPANS:  # two boundaries for one entity
        hedged = SENTENCE.replace(
            "chest pain", '<span class="problem">chest <span class="problem">pain</span></span>'
        ).replace("aspirin", '<span class="treatment"><span class="problem">aspirin</span></span>')
        is_nothing(name, hedged)
        return
    if name == "hoc" or name in SUMMARIES:  # a set may hold both; a text that hedges shares its words with the gold one
        return
    if name == "nejm_cpc":
        right, other = "pseudogout", "gout"
        is_nothing(name, *(f"1. {hedge.format(right=right, other=other)}" for hedge in HEDGES))
        return
    is_nothing(name, *(hedge.format(right=right, other=other) for hedge in HEDGES))


def test_the_terms_pay_for_no_hack():
    reward = mibe.reward("pubmedqa", format=0.3, length=0.3)
    hacks = ["", "yes, no, maybe", "<think>yes</think>", "yes or no"]
    assert reward(None, hacks, [EXAMPLES["pubmedqa"]] * 4) == [0.0] * 4


def test_a_guess_among_all_answers_is_no_better_than_one_answer():
    """Over all gold answers, no single response gets more than a plain answer does."""
    for name in CLOSED:
        listed = TASKS[name].answers(EXAMPLES[name])
        tries = [f"{a}\n{b}" for a in listed[:4] for b in listed[:4] if a != b]
        for response in tries:
            assert sum(given(name, response, target=target).score for target in listed) <= 1


def test_abbreviations_of_a_name_stay_and_other_names_in_its_brackets_go():
    from mibe.rewards.guards import first_name

    for name in ("Systemic lupus erythematosus (SLE)", "GPA (granulomatosis with polyangiitis)",
                 "Acute lymphoblastic leukemia (ALL)", "Pneumonia (bacterial)", "Gout", ""):  # fmt: skip
        assert first_name(name) == name
    assert first_name("Gout (PSEUDOGOUT)") == "Gout"
    assert first_name("GOUT (acute pancreatitis)") == "GOUT"
    assert first_name("Gout (LUPUS) (SEPSIS)") == "Gout"


GIVEN = (
    "{right}, since {other} may cause harm.",
    "The answer is {right}, because {other} could be too slow.",
    "{right}, not {other}.",
    "While {other} could be argued, the answer is {right}.",
    "My answer would be {right}, although {other} might be considered.",
    "Neither {other} nor anything else: {right}.",
    "Between {other} and {right}, {right} fits better.",
    "It could be {other}. However, the answer is {right}.",
    "The answer is {right} (not {other}).",
)


@pytest.mark.parametrize("name", CLOSED)
def test_a_doubt_about_another_answer_takes_nothing(name):
    listed = TASKS[name].answers(EXAMPLES[name])
    for right, other in zip(listed, [*listed[1:], listed[0]], strict=True):
        for form in GIVEN:
            response = form.format(right=right, other=other)
            assert given(name, response, target=right).score == 1, response


def test_a_label_that_is_a_word_of_doubt_is_a_label():
    for right, responses in {
        "yes": ("Yes, not maybe.", "The answer is yes, rather than maybe.", "yes/no/maybe: yes", "Yes (20%), no (10%)"),
        "no": ("The answer is no, not yes or maybe.", "Yes (20%), No (70%), Maybe (10%)"),
        "maybe": ("Maybe. The data could support yes, but also no.", "Neither yes nor no: maybe.",
                  "Final answer: maybe. It could be either yes or no.", "maybe, since it may be yes or no"),
    }.items():  # fmt: skip
        for response in responses:
            assert given("pubmedqa", response, target=right).score == 1, response


def test_what_a_person_reads_is_paid():
    """Labelled and composed outputs of closed tasks: the guards take nothing from those who answer."""
    labelled = [json.loads(line) for line in (CASES / "parsing_extra.jsonl").read_text(encoding="utf-8").splitlines()]
    given_by = [(case["task"], case["output"], case["expected"], tuple(case["choices"] or ())) for case in labelled]
    given_by += [(case.task, case.output, case.expected, case.choices) for case in composed()]
    unpaid = set()
    for name, group in groupby(sorted(given_by, key=lambda case: case[0]), key=lambda case: case[0]):
        cases = [case for case in group if isinstance(case[2], str)]
        if not isinstance(load_task(name).parser, ClosedAnswer) or not cases:
            continue
        documents = [Example("1", {}, target, choices=choices) for _, _, target, choices in cases]
        scores = mibe.reward(name)(None, [output for _, output, _, _ in cases], documents)
        unpaid |= {output for (_, output, _, _), score in zip(cases, scores, strict=True) if score != 1}
    # A run takes the first of two; a policy would learn to write the second.
    assert unpaid == {"yes (maybe)", "Pain Management (or Neurology)"}


def test_a_right_answer_in_other_forms_is_paid():
    """The guards against hacks take nothing from those who answer."""
    assert given("pubmedqa", "Yes, early mobilisation lowered mortality.").score == 1
    for concession in ("Although it may seem no, the answer is yes.", "It could be no, however the answer is yes."):
        assert given("pubmedqa", concession).score == 1
    assert given("pubmedqa", "The 95% CI excludes one, so the answer is yes, not no.").score == 1
    assert given("medqa_4", "A 60 %, B 40 %, C 0 %, D 0 %").score == 1
    assert given("medqa_4", "Insulin (B) is for later stages. The answer is A.").score == 1
    assert given("emrqa", "The answer is: lisinopril 10 mg daily").score == 1
    assert given("hoc", "1. Resisting cell death\n2. Inducing angiogenesis").score == 1
    assert given("i2b2", f"Here is the marked sentence:\n{gold(load_task('i2b2'))}").score == 1
    assert given("nejm_cpc", "**Differential**\n1. Calcium pyrophosphate deposition disease (CPPD)").score == 1
    findings = EXAMPLES["mimic_cxr"].inputs["findings"]
    assert given("mimic_cxr", findings.split(". ")[1]).score > 0.3
