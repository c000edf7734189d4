"""Results in the forms that other tools read: lm-eval, tables, the hub, Every Eval Ever, Inspect, trackers."""

from mibe.interchange.exporting import FORMS, export
from mibe.interchange.tracking import track

__all__ = ["FORMS", "export", "track"]
