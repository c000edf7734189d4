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
from mibe.results.cache import cache_path
from mibe.results.log import read_rows


def started(arguments, cwd, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "mibe", *arguments], cwd=cwd, **pipes, **options)


def until(condition, process):
    """Wait for what a process that goes on is to bring about."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


# --- money


def test_a_limit_holds_over_kills(tmp_path):
    """Each session is killed with four requests under way that are charged: together they stay below the limit."""
    prices, limit = price_file(tmp_path), 8.0
    stopped, money, lock = threading.Event(), [], threading.Lock()

    def script(number, body):
        # Charged when it is asked for, whoever hears the answer.
        with lock:
            money.append(0.11)
        stopped.wait(timeout=20)
        return said("yes")

    with serving(script) as server:
        arguments = command(server, "--max-cost", str(limit), prices=prices, concurrency=4, limit=60)
        for _ in range(5):
            before = len(money)
            process = started(arguments, tmp_path)
            while process.poll() is None and len(money) < before + 4:
                time.sleep(0.005)
            process.kill()
            process.communicate()
        # Some $1.6 are held for each: the first session has room for four, and nothing is left for others.
        assert 4 <= len(money) < 8
        stopped.set()
        last = run(*arguments, cwd=tmp_path)
        assert last.returncode == 1 and f"--max-cost {limit} USD would be passed" in last.stderr
    assert sum(money) <= limit


def test_a_limit_holds_over_sessions_that_lose_the_server(tmp_path):
    prices, limit = price_file(tmp_path), 12.0
    with serving(lambda number, body: said("yes") if number < 3 else time.sleep(0.5) or said("late")) as server:
        late = {"timeout": "0.1", "deadline": "0.15", "max_wait": "0.02", "concurrency": "1"}
        arguments = command(server, "--max-cost", str(limit), prices=prices, limit=40, **late)
        ends = [run(*arguments, cwd=tmp_path) for _ in range(3)]
        # Each attempt that broke off may be charged in full: some $1.6 each.
        assert all(done.returncode in (1, 2) for done in ends)
        assert len(server.requests) * 0.9 <= limit
        assert ends[-1].returncode == 1 and "would be passed" in ends[-1].stderr


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
        prices = price_file(tmp_path)
        done = run(*command(server, "--max-cost", "1000", prices=prices, concurrency=1, limit=3), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        # A token a byte of the prompt with 16 for its turn, and the 64 tokens that may be answered, at $0.001 each.
        worst = [len(prompt_of(body).encode()) + len("[user]\n") + 16 + body["max_tokens"] for body in server.bodies]
    costs = [row["cost"] for row in read_rows(next((tmp_path / "runs").glob("*/samples/pubmedqa.jsonl")))]
    assert costs == pytest.approx([tokens / 1000 for tokens in worst])


def test_shards_in_parallel_stay_below_one_limit(tmp_path):
    """Four shards in one output folder, at once, each with the same limit: it is the limit of all together."""
    prices, limit = price_file(tmp_path), 12.0
    with serving(lambda number, body: said("yes")) as server:
        shards = [
            started(
                command(server, "--max-cost", str(limit), "--shard", f"{n}/4", prices=prices, limit=400, concurrency=2),
                tmp_path,
            )
            for n in range(1, 5)
        ]
        ends = [(*process.communicate(timeout=60), process.returncode) for process in shards]
        assert [code for *_, code in ends] == [1] * 4, ends
        assert all("would be passed" in told for _, told, _ in ends)
        # $0.11 each; what is left at the end is what a request or two a shard could have cost.
        assert limit / 4 < len(server.requests) * 0.11 <= limit
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
def test_a_run_that_fails_says_so(kind, tmp_path):
    script, reason = FAILURES[kind]
    with serving(script) as server:
        done = run(*command(server, "--top-p", "0.9", limit=3), cwd=tmp_path)
    assert done.returncode == 2
    failed(tmp_path, done, reason)


def failed(folder, done, reason):
    """The record tells why and when; of a run without any answer the user hears what to do with its folder."""
    record = record_of(folder)
    assert record["status"] == "failed"
    session = record["sessions"][-1]
    assert reason in session["reason"] and session["reason"] in done.stderr
    assert session["started"] <= session["ended"]
    [path] = (folder / "runs").iterdir()
    assert f"rm -r runs/{path.name}" in done.stderr and "no answer came" in done.stderr


def test_a_server_that_is_not_there_leaves_a_failed_run(tmp_path):
    with serving() as server:
        arguments = command(server, limit=3)
    done = run(*arguments, cwd=tmp_path)  # nobody listens there any more
    assert done.returncode == 2
    failed(tmp_path, done, "cannot be reached")


def test_a_missing_key_leaves_no_folder(tmp_path):
    arguments = ["eval", "--model", "openai", "--model-args", "model=m,base_url=http://192.0.2.1/v1"]
    done = run(*arguments, "--tasks", "pubmedqa", "--limit", "2", cwd=tmp_path, OPENAI_API_KEY="")
    assert done.returncode == 2 and "wants a key" in done.stderr and not (tmp_path / "runs").exists()


def test_a_run_that_fails_with_answers_goes_on(tmp_path):
    def script(number, body):
        return said("yes") if number < 5 else error(404, "gone")

    with serving(script) as server:
        first = run(*command(server, concurrency=1), cwd=tmp_path)
        assert first.returncode == 2 and "no answer came" not in first.stderr
        assert record_of(tmp_path)["status"] == "failed"
        server.script = lambda number, body: said("yes")
        assert run(*command(server), cwd=tmp_path).returncode == 0
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
    halted = threading.Event()

    def script(number, body):
        if number >= 10:
            halted.wait(timeout=20)
        return said("yes")

    with serving(script) as server:
        arguments = command(server, limit=30, concurrency=2)
        process = started(arguments, tmp_path)
        until(lambda: responses(tmp_path / "runs") >= 10, process)
        process.send_signal(sent)
        _, told = process.communicate(timeout=20)
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
