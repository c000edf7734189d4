"""Whole runs through the openai model: cost, quota, privacy and keys as a user meets them, in real processes."""

import gc
import json
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import replace

import pytest
from api_clients import clients
from api_requests import requests
from api_runs import command, price_file, record_of, run
from api_server import Answer, error, prompt_of, said, serving
from run_logs import responses
from secret_task import WORDS

from mibe.data_use import check_egress, without_text_in_errors
from mibe.errors import DataUseError, MibeError, ModelError
from mibe.forecast.money import estimate, estimate_run
from mibe.judge.judges import Case, ModelJudge, load_judge
from mibe.models import load_model
from mibe.models.pricing import Price, find_price
from mibe.registry import load_task
from mibe.run.evaluate import evaluate
from mibe.run.plan import plan_task
from mibe.run.settings import Settings
from mibe.run.settle import wanted
from mibe.task import credentialed

CANARY = "sk-canary/4711-do-not-print"


def test_a_run_scores_counts_and_says_what_it_cost(tmp_path):
    with serving(lambda number, body: said("yes")) as server:
        done = run(*command(server, prices=price_file(tmp_path)), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 12
        again = run(*command(server, prices=price_file(tmp_path)), cwd=tmp_path)
        assert again.returncode == 0 and len(server.requests) == 12  # from the cache
    header, _, row, *_ = done.stdout.splitlines()
    assert header.split("errors")[1].split("  ")[-1].strip() == "USD"
    assert row.split()[-5:] == ["1200", "480", "120", "36", "1.3200"]
    path = next(path for path in (tmp_path / "runs").iterdir() if "usage" in (path / "run.json").read_text())
    record = json.loads((path / "run.json").read_text())
    assert record["tasks"]["pubmedqa"]["timing"]["usage"] == {
        "cached_tokens": 480,
        "reasoning_tokens": 36,
        "cost_usd": 1.32,
        "priced": 12,
        "priced_usd": 1.32,
    }
    [told] = record["sessions"][0]["services"]
    assert told["cost_usd"] == 1.32 and told["requests"] == 12 and told["name"] == "m"
    assert record["model"]["identity"]["endpoint"] == server.url.removeprefix("http://")


def test_outcomes_of_a_run(tmp_path):
    says = [
        said("yes"),
        said("", finish="content_filter"),
        said("Well, let me", finish="length"),
        said(None, refusal="I cannot."),
        error(400, "bad prompt"),
        said("no"),
    ]
    with serving(lambda number, body: says[number]) as server:
        done = run(*command(server, limit=6), cwd=tmp_path)
    assert done.returncode == 1 and "cost" not in done.stderr
    assert record_of(tmp_path)["tasks"]["pubmedqa"]["outcomes"] == {
        "parsed": 2,
        "unparsed": 0,
        "truncated": 1,
        "refused": 2,
        "error": 1,
    }
    assert record_of(tmp_path)["status"] == "incomplete" and "unknown" in done.stdout


def test_a_cost_limit_stops_the_run_and_a_higher_one_goes_on(tmp_path):
    prices = price_file(tmp_path)
    with serving(lambda number, body: said("yes")) as server:
        # 100 + 10 tokens are $0.11 each; the worst that is reserved is a token a byte, some $1.6.
        first = run(*command(server, "--max-cost", "2.2", prices=prices, concurrency=1), cwd=tmp_path)
        assert first.returncode == 1
        assert "--max-cost 2.2 USD would be passed" in first.stderr and "goes on from here" in first.stderr
        sent = len(server.requests)
        assert 0 < sent < 12 and sent * 0.11 <= 2.2
        record = record_of(tmp_path)
        assert record["status"] == "incomplete" and record["sessions"][0]["services"][0]["cost_usd"] > 0
        same = run(*command(server, "--max-cost", "2.2", prices=prices, concurrency=1), cwd=tmp_path)
        assert same.returncode == 1 and len(server.requests) == sent  # what was spent counts
        second = run(*command(server, "--max-cost", "50", prices=prices), cwd=tmp_path)
        assert second.returncode == 0 and len(server.requests) == 12
    record = record_of(tmp_path)
    assert record["status"] == "finished" and record["tasks"]["pubmedqa"]["scored"] == 12


def test_a_cost_limit_needs_a_price(tmp_path):
    with serving() as server:
        done = run(*command(server, "--max-cost", "3"), cwd=tmp_path)
        assert done.returncode == 2 and server.requests == []
    assert "no price is known for m; put it into a price file" in done.stderr and not (tmp_path / "runs").exists()
    done = run("eval", "--model", "dummy", "--tasks", "pubmedqa", "--limit", "2", "--max-cost", "1", cwd=tmp_path)
    assert done.returncode == 2 and "costs nothing; leave it out" in done.stderr
    done = run("eval", "--model", "dummy", "--tasks", "pubmedqa", "--limit", "2", "--max-cost", "0", cwd=tmp_path)
    assert done.returncode == 2 and "out of range" in done.stderr


def test_an_empty_account_leaves_a_run_that_goes_on(tmp_path):
    def script(number, body):
        return error(429, "no quota", code="insufficient_quota") if number >= 5 else said("yes")

    with serving(script) as server:
        done = run(*command(server, concurrency=1), cwd=tmp_path)
        assert done.returncode == 1 and "no credit or quota left" in done.stderr
        server.script = lambda number, body: said("yes")
        assert run(*command(server), cwd=tmp_path).returncode == 0
    assert record_of(tmp_path)["tasks"]["pubmedqa"]["scored"] == 12


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on_and_asks_for_what_was_in_flight_alone(tmp_path, stop):
    stopped = threading.Event()

    def script(number, body):
        if number >= 20:
            stopped.wait(timeout=20)
        return said("yes")

    with serving(script) as server:
        arguments = command(server, limit=60, concurrency=4)
        process = subprocess.Popen(
            [sys.executable, "-m", "mibe", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        while len(server.requests) < 24 or responses(tmp_path / "runs") < 20:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(stop)
        _, told = process.communicate(timeout=20)
        stopped.set()
        assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
        assert stop == signal.SIGKILL or b"Traceback" not in told
        assert run(*arguments, cwd=tmp_path).returncode == 0
        assert len(server.requests) == 60 + 4
    assert record_of(tmp_path)["tasks"]["pubmedqa"]["scored"] == 60


def test_an_estimate_needs_no_key_and_sends_nothing(tmp_path):
    env = {"OPENAI_API_KEY": "", "HTTPS_PROXY": "http://127.0.0.1:1", "XDG_CONFIG_HOME": str(tmp_path)}
    arguments = ["eval", "--model", "openai", "--model-args", "model=gpt-4o-2024-08-06", "--tasks", "pubmedqa,medqa"]
    done = run(*arguments, "--limit", "10", "--estimate", cwd=tmp_path, **env)
    assert done.returncode == 0, done.stderr
    assert "Nothing was sent; prices: mibe's price list, 2026-06" in done.stdout
    found = json.loads(run(*arguments, "--limit", "10", "--estimate", "--format", "json", cwd=tmp_path, **env).stdout)
    total = found["total"]
    assert total["prompts"] == 20 and [task["task"] for task in found["tasks"]] == ["pubmedqa", "medqa"]
    assert total["most_cost"] == pytest.approx((total["prompt_tokens"] * 2.5 + total["most_new_tokens"] * 10) / 1e6)
    assert total["expected_cost"] < total["most_cost"] and not (tmp_path / "runs").exists()
    batch = run(*arguments, "--limit", "10", "--estimate", "--batch-api", "--format", "json", cwd=tmp_path, **env)
    assert json.loads(batch.stdout)["total"]["most_cost"] == pytest.approx(total["most_cost"] / 2)
    dummy = run("eval", "--model", "dummy", "--tasks", "pubmedqa", "--estimate", "--format", "csv", cwd=tmp_path)
    assert dummy.stdout.splitlines()[1].startswith("pubmedqa,500,") and dummy.stdout.splitlines()[1].endswith(",,")


def test_an_estimate_counts_what_the_run_would_send():
    model = load_model("openai", {"model": "m", "base_url": "http://127.0.0.1:1/v1"})
    tasks, settings = wanted("medqa", None, {"limit": 5, "max_new_tokens": 100})
    plans = [plan_task(task, settings) for task in tasks]
    price = Price(prompt=2.0, completion=4.0, cached=1.0, batch=0.5, source="here")
    [task] = estimate(plans, model, price).tasks
    prompts = [f"[user]\n{task.prompt.instruction}\n" for task in tasks]
    assert task.prompts == 5 and task.most_new_tokens == 500
    assert task.prompt_tokens > 5 * len(prompts[0]) / 3
    assert task.most_cost == pytest.approx((2 * task.prompt_tokens + 4 * 500) / 1e6)
    assert estimate_run(model="dummy", tasks="medqa", limit=5).total.most_cost is None


def test_an_estimate_counts_every_draw():
    price = Price(prompt=2.0, completion=4.0, cached=1.0, batch=0.5, source="here")
    remote = load_model("openai", {"model": "m", "base_url": "http://127.0.0.1:1/v1"})
    [task] = wanted("medqa", None, {})[0]
    once, five = (
        estimate([plan_task(task, Settings(limit=5, repeats=repeats))], remote, price).total for repeats in (1, 5)
    )
    # What a server will have cached nobody knows: each draw is billed in full.
    assert (five.prompts, five.prompt_tokens) == (25, 5 * once.prompt_tokens)
    assert five.expected_new_tokens == 5 * once.expected_new_tokens
    assert five.most_new_tokens == 5 * once.most_new_tokens
    assert five.most_cost == pytest.approx(5 * once.most_cost) and five.expected_cost == pytest.approx(
        5 * once.expected_cost
    )
    here = [estimate_run(model="dummy", tasks="medqa", limit=5, repeats=repeats).total for repeats in (1, 5)]
    # A model on this machine reads the prompt of all draws once.
    assert here[1].prompt_tokens == here[0].prompt_tokens
    assert (here[1].prompts, here[1].most_new_tokens) == (25, 5 * here[0].most_new_tokens)


def test_show_prints_the_turns(tmp_path):
    arguments = ["show", "mmlu", "--model", "openai", "--model-args", "model=gpt-4o"]
    done = run(*arguments, cwd=tmp_path, OPENAI_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert "prompt:  gpt-4o, chat template" in done.stdout and "[user]\n" in done.stdout


def test_a_judge_asks_through_the_same_client():
    with serving(lambda number, body: said("y")) as server:
        model = load_model("openai", {"model": "j", "base_url": server.url})
        judge = ModelJudge(model)
        [judgement] = judge.judge([Case(("Influenza", "Measles"), ("Tuberculosis",))])
        judge.close()
        assert [verdict.match for verdict in judgement.verdicts] == [True]
        assert "Predicted diagnosis: Influenza True diagnosis: Tuberculosis" in prompt_of(server.bodies[0])


def secret(mibe, server, *more, **args):
    own = {"model": "m", "base_url": server.url, "max_wait": "0.05", **args}
    text = ",".join(f"{name}={value}" for name, value in own.items())
    return mibe("eval", "--model", "openai", "--model-args", text, "--tasks", "secret", "--limit", "4", *more)


def test_credentialed_text_goes_to_no_server_but_a_local_or_a_trusted_one(mibe, tmp_path):
    with serving() as server:
        arguments = ["eval", "--model", "openai", "--tasks", "secret", "--model-args"]
        remote = "model=m,base_url=http://192.0.2.1/v1,deadline=0.2,timeout=0.2,max_wait=0.05"
        done = mibe(*arguments, remote)
        assert done.returncode == 2 and "m is remote: its text would leave this machine" in done.stderr
        assert not (tmp_path / "runs").exists()
        estimated = mibe(*arguments, remote, "--estimate")
        assert estimated.returncode == 2 and "is remote" in estimated.stderr
        assert secret(mibe, server).returncode == 0  # loopback
        assert any(word in prompt_of(server.bodies[0]) for word in WORDS)
    [local] = (tmp_path / "runs").iterdir()
    assert json.loads((local / "run.json").read_text())["sessions"][0]["services"][0]["trusted_endpoint"] is False
    trusted = mibe(*arguments, remote, "--trusted-endpoint", "--limit", "1")
    assert "is remote" not in trusted.stderr
    other = next(path for path in (tmp_path / "runs").iterdir() if path != local)
    assert json.loads((other / "run.json").read_text())["model"]["is_remote"] is False


QUOTING = {
    "403": (lambda body: error(403, prompt_of(body)), "status 403: the key in OPENAI_API_KEY has no right to use m"),
    "404": (lambda body: error(404, prompt_of(body)), "status 404: it knows no model 'm'"),
    "eight in a row": (lambda body: error(500, prompt_of(body)), "8 requests in a row without an answer: [left out]"),
    "what was asked for": (
        lambda body: error(400, f"unknown parameter for {prompt_of(body)}", param="top_p"),
        "m does not take top_p, which was asked for: [left out]; leave it out",
    ),
}


@pytest.mark.parametrize("kind", QUOTING)
def test_a_local_servers_words_about_credentialed_text_stay_off_the_terminal(kind):
    """Kind and place are kept, and what to do; the words may be those of a note."""
    task = replace(load_task("pubmedqa"), access=credentialed("Notes DUA"))
    quoting, says = QUOTING[kind]
    asked = [replace(each, sampling=replace(each.sampling, top_p=0.5)) for each in requests(16)]
    with serving(lambda number, body: quoting(body)) as server, clients(max_wait="0.01") as make:
        model = make(server, concurrency="8", deadline="0.3" if "row" in kind else "60")
        with pytest.raises(ModelError) as caught:
            without_text_in_errors(task, model, lambda: list(model.generate(asked)))
    assert says in str(caught.value) and "it may quote credentialed text" in str(caught.value)
    assert caught.value.__context__ is None and "question " not in str(caught.value)


def test_a_403_of_a_local_server_brings_no_note_to_the_terminal(mibe):
    with serving(lambda number, body: error(403, f"You may not ask: {prompt_of(body)}")) as server:
        done = secret(mibe, server)
    assert done.returncode == 2 and "status 403" in done.stderr and server.requests
    assert not [word for word in WORDS if word in done.stdout + done.stderr], done.stderr


@pytest.mark.parametrize(
    ("base_url", "named"), [("http://gpu.hospital.example:8000/v1", True), ("https://api.openai.com/v1", False)]
)
def test_a_refusal_names_what_makes_the_hospitals_own_server_local(base_url, named):
    task = replace(load_task("pubmedqa"), access=credentialed("Notes DUA"))
    model = load_model("openai", {"model": "m", "base_url": base_url})
    with pytest.raises(DataUseError, match="is remote") as caught:
        check_egress(task, model)
    assert ("if that server is yours, --trusted-endpoint" in str(caught.value)) is named
    assert "--allow-egress pubmedqa --agreement" in str(caught.value)


def test_a_remote_judge_is_a_receiver_like_any_other():
    task = replace(load_task("pubmedqa"), access=credentialed("Notes DUA"))
    for arguments, refused in (("gpt-4o", True), ("model=m,base_url=http://127.0.0.1:1/v1", False)):
        judge = load_judge(f"openai:{arguments}", use_cache=False)
        if refused:
            with pytest.raises(DataUseError, match="gpt-4o is remote"):
                check_egress(task, judge.model)
        else:
            assert check_egress(task, judge.model) is None
        judge.close()


FAILURES = {
    "fine": lambda key: said("yes"),
    "400": lambda key: error(400, f"bad header Bearer {key}"),
    "401": lambda key: error(401, f"Incorrect API key provided: {key}"),
    "403": lambda key: error(403, f"{key} may not"),
    "404": lambda key: error(404, f"{key} knows no such model"),
    "429": lambda key: error(429, f"slow down {key}"),
    "500": lambda key: error(500, f"crashed with {key}"),
    "quota": lambda key: error(429, key, code="insufficient_quota"),
    "malformed": lambda key: Answer(body=f"{{{key}".encode()),
    "reset": lambda key: Answer(body=said(key).body, reset_after=20),
    "redirect": lambda key: Answer(307, {"error": key}, {"Location": "http://x.example/v1"}),
    "filter": lambda key: error(400, key, code="content_filter"),
    "parameter": lambda key: error(400, f"Unsupported parameter 'seed' {key}", param="seed"),
    "slow": lambda key: Answer(body=said("x").body, delay=0.3),
    "escaped": lambda key: Answer(400, escaped(key)),
    "escaped twice": lambda key: error(400, escaped(key).decode()),
    "escaped and cut": lambda key: Answer(400, escaped(key)[:-2]),
    "in an answer": lambda key: Answer(body=escaped(key, form=said)),
}


def escaped(key, form=lambda text: error(400, text)):
    """JSON that spells the key so that its bytes are not in it."""
    odd = key.replace("k", "\\u006B").replace("/", "\\/")
    return json.dumps(form("HERE").body).replace("HERE", odd).encode()


@pytest.mark.parametrize("kind", FAILURES)
def test_a_key_is_in_no_log_record_error_or_repr(kind, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("CANARY_KEY", CANARY)
    monkeypatch.setenv("MIBE_CACHE_DIR", str(tmp_path / "cache"))
    caplog.set_level("DEBUG")
    args = {"model": "m", "max_wait": "0.02", "deadline": "0.1", "timeout": "0.1", "api_key_env": "CANARY_KEY"}
    told = []
    with serving(lambda number, body: FAILURES[kind](CANARY)) as server:
        model = load_model("openai", {**args, "base_url": server.url})
        try:
            evaluate(model=model, tasks="pubmedqa", limit=3, output_dir=tmp_path / "runs")
        except MibeError as failure:
            told += _whole(failure)
        try:
            told += [repr(item) for item in model.generate(requests(2))]
        except MibeError as failure:
            told += _whole(failure)
        assert server.requests[0][1]["authorization"] == f"Bearer {CANARY}"
        told += [repr(thing) for thing in (model, vars(model), model.report(), model.wire, vars(model.caller))]
        told += [repr(thing) for thing in gc.get_objects() if str(type(thing).__module__).startswith("mibe.")]
        model.close()
    told += [record.getMessage() + str(record.args) for record in caplog.records]
    told += capfd.readouterr()
    told += [path.read_bytes().decode("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(told) > 10 and not [text for text in told if CANARY in text]


def _whole(failure):
    """All that an error shows: the traceback with its locals, and every error that it came from."""
    shown = ["".join(traceback.TracebackException.from_exception(failure, capture_locals=True).format())]
    while failure is not None:
        shown += [str(failure), repr(failure), repr(vars(failure))]
        failure = failure.__cause__ or failure.__context__
    return shown


@pytest.mark.parametrize("key", ["sk-first\nsecond", "sk-canary-é", "sk canary 4711", "sk-\x7fcanary"])
def test_a_key_that_no_header_can_hold_is_one_line_before_anything_is_sent(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving() as server:
        model = load_model("openai", {"model": "m", "base_url": server.url})
        with pytest.raises(ModelError, match="OPENAI_API_KEY holds no key: there is a line break") as caught:
            model.connect()
        with pytest.raises(ModelError):
            list(model.generate(requests(1)))
        assert server.requests == [] and key not in str(caught.value) and caught.value.__context__ is None
        model.close()


def test_a_placeholder_for_a_key_is_no_secret_and_an_answer_may_say_it(monkeypatch):
    monkeypatch.setenv("ANOTHER", "yes")
    with serving(lambda number, body: said("yes")) as server:
        model = load_model("openai", {"model": "m", "base_url": server.url, "api_key_env": "ANOTHER"})
        assert [response.text for _, response in model.generate(requests(1))] == ["yes"]
        model.close()


@pytest.mark.parametrize("kind", ["400", "401", "quota"])
def test_a_key_is_in_nothing_that_a_command_leaves(kind, tmp_path):
    with serving(lambda number, body: FAILURES[kind](CANARY)) as server:
        done = run(*command(server, limit=3), cwd=tmp_path, OPENAI_API_KEY=CANARY, MIBE_CACHE_DIR=str(tmp_path / "c"))
        assert server.requests[0][1]["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in done.stdout + done.stderr and done.returncode in (1, 2)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_prices_by_host_and_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    listed = find_price("api.openai.com", "gpt-4o")
    assert (listed.prompt, listed.cached, listed.completion, listed.batch) == (2.5, 1.25, 10.0, 0.5)
    assert find_price("api.openai.com", "gpt-4o-2024-11-20") == listed
    assert find_price("api.openai.com", "gpt-4o-unheard-of") is None
    assert find_price("127.0.0.1", "gpt-4o") is None  # the same name elsewhere is another thing
    own = tmp_path / "mibe" / "prices.json"
    own.parent.mkdir()
    own.write_text(json.dumps({"date": "d", "prices": {"*": {"gpt-4o": {"prompt": 1, "completion": 2}}}}))
    found = find_price("api.openai.com", "gpt-4o")
    assert (found.prompt, found.cached, found.batch, found.source) == (1, 1, 1, "prices.json, d")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"prices": {}}',
        '{"date": "d", "prices": {"h": {"m": {"prompt": 1}}}}',
        '{"date": "d", "prices": {"h": {"m": {"prompt": -1, "completion": 1}}}}',
        '{"date": "d", "prices": {"h": {"m": {"prompt": "x", "completion": 1}}}}',
        '{"date": "d", "prices": {"h": {"m": {"prompt": 1, "completion": 1, "input": 1}}}}',
    ],
)
def test_a_price_file_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(MibeError, match=r"p\.json is not a price file .* its form is"):
        find_price("h", "m", path)
