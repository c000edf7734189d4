"""The shards of a run, put together: one run folder with the samples and scores that an undivided run would have."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mibe import protocols
from mibe.data_use import is_credentialed
from mibe.errors import RunError, UsageError
from mibe.own.recorded import task_of
from mibe.results import record
from mibe.results.digests import Key, identity
from mibe.results.folder import RunFolder
from mibe.results.log import Row, SampleLog, latest_rows
from mibe.results.means import means_of
from mibe.results.run import Run, load_run
from mibe.results.variants import samples_asked
from mibe.run.scoring import late_metrics, score_task
from mibe.run.shards import Shard
from mibe.task import Task

OF_A_SHARD = {"documents", "manifest"}
"""Keys under a task's `data` that differ between the shards of one run, or say again what its sha256 says."""

SAME = (
    "version", "prompt_template_sha256", "definition_sha256", "max_new_tokens", "stop", "num_fewshot",
    "shots_left_out_as_leaked",
)  # fmt: skip
"""Keys of a task's record in which the shards of one run agree."""

NAMED = 8
"""Differences and ids that an error names at most."""


def merge(runs: Iterable[str | Path], *, output_dir: str | Path = "runs", partial: bool = False) -> Run:
    """Put the shards of a run together in a new run folder under `output_dir`. The shards stay as they are.

    With `partial`, shards may be missing and samples may have failed; the scores then say what they are of.

    Raises
    ------
    UsageError
        When the runs are not shards of one run, with all that differs, or, unless `partial`, not all of it.
    RunError
        When one is not a finished run, a sample is missing or stands in two shards, or the folder cannot be written.
    """
    parts = _in_order([load_run(path) for path in runs])
    _check_same(parts)
    _check_complete(parts, partial=partial)
    tasks = [protocols.recorded(parts[0].record, task_of(parts[0].record, name)) for name in parts[0].record["tasks"]]
    for task in tasks:
        _check_task(task, parts, partial=partial)
    late = late_metrics(tasks, parts[0].record["settings"])
    merged = _merged_record(parts)
    settings = merged["settings"]
    with RunFolder.open(Path(output_dir), f"{merged['model']['name']}-merged", None) as folder:
        try:
            for task in tasks:
                samples = folder.samples(task.name)
                with closing(SampleLog(samples, private=is_credentialed(task))) as log:
                    log.extend(_rows(parts, task.name))
                scores = score_task(
                    task,
                    latest_rows(samples),
                    late=late[task.name],
                    resamples=settings["resamples"],
                    seed=settings["seed"],
                )
                merged["tasks"][task.name] |= scores | {"timing": record.timing(samples)}
            merged["means"] = means_of(merged["tasks"])
            merged["sessions"][-1]["ended"] = record.now()
            merged["status"] = "finished" if record.is_complete(merged) else "incomplete"
            folder.write_record(merged)
        except BaseException:
            # Half a merge is of no use to anyone, and all of it can be made again.
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
    return Run(folder.path, merged)


def _in_order(runs: Sequence[Run]) -> list[Run]:
    for run in runs:
        if run.record["settings"].get("shard") is None:
            raise UsageError(f"{run.path} is not a shard of a run (mibe eval --shard I/N makes one)")
        if run.record["status"] not in ("finished", "incomplete"):
            raise RunError(f"{run.path} is not finished ({run.record['status']}); run its command again first")
    return sorted(runs, key=lambda run: _shard(run).number)


def _shard(run: Run) -> Shard:
    return Shard.parse(run.record["settings"]["shard"])


def _check_same(parts: Sequence[Run]) -> None:
    """Raise `UsageError` naming everything in which a part is not of the run that the first is of."""
    first = parts[0]
    if first.record["model"]["identity"] is None:
        raise UsageError(f"{first.path}: its model has no identity, so nothing shows that the shards are of one model")
    expected = _facts(first)
    differences = [
        f"{key} is {expected.get(key)!r} in {first.path.name} and {found.get(key)!r} in {run.path.name}"
        for run in parts[1:]
        for found in [_facts(run)]
        for key in dict.fromkeys([*expected, *found])
        if expected.get(key) != found.get(key)
    ]
    if differences:
        raise UsageError(f"the runs are not shards of one run: {_listed(differences)}")


def _facts(run: Run) -> dict[str, Any]:
    """What the shards of one run have in common, flat: dotted key → value."""
    own = run.record
    facts: dict[str, Any] = {
        "shards": _shard(run).count,
        "settings": {key: value for key, value in own["settings"].items() if key != "shard"},
        **{key: own[key] for key in ("protocol", "suite", "model", "judge", "mibe_version", "task_names")},
        "packages": own["versions"]["packages"],
        "git_revision": own["versions"]["git_revision"],
    }
    for name, task in own["tasks"].items():
        facts[name] = {key: task.get(key) for key in SAME} | {
            "data": {key: value for key, value in task["data"].items() if key not in OF_A_SHARD | {"shard"}}
        }
    return dict(_flat("", facts))


