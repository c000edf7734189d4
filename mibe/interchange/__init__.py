"""Results in the forms that other tools read: lm-eval, tables, the hub, Every Eval Ever, Inspect."""

from mibe.interchange.exporting import FORMS, export

__all__ = ["FORMS", "export"]
