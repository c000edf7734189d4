"""How runs end, and what is left of them: killed, failed or stopped by a signal, all counts and nothing twice."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from api_runs import command, price_file, record_of, run
from api_server import error, prompt_of, said, serving
from run_logs import responses
from scripted import Scripted

import mibe
from mibe.errors import LimitReached, MibeError, ModelError
from mibe.results.cache import cache_path
from mibe.results.folder import RunFolder
from mibe.results.log import read_rows
from mibe.terminal.progress import on_stderr


def started(arguments, cwd, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "mibe", *arguments], cwd=cwd, **pipes, **options)


def evaluated(server, folder, *, max_cost=None, limit=3, use_cache=False, shard=None, **args):
    """A run in this process, as `command` has it in its own."""
    own = {"model": "m", "base_url": server.url, "max_wait": "0.05", **args}
    return mibe.evaluate(
        model="openai",
        model_args=own,
        tasks="pubmedqa",
        limit=limit,
        shard=shard,
        max_cost=max_cost,
        use_cache=use_cache,
        resamples=50,
        output_dir=folder / "runs",
    )


def worst_of(body):
    """USD: a token a byte of the prompt with 16 for its turn, and the tokens that may be answered, at $0.001 each."""
    return (len(prompt_of(body).encode()) + len("[user]\n") + 16 + body["max_tokens"]) / 1000


def until(condition, process):
    """Wait for what a process that goes on is to bring about."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


# --- money


def test_a_limit_holds_over_a_kill(tmp_path):
    """Four requests are under way, and charged, when the process is killed: no other session may spend that again."""
    prices, limit = price_file(tmp_path), 8.0
    stopped = threading.Event()
    with serving(lambda number, body: stopped.wait(timeout=20) and said("yes")) as server:
        arguments = command(server, "--max-cost", str(limit), prices=prices, concurrency=4, limit=60)
        process = started(arguments, tmp_path)
        # Some $1.6 are held for each, so that nothing is left for others.
        until(lambda: len(server.requests) == 4, process)
        process.kill()
        process.communicate()
        stopped.set()
        last = run(*arguments, cwd=tmp_path)
        assert last.returncode == 1 and f"--max-cost {limit} USD would be passed" in last.stderr
        assert "count as spent: a session that was cut off had requests under way" in last.stderr
        worst = [worst_of(body) for body in server.bodies]
    assert sum(worst[:4]) + sum(worst[4:5]) + 0.11 * len(worst[5:]) <= limit


def test_a_limit_holds_over_sessions_that_lose_the_server(tmp_path):
    prices, limit = price_file(tmp_path), 12.0
    late = {"timeout": "0.1", "deadline": "0.15", "max_wait": "0.02", "concurrency": "1", "prices": prices}
    with serving(lambda number, body: said("yes") if number < 3 else time.sleep(0.5) or said("late")) as server:
        for _ in range(2):
            with pytest.raises(LimitReached if server.requests else MibeError):
                evaluated(server, tmp_path, max_cost=limit, limit=40, **late)
        sent = len(server.requests)
        with pytest.raises(LimitReached, match="would be passed"):
            evaluated(server, tmp_path, max_cost=limit, limit=40, **late)
    # Each attempt that broke off may be charged in full: some $1.6 each, and $0.11 for each of the first three.
    assert sent == len(server.requests) > 5 and 3 * 0.11 + (sent - 3) * 0.9 <= limit


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5_000_000, "completion_tokens": 1},
        {"prompt_tokens": 100, "completion_tokens": -5_000_000},
        {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 5_000_000}},
        {"prompt_tokens": 10**15, "completion_tokens": 1},
        {"prompt_tokens": 100, "completion_tokens": 10**9},
        {"prompt_tokens": float("nan"), "completion_tokens": 1},
    ],
)
def test_usage_that_cannot_be_counts_as_the_worst_case(tmp_path, usage):
    answer = said("yes")
    answer.body["usage"] = usage
    with serving(lambda number, body: answer) as server:
        done = evaluated(server, tmp_path, max_cost=1000.0, concurrency="1", prices=price_file(tmp_path))
        worst = [worst_of(body) for body in server.bodies]
    costs = [row["cost"] for row in read_rows(done.samples_path("pubmedqa"))]
    assert costs == pytest.approx(worst)


