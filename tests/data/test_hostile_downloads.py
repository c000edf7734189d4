"""Whatever lies where a download should be: it is prepared, or one line says what is wrong."""

import gzip
import io
import json
import os
import shutil
import signal
import tarfile
import zipfile

import format_true
import hostile_runs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mibe.cli import main
from mibe.data import raw as raw_files
from mibe.data.prepare import LONGEST_CELL
from mibe.data.raw import RawFiles
from mibe.data.readers.common import json_lines, json_object
from mibe.errors import DataError


@pytest.fixture
def never_hangs():
    def hang(*_):
        pytest.fail("something is waited for that never comes")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path):
    os.mkfifo(path)


def link_to_a_pipe(path):
    os.mkfifo(path.with_name(".pipe"))
    path.symlink_to(path.with_name(".pipe"))


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, link_to_a_pipe, device])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz", "a.zip", "a.tar.gz"])
def test_a_pipe_or_a_device_in_a_download_is_refused(tmp_path, never_hangs, make, name):
    make(tmp_path / name)
    raw = RawFiles(tmp_path)
    with pytest.raises(DataError, match=r"cannot read a\.[a-z.]+ in .*: it is a folder, a pipe or a device, no file"):
        for found in raw.find("*"):
            raw.text(found)
    with pytest.raises(DataError, match="is a pipe or a device; give the folder"):
        RawFiles(tmp_path / name)


def test_standard_input_is_no_download(never_hangs, capsys):
    read, write = os.pipe()
    assert main(["data", "prepare", "pubmedqa", "--from", f"/dev/fd/{read}"]) == 2
    os.close(read)
    os.close(write)
    assert f"mibe: /dev/fd/{read} is a pipe or a device" in capsys.readouterr().err


def test_a_packed_file_holds_no_more_than_an_archive_may(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_files, "MAX_BYTES", 1 << 20)
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * (1 << 20)))
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * (1 << 21)))
    (tmp_path / "plain.json").write_bytes(b" " * (1 << 21))
    raw = RawFiles(tmp_path)
    with pytest.raises(DataError, match="bomb.jsonl holds more than"):
        for _ in raw.lines("bomb.jsonl"):
            continue
    for name in ("bomb.json", "plain.json"):
        with pytest.raises(DataError, match=f"{name} holds more than"):
            raw.content(name)
    (tmp_path / "long.jsonl").write_bytes(b"{}\n" * (1 << 20))
    assert sum(1 for _ in raw_files.RawFiles(tmp_path).lines("long.jsonl")) == 1 << 20
    monkeypatch.setattr(raw_files, "MAX_LINE", 1000)
    (tmp_path / "line.jsonl").write_bytes(b"x" * 1001)
    with pytest.raises(DataError, match="line.jsonl has a line of more than"):
        list(RawFiles(tmp_path).lines("line.jsonl"))


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_a_name_that_stands_twice_in_an_archive_is_refused(tmp_path, name):
    if name == "x.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.json", "{}")
            archive.writestr("a.json", "[]")
    else:
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for content in (b"{}", b"[]"):
                info = tarfile.TarInfo("a.json")
                info.size = 2
                archive.addfile(info, io.BytesIO(content))
    with pytest.raises(DataError, match=f"{name} holds 'a.json' twice"):
        RawFiles(tmp_path).find("a.json")


@pytest.mark.parametrize(
    ("text", "message"), [("[" * 200_000, "nested too deeply"), ("9" * 5000, "too many digits"), ("{", "not ")]
)
def test_json_that_python_cannot_hold_is_one_line(tmp_path, text, message):
    (tmp_path / "a.jsonl").write_text("{}\n" + text + "\n")
    (tmp_path / "a.json").write_text(text)
    raw = RawFiles(tmp_path)
    with pytest.raises(DataError, match=f"a.jsonl, line 2: .*{message}"):
        list(json_lines(raw, "a.jsonl"))
    with pytest.raises(DataError, match=f"a.json, line 1: .*{message}"):
        json_object(raw, "a.json")


def test_a_field_of_a_table_that_is_too_long_is_one_line(tmp_path, capsys):
    rows = [format_true.bionli_row(1, "pos"), format_true.bionli_row(2, "pos")]
    rows[1][0] = "x" * (LONGEST_CELL + 1)
    assert main(["data", "prepare", "bionli", "--from", str(format_true.bionli(tmp_path, rows))]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "is not the official table (field larger than field limit" in error


def spoil(file, draw):
    """Something else in a file: another value in its JSON, a spoilt line, a spoilt byte, or another kind of file."""
    content = file.read_bytes()
    kind = draw(st.sampled_from(["value", "line", "byte", "file"]))
    lines = content.split(b"\n")
    number = draw(st.integers(0, len(lines) - 1))
    if kind == "value" and file.suffix in (".json", ".jsonl", ".txt"):
        whole = file.suffix == ".json"
        try:
            value = json.loads(content if whole else lines[number])
        except ValueError:
            return
        path = draw(st.sampled_from(list(hostile_runs.places(value))))
        made = hostile_runs.as_json(
            hostile_runs.changed(value, path, draw(st.sampled_from([..., *hostile_runs.WEIRD])))
        ).encode()
        lines = [made] if whole else [*lines[:number], made, *lines[number + 1 :]]
        file.write_bytes(b"\n".join(lines))
    elif kind == "line":
        lines[number] = draw(
            st.sampled_from([b"", b"\xff", b'"', b"\0", b"," * 20, b"\t" * 9, b"<a>" * 5000, lines[number] * 2])
        )
        file.write_bytes(b"\n".join(lines))
    elif kind == "byte" and content:
        at = draw(st.integers(0, len(content) - 1))
        file.write_bytes(content[:at] + draw(st.binary(min_size=1, max_size=3)) + content[at + 1 :])
    else:
        hostile_runs.replaced(file, draw(st.sampled_from(hostile_runs.KINDS)))


@pytest.mark.slow
def test_every_reader_bears_what_is_in_a_download(tmp_path, capsys, never_hangs):
    for name, make in format_true.MAKERS.items():
        (tmp_path / "whole" / name).mkdir(parents=True)
        make(tmp_path / "whole" / name)

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def attack(data):
        name = data.draw(st.sampled_from(sorted(format_true.MAKERS)))
        given_folder = tmp_path / "given"
        shutil.rmtree(given_folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole" / name, given_folder)
        files = sorted(path for path in given_folder.rglob("*") if path.is_file())
        spoil(data.draw(st.sampled_from(files)), data.draw)
        signal.alarm(60)
        code = main(["data", "prepare", name, "--from", str(given_folder)])
        error = capsys.readouterr().err
        assert code == 0 or (code == 2 and error.startswith("mibe: ") and error.count("\n") == 1)

    attack()
