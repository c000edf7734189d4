"""Terms of use, enforced: credentialed text stays on this machine unless its user names the task and the agreement."""

from mibe.data_use.egress import (
    Egress,
    check_egress,
    check_names,
    is_credentialed,
    note,
    without_text_in_errors,
    without_text_of_any,
)

__all__ = [
    "Egress",
    "check_egress",
    "check_names",
    "is_credentialed",
    "note",
    "without_text_in_errors",
    "without_text_of_any",
]
