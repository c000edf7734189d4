"""A run goes on whatever its streams are connected to; its exit code says whether its results could be written."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mibe.results.folder import read_record
from mibe.terminal import streams

ROOT = Path(__file__).resolve().parents[2]
EVAL = "eval --model dummy --tasks pubmedqa --limit 3 --resamples 5 --no-cache --output-dir runs"


def shell(folder, redirected, command=EVAL, **env):
    """Exit code, standard output and standard error of a command with some of its streams redirected."""
    line = f'"$PYTHON" -m mibe {command} {redirected}'
    env = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), **env}
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        (">/dev/full", 2),
        ("2>/dev/full", 0),
        ("<&- >&- 2>&-", 2),
        ("2> >(true)", 0),
        ("2>/dev/null | true; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_a_run_is_made_and_kept_whatever_becomes_of_its_words(tmp_path, redirected, code):
    found, out, err = shell(tmp_path, redirected)
    assert found == code and "Traceback" not in err and "Exception ignored" not in err
    [run] = (tmp_path / "runs").iterdir()
    record = read_record(run)
    assert record["status"] == "finished" and record["tasks"]["pubmedqa"]["samples"] == 3
    assert len((run / "samples" / "pubmedqa.jsonl").read_text().splitlines()) == 3
    if redirected == ">/dev/full":
        assert err.splitlines()[-1].startswith("mibe: standard output cannot be written (No space left on device)")
    if redirected.startswith("2>") and "|" not in redirected:
        assert "accuracy" in out


@pytest.mark.slow
def test_an_encoding_without_our_marks_gets_escapes_which_json_has_too(tmp_path):
    code, out, _ = shell(tmp_path, "", PYTHONIOENCODING="ascii")
    assert code == 0 and r" \u2013 " in out
    code, out, _ = shell(tmp_path, "", command="tasks --format json", PYTHONIOENCODING="ascii")
    assert code == 0 and out.isascii() and json.loads(out)["tasks"]


@pytest.mark.parametrize("command", ["--help", "tasks"])
def test_help_and_lists_on_a_full_disk_are_one_line(tmp_path, command):
    code, out, err = shell(tmp_path, ">/dev/full", command=command)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "standard output cannot be written" in err


def test_how_a_command_ends_is_told_though_the_reader_of_its_results_left(tmp_path):
    code = (
        "import sys, time; from mibe.terminal.exit import exit_code; from mibe.terminal import streams; "
        "streams.prepare_streams(); time.sleep(0.5); sys.exit(exit_code(lambda: [streams.show('x'), 1][1]))"
    )
    line = f'"{sys.executable}" -c "{code}" | true; exit ${{PIPESTATUS[0]}}'
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"")


def test_characters_beyond_the_first_plane_are_escaped_as_json_has_them():
    streams.prepare_streams()
    text = "\U0001f600 – \ud800"
    made = text.encode("ascii", streams.ESCAPED).decode()
    assert made == r"\ud83d\ude00 \u2013 \ud800" and json.loads(f'"{made}"') == text


def test_a_warning_is_one_line_without_its_source(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    streams.prepare_streams()
    assert warnings.formatwarning("out of\nmemory", UserWarning, "/x/y.py", 3, "source()") == "warning: out of memory\n"
    shown = warnings.formatwarning("old", FutureWarning, "/x/y.py", 3)
    assert shown == "FutureWarning: old\n"
