"""DDI 2013: which interaction, if any, a sentence states between two drugs (Herrero-Zazo et al. 2013)."""

from mibe.data.clusters import of_id
from mibe.data.readers.ddi import DdiCorpus
from mibe.metrics.classification import (
    Accuracy,
    DetectionF1,
    MacroF1,
    MicroF1OfLabels,
    PerLabel,
    PredictedShare,
    WeightedF1,
)
from mibe.parsers.labels import OneLabel
from mibe.parsers.vocabularies import DDI_ALIASES, DDI_AS_ANSWER_ONLY
from mibe.task import NON_COMMERCIAL, Category, Prompt, Task

LABELS = ("DDI-effect", "DDI-mechanism", "DDI-advise", "DDI-int", "DDI-false")
POSITIVE = LABELS[:4]

TASK = Task(
    name="ddi",
    title="Drug–drug interaction extraction (DDI 2013)",
    category=Category.RELATION_EXTRACTION,
    access=NON_COMMERCIAL,
    source=DdiCorpus(),
    prompt=Prompt(
        # The paper's "@DRUG\$" is an escape left over from typesetting; the data say "@DRUG$".
        instruction=(
            "TASK: The input is a sentence where the drug is labeled as @DRUG$. Extract the relationship between 2 "
            "@DRUG$ from the input sentence by selecting only one of the following options: 'DDI-effect', "
            "'DDI-mechanism', 'DDI-advice', 'DDI-false', and 'DDI-int'. DDI-effect, this type is used to annotate "
            "DDIs describing an effect or a pharmacodynamic mechanism. DDI-mechanism, this type is used to annotate "
            "DDIs that are described by their pharmacokinetic mechanism. DDI-advice, this type is used when a "
            "recommendation or advice regarding a drug interaction is given. DDI-false, this type is used when no DDI"
            " relation appears. DDI-int, this type is used when a DDI appears in the text without providing any "
            "additional information."
        ),
        input="INPUT: {text}",
        cut=("text",),
    ),
    parser=OneLabel(LABELS, aliases=DDI_ALIASES, as_answer_only=DDI_AS_ANSWER_ONLY),
    metrics=(
        MacroF1(LABELS),
        MacroF1(POSITIVE, name="macro_f1_positive"),
        MicroF1OfLabels(POSITIVE, name="micro_f1_positive"),
        DetectionF1(POSITIVE),
        Accuracy(),
        WeightedF1(LABELS),
        PerLabel(LABELS),
        PredictedShare(LABELS),
    ),
    headline="macro_f1",
    shots=5,
    max_new_tokens=64,
    version=4,
    labels=LABELS,
    # "DDI-DrugBank.d519.s3.p0" is the first pair of a sentence of the document d519.
    cluster=of_id(".", 2),
)
