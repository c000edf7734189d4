"""PubMedQA: yes, no or maybe, from the abstract that a research question heads (Jin et al. 2019)."""

from mibe.data.readers.pubmedqa import PubMedQa
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare, WeightedF1
from mibe.parsers.labels import OneLabel
from mibe.parsers.vocabularies import PUBMEDQA_AS_ANSWER_ONLY
from mibe.task import OPEN, Category, Prompt, Task

LABELS = ("yes", "no", "maybe")

TASK = Task(
    name="pubmedqa",
    title="PubMedQA: research questions answered from their abstract",
    category=Category.QA,
    access=OPEN,
    source=PubMedQa(),
    prompt=Prompt(
        instruction=(
            "Your task is to answer biomedical questions using the given abstract. Only output yes, no, or maybe as "
            "answer."
        ),
        input="INPUT: {question}\nCONTEXT: {context}",
        cut=("context",),
    ),
    parser=OneLabel(LABELS, as_answer_only=PUBMEDQA_AS_ANSWER_ONLY),
    metrics=(Accuracy(), MacroF1(LABELS), WeightedF1(LABELS), PerLabel(LABELS), PredictedShare(LABELS)),
    headline="accuracy",
    shots=5,
    max_new_tokens=64,
    version=4,
    labels=LABELS,
)
