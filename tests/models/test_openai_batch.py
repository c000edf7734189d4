"""Batch jobs against a server on loopback that keeps them as the API does: nothing is asked twice, whatever dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from api_clients import answers, clients
from api_requests import request, requests
from api_runs import price_file
from api_server import Answer, error, said, serving

from mibe.errors import LimitReached, ModelError
from mibe.models.budget import Balance, Budget, Journal
from mibe.models.openai.jobs import MOST_BYTES, MOST_REQUESTS, input_files


class Jobs:
    """The state of the Batch API: files, jobs, and what became of each line."""

    def __init__(self, server, line):
        self.files, self.jobs, self.line = {}, {}, line
        self.status = "completed"
        self.polls_to_end = 2
        self.lose_next_creation = False
        self.lock = threading.Lock()
        server.other = {
            ("POST", "/v1/files"): self.upload,
            ("POST", "/v1/batches"): self.create,
            ("GET", "/v1/batches?"): self.list,
            ("GET", "/v1/batches/"): self.poll,
            ("GET", "/v1/files/"): self.content,
        }

    def upload(self, path, raw):
        assert b'name="purpose"\r\n\r\nbatch' in raw
        content = raw.split(b"\r\n\r\n")
        [lines] = [part.rsplit(b"\r\n--", 1)[0] for part in content if part.startswith(b'{"custom_id"')]
        with self.lock:
            name = f"file-{len(self.files)}"
            self.files[name] = lines
        return Answer(body={"id": name})

    def create(self, path, raw):
        asked = json.loads(raw)
        assert asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        with self.lock:
            name = f"batch_{len(self.jobs)}"
            self.jobs[name] = {"id": name, "input_file_id": asked["input_file_id"], "status": "validating", "polls": 0}
        if self.lose_next_creation:
            self.lose_next_creation = False
            return Answer(body=self.jobs[name], reset_after=5)
        return Answer(body=self.jobs[name])

    def list(self, path, raw):
        return Answer(body={"data": list(self.jobs.values())})

    def poll(self, path, raw):
        job = self.jobs.get(path.rsplit("/", 1)[1])
        if job is None:
            return error(404, "No batch found")
        job["polls"] += 1
        if job["polls"] >= self.polls_to_end and job["status"] != self.status:
            self.finish(job)
        return Answer(body=job)

    def finish(self, job):
        job["status"] = self.status
        done, failed = [], []
        for number, text in enumerate(self.files[job["input_file_id"]].splitlines()):
            asked = json.loads(text)
            entry = self.line(number, asked["body"])
            if entry is not None:
                (done if entry.get("error") is None else failed).append({"custom_id": asked["custom_id"], **entry})
        for kind, entries in (("output_file_id", done), ("error_file_id", failed)):
            # Answers come in any order.
            self.files[f"{job['id']}-{kind}"] = "\n".join(json.dumps(entry) for entry in reversed(entries)).encode()
            job[kind] = f"{job['id']}-{kind}" if entries else None

    def content(self, path, raw):
        return Answer(body=self.files[path.split("/")[3]])


def echoed(number, body):
    return {"response": {"status_code": 200, "body": said(body["messages"][-1]["content"]).body}, "error": None}


@pytest.fixture
def service():
    with serving() as server:
        server.jobs = Jobs(server, echoed)
        yield server


@pytest.fixture
def open_model(service):
    with clients(batch_api="yes", poll_interval="0.02", max_wait="0.05") as make:
        yield partial(make, service)


def test_a_job_is_submitted_awaited_and_collected(service, open_model):
    model = open_model()
    got = answers(model, [*requests(20), request("question 3")])
    assert [response.text for response in got] == [*(f"question {number}" for number in range(20)), "question 3"]
    assert len(service.jobs.jobs) == 1 and len(service.jobs.files["file-0"].splitlines()) == 20
    assert service.requests == []  # nothing went the other way
    assert model.report()["batch_jobs"] == ["batch_0"]


def test_all_that_a_run_will_ask_is_submitted_before_the_first_is_awaited(service, open_model):
    model = open_model()
    model.submit(requests(5))
    model.submit([request("another task")])
    assert len(service.jobs.jobs) == 2 and all(job["polls"] == 0 for job in service.jobs.jobs.values())
    assert answers(model, [request("another task")])[0].text == "another task"
    assert len(answers(model, requests(5))) == 5
    assert len(service.jobs.jobs) == 2


def test_answers_that_were_taken_are_not_kept_for_another_run(service, open_model):
    model = open_model()
    answers(model, requests(3))
    answers(model, requests(3))
    assert len(service.jobs.jobs) == 2


def test_a_process_that_dies_finds_its_job_again(service, open_model):
    stream = open_model().generate(requests(10))
    taken = [next(stream) for _ in range(4)]
    stream.close()  # the third is on disk, the fourth may not be
    again = open_model()
    rest = [wanted for number, wanted in enumerate(requests(10)) if number not in {index for index, _ in taken[:3]}]
    assert len(answers(again, rest)) == 7 and len(service.jobs.jobs) == 1
    answers(open_model(), rest)
    assert len(service.jobs.jobs) == 2  # all were taken, so the same question is a new one


def test_a_job_whose_creation_was_answered_by_silence_is_not_created_twice(service, open_model):
    service.jobs.lose_next_creation = True
    assert len(answers(open_model(), requests(5))) == 5
    assert len(service.jobs.jobs) == 1


def test_a_job_that_died_between_its_creation_and_its_id_is_found_by_its_file(service, open_model, own_folders):
    model = open_model()
    model.submit(requests(5))
    [entry] = (own_folders / "cache" / "batches").glob("*/*.json")
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "id": None}))
    assert len(answers(open_model(), requests(5))) == 5 and len(service.jobs.jobs) == 1


def test_no_text_is_kept_beside_the_job(service, open_model, own_folders):
    open_model().submit([request("the patient has a cough")])
    [entry] = (own_folders / "cache" / "batches").glob("*/*.json")
    assert "cough" not in entry.read_text()


def test_lines_that_failed_or_expired_are_error_samples(service, open_model):
    def line(number, body):
        return {
            0: {"response": {"status_code": 400, "body": error(400, "too long").body}, "error": None},
            1: {"response": None, "error": {"code": "batch_expired", "message": "This request expired."}},
            2: None,
            3: {"response": {"status_code": 400, "body": error(400, "no", code="content_filter").body}, "error": None},
            4: {"response": {"status_code": 200, "body": {"choices": "?"}}, "error": None},
        }.get(number, echoed(number, body))

    service.jobs.line, service.jobs.status = line, "expired"
    got = answers(open_model(), requests(7))
    assert [response.finish_reason for response in got] == ["error"] * 3 + ["filter", "error", "stop", "stop"]
    assert got[0].error == "status 400: too long" and got[1].error == "This request expired."
    assert "is expired and has no answer" in got[2].error


def test_lines_of_status_200_that_are_no_answer(service, open_model):
    bodies = {
        0: said("half", finish="abort").body,
        1: {"error": {"message": "The input was flagged", "code": 403}},
        2: {"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": True}}}]},
        3: {"choices": {"a": 1}},
        4: said("cut", finish="length").body,
    }

    def line(number, body):
        if number not in bodies:
            return echoed(number, body)
        return {"response": {"status_code": 200, "body": bodies[number]}, "error": None}

    service.jobs.line = line
    got = answers(open_model(), requests(6))
    assert [r.finish_reason for r in got] == ["error", "filter", "filter", "error", "length", "stop"]
    assert got[0].error == "the answer was broken off (finish_reason 'abort')" and got[0].text == ""


def test_a_parameter_that_the_model_refuses_is_learnt_and_the_lines_go_again(service, open_model):
    def line(number, body):
        if "max_tokens" in body:
            problem = error(
                400, "Unsupported parameter: 'max_tokens'", code="unsupported_parameter", param="max_tokens"
            )
            return {"response": {"status_code": 400, "body": problem.body}, "error": None}
        return echoed(number, body)

    service.jobs.line = line
    model = open_model()
    got = answers(model, requests(6))
    assert {response.finish_reason for response in got} == {"stop"} and len(service.jobs.jobs) == 2
    assert model.report()["refused_parameters"] == ["max_tokens"]


def test_a_job_that_is_refused_as_a_whole_says_why_and_is_forgotten(service, open_model):
    model = open_model()
    model.submit(requests(3))
    refusal = {"status": "failed", "errors": {"data": [{"code": "model_not_found", "message": "No such model: m"}]}}
    service.jobs.jobs["batch_0"].update(refusal)
    with pytest.raises(ModelError, match="refused Batch job batch_0: No such model: m"):
        answers(model, requests(3))
    assert len(answers(open_model(), requests(3))) == 3


def test_a_full_queue_stops_cleanly(service, open_model):
    model = open_model()
    model.submit(requests(3))
    full = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
    service.jobs.jobs["batch_0"].update({"status": "failed", "errors": full})
    with pytest.raises(LimitReached, match="Enqueued token limit reached"):
        answers(model, requests(3))


def test_a_job_that_the_server_forgot_is_submitted_anew(service, open_model):
    open_model().submit(requests(3))
    del service.jobs.jobs["batch_0"]
    service.jobs.jobs["other"] = {"id": "other", "input_file_id": "x", "status": "completed", "polls": 0}
    assert len(answers(open_model(), requests(3))) == 3


def test_trouble_on_the_way_is_passing(service, open_model):
    plain = dict(service.other)
    calls = {"count": 0}

    def troubled(function):
        def answer(path, raw):
            calls["count"] += 1
            return error(503, "busy") if calls["count"] % 3 == 1 else function(path, raw)

        return answer

    service.other = {route: troubled(function) for route, function in plain.items()}
    assert len(answers(open_model(), requests(5))) == 5 and len(service.jobs.jobs) == 1


def test_batch_prices_and_budget(service, open_model, tmp_path):
    prices = tmp_path / "prices.json"
    entry = {"prompt": 1000.0, "completion": 2000.0, "batch": 0.5}
    prices.write_text(json.dumps({"date": "2026-01-31", "prices": {"*": {"m": entry}}}))
    model = open_model(prices=str(prices))
    [got] = answers(model, requests(1))
    assert got.cost == pytest.approx((100 * 1000 + 10 * 2000) / 2 / 1e6)
    assert model.budget.spent == pytest.approx(got.cost) and model.budget.reserved == pytest.approx(0, abs=1e-9)
    model.budget = Budget(0.1)
    with pytest.raises(LimitReached, match="would be passed"):
        answers(model, requests(50))
    assert len(service.jobs.jobs) == 1  # nothing of it was submitted


def test_a_job_that_could_not_be_submitted_costs_nothing(service, open_model, tmp_path):
    upload = service.other["POST", "/v1/files"]
    service.other["POST", "/v1/files"] = lambda path, raw: error(400, "no files today")
    model = open_model(prices=price_file(tmp_path))
    model.budget = Budget(20.0)
    model.budget.keep(Journal(tmp_path), 0.0)
    for _ in range(3):
        with pytest.raises(ModelError, match="no files today"):
            model.submit(requests(100))
    assert model.budget.reserved == pytest.approx(0, abs=1e-9) and Journal(tmp_path).balance().total == pytest.approx(0)
    service.other["POST", "/v1/files"] = upload
    model.submit(requests(100))
    assert Journal(tmp_path).balance().held == model.budget.reserved > 0


def test_files_keep_the_limits_of_the_api():
    line = b"x" * 9_000
    sizes = [(len(keys), len(content)) for keys, content in input_files((str(i), line) for i in range(60_000))]
    assert sum(count for count, _ in sizes) == 60_000
    assert all(count <= MOST_REQUESTS and size <= MOST_BYTES for count, size in sizes)
    assert sizes[0][0] == MOST_BYTES // 9_000
    assert [len(keys) for keys, _ in input_files((str(i), b"{}\n") for i in range(120_000))] == [50_000, 50_000, 20_000]


def test_a_run_that_is_killed_while_it_waits_goes_on_with_the_same_jobs(service, tmp_path):
    """And what was held for them is not held twice: the limit has no room for that."""
    service.jobs.polls_to_end = 10**9
    prices = price_file(tmp_path)
    command = [sys.executable, "-m", "mibe", "eval", "--model", "openai", "--batch-api", "--limit", "6"]
    command += [
        "--tasks",
        "pubmedqa,medqa",
        "--model-args",
        f"model=m,base_url={service.url},poll_interval=0.02,prices={prices}",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(job["polls"] for job in service.jobs.jobs.values()):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(service.jobs.jobs) == 2  # both tasks were submitted before the first was awaited
    service.jobs.polls_to_end = 1
    [held] = (Journal(path).balance().held for path in (tmp_path / "runs").iterdir())
    command += ["--max-cost", str(round(1.1 * held, 2))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(service.jobs.jobs) == 2 and len(list((tmp_path / "runs").iterdir())) == 1
    [run] = (tmp_path / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished" and len(record["sessions"]) == 2
    [told] = record["sessions"][1]["services"]
    assert sorted(told["batch_jobs"]) == ["batch_0", "batch_1"]
    assert Journal(run).balance() == Balance(pytest.approx(12 * 0.11), pytest.approx(0.0, abs=1e-9))
