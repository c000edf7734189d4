"""Results in the forms that other tools read (lm-eval, tables, the hub, Every Eval Ever, Inspect, trackers), and tasks
as environments of other trainers."""

from mibe.interchange.environments import ENVIRONMENTS, environment
from mibe.interchange.exporting import FORMS, export
from mibe.interchange.tracking import track

__all__ = ["ENVIRONMENTS", "FORMS", "environment", "export", "track"]
