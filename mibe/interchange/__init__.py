"""Results in the forms that other tools read: lm-eval's JSON, tables, a model card's block."""

from mibe.interchange.exporting import FORMS, export

__all__ = ["FORMS", "export"]
