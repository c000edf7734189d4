"""All tasks of a run are one stream of requests, none waits for another; and a document may be drawn several times."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from api_requests import requests
from api_runs import command, price_file, record_of, run
from api_server import prompt_of, said, serving
from run_logs import responses
from scripted import Scripted

import mibe as mibe_api
from mibe.errors import UsageError
from mibe.models import load_model
from mibe.models.base import Response, Sampling
from mibe.models.ranks import Ranks
from mibe.prompting import PromptBuilder
from mibe.registry import load_task
from mibe.results.digests import Digests, digest
from mibe.results.log import read_rows
from mibe.run.plan import plan_task
from mibe.run.responses import for_draw, wanted
from mibe.run.settings import Settings

TASKS = ("pubmedqa", "medqa", "medmcqa")


def prompts(url, limit):
    """Task → the prompts that a run of it asks, in its order."""
    model = load_model("openai", {"model": "m", "base_url": url})
    found = {}
    for name in TASKS:
        plan = plan_task(load_task(name), Settings(limit=limit))
        builder = PromptBuilder(plan.task, model, plan.shots, max_new_tokens=plan.max_new_tokens)
        found[name] = [builder.build(example).messages[-1]["content"] for example in plan.documents]
    return found


def until(condition, seconds=20):
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def samples(folder):
    """Task → number of rows in its log."""
    return {path.stem: sum(1 for _ in read_rows(path)) for path in folder.glob("runs/*/samples/*.jsonl")}


def test_one_slow_answer_holds_no_other_task_back(tmp_path):
    """The first request is answered only when all other tasks are asked, answered and scored in the record."""
    seen = []

    def script(number, body):
        if number == 0:
            scored = {}

            def others_are_scored():
                tasks = record_of(tmp_path)["tasks"]
                scored.update({name: "figures" in task for name, task in tasks.items()})
                return scored == {"pubmedqa": False, "medqa": True, "medmcqa": True}

            seen.append(until(others_are_scored))
            seen.append(samples(tmp_path))
        return said("yes")

    with serving(script) as server:
        done = run(*command(server, tasks=",".join(TASKS), limit=12, concurrency=4), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 36
    assert seen == [True, {"pubmedqa": 11, "medqa": 12, "medmcqa": 12}]
    record = record_of(tmp_path)
    assert tuple(record["tasks"]) == TASKS
    assert [word for line in done.stdout.splitlines() for word in line.split()[:1] if word in TASKS] == list(TASKS)
    assert all(task["scored"] == 12 for task in record["tasks"].values())


def test_prompts_are_built_when_there_is_room_for_them(tmp_path):
    """Of a hundred thousand requests a server that does not answer gets no more than it may have at once."""
    built = []
    freed = threading.Event()

    def endless():
        for number, request in enumerate(requests(1) * 100_000):
            built.append(number)
            yield number, request

    def script(number, body):
        freed.wait(timeout=20)
        return said("yes")

    with serving(script) as server:
        model = load_model("openai", {"model": "m", "base_url": server.url, "concurrency": "8"})
        stream = model.stream(endless())
        reader = threading.Thread(target=next, args=(stream,))
        reader.start()
        assert until(lambda: len(server.requests) == 8)
        time.sleep(0.1)
        assert len(server.requests) == 8 and len(built) <= 8 + 1 + 64
        freed.set()
        reader.join(20)
        stream.close()
        model.close()
    assert not reader.is_alive()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_run_stopped_with_several_tasks_half_done_asks_again_for_what_was_in_flight_alone(tmp_path, stop):
    stopped = threading.Event()
    held = set()

    def script(number, body):
        if prompt_of(body) in held:
            stopped.wait(timeout=30)
        return said("yes")

    with serving(script) as server:
        held |= {prompt for asked in prompts(server.url, 10).values() for prompt in asked[:2]}
        arguments = command(server, tasks=",".join(TASKS), limit=10, concurrency=8)
        process = subprocess.Popen(
            [sys.executable, "-m", "mibe", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert until(lambda: len(server.requests) == 30 and responses(tmp_path / "runs") == 24)
        process.send_signal(stop)
        _, told = process.communicate(timeout=20)
        stopped.set()
        assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
        assert stop == signal.SIGKILL or b"Traceback" not in told
        assert samples(tmp_path) == dict.fromkeys(TASKS, 8)
        record = record_of(tmp_path)
        assert record["status"] == ("interrupted" if stop == signal.SIGINT else "running")
        assert tuple(record["tasks"]) == TASKS and not any("figures" in task for task in record["tasks"].values())
        assert run(*arguments, cwd=tmp_path).returncode == 0
        again = Counter(prompt_of(body) for body in server.bodies)
    assert {prompt for prompt, times in again.items() if times == 2} == held and sum(again.values()) == 36
    record = record_of(tmp_path)
    assert record["status"] == "finished" and [task["scored"] for task in record["tasks"].values()] == [10] * 3


def test_a_cost_limit_that_is_met_in_a_later_task_leaves_the_earlier_ones_scored(tmp_path):
    prices = price_file(tmp_path)  # $0.11 an answer, and a tenth of a cent a byte for a prompt at its worst
    with serving(lambda number, body: said("yes")) as server:
        asked = prompts(server.url, 12)
        dearest = max(len(prompt.encode()) for name in TASKS for prompt in asked[name])
        # Room for twelve answers, and beside them for what the dearest request could cost.
        most = f"{12 * 0.11 + (dearest + 200) / 1000:.2f}"
        shared = {"tasks": ",".join(TASKS), "limit": 12, "prices": prices}
        first = run(*command(server, "--max-cost", most, **shared, concurrency=1), cwd=tmp_path)
        assert first.returncode == 1 and "everything so far is kept" in first.stderr
        sent = len(server.requests)
        assert 12 < sent < 36 and sent * 0.11 <= float(most)
        record = record_of(tmp_path)
        assert record["status"] == "incomplete" and record["tasks"]["pubmedqa"]["scored"] == 12
        assert sum(samples(tmp_path).values()) == sent
        second = run(*command(server, "--max-cost", "90", **shared), cwd=tmp_path)
        assert second.returncode == 0 and len(server.requests) == 36
    assert [task["scored"] for task in record_of(tmp_path)["tasks"].values()] == [12] * 3


def test_an_error_while_one_task_is_scored_keeps_the_answers_that_came(tmp_path, monkeypatch):
    from mibe.run import running

    def fails(task, *_, **__):
        raise OSError(f"no scores for {task.name}")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="no scores for"):
        broken.setattr(running, "score_task", fails)
        mibe_api.evaluate(
            model=Scripted(lambda _: "yes"), tasks="pubmedqa,medqa", limit=5, output_dir=tmp_path / "runs"
        )
    model = Scripted(lambda _: "yes")
    done = mibe_api.evaluate(model=model, tasks="pubmedqa,medqa", limit=5, output_dir=tmp_path / "runs")
    assert [task["scored"] for task in done.record["tasks"].values()] == [5, 5]
    assert 0 < len(model.asked) < 10


# --- draws


def drawn(tmp_path, model, **settings):
    arguments = {"tasks": "pubmedqa,medqa", "limit": 4, "resamples": 50, "repeats": 3, "use_cache": False} | settings
    return mibe_api.evaluate(model=model, output_dir=tmp_path / "runs", **arguments)


class InOrder(Scripted):
    """Answers in the order of the requests, each time something else."""

    def generate(self, requests):
        for index, request in enumerate(requests):
            self.asked.append(request.text)
            yield index, Response(text=f"yes {len(self.asked)}", finish_reason="stop")


def rows_of(done, task="pubmedqa"):
    return list(read_rows(done.samples_path(task)))


def test_each_draw_is_a_row_and_the_draws_of_a_document_stand_side_by_side(tmp_path):
    model = InOrder(None)
    done = drawn(tmp_path, model)
    rows = rows_of(done)
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == 4 and ids == [ident for ident in dict.fromkeys(ids) for _ in range(3)]
    assert [row["draw"] for row in rows] == [0, 1, 2] * 4
    assert [row["output"] for row in rows] == [f"yes {number}" for number in range(1, 13)]
    assert len(model.asked) == 24 and model.asked[0] == model.asked[2] != model.asked[3]
    assert done.record["settings"]["repeats"] == 3
    assert done.record["tasks"]["pubmedqa"]["outcomes"]["parsed"] == 12
    once = drawn(tmp_path, Scripted(lambda _: "yes"), repeats=1)
    assert all("draw" not in row for row in rows_of(once)) and len(rows_of(once)) == 4


def test_a_run_that_goes_on_asks_for_the_missing_draws_alone(tmp_path):
    done = drawn(tmp_path, Scripted(lambda _: "yes"))
    log = done.samples_path("pubmedqa")
    rows = rows_of(done)
    kept = [row for row in rows if (row["id"], row["draw"]) not in {(rows[0]["id"], 1), (rows[5]["id"], 0)}]
    log.write_text("".join(json.dumps(row) + "\n" for row in kept))
    record = json.loads((done.path / "run.json").read_text())
    (done.path / "run.json").write_text(json.dumps(record | {"status": "running"}))
    model = Scripted(lambda _: "no")
    again = drawn(tmp_path, model)
    assert again.path == done.path and len(model.asked) == 2
    new = {(row["id"], row["draw"]): row["output"] for row in rows_of(again)[len(kept) :]}
    assert new == {(rows[0]["id"], 1): "no", (rows[5]["id"], 0): "no"}
    assert again.record["tasks"]["pubmedqa"]["samples"] == 12


def test_greedy_draws_come_from_the_cache(tmp_path):
    first = Scripted(lambda _: "yes")
    drawn(tmp_path, first, use_cache=True)
    again = Scripted(lambda _: "no")
    done = drawn(tmp_path, again, use_cache=True)
    assert again.asked == [] and [row["draw"] for row in rows_of(done)] == [0, 1, 2] * 4
    assert {(row["output"], row["cached"]) for row in rows_of(done)} == {("yes", True)}


def test_a_draw_has_a_seed_of_its_own_and_greedy_ones_share_theirs():
    greedy, warm = Sampling(max_new_tokens=4, seed=7), Sampling(max_new_tokens=4, seed=7, temperature=0.7)
    assert for_draw(greedy, "a", 3) == greedy
    seeds = {(ident, draw): for_draw(warm, ident, draw).seed for ident in ("a", "b", "a/1") for draw in range(4)}
    assert len(set(seeds.values())) == 12 and all(0 <= seed < 2**31 for seed in seeds.values())
    # The first 31 bits of what `printf 7/0/a | sha256sum` says: the same in every process and on every machine.
    assert seeds["a", 0] == 0xC6145E34 >> 1
    assert for_draw(warm, "a", 0) != for_draw(Sampling(max_new_tokens=4, seed=8, temperature=0.7), "a", 0)


@pytest.mark.parametrize("done", [[], [("skip", 0)]])
def test_processes_share_the_documents_and_none_parts_the_draws_of_one(done):
    plan = plan_task(load_task("pubmedqa"), Settings(limit=50, repeats=4))
    first = next(iter(plan.documents)).id
    had = Digests(digest(first if ident == "skip" else ident, draw) for ident, draw in done)
    taken = [
        (rank, example.id, draw)
        for rank in range(3)
        for example, draws in wanted(plan, had, Ranks(rank, 3))
        for draw in draws
    ]
    assert Counter((ident, draw) for _, ident, draw in taken) == {
        (example.id, draw): 1 for example in plan.documents for draw in range(4) if digest(example.id, draw) not in had
    }
    assert all(len({rank for rank, other, _ in taken if other == ident}) == 1 for _, ident, _ in taken)
    shares = Counter(rank for rank, *_ in taken)
    assert max(shares.values()) - min(shares.values()) <= 4 * 16


def test_a_number_of_draws_is_at_least_one():
    with pytest.raises(UsageError, match="--repeats 0 is out of range; at least 1"):
        Settings(repeats=0)
