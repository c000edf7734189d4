"""The other front door: every registered task for lm-eval's own runner (`docs/lm-eval.md`).

The task definitions are YAML files that lm-eval finds in a folder; they name the task and refer to
`mibe.harness.task.MibeTask` by `!function`, and hold nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from mibe.errors import UsageError
from mibe.terminal.version import VERSION

PREFIX = "mibe_"
"""Stands before every task, group and figure, so that none can be taken for one of lm-eval's own."""


def harness_path() -> Path:
    """The folder of task definitions for `lm_eval run --include_path`, written first where it is not there.

    Its name follows from its content, so versions of mibe, and sets of plugins, have folders of their own and no
    process ever sees a file change.
    """
    from mibe.data.disk import cache_dir, disk_error, write_atomically

    files = definitions()
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]
    folder = cache_dir() / "lm-eval" / f"{VERSION}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            if not path.exists():
                write_atomically(path, text)
    except OSError as error:
        raise disk_error(error, folder) from error
    return folder


def definitions() -> dict[str, str]:
    """File name → YAML of every registered task and group."""
    from mibe.registry import list_groups, list_tasks

    files = {f"{prefixed(name)}.yaml": _task_yaml(name) for name in list_tasks()}
    for group, members in list_groups().items():
        name = f"{prefixed(group)}.yaml"
        if name in files:
            raise UsageError(f"a task and the group {group!r} are both {prefixed(group)} for lm-eval; rename the task")
        files[name] = _group_yaml(group, members)
    return files


def prefixed(name: str) -> str:
    """The name of a task, group or figure in lm-eval (pubmedqa → mibe_pubmedqa, mibe → mibe)."""
    return name if name == "mibe" or name.startswith(PREFIX) else PREFIX + name


def _task_yaml(name: str) -> str:
    # A JSON string is a YAML string, whatever characters a plugin's name has.
    return (
        f"task: {json.dumps(prefixed(name))}\n"
        f"dataset_name: {json.dumps(name)}\n"
        "class: !function mibe.harness.task.MibeTask\n"
    )


def _group_yaml(name: str, members: Sequence[str]) -> str:
    lines = [f"  - {json.dumps(prefixed(member))}\n" for member in members]
    return f"group: {json.dumps(prefixed(name))}\ntask:\n{''.join(lines)}"
