"""MMLU: 57 subjects with four options (Hendrycks et al. 2021); the paper's test for forgetting."""

from dataclasses import replace

from mibe.data.readers.mmlu import Mmlu
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare, WeightedF1
from mibe.parsers.options import OptionLetter
from mibe.task import OPEN, Category, Prompt, Task

LETTERS = ("A", "B", "C", "D")
MEDICAL_SUBJECTS = frozenset(
    {
        "anatomy",
        "clinical_knowledge",
        "college_biology",
        "college_medicine",
        "medical_genetics",
        "professional_medicine",
    }
)

TASK = Task(
    name="mmlu",
    title="MMLU: 57 subjects",
    category=Category.GENERAL,
    access=OPEN,
    source=Mmlu(),
    prompt=Prompt(
        instruction=(
            "The following are multiple choice questions (with answers). Select one correct answer from A to D."
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
    breakdowns=("category", "subject"),
    shots_match="subject",
)

MEDICAL = replace(
    TASK,
    name="mmlu_medical",
    title="MMLU: the six medical subjects",
    dataset="mmlu",
    subset={"subject": MEDICAL_SUBJECTS},
    breakdowns=("subject",),
)
