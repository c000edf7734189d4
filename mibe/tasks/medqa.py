"""MedQA (USMLE): licensing examination questions with five or four options (Jin et al. 2020)."""

from dataclasses import replace

from mibe.data.readers.medqa import MedQa
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare, WeightedF1
from mibe.parsers.options import OptionLetter
from mibe.task import OPEN, Category, Prompt, Task

FIVE = ("A", "B", "C", "D", "E")
FOUR = ("A", "B", "C", "D")

TASK = Task(
    name="medqa",
    title="MedQA (USMLE), five options",
    category=Category.QA,
    access=OPEN,
    source=MedQa(options=5),
    prompt=Prompt(
        instruction=(
            "You are a medical doctor taking the US Medical Licensing Examination. You need to demonstrate your "
            "understanding of basic and clinical science, medical knowledge, and mechanisms underlying health, "
            "disease, patient care, and modes of therapy. Show your ability to apply the knowledge essential for "
            "medical practice. For the following multiple-choice question, select one correct answer from A to E. "
            "Base your answer on the current and standard practices referenced in medical guidelines."
        ),
        input="Question: {question}\nOptions:\n{options}",
        cue="Answer:",
    ),
    parser=OptionLetter(),
    metrics=(Accuracy(), MacroF1(FIVE), WeightedF1(FIVE), PerLabel(FIVE), PredictedShare(FIVE)),
    headline="accuracy",
    shots=5,
    max_new_tokens=128,
    version=4,
    labels=FIVE,
)

FOUR_OPTIONS = replace(
    TASK,
    name="medqa_4",
    title="MedQA (USMLE), four options",
    source=MedQa(options=4),
    prompt=replace(TASK.prompt, instruction=TASK.prompt.instruction.replace("from A to E", "from A to D")),
    labels=FOUR,
    metrics=(Accuracy(), MacroF1(FOUR), WeightedF1(FOUR), PerLabel(FOUR), PredictedShare(FOUR)),
)