@pytest.mark.slow
def test_shards_in_parallel_stay_below_one_limit(tmp_path):
    """Three shards in one output folder, at once, each with the same limit: it is the limit of all together."""
    prices, limit = price_file(tmp_path), 12.0
    with serving(lambda number, body: said("yes")) as server:
        shards = [
            started(
                command(server, "--max-cost", str(limit), "--shard", f"{n}/3", prices=prices, limit=400, concurrency=2),
                tmp_path,
            )
            for n in range(1, 4)
        ]
        ends = [(*process.communicate(timeout=60), process.returncode) for process in shards]
        assert [code for *_, code in ends] == [1] * 3, ends
        assert all("would be passed" in told for _, told, _ in ends)
        # $0.11 each; what is left at the end is what a request or two a shard could have cost.
        assert limit / 3 < len(server.requests) * 0.11 <= limit
        more = run(*command(server, "--max-cost", "100", "--shard", "1/4", prices=prices, limit=400), cwd=tmp_path)
        assert more.returncode == 0, more.stderr


# --- kills


def test_answers_in_a_log_reach_the_cache_when_the_run_goes_on(tmp_path):
    halted = threading.Event()

    def script(number, body):
        if number >= 30:
            halted.wait(timeout=20)
        return said("yes")

    with serving(script) as server:
        arguments = command(server, limit=60, concurrency=4)
        process = started(arguments, tmp_path)
        until(lambda: responses(tmp_path / "runs") >= 30, process)
        process.kill()
        process.communicate()
        halted.set()
        assert run(*arguments, cwd=tmp_path).returncode == 0
        asked = len(server.requests)
        again = run(*arguments, cwd=tmp_path)  # a new run, all from the cache
        assert again.returncode == 0 and len(server.requests) == asked <= 60 + 4
    assert len(list((tmp_path / "runs").iterdir())) == 2
    with sqlite3.connect(cache_path()) as cache:
        [(kept,)] = cache.execute("SELECT count(*) FROM responses")
    assert kept == 60


