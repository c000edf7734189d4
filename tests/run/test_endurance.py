"""A long run survives kills, full disks and damaged files, and its memory and its log files stay small."""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripted import Scripted

import mibe
from mibe.analysis.rescore import rescore
from mibe.errors import RunError
from mibe.results.cache import ResponseCache, cache_path
from mibe.results.folder import read_record
from mibe.results.log import damaged_path, mend, read_rows
from mibe.terminal.progress import Lines, duration

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path, answer=lambda _: "yes", **settings):
    arguments = {"tasks": "pubmedqa", "limit": 20, "resamples": 50, "use_cache": False} | settings
    model = Scripted(answer)
    done = mibe.evaluate(model=model, output_dir=tmp_path / "runs", **arguments)
    return done, model


def reopen(path):
    """Make a finished run one that was cut off."""
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(record | {"status": "running"}))


# --- kills


PLUGIN = """\
import os, random, time
from mibe.models.base import Response
from mibe.models.local.dummy import DummyModel


class Slow(DummyModel):
    name = "slow"

    def generate(self, requests):
        order = list(range(len(requests)))
        random.shuffle(order)
        for index in order:
            with open(os.environ["ASKED"], "a") as log:
                log.write("one\\n")
            time.sleep(0.003)
            text = ("yes", "no", "maybe", "cannot tell")[len(requests[index].text) % 4]
            yield index, Response(text=text, finish_reason="stop")


def load(args):
    return Slow()
"""


def install(folder):
    """The model as an installed plugin."""
    info = folder / "slow_model-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "slow_model.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-model\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mibe.models]\nslow = slow_model:load\n")


