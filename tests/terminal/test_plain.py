"""Text that somebody else chose, as it is shown."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted

import mibe
from mibe.analysis.text import write_csv
from mibe.cli import main
from mibe.errors import RunError
from mibe.terminal.exit import exit_code
from mibe.terminal.plain import cell, printable

HOSTILE = "\x1b[31mred\x1b[0m\u202eevil\x1b]0;title\x07\r\n\x9b2Jx\ud800"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Me-LLaMA 13B (größer) – 日本語 👩🏽‍⚕️", "Me-LLaMA 13B (größer) – 日本語 👩🏽‍⚕️"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x07b", "alinkb"),
        ("\x9b2Jgone", "gone"),
        ("\u202egnp.exe\u2066\u200f", "gnp.exe"),
        ("one\ntwo\r\n\tthree\u2028four", "one two three four"),
        ("half \ud800", "half \ufffd"),
        ("bell\x07 back\x08", "bell back"),
    ],
)
def test_what_a_terminal_obeys_is_not_shown(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_what_is_shown_is_one_line_that_a_terminal_does_not_obey(text):
    shown = printable(text)
    assert printable(shown) == shown
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert not set(shown) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    shown.encode()


@pytest.mark.parametrize(
    "value", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=", "-", "- gout"]
)
def test_a_text_that_a_spreadsheet_would_run_stands_behind_an_apostrophe(value):
    assert cell(value) == f"'{value}"
    [row] = csv.DictReader(io.StringIO(write_csv([{"output": value}]), newline=""))
    assert row == {"output": f"'{value}"}


@pytest.mark.parametrize("value", ["-0.5", "-1e-09", "+3", "0", "text = 1", "", None, -3, -0.25, True])
def test_numbers_and_other_text_stay(value):
    assert cell(value) is value


def test_names_of_a_run_are_shown_without_marks_everywhere(tmp_path, capsys):
    model = Scripted(lambda _: "=1+1")
    model.name = HOSTILE
    done = mibe.evaluate(model=model, tasks="pubmedqa", limit=4, resamples=5, use_cache=False, output_dir=tmp_path)
    run, page = str(done.path), tmp_path / "page"
    for command in (
        ["leaderboard", run],
        ["leaderboard", run, "--format", "csv"],
        ["leaderboard", run, "--format", "json"],
        ["leaderboard", run, "--html", str(page)],
        ["report", run, "--html", str(page)],
        ["compare", run, run, "--resamples", "5"],
        ["verify", run],
        ["export", run, "--to", "csv"],
        ["export", run, "--to", "lm-eval"],
    ):
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert not set(out + err) & {"\x1b", "\x07", "\x9b", "\u202e", "\ud800", "\r"}
    for path in page.rglob("*.html"):
        assert not set(path.read_text()) & {"\x1b", "\u202e"}
    assert main(["export", run, "--to", "csv", "--samples"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["output"] for row in rows} == {"'=1+1"} and {row["model"] for row in rows} == {"redevil x\ufffd"}


def test_an_error_is_one_line_whatever_a_folder_is_called(capsys):
    def fail():
        raise RunError(f"{HOSTILE} cannot be read")

    assert exit_code(fail) == 2
    assert capsys.readouterr().err == "mibe: redevil x\ufffd cannot be read\n"
