"""Variants of a document: the same question in another form, to see whether the answer stays (`docs/robustness.md`)."""

from mibe.variation.attributes import REFERENCES
from mibe.variation.varied import Varied, document_of
from mibe.variation.ways import BASELINE, FAIRNESS, ROBUSTNESS, VERSION, Variation, check, draw_of_shots, variation_of

__all__ = [
    "BASELINE",
    "FAIRNESS",
    "REFERENCES",
    "ROBUSTNESS",
    "VERSION",
    "Variation",
    "Varied",
    "check",
    "document_of",
    "draw_of_shots",
    "variation_of",
]
