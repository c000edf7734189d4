"""MedNLI: inference from sentences of past medical histories (Romanov and Shivade 2018)."""

from mibe.data.clusters import of_input
from mibe.data.readers.mednli import LABELS, MedNli
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare, WeightedF1
from mibe.parsers.labels import OneLabel
from mibe.parsers.vocabularies import NLI_ALIASES
from mibe.task import Category, Prompt, Task, credentialed

TASK = Task(
    name="mednli",
    title="MedNLI: inference in the clinical domain",
    category=Category.NLI,
    access=credentialed("PhysioNet Credentialed Health Data Use Agreement 1.5.0"),
    source=MedNli(),
    prompt=Prompt(
        instruction=(
            "TASK: Please classify the relationship between the given premise and hypothesis into one of the following"
            " labels: entailment, contradiction, or neutral. Return only the label."
        ),
        # Table A2 prints one "{text}"; its two parts are marked as in the released code.
        input="INPUT:[PRE] {premise} [HYP] {hypothesis}",
        cut=("premise",),
    ),
    parser=OneLabel(LABELS, aliases=NLI_ALIASES),
    metrics=(MacroF1(LABELS), Accuracy(), WeightedF1(LABELS), PerLabel(LABELS), PredictedShare(LABELS)),
    headline="macro_f1",
    shots=5,
    max_new_tokens=64,
    version=4,
    labels=LABELS,
    cluster=of_input("premise"),
)
