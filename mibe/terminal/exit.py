"""How a command ends: its errors become one line each, and its exit code says how it went.

0 success; 1 stopped by a limit on cost or quota; 2 bad usage, data or model; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from mibe.errors import LimitReached, MibeError


def exit_code(command: Callable[[], int], program: str = "mibe") -> int:
    """The exit code of a command; its errors become one line each on standard error."""
    try:
        code = command()
        # Here, not at the interpreter's exit, where a reader that has left could no longer be heard of.
        sys.stdout.flush()
        return code
    except MibeError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1 if isinstance(error, LimitReached) else 2
    except KeyboardInterrupt:
        kept = "every response so far is kept, the same command goes on from here"
        print(f"\n{program}: interrupted; {kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output left (`mibe … | head`): nothing more to say, nor to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