def test_a_run_killed_between_finished_and_its_exit_is_taken_up(tmp_path):
    """The process is killed in front of the table that it was to print."""
    with serving(lambda number, body: said("yes")) as server:
        arguments = command(server)
        killed = (
            "import os, signal, sys, mibe.results.table as table\n"
            "table.render = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
            "from mibe.cli import main\nmain(sys.argv[1:])"
        )
        first = subprocess.run([sys.executable, "-c", killed, *arguments], cwd=tmp_path, capture_output=True)
        assert first.returncode == -signal.SIGKILL and record_of(tmp_path)["status"] == "finished"
        second = run(*arguments, cwd=tmp_path)
        assert second.returncode == 0 and "pubmedqa" in second.stdout and len(server.requests) == 12
        assert len(record_of(tmp_path)["sessions"]) == 2
        # That one ended as it should: the same command is a new run.
        assert run(*arguments, cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_run_killed_before_its_first_record_is_taken_up(tmp_path):
    with RunFolder.open(tmp_path, "demo", "f1") as killed:
        assert sorted(path.name for path in killed.path.iterdir()) == ["fingerprint", "run.lock", "samples"]
    with RunFolder.open(tmp_path, "demo", "f1") as again, RunFolder.open(tmp_path, "demo", "f2") as other:
        assert again.path == killed.path != other.path and again.earlier_record() is None


def test_two_runs_of_one_process_have_two_folders(tmp_path):
    for _ in range(2):
        mibe.evaluate(model=Scripted(lambda _: "yes"), tasks="pubmedqa", limit=2, output_dir=tmp_path / "runs")
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_rows_of_other_documents_are_set_aside_and_not_scored(tmp_path):
    arguments = {"tasks": "pubmedqa", "limit": 20, "resamples": 50, "use_cache": False}
    done = mibe.evaluate(model=Scripted(lambda _: "yes"), output_dir=tmp_path / "runs", **arguments)
    log = done.samples_path("pubmedqa")
    rows = log.read_text().splitlines(keepends=True)
    strange = [json.dumps(json.loads(rows[0]) | {"id": "nobody", "target": "yes"}) + "\n"]
    strange += [json.dumps(json.loads(rows[1]) | {"draw": 7}) + "\n"]
    log.write_text("".join([*rows[:19], *strange]))
    record = json.loads((done.path / "run.json").read_text())
    (done.path / "run.json").write_text(json.dumps(record | {"status": "running"}))
    model = Scripted(lambda _: "yes")
    again = mibe.evaluate(model=model, output_dir=tmp_path / "runs", **arguments)
    assert again.path == done.path and len(model.asked) == 1
    assert again.scores("pubmedqa") == done.scores("pubmedqa")
    assert again.record["tasks"]["pubmedqa"]["samples"] == 20
    assert log.with_suffix(".strange").read_text() == "".join(strange)
    assert {row["id"] for row in read_rows(log)} == {json.loads(row)["id"] for row in rows}


# --- ends


FAILURES = {
    "404": (lambda number, body: error(404, "no such model"), "status 404"),
    "401": (lambda number, body: error(401, "who are you"), "OPENAI_API_KEY"),
    "refused parameter": (lambda number, body: error(400, "unknown parameter top_p", param="top_p"), "top_p"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_run_that_fails_says_so(kind, tmp_path, capsys):
    script, reason = FAILURES[kind]
    with serving(script) as server, on_stderr() as progress, pytest.raises(ModelError) as failure:
        mibe.evaluate(
            model="openai",
            model_args={"model": "m", "base_url": server.url},
            tasks="pubmedqa",
            limit=3,
            temperature=0.5,
            top_p=0.9,
            output_dir=tmp_path / "runs",
            progress=progress,
        )
    assert reason in str(failure.value)
    record = record_of(tmp_path)
    [session] = record["sessions"]
    assert record["status"] == "failed" and session["reason"] == str(failure.value)
    assert session["started"] <= session["ended"]
    [path] = (tmp_path / "runs").iterdir()
    assert f"no answer came: the same command goes on in {path}, or clean up by rm -r {path}" in capsys.readouterr().err


def test_a_server_that_is_not_there_leaves_a_failed_run(tmp_path):
    with serving() as server:
        arguments = command(server, limit=3)
    done = run(*arguments, cwd=tmp_path)  # nobody listens there any more
    assert done.returncode == 2 and "or clean up by rm -r runs/m-" in done.stderr
    record = record_of(tmp_path)
    assert record["status"] == "failed" and "cannot be reached" in record["sessions"][0]["reason"]


def test_a_missing_key_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    args = {"model": "m", "base_url": "http://192.0.2.1/v1"}
    with pytest.raises(ModelError, match="wants a key"):
        mibe.evaluate(model="openai", model_args=args, tasks="pubmedqa", limit=2, output_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_fails_with_answers_goes_on(tmp_path):
    def script(number, body):
        return said("yes") if number < 5 else error(404, "gone")

    with serving(script) as server:
        with pytest.raises(ModelError, match="status 404"):
            evaluated(server, tmp_path, limit=12, concurrency="1")
        assert record_of(tmp_path)["status"] == "failed"
        server.script = lambda number, body: said("yes")
        evaluated(server, tmp_path, limit=12, concurrency="1")
        assert len(server.requests) == 12 + 1
    record = record_of(tmp_path)
    assert record["status"] == "finished" and "status 404" in record["sessions"][0]["reason"]
    assert "reason" not in record["sessions"][1]


def test_an_error_that_is_not_ours_is_in_the_record(tmp_path):
    class Broken(Scripted):
        def generate(self, requests):
            raise ZeroDivisionError("the model divided by nothing")

    with pytest.raises(ZeroDivisionError):
        mibe.evaluate(model=Broken(lambda _: ""), tasks="pubmedqa", limit=2, output_dir=tmp_path / "runs")
    record = record_of(tmp_path)
    assert record["status"] == "failed"
    assert record["sessions"][0]["reason"] == "ZeroDivisionError: the model divided by nothing"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does(tmp_path, sent):
    if signal.getsignal(sent) == signal.SIG_IGN:
        pytest.skip(f"{sent.name} is ignored here (nohup), and so by what is started here")
    halted = threading.Event()

    def script(number, body):
        if number >= 10:
            halted.wait(timeout=90)
        return said("yes")

    with serving(script) as server:
        arguments = command(server, limit=30, concurrency=2)
        process = started(arguments, tmp_path)
        until(lambda: responses(tmp_path / "runs") >= 10, process)
        process.send_signal(sent)
        _, told = process.communicate(timeout=90)
        halted.set()
        assert process.returncode == 128 + sent and "Traceback" not in told
        assert f"interrupted by {sent.name}; every response so far is kept" in told
        record = record_of(tmp_path)
        assert record["status"] == "interrupted" and record["sessions"][0]["reason"] == sent.name
        assert run(*arguments, cwd=tmp_path).returncode == 0
        assert len(server.requests) == 30 + 2


def test_a_run_under_nohup_does_not_hear_the_terminal_close(tmp_path):
    if shutil.which("nohup") is None:
        pytest.skip("there is no nohup here")
    reached, halted = threading.Event(), threading.Event()

    def script(number, body):
        reached.set()
        halted.wait(timeout=20)
        return said("yes")

    with serving(script) as server:
        nohup = ["nohup", sys.executable, "-m", "mibe", *command(server, limit=2)]
        process = subprocess.Popen(nohup, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert reached.wait(timeout=30)
        process.send_signal(signal.SIGHUP)
        halted.set()
        assert process.wait(timeout=30) == 0
    assert record_of(tmp_path)["status"] == "finished"
