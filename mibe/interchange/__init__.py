"""Results in the forms that other tools read: lm-eval's JSON, tables, a model card's block, trackers of experiments."""

from mibe.interchange.exporting import FORMS, export
from mibe.interchange.tracking import track

__all__ = ["FORMS", "export", "track"]
