"""JSON that somebody else wrote: what is wrong with it is one kind of error, whatever it is."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str) -> Any:
    """The data in a JSON text.

    Raises `json.JSONDecodeError` for all that is none, and for what Python cannot hold: brackets in brackets by the
    thousands, a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None
    except ValueError:
        raise json.JSONDecodeError("a number has too many digits", text, 0) from None
