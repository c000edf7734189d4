"""Whatever stands in a run folder, every command that reads it succeeds or says in one line what is wrong."""

import json
import shutil
import signal

import hostile_runs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mibe.cli import main

VALUES = st.sampled_from([..., *hostile_runs.WEIRD])


@pytest.fixture
def runs(tmp_path, monkeypatch):
    def hang(*_):
        pytest.fail("the command waits for something that never comes")

    signal.signal(signal.SIGALRM, hang)
    yield hostile_runs.make(tmp_path)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def change_record(run, draw):
    record = json.loads((run / "run.json").read_text())
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(hostile_runs.places(record))))
        record = hostile_runs.changed(record, path, draw(VALUES))
        if not record:
            break
    (run / "run.json").write_text(hostile_runs.as_json(record))


def change_row(run, draw):
    log = draw(st.sampled_from(sorted((run / "samples").glob("*.jsonl"))))
    lines = log.read_text().splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    row = json.loads(lines[number])
    path = draw(st.sampled_from(list(hostile_runs.places(row))))
    lines[number] = hostile_runs.as_json(hostile_runs.changed(row, path, draw(VALUES)))
    log.write_text("".join(line + "\n" for line in lines))


def change_file(run, draw):
    file = draw(st.sampled_from(sorted(path for path in run.rglob("*") if path.is_file())))
    hostile_runs.replaced(file, draw(st.sampled_from(hostile_runs.KINDS)))


@pytest.mark.slow
def test_every_command_bears_what_is_in_a_folder(runs, tmp_path, capsys):
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def attack(data):
        run, out = tmp_path / "given", tmp_path / "out"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(runs[data.draw(st.sampled_from(["a", "drawn", "one"]))], run)
        data.draw(st.sampled_from([change_record, change_row, change_file]))(run, data.draw)
        command = data.draw(st.sampled_from(hostile_runs.commands(runs, run, out)))
        signal.alarm(30)
        code = main(command)
        signal.alarm(0)
        error = capsys.readouterr().err
        assert code in (0, 2)
        if code == 2 and command[0] != "verify":
            assert error.startswith("mibe: ") and error.count("\n") == 1
        assert "\x1b" not in error

    attack()
    assert main(["report", str(runs["a"])]) == 0
