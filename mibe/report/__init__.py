"""The report of a run as a page: scores, confusion, outcomes, time and tokens, and every sample (`docs/report.md`)."""
