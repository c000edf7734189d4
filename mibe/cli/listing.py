"""What the command line tells of tasks, data and prompts, as text."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mibe.data import store
from mibe.metrics.base import is_main
from mibe.registry import all_tasks, list_groups, load_task
from mibe.suites import list_suites, load_suite
from mibe.task import Task


def task_of_data(name: str) -> Task:
    """The task whose data folder has this name (mmlu_medical shares MMLU's)."""
    return load_task(name)


def describe(task: Task) -> dict[str, Any]:
    """One task as data: splits and counts are those of the prepared data, or of the official release."""
    here = store.find(task.data_name)
    manifest = store.load_manifest(task.data_name) if here else None
    counts = dict(manifest["counts"]) if manifest else ({} if here else dict(task.source.counts))
    return {
        "name": task.name,
        "title": task.title,
        "category": task.category.value,
        "splits": counts,
        "metrics": [name for metric in task.metrics for name in metric.names if is_main(name)],
        "headline": task.headline,
        "licence": task.source.licence,
        "access": task.access.level.value,
        "agreement": task.access.agreement,
        "data": "here" if here else "not here",
        "variant": manifest["variant"] if manifest else None,
        "obtain": None if here else f"{task.source.obtain} Then: mibe data prepare {task.data_name} --from PATH",
    }


def tasks_json() -> str:
    """All tasks, groups and suites as JSON."""
    return json.dumps(
        {
            "tasks": [describe(task) for task in all_tasks()],
            "groups": list_groups(),
            "suites": [asdict(load_suite(name)) for name in list_suites()],
        },
        ensure_ascii=False,
        indent=1,
    )


def tasks_text(*, whole: bool = False) -> str:
    """All tasks as a table of a line each, or `whole`: a block each; then the groups and the suites."""
    tasks = [describe(task) for task in all_tasks()]
    listed = [
        ("groups", "\n".join(f"{name:20} {', '.join(members)}" for name, members in list_groups().items())),
        ("suites", "\n".join(f"{name:20} {load_suite(name).title}" for name in list_suites())),
    ]
    parts = [*map(_block, tasks)] if whole else [_table(tasks)]
    parts += [f"{kind}\n{textwrap.indent(lines, '    ')}" for kind, lines in listed]
    return "\n\n".join(parts if whole else [*parts, MORE])


WIDEST = 200
"""Characters of a line where nothing says how wide the terminal is."""

MORE = (
    "mibe tasks -v has all of each task: splits, metrics, licence, how to get its data. mibe show TASK prints a prompt."
)


def _table(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Columns by hand: importing tabulate takes as long as all the rest of this command."""
    rows = [("task", "headline", "test", "data", "what")]
    rows += [(d["name"], d["headline"], _test_size(d), _where(d), d["title"]) for d in tasks]
    task, headline, test, data = (max(map(len, column)) for column in list(zip(*rows, strict=True))[:4])
    lines = [f"{a:{task}}  {b:{headline}}  {c:>{test}}  {d:{data}}  {e}" for a, b, c, d, e in rows]
    # As wide as the terminal, so that a task is one line there.
    width = shutil.get_terminal_size((WIDEST, 0)).columns
    lines = [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _test_size(d: Mapping[str, Any]) -> str:
    count = d["splits"].get("test")
    return "–" if count is None else f"{count:,}"


def _where(d: Mapping[str, Any]) -> str:
    if d["obtain"] is not None:
        return "needs a signature" if d["agreement"] else "not here"
    return "here, an excerpt" if d["variant"] == "excerpt" else "here"


def _block(d: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in d["splits"].items()) or "splits not counted"
    variant = f" ({d['variant']} of the data set)" if d["variant"] == "excerpt" else ""
    signed = f"; needs the {d['agreement']}" if d["agreement"] else ""
    lines = [
        f"{d['name']}  {d['title']}",
        f"category: {d['category']}",
        f"splits:   {splits}{variant}",
        f"metrics:  {', '.join(sorted(d['metrics'], key=lambda metric: metric != d['headline']))}",
        f"licence:  {d['licence']} ({d['access']}{signed})",
        f"data:     {d['data'] if d['obtain'] is None else 'not here. ' + d['obtain']}",
    ]
    return "\n    ".join(lines)


def data_text() -> str:
    """Every data set: where it is, or how to get it."""
    lines = [f"data folder: {store.data_dir()}", ""]
    for name in dict.fromkeys(task.data_name for task in all_tasks()):
        task = load_task(name)
        found = store.find(name)
        if found is None:
            lines.append(f"{name:12} not here. {task.source.obtain} Then: mibe data prepare {name} --from PATH")
        else:
            counts = ", ".join(f"{split} {count:,}" for split, count in describe(task)["splits"].items())
            lines.append(f"{name:12} {counts or 'no manifest'}  [{'in the package' if found.bundled else found.path}]")
    return "\n".join(lines)


def manifest_text(name: str, manifest: Mapping[str, Any]) -> str:
    """What was prepared, in two lines."""
    counts = ", ".join(f"{split} {count:,}" for split, count in manifest["counts"].items())
    return f"{name}: {counts} (variant {manifest['variant']})\nwritten to {store.data_dir() / name}"


def verify_text(name: str | None) -> tuple[str, bool]:
    """Findings for one data set or all that are here, and whether all are sound."""
    names = [name] if name else [n for n in dict.fromkeys(task.data_name for task in all_tasks()) if store.find(n)]
    lines, sound = [], True
    for each in names:
        task = task_of_data(each)
        findings = [*store.verify(task.data_name), *_changed(task)]
        sound = sound and not findings
        lines += [f"{each}: {finding}" for finding in findings] or [f"{each}: sound"]
    return "\n".join(lines), sound


def _changed(task: Task) -> list[str]:
    """What a task of the user's own was added from and has changed since."""
    from mibe.own.added import changed_files

    return [f"{path} was changed since it was added; add it again (mibe data add)" for path in changed_files(task.name)]
