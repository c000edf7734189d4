"""A run as flat tables, one row a figure or one row a sample, in CSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.analysis.text import write_csv
from mibe.data.disk import disk_error, rewriting
from mibe.data_use import is_credentialed
from mibe.errors import ModelError
from mibe.own.recorded import task_of
from mibe.results.digests import draw_of
from mibe.results.draws import draws_of, every_figure
from mibe.results.log import Row
from mibe.results.run import Run

if TYPE_CHECKING:
    import pyarrow

TEXT = ("output", "prediction", "target", "error")
"""Fields of a sample that are the data set's or the model's text, or quote it."""

PLAIN = ("finish_reason", "cut", "cached", "prompt_tokens", "new_tokens", "seconds")


def csv_text(run: Run, *, samples: bool) -> str:
    """The table as CSV."""
    return write_csv(rows(run, samples=samples))


def write_parquet(run: Run, output: Path, *, samples: bool) -> None:
    """The table as a Parquet file. Raises `ModelError` without pyarrow, and `RunError` when it cannot be written."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ModelError("Parquet needs pyarrow, which is not installed: pip install 'mibe[hub]'") from None
    table: pyarrow.Table = pyarrow.Table.from_pylist(rows(run, samples=samples))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with rewriting(output) as file:
            pyarrow.parquet.write_table(table, file)
    except OSError as error:
        raise disk_error(error, output, "another --output") from error


def rows(run: Run, *, samples: bool) -> list[dict[str, Any]]:
    """The rows of either table, all with the same keys."""
    return list(sample_rows(run) if samples else figure_rows(run))


def figure_rows(run: Run) -> Iterator[dict[str, Any]]:
    """One row a figure: what it is of, its value with interval, and the outcomes of its task's samples.

    `draws` is how many draws of each document it is of.
    """
    record = run.record
    for task, part in record["tasks"].items():
        for metric, figure in every_figure(part).items() if part.get("figures") else ():
            yield {
                "model": record["model"]["name"],
                "task": task,
                "metric": metric,
                "draws": draws_of(part),
                **{key: figure[key] for key in ("value", "low", "high", "stderr", "n")},
                "documents": part["data"]["of"],
                "split": part["data"]["split"],
                "num_fewshot": part["num_fewshot"],
                "protocol": record["protocol"],
                "task_version": part["version"],
                **part["outcomes"],
            }


def sample_rows(run: Run) -> Iterator[dict[str, Any]]:
    """One row a sample. Values that are no text, and scores, are JSON; text is None where a task is credentialed."""
    for task, part in run.record["tasks"].items():
        if part.get("figures"):
            private = is_credentialed(task_of(run.record, task))
            for row in run.rows(task):
                yield _sample(run, task, row, private=private)


def _sample(run: Run, task: str, row: Row, *, private: bool) -> dict[str, Any]:
    return {
        "model": run.record["model"]["name"],
        "task": task,
        "id": row["id"],
        "draw": draw_of(row),
        "document": row.get("variant", {}).get("of", row["id"]),
        "version": ", ".join(f"{way}:{value}" for way, value in row.get("variant", {}).get("stands", {}).items()),
        "outcome": row["outcome"],
        "scores": json.dumps(row.get("scores", {})),
        **{key: row.get(key) for key in PLAIN},
        **{key: None if private else _text(row.get(key)) for key in TEXT},
    }


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
