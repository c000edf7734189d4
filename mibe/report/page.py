"""The report of a run as a static page (`mibe.pages`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from mibe import protocols
from mibe.cost.recorded import machine_of
from mibe.data.disk import disk_error
from mibe.data_use import is_credentialed
from mibe.errors import RunError
from mibe.metrics.base import is_main
from mibe.own.recorded import task_of
from mibe.pages import write_page
from mibe.published.figures import TITLES
from mibe.report import samples
from mibe.report.cost import view as cost_view
from mibe.report.histogram import histogram
from mibe.report.prompts import documents_of
from mibe.report.versions import ASSETS as VERSION_ASSETS
from mibe.report.versions import versions_view
from mibe.results.draws import draws_of, repeats_figures
from mibe.results.log import Row
from mibe.results.picking import is_right
from mibe.results.run import Run, load_run
from mibe.results.table import remarks_on
from mibe.results.variants import is_itself
from mibe.run.settings import changes_of, protocol_of, rule_of, style_of
from mibe.terminal.plain import printable
from mibe.terminal.progress import Progress, Silent
from mibe.terminal.version import VERSION

Data = dict[str, Any]

ASSETS = ("report.css", "text.js", "report.js", "samples.js", *VERSION_ASSETS)


def write_report(run: str | Path | Run, folder: Path | None = None, progress: Progress | None = None) -> Path:
    """Write the report of a run into `folder`, by default `report` in the run folder; returns the page's path.

    Text of credentialed tasks is never in it. Raises `RunError` for a run without scores, or when the folder cannot be
    written, and `UsageError` for a run with a task that is not known here.
    """
    found = run if isinstance(run, Run) else load_run(run)
    folder = found.path / "report" if folder is None else folder
    record = found.record
    scored = {name: part for name, part in record["tasks"].items() if part.get("figures")}
    if not scored:
        raise RunError(f"{found.path} has no scores yet; the command that began it goes on with it")
    views = []
    news = Silent() if progress is None else progress
    try:
        samples.clear(folder / "data")
        for number, name in enumerate(scored):
            rows = samples.in_order(list(found.rows(name)))
            task = protocols.recorded(record, task_of(record, name))
            private = is_credentialed(task)
            documents = None if private else documents_of(name, record, rows)
            news.start(name, len(rows), 0)
            samples.write(folder / "data", number, task, rows, documents, news)
            news.stop()
            views.append(task_view(number, name, scored[name], rows, private=private))
    except (FileExistsError, NotADirectoryError):
        raise RunError(f"{folder} is not a folder; give another one") from None
    except OSError as error:
        raise disk_error(error, folder, "another folder") from error
    context = {
        "title": f"Run report: {record['model']['name']}",
        "subtitle": _subtitle(record, views),
        "version": VERSION,
        "facts": facts(record),
        "cost": cost_view(record, {view["name"]: view["title"] for view in views}),
        "remarks": remarks(record, views),
        "tasks": views,
        "outcomes": samples.OUTCOMES,
        "data": {
            "tasks": [{key: view[key] for key in CHARTED} for view in views],
            "outcomes": samples.OUTCOMES,
            "runs": [],
            "kinds": [],
        },
    }
    return write_page(folder, "report.html", context, assets=ASSETS)


CHARTED = (
    "name",
    "short",
    "private",
    "samples",
    "headline",
    "score",
    "rates",
    "confusion",
    "breakdowns",
    "reliability",
    "histograms",
    "versions",
)
"""What the charts need of a task's view."""


def task_view(number: int, name: str, part: Mapping[str, Any], rows: Sequence[Row], *, private: bool) -> Data:
    """What the page shows of a task beside its samples."""
    headline = part["headline"]
    figures = [{"name": metric, **figure} for metric, figure in part["figures"].items()]
    return {
        "number": number,
        "name": name,
        "title": part["title"],
        "short": TITLES.get(name, name),
        "private": private,
        "samples": part["samples"],
        "documents": len({row["id"] for row in rows if is_itself(row)}),
        "draws": draws_of(part),
        "of": part["data"]["of"],
        "headline": headline,
        "wrong": _wrong(list(filter(is_itself, rows))),
        "score": part["figures"][headline],
        "figures": [figure for figure in figures if is_main(figure["name"])],
        "of_draws": [{"name": name, **figure} for name, figure in repeats_figures(part).items()],
        "by_label": [figure for figure in figures if not is_main(figure["name"])],
        "rates": {outcome: figure["value"] for outcome, figure in part["rates"].items()},
        "tokens_per_second": part.get("timing", {}).get("tokens_per_second"),
        "confusion": part.get("confusion"),
        "reliability": part.get("reliability"),
        "breakdowns": {
            field: [{"name": printable(group), **of[headline]} for group, of in groups.items() if headline in of]
            for field, groups in part.get("breakdowns", {}).items()
        },
        "histograms": histograms(rows),
        "versions": versions_view(part),
    }


