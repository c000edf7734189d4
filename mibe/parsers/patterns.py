"""Patterns compiled when first used: all of the parsers take a tenth of a second, and listing tasks needs none.

Modules of this package write `late(…)` where others write `re.compile(…)`.
"""

from __future__ import annotations

import re
from typing import Any, cast


class _Late:
    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern, self._flags = pattern, flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self.pattern, self._flags), name)
        # The next use finds it here, without coming this way.
        setattr(self, name, value)
        return value


def late(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """What `re.compile` would return, compiled at the first use of one of its methods; a bad pattern raises there."""
    return cast("re.Pattern[str]", _Late(pattern, flags))
