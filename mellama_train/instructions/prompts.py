"""Table A1 of the paper: the prompt of each instruction data set, word for word.

The table prints a prompt on one line; here each field has a line of its own, as in the prompts that `mibe` evaluates
with (table A2), so that a tuned model meets the form it was tuned on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template whose slots are `{name}`. The line of an `optional` slot is left out where the item has no such text.

    `name` is the row of table A1, None for prompts that are not the paper's.
    """

    name: str | None
    template: str
    optional: str | None = None

    def slots(self) -> tuple[str, ...]:
        """The names of the slots, in order."""
        return tuple(_SLOT.findall(self.template))

    def required(self) -> tuple[str, ...]:
        """The slots that an item must fill."""
        return tuple(slot for slot in self.slots() if slot != self.optional)

    def render(self, fields: Mapping[str, str]) -> str:
        """The prompt with the texts in its slots."""
        lines = self.template.split("\n")
        if self.optional is not None and not fields.get(self.optional):
            lines = [line for line in lines if f"{{{self.optional}}}" not in line]
        # One pass, since a text may hold braces itself.
        return _SLOT.sub(lambda match: fields[match[1]], "\n".join(lines))


def _asks(name: str | None, instruction: str) -> Prompt:
    return Prompt(name, f"{instruction}\nINPUT: {{input}}\nOUTPUT:")


GENERAL = Prompt(
    "General domain data",
    "Below is an input that describes a task, maybe paired with a context that provides further information. Write a "
    "response that appropriately completes the request.\nINPUT: {input}\nCONTEXT: {context}\nOUTPUT:",
    optional="context",
)
CONVERSATION = _asks(
    "Medical conversation data",
    "Given a medical query, provide a concise and clear answer based on the patient's description.",
)
MEDINSTRUCT = Prompt(
    "MedInstruct",
    "Below is an input that describes a medical task, maybe paired with a context that provides further input "
    "information. Write a response that appropriately completes the request.\nINPUT: {input}\nCONTEXT: {context}\n"
    "OUTPUT:",
    optional="context",
)
FLASH_CARDS = _asks("Medical flash cards", "If you are a medical professional, answer this question truthfully.")
MEDIQA = Prompt(
    "MEDIQA",
    "Answer the input medical question based on the given context.\nINPUT: {input}\nCONTEXT: {context}\nOUTPUT:",
)
MEDICATION_QA = _asks("MedicationQA", "Answer this medical question truthfully.")
LIVE_QA = _asks("LiveQA", "Given a medical query, provide a concise and clear answer based on the given details.")
PATIENT_INFORMATION = _asks("Patient Information QA", "Answer this medical question truthfully.")
GUIDELINE_QA = _asks("GuidelineQA", "If you are a medical professional, answer this question truthfully.")
TITLE = _asks("Summarization", "Given an abstract of a biomedical paper, generate the title.")
NEXT_SENTENCE = _asks(
    "Pubmed sentence generation",
    "The task is to generate the subsequent sentence in a piece of biomedical literature based on the existing "
    "content.",
)
NEXT_GUIDELINE = _asks(
    "Guideline sentence generation",
    "Write the next part for a clinical guideline. You're given a piece of the guideline, and your task is to continue "
    "it. The new part should match the style and detail of the original and be medically correct.",
)
TOPICS = _asks(
    "Topic prediction",
    "The task is to assign MeSH (Medical Subject Headings) terms to a given piece of biomedical literature. The input "
    "is the title and abstract of a biomedical literature. The output is a list of applicable MeSH terms.",
)
ADVICE = _asks(
    "Causal relation detection",
    "For the following statement, determine whether it offers: 1) Strong Advice: The statement gives a clear and "
    "assertive recommendation or guidance, or 2) Weak Advice: The statement provides a suggestion or mild "
    "recommendation but is not very assertive, or 3) No Advice: The statement doesn't offer any recommendation or "
    "guidance.",
)
RELATION = _asks(
    "Relation extraction",
    "Given a medical question, provide the answer to determine the relation between two medical terms in the question.",
)
RADIOLOGY = _asks(
    "MIMIC radiology",
    "The task is to generate the radiology impression based on radiology findings from a patient's clinical note. The "
    "input is the radiology findings from a patient's clinical note. Generate an impression accordingly.",
)
DISEASE_CHOICE = Prompt(
    "MIMIC disease multiple-choice",
    "The task is to determine whether a patient suffers from certain diseases, and you need to choose the right answer "
    "from the choices. The input is the clinical note of a patient. Please determine which of the following disease(s) "
    "occurred during the patient's hospital stay, according to the clinical note in the input:\nA: {a}\nB: {b}\n"
    "C: {c}\nD: {d}\nOutput format: The output should be A, B, C, or D only.\nINPUT: {input}\nOUTPUT:",
)
DISEASE_QA = _asks(
    "MIMIC disease QA",
    "The task is to determine whether a patient suffers from certain diseases. The input is the clinical note of a "
    "patient. Please respond with all of the disease(s) that occurred during the hospital stay, according to the "
    "clinical note in the input.",
)
DISEASE_BINARY = Prompt(
    "MIMIC disease binary classification",
    "The task is to determine whether a patient suffers from certain diseases. The input is the clinical note of a "
    "patient. Please determine whether all of the following disease(s) occurred during the patient's hospital stay: "
    "{diseases}. Answer with True or False only.\nINPUT: {input}\nOUTPUT:",
)
MORTALITY = _asks(
    "MIMIC mortality",
    "The task is to determine whether the patient died while in the hospital. The input is the clinical note of a "
    "patient. Using the information in the input, determine whether the patient died while in the hospital.",
)
MANUAL_QA = Prompt(
    "MIMIC manual QA",
    "The task is answering a question based on a clinical note in the input and your knowledge. The input is the "
    "clinical note of a patient. Please answer the question: {question}\nINPUT: {input}\nOUTPUT:",
)

# Not the paper's: the labels of Yu et al. 2019 say how causal a finding is, which is no answer to the prompt above.
CAUSAL = _asks(
    None,
    "For the following finding, determine the relation that it states: 1) Causal: one thing directly causes or changes "
    "the other, or 2) Conditional causal: the causal statement is hedged, or 3) Correlational: the two are associated, "
    "or 4) No relation: neither is stated.",
)

TABLE_A1 = (
    *(GENERAL, CONVERSATION, MEDINSTRUCT, FLASH_CARDS, MEDIQA, MEDICATION_QA, LIVE_QA, PATIENT_INFORMATION),
    *(GUIDELINE_QA, TITLE, NEXT_SENTENCE, NEXT_GUIDELINE, TOPICS, ADVICE, RELATION),
    *(RADIOLOGY, DISEASE_CHOICE, DISEASE_QA, DISEASE_BINARY, MORTALITY, MANUAL_QA),
)
"""Every row of the table, in its order (it prints "Summarization" twice)."""