def _flat(prefix: str, value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value


def _check_complete(parts: Sequence[Run], *, partial: bool) -> None:
    """Raise `UsageError` unless each shard is there, once, and none of its samples failed."""
    folders: dict[int, list[str]] = {}
    for run in parts:
        folders.setdefault(_shard(run).number, []).append(str(run.path))
    twice = [f"{number} ({' and '.join(paths)})" for number, paths in folders.items() if len(paths) > 1]
    if twice:
        raise UsageError(f"give each shard once; twice there is {_listed(twice)}")
    if partial:
        return
    missing = [str(number) for number in range(1, _shard(parts[0]).count + 1) if number not in folders]
    if missing:
        raise UsageError(
            f"of {_shard(parts[0]).count} shards there is no {_listed(missing)}; "
            "run them, or give --partial to merge those that are there"
        )
    failed = [f"{run.failed} in {run.path}" for run in parts if run.failed]
    if failed:
        raise UsageError(
            f"some samples failed: {_listed(failed)}; the shard's command tries them again, "
            "or give --partial to merge them as they are"
        )


def _check_task(task: Task, parts: Sequence[Run], *, partial: bool) -> None:
    """Raise unless every document that the shards were given has one sample a draw in one of them."""
    recorded = parts[0].record["tasks"][task.name]
    if recorded["version"] != task.version:
        raise UsageError(
            f"{task.name}: the shards were read by version {recorded['version']} of the task and here is version "
            f"{task.version}; mibe rescore each of them first"
        )
    settings = parts[0].record["settings"]
    draws = settings.get("repeats", 1)
    seen: dict[Key, Run] = {}
    for run in parts:
        count = 0
        for row in run.rows(task.name):
            count += 1
            key = identity(row)
            if key in seen:
                where = f"{seen[key].path} and {run.path}"
                raise RunError(f"{task.name}: the sample {row['id']!r} stands in both {where}")
            seen[key] = run
        expected = draws * samples_asked(run.record["tasks"][task.name])
        if count != expected:
            raise RunError(f"{run.samples_path(task.name)} holds {count} samples of {expected}; run its command again")
    limit, of = settings["limit"], recorded["data"]["of"]
    wanted = of if limit is None else min(limit, of)
    # How many versions a document has, only its own shard knows.
    documents = sum(run.record["tasks"][task.name]["data"]["documents"] for run in parts)
    if documents != wanted and not partial:
        raise RunError(f"{task.name}: the shards hold {documents} documents of {wanted}")


def _rows(parts: Iterable[Run], task: str) -> Iterator[Row]:
    for run in parts:
        yield from run.rows(task)


def _merged_record(parts: Sequence[Run]) -> record.Record:
    """The record of the whole, without scores; what was each part's own stands under `parts`."""
    first: record.Record = parts[0].record
    whole = _whole(parts)
    session = {"started": record.now(), "process": os.getpid(), "command": shlex.join(sys.argv), "ended": None}
    return first | {
        # No command makes this run go on: its shards' commands do.
        "fingerprint": None,
        "settings": first["settings"] | {"shard": whole},
        "egress": _distinct(entry for run in parts for entry in run.record["egress"]),
        "sessions": [session],
        "hardware": None,
        "memory": None,
        "parts": [_part(run) for run in parts],
        "tasks": {name: _merged_task(name, parts, whole) for name in first["tasks"]},
    }


def _whole(parts: Sequence[Run]) -> str | None:
    """None when all shards are there, else which: "1,3/4"."""
    count = _shard(parts[0]).count
    return None if len(parts) == count else f"{','.join(str(_shard(run).number) for run in parts)}/{count}"


def _part(run: Run) -> dict[str, Any]:
    own = run.record
    kept = {key: own[key] for key in ("sessions", "versions", "hardware", "memory", "status")}
    timing = {name: task["timing"] for name, task in own["tasks"].items()}
    return {"run": run.path.name, "shard": own["settings"]["shard"], **kept, "timing": timing}


def _merged_task(name: str, parts: Sequence[Run], whole: str | None) -> dict[str, Any]:
    own = [run.record["tasks"][name] for run in parts]
    merged: dict[str, Any] = own[0] | {
        "data": own[0]["data"] | {"documents": sum(task["data"]["documents"] for task in own), "shard": whole},
        # A shard lists the examples of the subjects that it met.
        "shots": {key: ids for task in own for key, ids in task["shots"].items()},
    }
    if "variation" in merged:
        merged["variation"] = _merged_variation([task["variation"] for task in own])
    return merged


def _merged_variation(own: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the documents of all shards were varied: what each left as it is, together."""
    refused: dict[str, Counter[str]] = {}
    for part in own:
        for way, reasons in part["refused"].items():
            refused.setdefault(way, Counter()).update(reasons)
    together = {way: dict(reasons.most_common()) for way, reasons in refused.items()}
    return {**own[0], "samples": sum(part["samples"] for part in own), "refused": together}


def _distinct(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for entry in entries:
        if entry not in kept:
            kept.append(entry)
    return kept


def _listed(items: Collection[str]) -> str:
    shown = list(items)[:NAMED]
    more = len(items) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
