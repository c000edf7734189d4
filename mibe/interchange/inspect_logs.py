"""A run as logs of Inspect, one a task, written by its own writer: `inspect view`, and what reads its logs, reads them.

Samples of credentialed tasks have ids, outcomes and scores, never text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.data.disk import disk_error
from mibe.data_use import is_credentialed
from mibe.errors import ModelError
from mibe.metrics.base import is_main
from mibe.own.recorded import task_of
from mibe.report.prompts import Documents, documents_of
from mibe.results.digests import draw_of
from mibe.results.draws import documents_scored, draws_of, every_figure
from mibe.results.log import Row
from mibe.results.run import Run
from mibe.results.variants import outcomes_asked
from mibe.terminal.plain import as_text

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

SCORER = "mibe"
LEFT_OUT = "(left out: the data is under an agreement)"


def write_logs(run: Run, folder: Path) -> list[Path]:
    """Write `TASK.eval` for each task with scores; returns the files.

    Raises `ModelError` where inspect_ai is not installed, and `RunError` when the folder cannot be written.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError:
        raise ModelError(
            'logs of Inspect need inspect_ai, which is not installed: pip install "mibe[inspect]"'
        ) from None
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in run.record["tasks"].items():
            if part.get("figures"):
                place = folder / f"{name}.eval"
                write_eval_log(_log(run, name, part), str(place))
                written.append(place)
    except OSError as error:
        raise disk_error(error, folder, "another --output") from error
    return written


def _log(run: Run, name: str, part: Mapping[str, Any]) -> EvalLog:
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
    )
    from inspect_ai.model import GenerateConfig

    record = run.record
    task = task_of(record, name)
    begun, ended = record["sessions"][0]["started"], record["sessions"][-1]["ended"] or ""
    rows = list(run.rows(name))
    metrics = {
        metric: EvalMetric(
            name=metric,
            value=figure["value"],
            metadata={key: figure[key] for key in ("low", "high", "stderr", "n")},
        )
        for metric, figure in every_figure(part).items()
        if is_main(metric)
    }
    return EvalLog(
        status="success" if record["status"] == "finished" else "started",
        eval=EvalSpec(
            created=begun,
            task=name,
            task_version=part["version"],
            task_display_name=task.title,
            dataset=EvalDataset(name=task.data_name, location=task.source.homepage, samples=part["data"]["of"]),
            model=f"{SCORER}/{record['model']['name']}",
            model_generate_config=GenerateConfig(
                max_tokens=part["max_new_tokens"], temperature=(record.get("generation") or {}).get("temperature")
            ),
            config=EvalConfig(limit=record["settings"]["limit"], epochs=draws_of(part)),
            packages={"mibe": record["mibe_version"]},
            metadata={
                "protocol": record["protocol"],
                "num_fewshot": part["num_fewshot"],
                "documents": documents_scored(part),
                "model_identity": record["model"]["identity"],
            },
        ),
        results=EvalResults(
            total_samples=len(rows),
            completed_samples=len(rows) - outcomes_asked(part)["error"],
            scores=[EvalScore(name=SCORER, scorer=SCORER, metrics=metrics, scored_samples=part["scored"])],
        ),
        stats=EvalStats(started_at=begun, completed_at=ended),
        samples=_samples(record, name, rows),
    )


def _samples(record: Mapping[str, Any], name: str, rows: Sequence[Row]) -> list[EvalSample]:
    documents = None if is_credentialed(task_of(record, name)) else documents_of(name, record, rows)
    return [_sample(row, documents, record["model"]["name"]) for row in rows]


def _sample(row: Row, documents: Documents | None, model: str) -> EvalSample:
    """One sample; without `documents` it has no text."""
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ModelOutput, ModelUsage
    from inspect_ai.scorer import Score

    example = None if documents is None else documents.examples.get(row["id"])
    prompt = LEFT_OUT if documents is None else documents.prompt(row)[0] or documents.prompt(row)[1]
    read, written = row.get("prompt_tokens") or 0, row.get("new_tokens") or 0
    output = ModelOutput.from_content(
        model,
        LEFT_OUT if documents is None else row["output"],
        "max_tokens" if row["finish_reason"] == "length" else "stop",
    )
    output.usage = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
    error = row.get("error")
    message = LEFT_OUT if documents is None else str(error)
    return EvalSample(
        id=row["id"],
        epoch=draw_of(row) + 1,
        input=prompt,
        choices=list(example.choices) if example is not None and example.choices else None,
        target=LEFT_OUT if documents is None else as_text(row["target"]),
        output=output,
        scores={
            SCORER: Score(
                value=dict(row.get("scores") or {}),
                answer=None if documents is None else as_text(row["prediction"]),
                metadata={"outcome": row["outcome"]},
            )
        },
        total_time=row.get("seconds"),
        metadata={"variant": row["variant"]} if "variant" in row else {},
        error=None if not error else EvalError(message=message, traceback="", traceback_ansi=""),
    )
