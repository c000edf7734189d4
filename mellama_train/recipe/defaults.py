"""Values that recipes and command lines share, where both may look without a library."""

CONTEXT = 4096
"""Tokens of a row, as the paper has them."""
