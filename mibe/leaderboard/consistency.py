"""Does an own figure reproduce a published one? Only where both were had in the same way does the question make sense.

The answer is yes where the published figure, which has three decimals, may lie inside the 95 % interval of the own one,
and no where it cannot. It is neither where the own run differs from the paper in protocol, documents or settings, or
nothing shows that it does not: then the reason stands in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

from mibe.data import store
from mibe.data.download import VARIANT as HUB
from mibe.leaderboard.runs import Result
from mibe.protocols.paper import NEW_TOKENS
from mibe.published.figures import HUMAN, OFFICIAL_TEST_SETS, TEST_DOCUMENTS, Published
from mibe.run.settings import changes_of

BERTSCORE_MODEL = "bert-base-multilingual-cased"
"""The encoder of the paper's BERTScore (released code)."""

ROUNDING = 0.0005
"""How far a printed figure may be from the one that was measured."""

OWN_NAMES = {
    "default": {"bertscore": "bertscore_f1"},
    "paper": {"bertscore": "bertscore_f1", "rouge1": "rouge1_median", "rougeL": "rougeL_median"},
}
"""Protocol → published name of a metric → name of the own figure that is the same, where the names differ."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether an own figure agrees with a published one: True, False, or None with the reason why none can be given.

    Beside True or False, `reason` says what limits the answer.
    """

    consistent: bool | None
    reason: str = ""

    def __str__(self) -> str:
        if self.consistent is None:
            return f"not comparable: {self.reason}"
        word = "yes" if self.consistent else "no"
        return f"{word}, {self.reason}" if self.reason else word


def own_name(metric: str, dataset: str, protocol: str) -> str:
    """The name of the own figure that answers to a published metric.

    Under the protocol `paper`, the published macro-F1 of i2b2 is the released code's micro-F1 (`docs/protocols.md`).
    """
    if protocol == "paper" and (dataset, metric) == ("i2b2", "macro_f1"):
        return "entity_f1"
    return OWN_NAMES[protocol].get(metric, metric)


def consistent(result: Result, figure: Published) -> Answer:
    """Whether an own result agrees with a published figure of the same data set and setting."""
    if reason := why_not(result, figure):
        return Answer(None, reason)
    own = result.part["figures"][own_name(figure.metric, figure.dataset, result.protocol)]
    if own["low"] == own["high"]:
        return Answer(None, "the own interval has no width")
    partial = f"on {result.scored} of {result.documents} documents" if result.partial else ""
    return Answer(own["low"] - ROUNDING <= figure.value <= own["high"] + ROUNDING, partial)


def why_not(result: Result, figure: Published) -> str:
    """Why an own figure and a published one do not measure the same thing; "" when they do."""
    if result.protocol != "paper":
        return f"protocol is {result.protocol}, not paper"
    if asked := result.settings.get("asked_under"):
        return f"text is generated under the protocol {asked}, not paper"
    if prompts := result.settings.get("prompts"):
        return f"prompts are those of the {prompts}, not the released ones"
    if result.conditions["split"] != "test":
        return f"split is {result.conditions['split']}, not test"
    if result.conditions["scoring"] != "generate":
        return f"answers by {result.conditions['scoring']}"
    if (style := result.conditions["style"]) != "direct":
        return f"answers are asked for in another way ({style})"
    if changes := changes_of(result.settings):
        return f"text is generated in another way ({', '.join(changes)})"
    if result.draws > 1:
        return f"the mean of {result.draws} draws, the paper has one"
    if other := other_documents(result):
        return other
    if result.part["max_new_tokens"] != NEW_TOKENS:
        return f"answers of up to {result.part['max_new_tokens']} tokens, the paper has {NEW_TOKENS}"
    encoder = str(result.settings.get("bertscore") or "").split(":")[0]
    if figure.metric == "bertscore" and not encoder.endswith(BERTSCORE_MODEL):
        return f"BERTScore's encoder is not {BERTSCORE_MODEL}"
    return ""


def other_documents(result: Result) -> str:
    """Why the documents of a test split are not, or need not be, the paper's; "" where their content says they are.

    They are where they are the authors' own, from the hub, or the official test set that the paper takes: the content
    is then that of the copy in the package or, where none ships, as `mibe data prepare` wrote it.
    """
    name, data = result.task.removesuffix(HUMAN), result.part["data"]
    if result.documents != TEST_DOCUMENTS[name]:
        return f"{result.documents:,} test documents, the paper has {TEST_DOCUMENTS[name]:,}"
    manifest = data["manifest"] or {"variant": None, "splits": {}}
    as_prepared = manifest["splits"].get("test", {}).get("sha256") == data["sha256"]
    if manifest["variant"] == HUB and as_prepared:
        return ""
    if name not in OFFICIAL_TEST_SETS:
        return f"the paper does not say which {result.documents:,} documents are its test set"
    shipped = store.shipped_fingerprint(name, "test")
    same = data["sha256"] == shipped if shipped else as_prepared
    return "" if same else "the documents are not known to be those of the official test set"
