"""Hallmarks of Cancer: which of ten hallmarks an abstract is about, several or one (Baker et al. 2016)."""

from mibe.data.readers.hoc import LABELS, HallmarksOfCancer
from mibe.metrics.multilabel import ExampleF1, LabelwiseMacroF1, LabelwiseScores, MicroF1, SubsetAccuracy
from mibe.parsers.labels import LabelSet
from mibe.parsers.vocabularies import HOC_ALIASES
from mibe.task import OPEN, Category, Prompt, Task

TASK = Task(
    name="hoc",
    title="Hallmarks of Cancer classification (HoC)",
    category=Category.CLASSIFICATION,
    access=OPEN,
    source=HallmarksOfCancer(),
    prompt=Prompt(
        instruction=(
            "The task is to decide the Hallmarks of Cancer (HOC) taxonomy of the article based on its abstract. The "
            "input is an abstract text. There are 10 topics you will need to decide whether the article is related "
            "to. Topics: sustaining proliferative signaling, evading growth suppressors, resisting cell death, "
            "enabling replicative immortality, inducing angiogenesis, activating invasion and metastasis, genomic "
            "instability and mutation, tumor promoting inflammation, cellular energetics, avoiding immune "
            "destruction. The output should be topics from the above 10 topics, that are related to the input "
            "article. Please note one article can be related to multiple topics. Output format: provide a "
            "semicolon-separated list of relevant topics."
        ),
        input="INPUT: {text}",
        cut=("text",),
    ),
    parser=LabelSet(LABELS, aliases=HOC_ALIASES),
    metrics=(LabelwiseMacroF1(LABELS), MicroF1(LABELS), ExampleF1(), SubsetAccuracy(), LabelwiseScores(LABELS)),
    headline="macro_f1",
    shots=5,
    max_new_tokens=128,
    version=4,
    labels=LABELS,
)
