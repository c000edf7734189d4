"""CLIP: what a sentence of a discharge summary leaves to do, of seven kinds or none (Mullenbach et al. 2021)."""

from mibe.data.clusters import of_id
from mibe.data.readers.clip import LABELS, Clip
from mibe.metrics.multilabel import AnyLabelF1, LabelwiseMacroF1, LabelwiseScores, MicroF1, SubsetAccuracy
from mibe.parsers.labels import LabelSet
from mibe.parsers.vocabularies import CLIP_ALIASES
from mibe.task import Category, Prompt, Task, credentialed

TASK = Task(
    name="clip",
    title="CLIP: actions left to do in discharge summaries",
    category=Category.CLASSIFICATION,
    access=credentialed("PhysioNet Credentialed Health Data Use Agreement 1.5.0"),
    source=Clip(),
    prompt=Prompt(
        instruction=(
            "TASK: The input is a sentence of a hospital discharge summary, with the sentences around it as context. "
            "Decide what the sentence tells the physician who goes on treating the patient to do, or to know for it. "
            f"The labels are: {'; '.join(LABELS)}. A sentence can have several labels, and most sentences have none. "
            "Output format: a semicolon-separated list of the labels of the sentence, or the word none."
        ),
        input="CONTEXT: {context}\nSENTENCE: {sentence}",
        cut=("context",),
        answer=lambda example: "; ".join(example.target) or "none",
    ),
    parser=LabelSet(LABELS, aliases=CLIP_ALIASES),
    metrics=(
        LabelwiseMacroF1(LABELS),
        MicroF1(LABELS),
        AnyLabelF1(LABELS),
        SubsetAccuracy(),
        LabelwiseScores(LABELS),
    ),
    headline="macro_f1",
    shots=5,
    max_new_tokens=128,
    version=1,
    labels=LABELS,
    cluster=of_id("/"),
)
