"""Suites: named settings of the paper, one JSON file each, in this folder."""

from mibe.suites.loading import ORDER, Suite, list_suites, load_suite

__all__ = ["ORDER", "Suite", "list_suites", "load_suite"]
