"""What the command line tells of tasks, data and prompts, as text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mibe.data import store
from mibe.metrics.base import is_main
from mibe.registry import list_groups, list_tasks, load_task
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
            "tasks": [describe(load_task(name)) for name in list_tasks()],
            "groups": list_groups(),
            "suites": [asdict(load_suite(name)) for name in list_suites()],
        },
        ensure_ascii=False,
        indent=1,
    )


def tasks_text() -> str:
    """All tasks, a block each, the groups and the suites."""
    blocks = []
    for name in list_tasks():
        d = describe(load_task(name))
        splits = ", ".join(f"{split} {count:,}" for split, count in d["splits"].items()) or "splits not counted"
        variant = f" ({d['variant']} of the data set)" if d["variant"] == "excerpt" else ""
        signed = f"; needs the {d['agreement']}" if d["agreement"] else ""
        lines = [
            f"{name}  {d['title']}",
            f"category: {d['category']}",
            f"splits:   {splits}{variant}",
            f"metrics:  {', '.join(sorted(d['metrics'], key=lambda metric: metric != d['headline']))}",
            f"licence:  {d['licence']} ({d['access']}{signed})",
            f"data:     {d['data'] if d['obtain'] is None else 'not here. ' + d['obtain']}",
        ]
        blocks.append("\n    ".join(lines))
    groups = "\n".join(f"{name:20} {', '.join(members)}" for name, members in list_groups().items())
    suites = "\n".join(f"{name:20} {load_suite(name).title}" for name in list_suites())
    listed = [f"{kind}\n{textwrap.indent(lines, '    ')}" for kind, lines in (("groups", groups), ("suites", suites))]
    return "\n\n".join([*blocks, *listed])


def data_text() -> str:
    """Every data set: where it is, or how to get it."""
    lines = [f"data folder: {store.data_dir()}", ""]
    for name in dict.fromkeys(load_task(task).data_name for task in list_tasks()):
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
    names = (
        [name] if name else [n for n in dict.fromkeys(load_task(t).data_name for t in list_tasks()) if store.find(n)]
    )
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
