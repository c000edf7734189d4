"""MedMCQA: questions of Indian medical entrance examinations with four options (Pal et al. 2022)."""

from mibe.data.readers.medmcqa import MedMcqa
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare, WeightedF1
from mibe.parsers.options import OptionLetter
from mibe.task import OPEN, Category, Prompt, Task

LETTERS = ("A", "B", "C", "D")

TASK = Task(
    name="medmcqa",
    title="MedMCQA: medical entrance examinations",
    category=Category.QA,
    access=OPEN,
    source=MedMcqa(),
    prompt=Prompt(
        instruction=(
            "You are a medical doctor answering realworld medical entrance exam questions. Based on your "
            "understanding of basic and clinical science, medical knowledge, and mechanisms underlying health, "
            "disease, patient care, and modes of therapy, answer the following multiple-choice question. Select one "
            "correct answer from A to D. Base your answer on the current and standard practices referenced in medical"
            " guidelines."
        ),
        input="Question: {question}\nOptions:\n{options}",
        cue="Answer:",
    ),
    parser=OptionLetter(),
    metrics=(Accuracy(), MacroF1(LETTERS), WeightedF1(LETTERS), PerLabel(LETTERS), PredictedShare(LETTERS)),
    headline="accuracy",
    shots=5,
    max_new_tokens=128,
    version=4,
    labels=LETTERS,
    breakdowns=("subject",),
)
