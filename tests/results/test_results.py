"""The run folder, the sample log and the response cache keep what they are given, whatever happens."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from mibe.errors import RunError
from mibe.results import folder as folders
from mibe.results.cache import ResponseCache, cache_key
from mibe.results.folder import RunFolder, read_record
from mibe.results.log import SampleLog, drop_torn_line, latest_rows, read_rows


def write_log(path, rows):
    log = SampleLog(path, private=False)
    for row in rows:
        log.append(row)
    log.close()


def test_rows_come_back_as_written(tmp_path):
    rows = [{"id": "a", "output": 'Zeile\nzwei  \u2028 and "quotes"'}, {"id": "b", "output": ""}]
    write_log(tmp_path / "t.jsonl", rows)
    assert list(read_rows(tmp_path / "t.jsonl")) == rows


@pytest.mark.parametrize(
    "torn", ['{"id": "c", "out', '{"id": "c"', "\0\0\0\0", '{"id": "c", "output": "no newline"}', "xx\n"]
)
def test_a_torn_last_line_is_dropped_and_nothing_else(tmp_path, torn):
    path = tmp_path / "t.jsonl"
    write_log(path, [{"id": "a"}, {"id": "b", "output": "x" * 100_000}])
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode())
    drop_torn_line(path)
    assert path.read_bytes() == whole


def test_a_log_of_only_a_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": "a", "outp')
    write_log(path, [{"id": "a"}])
    assert list(read_rows(path)) == [{"id": "a"}]


def test_the_last_row_of_a_sample_counts(tmp_path):
    write_log(tmp_path / "t.jsonl", [{"id": "a", "outcome": "error"}, {"id": "b"}, {"id": "a", "outcome": "parsed"}])
    assert list(latest_rows(tmp_path / "t.jsonl")) == [{"id": "b"}, {"id": "a", "outcome": "parsed"}]


def test_private_logs_are_for_their_owner_alone(tmp_path):
    directory = tmp_path / "samples"
    directory.mkdir()
    SampleLog(directory / "t.jsonl", private=True).close()
    assert stat.S_IMODE((directory / "t.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_second_process_is_kept_out(tmp_path):
    with RunFolder.open(tmp_path, "demo", "f1") as folder:
        folder.write_record({"fingerprint": "f1", "status": "running"})
        code = (
            "from pathlib import Path; from mibe.results.folder import RunFolder\n"
            f"RunFolder.open(Path({str(tmp_path)!r}), 'demo', 'f1')"
        )
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert second.returncode != 0
    assert f"is being written by process {os.getpid()}" in second.stderr


def test_an_unfinished_run_is_found_again_and_a_finished_one_is_not(tmp_path):
    with RunFolder.open(tmp_path, "demo", "f1") as first:
        first.write_record({"fingerprint": "f1", "status": "running"})
    with RunFolder.open(tmp_path, "demo", "other") as other:
        assert other.path != first.path
    with RunFolder.open(tmp_path, "demo", "f1") as again:
        assert again.path == first.path
        again.write_record({"fingerprint": "f1", "status": "finished"})
    with RunFolder.open(tmp_path, "demo", "f1") as new:
        assert new.path != first.path


def test_a_damaged_record_of_another_run_is_passed_by(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text("{")
    with RunFolder.open(tmp_path, "demo", "f1") as folder:
        assert folder.path.name.startswith("demo-")


def test_the_record_is_replaced_as_a_whole(tmp_path, monkeypatch):
    with RunFolder.open(tmp_path, "demo", None) as folder:
        folder.write_record({"status": "running"})

        def full(_descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(folders.os, "fsync", full)
        with pytest.raises(RunError, match="disk is full.*same command again"):
            folder.write_record({"status": "finished"})
        monkeypatch.undo()
        assert read_record(folder.path) == {"status": "running"}
        assert [p.name for p in folder.path.iterdir() if p.name.startswith(".")] == []


def test_a_real_full_disk_is_one_clear_error():
    log = SampleLog.__new__(SampleLog)
    log.path = folders.Path("/dev/full")
    log._file = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115
    with pytest.raises(RunError, match="disk is full"):
        log.append({"id": "a"})


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        RunFolder.open(tmp_path / "file" / "runs", "demo", None)


def test_a_record_that_is_not_one(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        read_record(tmp_path)


def test_cache_gives_back_only_what_was_stored_under_the_whole_key(tmp_path):
    cache = ResponseCache(tmp_path / "c" / "responses.sqlite")
    key = cache_key({"sha256": "m1"}, "prompt", {"max_new_tokens": 8})
    cache.put({key: {"text": "yes"}})
    others = [
        cache_key({"sha256": "m2"}, "prompt", {"max_new_tokens": 8}),
        cache_key({"sha256": "m1"}, "prompt ", {"max_new_tokens": 8}),
        cache_key({"sha256": "m1"}, "prompt", {"max_new_tokens": 9}),
        cache_key({"sha256": "m1"}, "prompt", {"max_new_tokens": 8}, "judge"),
    ]
    cache.close()
    again = ResponseCache(tmp_path / "c" / "responses.sqlite")
    assert again.get([key, *others]) == {key: {"text": "yes"}}
    assert stat.S_IMODE((tmp_path / "c" / "responses.sqlite").stat().st_mode) == 0o600
    again.close()


def test_a_cache_that_is_no_database_is_set_aside_and_a_new_one_begun(tmp_path):
    path = tmp_path / "responses.sqlite"
    path.write_text("this is not a database, " * 100)
    with pytest.warns(UserWarning, match="responses.sqlite.damaged, a new one begins"):
        cache = ResponseCache(path)
    cache.put({b"x": {"text": "yes"}})
    assert cache.get([b"x"]) == {b"x": {"text": "yes"}}
    cache.close()
    assert (tmp_path / "responses.sqlite.damaged").read_text().startswith("this is not")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