@pytest.mark.slow
def test_twenty_kills_cost_only_what_was_in_flight(tmp_path):
    """`mibe eval` itself, killed by SIGKILL at random moments, twenty times in a row."""
    install(tmp_path / "plugin")
    env = os.environ | {"PYTHONPATH": f"{tmp_path / 'plugin'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "mibe", "eval", "--model", "slow", "--tasks", "pubmedqa", "--no-cache"]
    command += ["--resamples", "50", "--output-dir"]
    rng = random.Random(20)
    kills = 0
    while True:
        process = subprocess.Popen(
            [*command, "killed"],
            cwd=tmp_path,
            env=env | {"ASKED": "asked"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # Some kills come while the run still starts, others in full flow.
        wanted = rng.choice([0, 1, 5, 20])
        target = lines(tmp_path / "asked") + wanted
        while kills < 20 and process.poll() is None and lines(tmp_path / "asked") < target:
            time.sleep(0.002)
        if kills == 20 or process.poll() is not None:
            break
        time.sleep(rng.random() * (0.01 if wanted else 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert kills == 20
    subprocess.run([*command, "calm"], cwd=tmp_path, env=env | {"ASKED": "once"}, check=True, capture_output=True)
    [killed], [calm] = (list((tmp_path / name).iterdir()) for name in ("killed", "calm"))
    ours, theirs = mibe.load_run(killed).record["tasks"]["pubmedqa"], mibe.load_run(calm).record["tasks"]["pubmedqa"]
    assert {key: value for key, value in ours.items() if key != "timing"} == {
        key: value for key, value in theirs.items() if key != "timing"
    }
    assert lines(tmp_path / "once") == 500
    # One response was in flight at each kill, at most.
    assert 500 <= lines(tmp_path / "asked") <= 500 + kills


@pytest.mark.slow
def test_kills_cost_no_answer_twice_and_no_cent_above_the_limit(tmp_path):
    """What the benchmark does with fifty kills, in small: the server counts requests and money."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import kills
    finally:
        sys.path.pop(0)
    found = kills.Chaos(tmp_path, documents=60, seed=1).run(4)
    assert found.kills >= 4 and found.scored == 60
    assert found.charged <= found.limit and found.requests - found.again == 60


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


# --- damage


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(lambda line: line[: len(line) // 2], id="cut in the middle"),
        pytest.param(lambda line: line[: line.index("é".encode()) + 1], id="cut in the middle of a character"),
        pytest.param(lambda line: b"\0" * len(line), id="zeros after a power cut"),
        pytest.param(lambda line: line[:20] + b"\0" * 4096, id="a beginning and zeros"),
        pytest.param(lambda line: line.rstrip(b"\n"), id="only the line end is missing"),
    ],
)
def test_a_damaged_last_line_is_answered_again_and_nothing_else(tmp_path, torn):
    done, _ = run(tmp_path, lambda _: "yes, très sûr")
    log = done.samples_path("pubmedqa")
    whole = [line.replace(b"\\u00e8", "è".encode()) for line in log.read_bytes().splitlines(keepends=True)]
    whole[-1] = whole[-1].replace("è".encode(), "é".encode())
    log.write_bytes(b"".join(whole[:-1]) + torn(whole[-1]))
    reopen(done.path)
    again, model = run(tmp_path, lambda _: "yes, très sûr")
    assert again.path == done.path and len(model.asked) == 1
    assert again.scores("pubmedqa") == done.scores("pubmedqa")
    assert len(list(read_rows(log))) == 20


@pytest.mark.parametrize(
    "damage", [b'{"id": "12\n', b"\0" * 600 + b"\n", b'["a list"]\n', b"\xff\xfe\n", b'{"no": "id"}\n']
)
def test_a_damaged_line_in_the_middle_is_kept_aside_and_its_document_asked_again(tmp_path, damage):
    done, _ = run(tmp_path)
    log = done.samples_path("pubmedqa")
    rows = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*rows[:7], damage, *rows[8:]]))
    with pytest.raises(RunError, match="line 8 is damaged"):
        rescore(done.path)
    reopen(done.path)
    again, model = run(tmp_path)
    assert again.path == done.path and len(model.asked) == 1
    assert damaged_path(log).read_bytes() == damage
    assert again.record["tasks"]["pubmedqa"]["figures"] == done.record["tasks"]["pubmedqa"]["figures"]


def test_mending_keeps_the_mode_of_a_private_log(tmp_path):
    log = tmp_path / "t.jsonl"
    log.write_bytes(b'{"id": "a"}\nxx\n{"id": "b"}\n')
    log.chmod(0o600)
    assert mend(log) == 1
    assert [path.stat().st_mode & 0o777 for path in (log, damaged_path(log))] == [0o600, 0o600]
    assert [row["id"] for row in read_rows(log)] == ["a", "b"]
    assert mend(log) == 0


@pytest.mark.parametrize("damage", ["", "{", '{"status": "fini', "\0" * 300])
def test_a_run_whose_record_is_damaged_goes_on_with_its_samples(tmp_path, damage):
    done, _ = run(tmp_path)
    (done.path / "run.json").write_text(damage)
    again, model = run(tmp_path)
    assert again.path == done.path and model.asked == []
    assert again.record["tasks"]["pubmedqa"]["figures"] == done.record["tasks"]["pubmedqa"]["figures"]
    assert (done.path / "run.json.damaged").read_text() == damage
    assert read_record(again.path)["status"] == "finished"


def test_a_damaged_cache_is_set_aside_in_the_middle_of_a_run(tmp_path):
    run(tmp_path, use_cache=True)
    path = cache_path()
    content = path.read_bytes()
    # The first page says that all is well; the others do not.
    path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    with pytest.warns(UserWarning, match="the response cache is damaged"):
        done, model = run(tmp_path, use_cache=True)
    assert done.failed == 0 and len(model.asked) == 20
    assert path.with_name("responses.sqlite.damaged").exists()
    assert run(tmp_path, use_cache=True)[1].asked == [] or len(stored(path)) < 20


def stored(path):
    return sqlite3.connect(path).execute("SELECT key FROM responses").fetchall()


def test_a_damaged_answer_in_the_cache_is_asked_for_again(tmp_path):
    run(tmp_path, use_cache=True)
    with sqlite3.connect(cache_path()) as database:
        database.execute("UPDATE responses SET value = '{\"resp' WHERE rowid <= 3")
    done, model = run(tmp_path, use_cache=True)
    assert done.failed == 0 and len(model.asked) == 3


# --- disks


def test_a_cache_that_cannot_be_written_does_not_end_a_run(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIBE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="the response cache cannot be used .*; the run goes on without it"):
        done, _ = run(tmp_path, use_cache=True)
    assert done.record["status"] == "finished" and done.failed == 0


def test_a_cache_on_a_full_disk_does_not_end_a_run(tmp_path):
    cache = ResponseCache(tmp_path / "c" / "responses.sqlite")
    cache._database.execute("PRAGMA max_page_count = 8")
    with pytest.warns(UserWarning, match="full.*the run goes on without it"):
        cache.put({os.urandom(32): {"text": "x" * 1000} for _ in range(100)})
    assert cache.get([b"x"]) == {}


LIMITED = """\
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from mibe.cli import main
sys.exit(main(sys.argv[2:]))
"""
EVAL = ["eval", "--model", "dummy", "--model-args", "answer=yes", "--tasks", "pubmedqa", "--resamples", "50"]


def test_a_log_that_cannot_grow_ends_the_run_with_everything_so_far_kept(tmp_path):
    """Every file is limited in size, as a quota does it; then the limit is lifted and the same command goes on."""
    arguments = [*EVAL, "--no-cache", "--output-dir", str(tmp_path / "runs")]

    def limited(size):
        return subprocess.run([sys.executable, "-c", LIMITED, str(size), *arguments], capture_output=True, text=True)

    first = limited(40_000)
    assert first.returncode == 2
    [error] = [line for line in first.stderr.splitlines() if line.startswith("mibe: ")]
    assert "cannot write" in error and "pubmedqa.jsonl" in error and "Traceback" not in first.stderr
    [folder] = (tmp_path / "runs").iterdir()
    kept = list(read_rows(folder / "samples" / "pubmedqa.jsonl"))
    assert 50 < len(kept) < 500
    second = limited(10_000_000)
    assert second.returncode == 0 and [folder] == list((tmp_path / "runs").iterdir())
    assert mibe.load_run(folder).scores("pubmedqa")["accuracy"] == 276 / 500


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 100 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let its user mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_ends_the_run_with_everything_so_far_kept(small_disk):
    with pytest.raises(RunError, match="the disk is full.*everything so far is kept.*same command again"):
        mibe.evaluate(model=Scripted(lambda _: "yes"), tasks="pubmedqa", output_dir=small_disk, use_cache=False)
    [folder] = small_disk.iterdir()
    kept = list(read_rows(folder / "samples" / "pubmedqa.jsonl"))
    assert 20 < len(kept) < 500
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    model = Scripted(lambda _: "yes")
    done = mibe.evaluate(model=model, tasks="pubmedqa", output_dir=small_disk, use_cache=False)
    assert len(model.asked) == 500 - len(kept) and done.scores("pubmedqa")["accuracy"] == 276 / 500


def test_a_read_only_disk_is_one_clear_error(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunError, match="cannot write .*Read-only file system; give another --output-dir"):
        mibe.evaluate(model=Scripted(lambda _: "yes"), tasks="pubmedqa", output_dir=small_disk / "runs")


def test_data_in_a_read_only_folder_is_read(small_disk, tmp_path, monkeypatch):
    folder = small_disk / "pubmedqa"
    folder.mkdir()
    lines = [{"id": str(n), "inputs": {"question": "q", "context": "c"}, "target": "yes"} for n in range(3)]
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    monkeypatch.setenv("MIBE_DATA_DIR", str(small_disk))
    assert run(tmp_path)[0].record["tasks"]["pubmedqa"]["scored"] == 3
    prepare = [sys.executable, "-m", "mibe", "data", "prepare", "medqa", "--from", str(tmp_path)]
    done = subprocess.run(prepare, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr.startswith("mibe: ")


# --- size


@pytest.mark.slow
def test_scores_need_little_memory_for_each_further_sample(tmp_path):
    """What the benchmark measures in full, in small: 2,000 and 10,000 documents, peak memory of a process each."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import endurance
    finally:
        sys.path.pop(0)
    endurance.write_plugin(tmp_path / "plugin")
    peaks = []
    for count in (2_000, 10_000):
        endurance.write_documents(tmp_path / str(count) / "endurance", count)
        env = os.environ | {"MIBE_DATA_DIR": str(tmp_path / str(count))}
        env["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "plugin"), str(ROOT)])
        arguments = ["eval", "--model", "dummy", "--tasks", "endurance", "--no-cache", "--resamples", "20"]
        command = [sys.executable, "-c", endurance.CHILD, *arguments, "--output-dir", str(tmp_path / "runs")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        peaks.append(float(done.stderr.splitlines()[-1].split()[1]))
    assert (peaks[1] - peaks[0]) / 8_000 < 1.2, "kB a sample"


# --- log files


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def logged(capsys, *, samples, seconds, done=0):
    clock = Clock()
    progress = Lines(clock)
    progress.start("pubmedqa", samples + done, done)
    for _ in range(samples):
        clock.now += seconds / samples
        progress.advance()
    progress.stop()
    return capsys.readouterr().err.splitlines()


def test_a_short_task_says_nothing_and_a_day_fits_on_a_few_screens(capsys):
    assert logged(capsys, samples=10_000, seconds=59) == []
    day = logged(capsys, samples=100_000, seconds=24 * 3600)
    assert 100 < len(day) < 250 and not any("\r" in line for line in day)


def test_a_line_says_how_far_how_fast_and_how_long(capsys):
    first = logged(capsys, samples=1000, seconds=1000, done=500)[0]
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d pubmedqa: 560 of 1,500 samples \(37%\), 1 a second, ", first)
    assert first.endswith("15 min 40 s left")


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (750, "12 min 30 s"), (11_100, "3 h 05 min"), (3600, "1 h 00 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_piped_run_writes_no_bar_and_results_alone_to_standard_output(tmp_path):
    command = [
        sys.executable,
        "-m",
        "mibe",
        *EVAL,
        "--no-cache",
        "--output-dir",
        str(tmp_path / "runs"),
        "--format",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["pubmedqa"]["scored"] == 500
    assert "\r" not in done.stderr and "samples (" not in done.stderr
