"""lm-eval's own command line, with mibe's tasks in place of its own. lm_eval is imported when `run` is called."""

from __future__ import annotations

from collections.abc import Sequence

from mibe.errors import ModelError
from mibe.harness.definitions import harness_path


def run(argv: Sequence[str]) -> None:
    """lm-eval's command line with mibe's tasks in place of its own; `argv` is what would follow `lm_eval`.

    lm-eval's tasks are left out, since finding them means parsing 14,000 files. A further `--include_path` is kept.

    Raises
    ------
    ModelError
        When lm-eval is not installed.
    DataUseError
        When a credentialed task would go to a model or a logger that is not on this machine.
    """
    try:
        from mibe.harness.runner import run_lm_eval
    except ModuleNotFoundError as error:
        raise ModelError(f"lm-eval cannot be imported ({error}); install it: pip install 'mibe[hf]'") from error
    run_lm_eval(argv, harness_path())
