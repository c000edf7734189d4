"""BioNLI: whether the conclusion of an abstract follows from the sentences before it (Bastan et al. 2022)."""

from dataclasses import replace

from mibe.data.readers.bionli import BioNli
from mibe.data.readers.mednli import LABELS
from mibe.metrics.classification import Accuracy, MacroF1Gold, PerLabel, PredictedShare, WeightedF1
from mibe.task import OPEN
from mibe.tasks import mednli

TASK = replace(
    mednli.TASK,
    name="bionli",
    title="BioNLI: conclusions of abstracts, as written or perturbed",
    access=OPEN,
    source=BioNli(),
    metrics=(
        # The prompt offers "neutral", which the data never use.
        MacroF1Gold(LABELS, name="macro_f1"),
        Accuracy(),
        WeightedF1(LABELS),
        PerLabel(LABELS),
        PredictedShare(LABELS),
    ),
)
