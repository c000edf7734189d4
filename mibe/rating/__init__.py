"""Ratings of ranked diagnoses by people: the page they are given on, where they are kept, and the scores they make.

The ratings of a run lie in its folder, one database a task, beside the samples that they are of (`docs/rating.md`).
"""
