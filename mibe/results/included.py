"""Tasks of a Python file that its user names (`--include FILE.py`, `mibe.include`), and how later commands find them.

Each run that uses one keeps path, sha256 and text of the file in its record. A run folder may come from anybody: the
text in a record is run only where a file of the very same content was named on this machine before, which a mark in the
cache folder remembers. Elsewhere whoever asks for the task is told to look at the text first.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mibe import registry
from mibe.data.disk import cache_dir, open_plain
from mibe.errors import UsageError
from mibe.task import Task
from mibe.terminal.news import say
from mibe.terminal.plain import printable

LARGEST = 1 << 20
"""Bytes of a file of tasks: its text goes into the record of every run."""


@dataclass(frozen=True, kw_only=True)
class Included:
    """A file of tasks as the record of a run keeps it: where it lay, what it held, the tasks that it defines."""

    path: str
    sha256: str
    content: str
    tasks: tuple[str, ...]


_named: dict[str, Included] = {}
"""Task → the file that the user named for it in this process: it counts before what records hold."""

_recalled: dict[str, Included] = {}
"""Task → the file that the record of a run holds for it."""


def include(path: str | Path) -> tuple[Task, ...]:
    """Run a Python file and make the tasks that it defines known, as `--include` does; a file named again is read anew.

    Its tasks are all `Task` that its top level has a name for, and those that it registers itself. They count before
    what run folders keep of the file.

    Raises
    ------
    UsageError
        When the file cannot be read, ends in an error, defines no task, or one whose name is taken.
    """
    where = Path(path).expanduser().absolute()
    content = _text(where)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    _forget(name for name, file in [*_named.items(), *_recalled.items()] if file.path == str(where))
    tasks = _run(content, str(where), sha256)
    names = tuple(task.name for task in tasks)
    _named.update(dict.fromkeys(names, Included(path=str(where), sha256=sha256, content=content, tasks=names)))
    # Without the mark a later command asks for the file again, and says so.
    with suppress(OSError):
        _mark(sha256).parent.mkdir(parents=True, exist_ok=True)
        _mark(sha256).write_text(f"{where}\n", encoding="utf-8", errors="backslashreplace")
    return tasks


def recall(record: Mapping[str, Any], run: Path) -> None:
    """Make the tasks known that the record of a run keeps with it, unless the user named a file for them.

    A text that was never named on this machine is not run, and neither are two texts that define one task in different
    ways: `load_task` then says what to do. Nothing is raised, since many commands need a run's figures alone.
    """
    for entry in record.get("include", ()):
        file = Included(
            **{name: entry[name] for name in Included.__dataclass_fields__} | {"tasks": tuple(entry["tasks"])}
        )
        names = [name for name in file.tasks if name not in _named]
        known = [name for name in names if name in _recalled and _recalled[name].sha256 == file.sha256]
        if not names or known == names or set(names) <= set(registry.list_tasks()) - set(_recalled):
            continue
        if others := [name for name in names if name in _recalled and name not in known]:
            _forget(others)
            why: str | None = "runs here define it in two ways; --include FILE.py says which one counts"
        else:
            why = _recalled_or_why(file, run)
        if why is not None:
            for name in names:
                registry.explain(name, f"the task {name!r} is defined in a file of its own: {why}")


def files_of(tasks: Iterable[str]) -> list[dict[str, Any]]:
    """What a record keeps of the files that define these tasks, each once; nothing for tasks of another origin."""
    found = {file.sha256: file for name in tasks if (file := _file(name)) is not None}
    return [asdict(file) | {"tasks": list(file.tasks)} for file in found.values()]


def definition_of(task: str) -> dict[str, str]:
    """`definition_sha256` of a task of an included file: with any other, prompt, parser or metrics may differ."""
    file = _file(task)
    return {} if file is None else {"definition_sha256": file.sha256}


def _file(task: str) -> Included | None:
    return _named.get(task) or _recalled.get(task)


def _recalled_or_why(file: Included, run: Path) -> str | None:
    """Make the tasks of a kept file known, or say why they are not."""
    where = printable(f"{file.path}, sha256 {file.sha256[:12]}")
    if hashlib.sha256(file.content.encode()).hexdigest() != file.sha256:
        return f"the text of {where} in {run / 'run.json'} was changed; give --include FILE.py"
    if not _mark(file.sha256).exists():
        return (
            f"{run / 'run.json'} keeps its text under 'include' ({where}), which was never named on this machine; "
            "look at it, save it as a file and give --include FILE.py"
        )
    try:
        tasks = _run(file.content, file.path, file.sha256)
    except UsageError as error:
        return f"{error}; --include FILE.py takes another"
    _recalled.update(dict.fromkeys((task.name for task in tasks), file))
    with suppress(OSError, UsageError):
        if hashlib.sha256(_text(Path(file.path)).encode()).hexdigest() != file.sha256:
            say(
                f"{printable(file.path)} has changed since that run, whose own text of it counts here "
                "(--include FILE.py: today's)"
            )
    return None


def _forget(tasks: Iterable[str]) -> None:
    for name in list(tasks):
        registry.forget_task(name)
        _named.pop(name, None)
        _recalled.pop(name, None)


def _run(content: str, path: str, sha256: str) -> tuple[Task, ...]:
    """Execute the text of a file and register its tasks."""
    module = ModuleType(f"mibe_included_{sha256[:16]}")
    module.__file__ = path
    # Dataclasses and pickle look a class's module up by its name.
    sys.modules[module.__name__] = module
    before = set(registry.list_tasks())
    try:
        exec(compile(content, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the user's code may raise whatever it likes)
        raise UsageError(f"{path}{_line(error, path)}: {type(error).__name__}: {printable(str(error))}") from None
    registered = [name for name in registry.list_tasks() if name not in before]
    found = {name: registry.load_task(name) for name in registered}
    for value in vars(module).values():
        if isinstance(value, Task) and value.name not in found and not _is_known(value):
            registry.register_task(value)
            found[value.name] = value
    if not found:
        raise UsageError(f"{path} defines no task; its top level holds a mibe.task.Task (docs/add-a-dataset.md)")
    return tuple(found.values())


def _is_known(task: Task) -> bool:
    """Whether a task is one that the file imported from elsewhere."""
    return task.name in registry.list_tasks() and registry.load_task(task.name) is task


def _line(error: BaseException, path: str) -> str:
    """The last line of the file on the way to an error, as ", line N"."""
    lines = [error.lineno] if isinstance(error, SyntaxError) else []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {lines[-1]}" if lines else ""


def _text(path: Path) -> str:
    try:
        with open_plain(path) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST >> 20} MiB; a file of tasks is code, data lies elsewhere")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8; save it as UTF-8") from None


def _mark(sha256: str) -> Path:
    """The file that says that this content was named on this machine."""
    return cache_dir() / "included" / sha256
