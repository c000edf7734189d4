"""Metrics, and the uncertainty of their figures. A metric is additive statistics of each sample (`base`)."""
