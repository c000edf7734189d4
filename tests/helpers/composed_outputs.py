"""Outputs composed of forms that models write, each with the answer that a person reads from it.

A form is a conclusion, what stands before it and what follows it; forms are put together for every set of options and
every label, so that a rule which fits one wording of one answer alone shows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OPTION_SETS: Sequence[Sequence[str]] = (
    ("Aspirin", "Heparin", "Warfarin", "Alteplase"),
    ("Order a CT scan of the abdomen", "Start intravenous ceftriaxone", "Reassurance", "Perform a laparotomy"),
    ("Gout", "Septic arthritis", "Reactive arthritis", "Lyme disease", "Psoriatic arthritis"),
    ("Vitamin A", "Vitamin B12", "Vitamin C", "Vitamin D"),
    ("10%", "20%", "35%", "50%"),
)
LABELS: dict[str, Sequence[str]] = {
    "pubmedqa": ("yes", "no", "maybe"),
    "mednli": ("entailment", "contradiction", "neutral"),
    "bionli": ("entailment", "contradiction", "neutral"),
    "ddi": ("DDI-effect", "DDI-mechanism", "DDI-advise", "DDI-int", "DDI-false"),
    "mtsample": ("Surgery", "Neurology", "Radiology", "Cardiovascular / Pulmonary", "Consult - History and Phy."),
}

# {L} and {T} are the letter and the text of the answer, {O} and {OT}, {P} and {PT} those of two other options.
STATED = (
    "Therefore, the answer is {L}.", "So the answer is ({L}).", "Thus, among A through D, the answer is {L}.",
    "**Answer: {L}**", "Final answer: {L}", "The correct answer is {L}) {T}.", "The correct answer is **{L}. {T}**",
    "Answer: {L}", "\\boxed{{{L}}}", "Hence the correct option is {L}.", "My answer is {L}.",
    "I therefore choose {L}.",
    "### Final answer\n{L}", "The answer is therefore {L}: {T}.", "정답: {L}", "따라서 정답은 {L}입니다.",
    "答案：{L}",
    "故选{L}。", "正解は{L}です。", "Antwort: {L}", "Die richtige Antwort ist {L}.", "Réponse : {L}",
    "La bonne réponse est la {L}.", "La respuesta correcta es la {L}.", "La risposta corretta è la {L}.",
    "A resposta correta é a letra {L}.", "Правильный ответ: {L}", "Đáp án đúng là {L}.", "الإجابة الصحيحة هي {L}.",
    "सही उत्तर {L} है।",
)  # fmt: skip
BEFORE = (
    "", "The patient has a fever and a stiff neck.", "Option {O} is {OT}, which is used in other settings.",
    "Answer choice {O} is {OT}. That does not match the history.", "{OT}\n\nThis would cause a different picture.",
    "Option {O}: {OT} is given in another disease.\nOption {P}: {PT} has no role here.",
    "{O}. {OT} - this would not help.\n{P}. {PT} - this is too late.", "The candidates are:\n- {OT}\n- {PT}",
    "{O}) {OT}: It is seen in children.\n\n{P}) {PT}: It is rarer.", "Is it {O}? The pressure would be low.",
    "- **{O}. {OT}:** It acts late.\n- **{P}. {PT}:** It is toxic.",
)  # fmt: skip
AFTER = (
    "", "\n\n{OT} is used for something else.", "\n\nOption {O} is wrong because it is slow.",
    "\n\nI hope this helps!",
    "\n\nQuestion: What is lacking in scurvy?\nA. Niacin\nB. Biotin\nC. Ascorbic acid\nD. Iron\nAnswer: {O}",
    "\n\nWhich of these is a fruit?\nA. Car\nB. Apple\nC. Stone\nD. Tree\n\nAnswer: {O}",
    "\n\nThe others are wrong:\n- {O}. {OT}: too slow.\n- {P}. {PT}: toxic.",
)  # fmt: skip
FIRST = (
    "{L}", "{L}.", "({L})", "**{L}**", " {L}", "{L}\\n\\n", "{L} Explanation: The rash follows a bite.",
    "{L} The patient has pleuritic pain.", "{L}\nA\nB\nC\nD", "{L}\nOption {O}: {OT} is used for",
    "{L}\n\nA man of 60 has pain. What is it?\nA. Gallstones\nB. Ulcer\nC. Reflux\nD. Angina\n\nAnswer: {O}",
    "{L}\n\nThe other options ({O} and {P}) are wrong.", "{L}\n\nExplanation: {OT} would be used in children. The",
)  # fmt: skip
LEFT = (
    "Not {O}, not {P}: the picture fits {L}.", "It is neither {O} nor {P}; the answer is {L}.",
    "{O} and {P} can be ruled out, which leaves {L}.", "{O} is wrong, {L} is right.",
)  # fmt: skip
NOTHING = (
    "{O}) {OT}: It starts with", "*   **{O}) {OT}:** This is also a", "So maybe the answer is {O}? It would",
    "Perhaps the answer is {O}? That would be", "The answer is {O}, {P}, and {L}.", "Either {O} or {P}.",
    '{{"answer": "{O}. {OT}, {P}. {PT}"}}', "{{'A': 0, 'B': 0, 'C': 0, 'D': 0}}", "- {OT}\n- {PT}", "It is not {O}.",
    "{O} is wrong. {P} is wrong.", "Therefore, the answer is none of the above.", "La respuesta no es la {O}.",
    "If the pain were worse, the answer would be {O}.", "정답은 {O}가 아닙니다",
    "The response was filtered due to the prompt triggering the content management policy.",
)  # fmt: skip

# {X} is the answer, {Y} and {Z} are other labels, {all} is a list of all.
LABEL_STATED = (
    "Answer: {X}", "output: {X}", "OUTPUT: {X}", "The answer is {X}.", "Therefore, the answer is {X}.", "Label: {X}",
    "Thus, the correct label is {X}.", "So I would say {X}.", "**Answer: {X}**", "\\boxed{{{X}}}", "### Answer\n{X}",
    "정답: {X}", "答案：{X}", "The final answer is: {X}",
)  # fmt: skip
LABEL_BEFORE = (
    "", "The values rose.\n\n", "We need to decide whether it is {Y}, {Z}, or something else.\n\n",
    "1. {Y}\n2. {Z}\n\n",
    "Possible answers:\n{all}\n\n", 'For the label to be "{Y}", the text would have to say so.\n\n',
    "It is not {Y}, since nothing says so. ", "One might think of {Y}, but the text says otherwise. ",
    "- **{Y}**: would need more evidence.\n- **{Z}**: is not supported.\n\n", "Is this {Y}? The text is short.\n\n",
)  # fmt: skip
LABEL_FIRST = (
    "{X}", "{X}.", "**{X}**", "{X}\\n\\n", "{X} Explanation: the two arms healed alike.",
    "{X} Both techniques were used.",
    "{X} - the text says so.", "{X}, because the text says so.", "{X} ❌ The text is not {Y}.",
    "{X}: the text says so.", "{X}\n\nIt is not {Y}, since nothing points there.",
    "{X}\n\nQuestion: Is it safe?\nAnswer: {Y}",
)  # fmt: skip
LABEL_NOTHING = (
    "{all}", "1. {X}\n2. {Y}", "1. {Y}\n2. {X}", "Possible answers:\n{all}", "{X} or {Y}",
    "We must decide whether it is {X}.",
    "So maybe the answer is {X}? It would", "It is not {X}.", "Answer: {X} or {Y}", "{X} / {Y}",
    "- {X}\n- {Y}\n- {Z}",
    "For the label to be {X}, it would have to",
)  # fmt: skip


@dataclass(frozen=True)
class Composed:
    """An output, and what a person reads from it."""

    task: str
    kind: str
    output: str
    expected: str | None
    choices: tuple[str, ...] = ()


def composed() -> Iterator[Composed]:
    """All of them; the draws are the same each time."""
    draw = random.Random(2026)
    for choices in OPTION_SETS:
        yield from _options(tuple(choices), draw)
    for task, labels in LABELS.items():
        for label in labels:
            yield from _label(task, label, labels, draw)


def _options(choices: tuple[str, ...], draw: random.Random) -> Iterator[Composed]:
    def one(kind: str, form: str, *, none: bool = False) -> Composed:
        first, second, third = draw.sample(range(len(choices)), 3)
        second, third = sorted((second, third))
        fields = dict(zip(("L", "O", "P"), ("ABCDE"[i] for i in (first, second, third)), strict=True))
        fields |= dict(zip(("T", "OT", "PT"), (choices[i] for i in (first, second, third)), strict=True))
        return Composed("medqa_4", kind, form.format(**fields), None if none else fields["L"], choices)

    for conclusion in STATED:
        for before in BEFORE:
            gap = draw.choice(["\n\n", "\n", " "]) if "#" not in conclusion and "\n" not in before else "\n\n"
            yield one("stated, after other things", f"{before}{gap}{conclusion}")
        for after in AFTER:
            yield one("stated, before other things", conclusion + after)
    for kind, forms in (("stated first", FIRST), ("what is left", LEFT), ("nothing chosen", NOTHING)):
        for form in forms * 3:
            yield one(kind, form, none=kind == "nothing chosen")
    for best in range(len(choices)):
        scores = {letter: 0.6 if i == best else 0.1 + i / 100 for i, letter in enumerate("ABCDE"[: len(choices)])}
        yield Composed("medqa_4", "JSON", json.dumps(scores), "ABCDE"[best], choices)
        yield Composed("medqa_4", "JSON", json.dumps({"why": "A?", "answer": "ABCDE"[best]}), "ABCDE"[best], choices)


def _label(task: str, label: str, labels: Sequence[str], draw: random.Random) -> Iterator[Composed]:
    def one(kind: str, form: str, *, none: bool = False) -> Composed:
        other, another = draw.sample([other for other in labels if other != label], 2)
        listed = "\n".join(f"- {name}" for name in draw.sample(list(labels), len(labels)))
        output = form.format(X=label, Y=other, Z=another, all=listed)
        return Composed(task, kind, output, None if none else label)

    for conclusion in LABEL_STATED:
        for before in LABEL_BEFORE:
            yield one("stated, after other things", before + conclusion)
    for kind, forms in (("stated first", LABEL_FIRST), ("nothing chosen", LABEL_NOTHING)):
        for form in forms:
            yield one(kind, form, none=kind == "nothing chosen")
    yield Composed(task, "JSON", json.dumps({"label": label, "explanation": "no other"}), label)
