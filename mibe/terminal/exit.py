"""How a command ends: its errors become one line each, and its exit code says how it went.

0 success; 1 stopped by a limit on cost or quota; 2 bad usage, data or model, or results that could not be written;
130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from mibe.errors import LimitReached, MibeError
from mibe.terminal.plain import printable
from mibe.terminal.streams import OutputError, forget


def exit_code(command: Callable[[], int], program: str = "mibe") -> int:
    """The exit code of a command; its errors become one line each on standard error."""
    code = _ended(command, program)
    try:
        # Here, not at the interpreter's exit, where a failure could no longer be told.
        sys.stdout.flush()
    except BrokenPipeError:
        forget(sys.stdout.fileno())
    except OutputError as error:
        _say(program, str(error))
        return code or 2
    return code


def _ended(command: Callable[[], int], program: str) -> int:
    try:
        return command()
    except MibeError as error:
        _say(program, str(error))
        return 1 if isinstance(error, LimitReached) else 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        _say(program, "interrupted; every response so far is kept, the same command goes on from here")
        return 130
    except BrokenPipeError:
        # The reader of our output left (`mibe … | head`): nothing more to say, nor to flush at exit.
        forget(sys.stdout.fileno())
        return 0


def _say(program: str, text: str) -> None:
    print(f"{program}: {printable(text)}", file=sys.stderr)
