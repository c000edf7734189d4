"""Tasks of a file that is named: every command knows them, a run keeps the file, and nobody else's code is run."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mibe
from mibe.cli import main
from mibe.errors import UsageError
from mibe.results import included

FILE = """
import csv
from dataclasses import dataclass

import mibe
from mibe.metrics.classification import Accuracy, MacroF1
from mibe.parsers.labels import OneLabel
from mibe.task import OPEN, Category, Example, Prompt, Task
from mibe.tasks.pubmedqa import TASK as known

LABELS = ("urgent", "routine")

@dataclass(frozen=True)
class Messages:
    licence: str = "CC0"
    homepage: str = "none"
    obtain: str = "messages.csv."
    hub: str | None = None
    counts = {}
    variants: tuple[str, ...] = ("default",)
    version: int = 1

    def read(self, raw, *, variant):
        rows = csv.DictReader(raw.text(raw.one("messages.csv")).splitlines())
        return {"test": [Example(id=row["id"], inputs={"text": row["text"]}, target=row["label"]) for row in rows]}

TASK = Task(
    name="urgency", title="Urgency", category=Category.CLASSIFICATION, access=OPEN, source=Messages(),
    prompt=Prompt(instruction="Urgent or routine?", input="{text}"), parser=OneLabel(LABELS, aliases={ALIASES}),
    metrics=(Accuracy(), MacroF1(LABELS)), headline="accuracy", shots=0, max_new_tokens=8, version=1, labels=LABELS,
)
"""
DATA = "id,text,label\n1,chest pain,urgent\n2,a copy of my file,routine\n3,no breath,urgent\n4,a form,routine\n"


def written(folder, aliases="{}", name="urgency.py"):
    path = folder / name
    path.write_text(FILE.replace("{ALIASES}", aliases), encoding="utf-8")
    return path


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with the file, and its data prepared by the command line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "messages.csv").write_text(DATA, encoding="utf-8")
    written(tmp_path)
    assert command("data", "prepare", "urgency", "--from", "messages.csv", "--include", "urgency.py") == 0
    return tmp_path


def command(*arguments):
    """One command as in a process of its own: it knows no task that an earlier one was told of."""
    for name in (*included._named, *included._recalled):
        mibe.registry.forget_task(name)
    included._named.clear()
    included._recalled.clear()
    mibe.registry._EXPLAINED.clear()
    return main(list(arguments))


def run_of(answer, *more):
    before = set(runs())
    assert command("eval", "--tasks", "urgency", "--model", "dummy", "--model-args", f"answer={answer}", *more) == 0
    (made,) = set(runs()) - before
    return made


def runs():
    return [path.parent for path in Path("runs").glob("*/run.json")]


def record_of(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def test_a_run_keeps_the_file_and_later_commands_find_it_there(work, capsys):
    urgent = run_of("urgent", "--include", "urgency.py")
    routine = run_of("routine", "--include", "urgency.py")
    text = (work / "urgency.py").read_text(encoding="utf-8")
    (kept,) = record_of(urgent)["include"]
    assert kept == {
        "path": str(work / "urgency.py"),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "content": text,
        "tasks": ["urgency"],
    }
    assert record_of(urgent)["tasks"]["urgency"]["definition_sha256"] == kept["sha256"]
    (work / "urgency.py").unlink()
    capsys.readouterr()
    assert command("report", str(urgent)) == 0
    assert command("compare", str(urgent), str(routine), "--resamples", "50") == 0
    assert command("verify", str(urgent)) in (0, 2)  # 2 where scikit-learn is not installed
    assert command("leaderboard", str(urgent), str(routine)) == 0
    assert command("export", str(urgent), "--to", "csv") == 0
    assert command("rescore", str(urgent)) == 0
    assert record_of(urgent)["include"] == [kept]
    assert "chest pain" in "".join(p.read_text(encoding="utf-8") for p in (urgent / "report" / "data").rglob("*.js*"))


def test_every_other_command_takes_it(work, capsys):
    (work / "outputs.jsonl").write_text('{"id": "1", "output": "urgent"}\n', encoding="utf-8")
    for arguments in (
        ("score", "--task", "urgency", "--outputs", "outputs.jsonl", "--partial"),
        ("show", "urgency"),
        ("check", "urgency"),
        ("tasks",),
        ("data", "list"),
        ("plan", "--tasks", "urgency"),
        ("parse", "--task", "urgency", "outputs.jsonl"),
    ):
        capsys.readouterr()
        assert command(*arguments, "--include", "urgency.py") == 0, arguments
        assert capsys.readouterr().out
        if arguments[0] not in ("tasks", "data"):
            assert command(*arguments) == 2
            assert "unknown task 'urgency'" in capsys.readouterr().err


def test_another_process_finds_it(work):
    run = run_of("urgent", "--include", "urgency.py")
    done = subprocess.run(
        [sys.executable, "-m", "mibe", "rescore", str(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "urgency" in done.stdout


def test_the_text_of_the_run_counts_until_todays_is_named(work, capsys):
    run = run_of("pressing", "--include", "urgency.py")
    assert record_of(run)["tasks"]["urgency"]["figures"]["accuracy"]["value"] == 0
    first = record_of(run)["include"][0]["sha256"]
    written(work, '{"pressing": "urgent"}')
    capsys.readouterr()
    assert command("rescore", str(run)) == 0
    assert "urgency.py has changed since that run" in capsys.readouterr().err
    assert record_of(run)["tasks"]["urgency"]["figures"]["accuracy"]["value"] == 0
    assert command("rescore", str(run), "--include", "urgency.py") == 0
    after = record_of(run)
    assert after["tasks"]["urgency"]["figures"]["accuracy"]["value"] == 0.5
    assert after["include"][0]["sha256"] == after["tasks"]["urgency"]["definition_sha256"] != first


def test_runs_of_two_texts_are_not_compared_unasked(work, capsys):
    first = run_of("urgent", "--include", "urgency.py")
    written(work, '{"pressing": "urgent"}')
    second = run_of("urgent", "--include", "urgency.py")
    assert first != second  # another definition is another run, though model, prompt and data are the same
    capsys.readouterr()
    assert command("compare", str(first), str(second)) == 2
    assert "--include FILE.py says which one counts" in capsys.readouterr().err
    assert command("compare", str(first), str(second), "--include", "urgency.py") == 2
    assert "the files that define it differ" in capsys.readouterr().err
    assert command("compare", str(first), str(second), "--include", "urgency.py", "--force") == 0


def test_a_text_that_was_never_named_here_is_not_run(work, monkeypatch, capsys):
    run = run_of("urgent", "--include", "urgency.py")
    record = record_of(run)
    evil = record["include"][0]["content"] + f"\nopen({str(work / 'ran')!r}, 'w')\n"
    record["include"][0] |= {"content": evil, "sha256": hashlib.sha256(evil.encode()).hexdigest()}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    capsys.readouterr()
    for arguments in (("report", str(run)), ("rescore", str(run)), ("compare", str(run), str(run))):
        assert command(*arguments) == 2
        assert "never named on this machine; look at it" in capsys.readouterr().err
    assert command("leaderboard", str(run)) == 0
    record["include"][0]["sha256"] = hashlib.sha256((work / "urgency.py").read_bytes()).hexdigest()
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert command("rescore", str(run)) == 2
    assert "was changed; give --include" in capsys.readouterr().err
    assert not (work / "ran").exists()
    # Its owner looks at it and names it.
    assert command("report", str(run), "--include", "urgency.py") == 0


def test_in_python_a_file_that_was_edited_is_named_again(tmp_path):
    (task,) = mibe.include(written(tmp_path))
    assert mibe.load_task("urgency") is task
    assert task.parser("pressing") is None
    (edited,) = mibe.include(written(tmp_path, '{"pressing": "urgent"}'))
    assert mibe.load_task("urgency") is edited
    assert edited.parser("pressing") == "urgent"
    with pytest.raises(UsageError, match="the name 'urgency' is taken"):
        mibe.include(written(tmp_path, name="other.py"))


def test_a_file_may_register_its_tasks_itself(tmp_path):
    path = written(tmp_path)
    path.write_text(path.read_text() + "\nmibe.register_task(TASK)\n")
    assert [task.name for task in mibe.include(path)] == ["urgency"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = = 1\n", r"bad.py, line 1: SyntaxError: "),
        ("x = 1\n\ndef f():\n    raise KeyError('a')\n\nf()\n", r"bad.py, line 4: KeyError: 'a'"),
        ("import sys\n\nsys.exit(3)\n", r"bad.py, line 3: SystemExit: 3"),
        ("import no_such_module\n", r"bad.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("from mibe.tasks.pubmedqa import TASK\n", r"bad.py defines no task"),
        ("\udc80", r"bad.py is not UTF-8"),
        (None, r"cannot read .*bad.py: No such file"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "bad.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=message) as raised:
        mibe.include(tmp_path / "bad.py")
    assert "\n" not in str(raised.value)
