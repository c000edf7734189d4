"""Results in the forms that other tools read (`docs/leaderboard.md`): lm-eval's JSON, tables, what the hub
reads, records of Every Eval Ever, logs of Inspect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mibe.data.disk import disk_error, write_atomically
from mibe.errors import RunError, UsageError
from mibe.results.run import Run, load_run

FORMS = ("lm-eval", "csv", "parquet", "hf-eval-results", "hf-eval-yaml", "every-eval-ever", "inspect")
TABLES = frozenset({"csv", "parquet"})


def export(run: str | Path | Run, form: str, *, output: Path | None = None, samples: bool = False) -> str | None:
    """A run in one of `FORMS`, written to `output`, else returned as text.

    `samples` gives the samples in place of the scores (csv and parquet). Text of credentialed tasks is never in it.

    Raises
    ------
    UsageError
        For an unknown form, samples of a form that has none, a form that is no text without `output`, or a run of which
        the form has no place for any task.
    RunError
        For a run without scores, or when `output` cannot be written.
    ModelError
        When a package that the form needs is not installed.
    """
    if form not in FORMS:
        raise UsageError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    if samples and form not in TABLES:
        raise UsageError(f"{form} has no samples; --samples is for {' and '.join(sorted(TABLES))}")
    found = run if isinstance(run, Run) else load_run(run)
    if not any(task.get("figures") for task in found.record["tasks"].values()):
        raise RunError(f"{found.path} has no scores yet; the command that began it goes on with it")
    if form == "parquet":
        from mibe.interchange.tables import write_parquet

        if output is None:
            raise UsageError("parquet is no text; give --output FILE.parquet")
        write_parquet(found, output, samples=samples)
        return None
    if form == "inspect":
        from mibe.interchange.inspect_logs import write_logs

        if output is None:
            raise UsageError("logs of Inspect are a file a task; give --output FOLDER")
        write_logs(found, output)
        return None
    text = _as_text(form, found, samples)
    if output is None:
        return text
    try:
        # `.eval_results`, which the hub looks in, is seldom there yet.
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, text + "\n")
    except OSError as error:
        raise disk_error(error, output, "another --output") from error
    return None


def _as_text(form: str, run: Run, samples: bool) -> str:
    from mibe.interchange import every_eval_ever, hub_results, lm_eval, model_card, tables

    if form == "csv":
        return tables.csv_text(run, samples=samples)
    forms: Mapping[str, Callable[[Run], str]] = {
        "lm-eval": lm_eval.results_text,
        "hf-eval-results": model_card.model_index_text,
        "hf-eval-yaml": hub_results.eval_results_text,
        "every-eval-ever": every_eval_ever.record_text,
    }
    return forms[form](run)
