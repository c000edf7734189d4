"""GPQA, biology: questions of experts, of graduate level, with four options (Rein et al. 2023)."""

from mibe.data.readers.gpqa import GpqaBiology
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare, WeightedF1
from mibe.parsers.options import OptionLetter
from mibe.task import OPEN, Category, Prompt, Task

LETTERS = ("A", "B", "C", "D")

TASK = Task(
    name="gpqa_biology",
    title="GPQA: biology of graduate level",
    category=Category.QA,
    access=OPEN,
    source=GpqaBiology(),
    prompt=Prompt(
        instruction=(
            "The following is a multiple-choice question in biology, written by an expert of the field for experts. "
            "Select one correct answer from A to D."
        ),
        input="Question: {question}\nOptions:\n{options}",
        cue="Answer:",
    ),
    parser=OptionLetter(),
    metrics=(Accuracy(), MacroF1(LETTERS), WeightedF1(LETTERS), PerLabel(LETTERS), PredictedShare(LETTERS)),
    headline="accuracy",
    shots=5,
    max_new_tokens=128,
    version=1,
    labels=LETTERS,
    breakdowns=("subdomain",),
)