def _wrong(rows: Sequence[Row]) -> int | None:
    """How many samples are wrong; None where they have grades."""
    verdicts = [verdict for row in rows if (verdict := is_right(row)) is not None]
    return verdicts.count(0) if verdicts else None


def histograms(rows: Sequence[Row]) -> Data:
    """Seconds and tokens of the samples; seconds of those that were generated, not taken from the cache."""
    made = {
        "seconds": histogram([row["seconds"] for row in rows if row.get("seconds") and not row.get("cached")]),
        **{
            field: histogram([row[field] for row in rows if row.get(field) is not None], whole=True)
            for field in ("prompt_tokens", "new_tokens")
        },
    }
    return {name: None if found is None else asdict(found) for name, found in made.items()}


def facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader must know of a run, as pairs of name and text; no path, no command line."""
    settings, model = record["settings"], record["model"]
    sessions = record["sessions"]
    shots = settings["num_fewshot"]
    found = [
        ("Model", f"{model['name']} ({'chat' if model['is_chat'] else 'plain text'})"),
        ("Identity", json.dumps(model["identity"], ensure_ascii=False) if model["identity"] else ""),
        ("Protocol", protocol_of(record) + (f", suite {record['suite']}" if record.get("suite") else "")),
        ("Worked examples", str(shots) if isinstance(shots, int) else json.dumps(shots)),
        ("Split", settings["split"]),
        ("Documents", f"at most {settings['limit']} of a task" if settings["limit"] else "all"),
        ("Draws", f"{settings['repeats']} of each document" if settings.get("repeats", 1) > 1 else ""),
        ("Answers by", "likelihood" if settings["scoring"] == "loglikelihood" else "generation"),
        ("The answer is", "; ".join({rule_of(settings, part): "" for part in record["tasks"].values()})),
        ("Documents varied in", settings.get("vary") or ""),
        ("Asked for", "" if style_of(settings) == "direct" else style_of(settings)),
        ("Text generated by", ", ".join(changes_of(settings))),
        ("Seed", str(settings["seed"])),
        ("Judge", (record.get("judge") or {}).get("name") or ""),
        ("Begun", f"{sessions[0]['started'][:16].replace('T', ' ')} UTC" if sessions else ""),
        ("Took", _duration(sessions)),
        ("Machine", machine_of(record)),
        ("mibe", record["mibe_version"]),
    ]
    return [(name, text) for name, text in found if text]


def remarks(record: Mapping[str, Any], views: Sequence[Data]) -> list[str]:
    """What a reader must not overlook."""
    said = []
    if record["status"] != "finished":
        said.append(f"This run is {record['status']}: its figures may still change.")
    shown = {view["name"] for view in views}
    if waiting := [name for name in record.get("task_names", record["tasks"]) if name not in shown]:
        said.append(f"Not scored yet: {', '.join(waiting)}.")
    scored = ((name, part) for name, part in record["tasks"].items() if part.get("figures"))
    said += [remark for name, part in scored for remark in remarks_on(name, part)]
    if partial := [view for view in views if view["documents"] < view["of"]]:
        counts = ", ".join(f"{view['name']} {view['documents']:,} of {view['of']:,}" for view in partial)
        said.append(f"A part of the documents: {counts}.")
    if private := [view["title"] for view in views if view["private"]]:
        said.append(f"Credentialed, so ids and scores alone: {'; '.join(private)}.")
    said += [f"{name} was skipped: {why}" for name, why in (record.get("skipped") or {}).items()]
    return said


def _subtitle(record: Mapping[str, Any], views: Sequence[Data]) -> str:
    count = sum(view["samples"] for view in views)
    tasks = f"{len(views)} task{'s' if len(views) != 1 else ''}"
    date = record["sessions"][0]["started"][:10] if record["sessions"] else ""
    return " · ".join(filter(None, [tasks, f"{count:,} samples", f"protocol {record['protocol']}", date]))


def _duration(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Time from start to end of all sessions that have an end."""
    seconds = sum(
        (datetime.fromisoformat(session["ended"]) - datetime.fromisoformat(session["started"])).total_seconds()
        for session in sessions
        if session.get("ended")
    )
    if not seconds:
        return ""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s" if rest >= 60 else f"{rest} s"
