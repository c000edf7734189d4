"""The client for OpenAI's API against a real server on loopback that does what real servers do to their users."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from api_clients import answers, clients
from api_requests import request, requests
from api_server import Answer, error, prompt_of, said, serving

from mibe.errors import LimitReached, ModelError, UsageError
from mibe.models import load_model
from mibe.models.base import ChoiceRequest, Message, Request, Sampling
from mibe.models.budget import Budget
from mibe.models.locality import is_loopback
from mibe.models.openai.format import Dialect, Problem, learn
from mibe.models.openai.policy import Action, action_for, duration, exhausted, retry_after

FAST = {"max_wait": "0.05", "timeout": "5"}


@pytest.fixture
def client():
    """A model for a server, closed after the test."""
    with clients(**FAST) as make:
        yield make


def test_what_is_asked_and_what_comes_back(client):
    with serving() as server:
        model = client(server)
        [got] = answers(model, [request("Is it? 𝛃", tokens=7)])
        path, headers, body, _ = server.requests[0]
    assert path == "/v1/chat/completions" and headers["authorization"] == "Bearer none"
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Is it? 𝛃"}],
        "max_tokens": 7,
        "temperature": 0.0,
        "seed": 0,
    }
    assert (got.text, got.finish_reason, got.error) == ("Is it? 𝛃", "stop", None)
    assert (got.prompt_tokens, got.cached_tokens, got.new_tokens, got.reasoning_tokens) == (100, 40, 10, 3)


def test_answers_come_as_they_are_ready_and_to_the_right_prompts(client):
    def script(number, body):
        answer = said(prompt_of(body).upper())
        answer.delay = 0.5 if prompt_of(body) == "question 0" else 0.0
        return answer

    with serving(script) as server:
        came = list(client(server, concurrency="4").generate(requests(20)))
    assert came[-1][0] == 0 and sorted(index for index, _ in came) == list(range(20))
    assert all(response.text == f"QUESTION {index}" for index, response in came)


def test_no_more_at_once_than_asked_for(client):
    def script(number, body):
        return Answer(body=said("x").body, delay=0.01)

    with serving(script) as server:
        answers(client(server, concurrency="3"), requests(30))
        assert server.most_active == 3


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: error(429, "Rate limit reached", code="rate_limit_exceeded"),
        lambda: error(429, "Rate limit reached", retry_after="0.05"),
        lambda: error(429, "Rate limit reached", retry_after_ms="40", retry_after="0"),
        lambda: error(429, "wait", retry_after=format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)),
        lambda: error(500, "internal error"),
        lambda: error(503, "overloaded"),
        lambda: Answer(502, b"<html>Bad Gateway</html>"),
        lambda: Answer(529, b""),
        lambda: Answer(408, {"error": "timed out"}),
        lambda: Answer(body=said("half").body, reset_after=40),
        lambda: Answer(body=said("none").body, reset_after=0),
        lambda: Answer(body=b'{"choices": [{"mess'),
        lambda: Answer(body=b"[]"),
        lambda: Answer(body={"choices": []}),
        lambda: Answer(body={"error": {"message": "upstream failed", "code": 502}}),
    ],
)
def test_passing_trouble_costs_time_and_no_sample(client, trouble):
    begun = []

    def script(number, body):
        if not begun:
            begun.append(time.monotonic())
        return trouble() if number % 3 == 0 and time.monotonic() < begun[0] + 0.3 else said(prompt_of(body))

    with serving(script) as server:
        model = client(server, concurrency="8")
        got = answers(model, requests(30))
    assert [response.text for response in got] == [f"question {number}" for number in range(30)]
    assert model.report()["retries"] > 0


def test_a_burst_of_refusals_shrinks_what_is_under_way_and_it_grows_again(client):
    state = {"begun": None, "refused": 0, "most_later": 0, "active": 0}
    lock = threading.Lock()

    def script(number, body):
        with lock:
            state["begun"] = state["begun"] or time.monotonic()
            if time.monotonic() < state["begun"] + 0.8:
                state["refused"] += 1
                return error(429, "Too many requests")
        return Answer(body=said(prompt_of(body)).body, delay=0.005)

    with serving(script) as server:
        model = client(server, concurrency="32", max_wait="0.2")
        got = answers(model, requests(150))
        assert {response.finish_reason for response in got} == {"stop"} and len(got) == 150
        report = model.report()
        assert report["overloads"] == state["refused"] and report["concurrency"]["least"] < 16
        # Thirty-two clients without any policy would have sent thousands in that time.
        assert state["refused"] < 400


def test_the_servers_pause_holds_for_every_request(client):
    def script(number, body):
        return error(429, "Slow down", retry_after="0.4") if number == 0 else said("x")

    with serving(script) as server:
        answers(client(server, concurrency="1"), requests(3))
        assert server.times[1] - server.times[0] >= 0.39


def test_a_slow_answer_is_asked_for_again(client):
    def script(number, body):
        return Answer(body=said("x").body, delay=0.6 if number == 0 else 0.0)

    with serving(script) as server:
        model = client(server, timeout="0.2")
        assert answers(model, requests(1))[0].text == "x" and len(server.requests) == 2
        assert model.report()["overloads"] == 1


def test_one_request_that_never_succeeds_is_one_error_at_its_deadline(client):
    def script(number, body):
        return error(500, "poisoned") if prompt_of(body) == "question 3" else said("x")

    with serving(script) as server:
        got = answers(client(server, deadline="0.4"), requests(10))
    assert [response.finish_reason for response in got].count("error") == 1
    assert got[3].error.startswith("status 500: poisoned (given up after ") and got[3].text == ""


def test_a_server_that_is_gone_for_good_stops_the_run(client):
    def script(number, body):
        return said("x") if number < 5 else error(500, "down")

    with serving(script) as server:
        stream = client(server, deadline="0.2", concurrency="4").generate(requests(40))
        with pytest.raises(ModelError, match=r"left 8 requests in a row .* same command goes on"):
            for _ in stream:
                pass


def test_one_bad_request_is_one_error_with_the_servers_words(client):
    def script(number, body):
        if prompt_of(body) == "question 7":
            return error(400, "This model's maximum context length is 4096 tokens.", code="context_length_exceeded")
        return said("x")

    with serving(script) as server:
        got = answers(client(server), requests(20))
        assert len(server.requests) == 20
    assert got[7].finish_reason == "error"
    assert got[7].error == "status 400: This model's maximum context length is 4096 tokens."
    assert sum(response.finish_reason == "stop" for response in got) == 19


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, r"does not accept the key in the environment variable MY_KEY$"),
        (403, "has no right to use m. It said: nope"),
        (404, "it knows no model 'm', or base_url is not right"),
        (405, "base_url is not right"),
        (307, "base_url is not right"),
    ],
)
def test_what_no_request_would_survive_ends_the_run_at_once(client, monkeypatch, status, says):
    monkeypatch.setenv("MY_KEY", "sk-1234")
    with serving(lambda number, body: error(status, "nope", location="http://elsewhere.example/v1")) as server:
        model = client(server, api_key_env="MY_KEY", concurrency="2")
        with pytest.raises(ModelError, match=says):
            answers(model, requests(50))
        assert len(server.requests) <= 4


def test_an_empty_account_stops_cleanly_after_what_was_under_way(client):
    def script(number, body):
        if number == 6:
            return error(429, "You exceeded your current quota", code="insufficient_quota", kind="insufficient_quota")
        return Answer(body=said("x").body, delay=0.05)

    with serving(script) as server:
        got = []
        with pytest.raises(LimitReached, match="no credit or quota left; everything so far is kept"):
            got.extend(client(server, concurrency="4").generate(requests(50)))
        assert len(server.requests) <= 12 and len(got) == len(server.requests) - 1


def test_a_pause_longer_than_the_deadline_stops_the_run(client):
    stop = pytest.raises(LimitReached, match="asks for a pause of 86400 s")
    with serving(lambda number, body: error(429, "daily limit", retry_after="86400")) as server, stop:
        answers(client(server), requests(5))


def test_a_server_that_is_not_there_is_named_soon(client):
    with serving() as server:
        pass
    with pytest.raises(ModelError, match=r"127.0.0.1:\d+/v1 cannot be reached .* is the server up"):
        answers(client(server), requests(5))


@pytest.mark.parametrize(
    ("answer", "finish", "text"),
    [
        (said("cut", finish="length"), "length", "cut"),
        (said("", finish="content_filter"), "filter", ""),
        (said(None, refusal="I can't help with that."), "filter", "I can't help with that."),
        (error(400, "filtered", code="content_filter"), "filter", "filtered"),
        (error(400, "no", kind="content_policy_violation"), "filter", "no"),
        (
            error(403, "Your input was flagged by moderation", code="403"),
            "filter",
            "Your input was flagged by moderation",
        ),
        (said(None), "stop", ""),
        (said([{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]), "stop", "in parts"),
        (said("B", reasoning_content="so it is B"), "stop", "<think>\nso it is B\n</think>\n\nB"),
        (said("", reasoning_content="still thin", finish="length"), "length", "<think>\nstill thin"),
        (said("<think>raw</think>A"), "stop", "<think>raw</think>A"),
        (said("x", finish="tool_calls"), "stop", "x"),
    ],
)
def test_ways_in_which_an_answer_ends(client, answer, finish, text):
    with serving(lambda number, body: answer) as server:
        [got] = answers(client(server), requests(1))
    assert (got.finish_reason, got.text, got.error) == (finish, text, None)


def test_a_server_that_counts_nothing(client):
    with serving(lambda number, body: said("x", usage=False)) as server:
        [got] = answers(client(server), requests(1))
    assert got.prompt_tokens is None and got.cached_tokens is None and got.text == "x"


def refuses(parameter, message, **more):
    def script(number, body):
        return error(400, message, **more) if parameter in body else said("x y STOP z")

    return script


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        (
            "max_tokens",
            {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead.",
                "code": "unsupported_parameter",
                "param": "max_tokens",
            },
        ),
        (
            "temperature",
            {
                "message": "Unsupported value: 'temperature' does not support 0 with this model.",
                "code": "unsupported_value",
                "param": "temperature",
            },
        ),
        ("seed", {"message": '[{"type": "extra_forbidden", "loc": ["body", "seed"]}]'}),
        ("stop", {"message": "Unknown parameter: 'stop'."}),
    ],
)
def test_parameters_that_a_server_refuses_are_learnt_once(client, parameter, problem):
    with serving(refuses(parameter, **problem)) as server:
        model = client(server, concurrency="2")
        got = answers(model, [request("q", tokens=9, stop=(" STOP",)) for _ in range(20)])
        assert [response.text for response in got] == ["x y"] * 20  # the stop string holds even where it is not sent
        assert len(server.requests) <= 22 and parameter not in server.bodies[-1]
        if parameter == "max_tokens":
            assert server.bodies[-1]["max_completion_tokens"] == 9
    report = model.report()
    assert report["refused_parameters"] == [parameter]
    assert report["length_parameter"] == ("max_completion_tokens" if parameter == "max_tokens" else "max_tokens")


def test_a_server_that_refuses_every_name_is_an_error_and_no_loop(client):
    def script(number, body):
        name = next(name for name in body if name.startswith("max_"))
        return error(400, f"Unsupported parameter: '{name}'", param=name)

    with serving(script) as server:
        [got] = answers(client(server), requests(1))
        assert got.finish_reason == "error" and len(server.requests) == 2


def test_a_message_about_something_else_changes_nothing():
    sent = {"max_tokens": 5, "temperature": 0, "seed": 1}
    for problem in (
        Problem(400, "max_tokens is too large: 99999", param="max_tokens"),
        Problem(400, "the prompt is not supported", param="messages"),
        Problem(500, "Unsupported parameter: 'seed'", param="seed"),
    ):
        assert learn(Dialect("max_tokens"), sent, problem) is None


def test_models_without_a_chat_template_get_plain_text(client):
    def script(number, body):
        return Answer(body={"choices": [{"text": " yes\n\nINPUT: more", "finish_reason": "stop"}]})

    with serving(script) as server:
        model = client(server, api="completions")
        wanted = Request((Message(role="user", content="Q:"),), "Q:", Sampling(max_new_tokens=4, stop=("\n\nINPUT:",)))
        [got] = answers(model, [wanted])
        path, _, body, _ = server.requests[0]
    assert path == "/v1/completions" and body["prompt"] == "Q:" and body["max_tokens"] == 4
    assert got.text == " yes" and not model.is_chat


def test_likelihoods_are_refused(client):
    with serving() as server, pytest.raises(ModelError, match="gives no likelihoods"):
        client(server).loglikelihood([ChoiceRequest("a", ("b",))])


def test_rates_that_the_user_sets_are_kept(client):
    def seconds(count, **args):
        with serving() as server:
            begun = time.monotonic()
            answers(client(server, **args), requests(count))
            return time.monotonic() - begun

    assert seconds(11, requests_per_minute="1200") >= 0.5  # ten gaps of 50 ms
    # 16 new tokens and a third of the 33 bytes of a prompt: 28 tokens, of which 18,000 a minute are 300 a second.
    assert seconds(6, tokens_per_minute="18000") >= 5 * 27 / 300


def test_an_allowance_that_is_used_up_is_waited_for(client):
    headers = {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "600ms",
    }

    def script(number, body):
        return Answer(body=said("x").body, headers=headers if number == 0 else {})

    with serving(script) as server:
        answers(client(server, concurrency="1", max_wait="5"), requests(3))
        assert server.times[1] - server.times[0] >= 0.29  # half of 600 ms gives one request of two back


def test_leaving_in_the_middle_stops_the_work_and_the_model_goes_on(client):
    with serving(lambda number, body: Answer(body=said("x").body, delay=0.02)) as server:
        model = client(server, concurrency="4")
        stream = model.generate(requests(500))
        next(stream)
        stream.close()
        sent = len(server.requests)
        time.sleep(0.15)
        assert len(server.requests) <= sent + 4
        assert len(answers(model, requests(5))) == 5


def test_half_of_a_character_is_sent_as_a_mark(client):
    with serving() as server:
        assert answers(client(server), [request("a\ud800b")])[0].text == "a?b"


def test_redirects_to_another_host_are_not_followed(client):
    def script(number, body):
        return Answer(307, {}, {"Location": f"{other.url}/chat/completions"})

    with serving() as other, serving(script) as server:
        with pytest.raises(ModelError, match="status 307"):
            answers(client(server), requests(2))
        assert other.requests == []


def test_a_proxy_from_the_environment_never_sees_what_is_for_this_machine(client, monkeypatch):
    with serving() as server, serving() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert answers(client(server), requests(1))[0].text == "question 0"
        assert proxy.requests == []


@pytest.mark.parametrize(
    ("base_url", "remote"),
    [
        ("http://127.0.0.1:8000/v1", False),
        ("http://127.9.9.9/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://LOCALHOST:8000/v1", False),
        ("https://api.openai.com/v1", True),
        ("http://10.0.0.5:8000/v1", True),
        ("http://localhost.example.com/v1", True),
        ("http://127.0.0.1.example.com/v1", True),
        ("http://0.0.0.0:8000/v1", True),
    ],
)
def test_only_loopback_is_local_unless_its_user_trusts_the_server(base_url, remote):
    model = load_model("openai", {"model": "m", "base_url": base_url})
    trusted = load_model("openai", {"model": "m", "base_url": base_url, "trusted_endpoint": "yes"})
    assert model.is_remote is remote and trusted.is_remote is False
    assert trusted.report()["trusted_endpoint"] is True and trusted.identity == model.identity


def test_loopback_names():
    assert is_loopback("127.0.0.1") and not is_loopback("127.1") and not is_loopback("")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "needs model=NAME"),
        ({"model": "m", "api_key": "sk-secret"}, "api_key= is not taken"),
        ({"model": "m", "base_url": "api.openai.com"}, "must be an address"),
        ({"model": "m", "base_url": "http://u:p@h/v1"}, "must hold no user or password"),
        ({"model": "m", "base_url": "http://h/v1?key=1"}, "must end with the path"),
        ({"model": "m", "api": "responses"}, "must be chat, or completions"),
        ({"model": "m", "api_key_env": "sk-abc"}, "must be the name of an environment variable"),
        ({"model": "m", "concurrency": "0"}, "at least 1"),
        ({"model": "m", "temprature": "1"}, "temprature"),
        ({"model": "m", "prices": "/nowhere.json"}, "cannot be read"),
        ({"model": "m", "batch_api": "yes", "api": "completions"}, "batch_api goes with api=chat"),
    ],
)
def test_wrong_arguments_are_named(args, says):
    with pytest.raises(UsageError, match=says) as caught:
        load_model("openai", args)
    assert "sk-secret" not in str(caught.value) and "sk-abc" not in str(caught.value).replace("api_key_env=sk-abc", "")


def test_a_key_is_asked_for_before_anything_is_sent_and_loopback_needs_none(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = load_model("openai", {"model": "gpt-4o"})
    with pytest.raises(ModelError, match="put it into the environment variable OPENAI_API_KEY"):
        model.connect()
    load_model("openai", {"model": "m", "base_url": "http://127.0.0.1:1/v1"}).connect()


def test_the_address_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    model = load_model("openai", {"model": "m"})
    assert not model.is_remote and model.identity["endpoint"] == "127.0.0.1:9/v1"


def test_prompts_are_shown_with_their_roles():
    model = load_model("openai", {"model": "m", "base_url": "http://127.0.0.1:1/v1"})
    messages = [Message(role="user", content="Q"), Message(role="assistant", content="A")]
    assert model.render(messages) == "[user]\nQ\n\n[assistant]\nA"
    assert model.count_tokens("abcd") == 2


PRICES = {
    "date": "2026-01-31",
    "prices": {"127.0.0.1": {"m": {"prompt": 1000.0, "completion": 2000.0, "cached": 100.0}}},
}


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(PRICES))
    return str(path)


def test_cost_is_that_of_the_tokens_the_server_counted(client, prices):
    with serving() as server:
        model = client(server, prices=prices)
        [got] = answers(model, requests(1))
    # 60 fresh and 40 cached tokens of prompt, 10 new: USD per million.
    assert got.cost == pytest.approx((60 * 1000 + 40 * 100 + 10 * 2000) / 1e6)
    assert model.report()["cost_usd"] == pytest.approx(got.cost)
    assert model.report()["price"]["source"] == "own.json, 2026-01-31"


@pytest.mark.parametrize("budget", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("trouble", [False, True])
def test_a_budget_is_never_passed_whatever_the_server_charges(client, prices, budget, trouble):
    charged = 0.0
    lock = threading.Lock()

    def script(number, body):
        nonlocal charged
        # The worst that was announced: a token a byte of the prompt, and all new tokens.
        prompt, new = len(prompt_of(body)), body["max_tokens"]
        answer = said("x")
        answer.body["usage"] = {"prompt_tokens": prompt, "completion_tokens": new}
        with lock:
            charged += (prompt * 1000 + new * 2000) / 1e6
        if trouble and number % 4 == 0:
            return Answer(body=answer.body, reset_after=30)
        answer.delay = 0.005
        return answer

    with serving(script) as server:
        model = client(server, prices=prices, concurrency="8")
        model.budget = Budget(budget)
        got = []
        with pytest.raises(LimitReached, match=rf"--max-cost {budget} USD would be passed .* goes on from here"):
            got.extend(model.generate(requests(500)))
    assert charged <= budget and charged > 0.3 * budget and len(got) > 3
    assert model.budget.reserved == pytest.approx(0, abs=1e-9)


def test_decisions_by_status_and_code():
    for status, code, action in (
        (429, "", Action.SLOW_DOWN),
        (429, "insufficient_quota", Action.NO_MONEY),
        (402, "", Action.NO_MONEY),
        (401, "", Action.FATAL),
        (400, "", Action.BAD),
        (413, "", Action.BAD),
        (400, "ResponsibleAIPolicyViolation", Action.REFUSED),
        (500, "", Action.RETRY),
        (504, "", Action.RETRY),
        (501, "", Action.FATAL),
    ):
        assert action_for(Problem(status, "the text about content_filter and insufficient_quota", code)) is action


def test_waits_are_read_in_every_form():
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "0.5", "retry-after-ms": "250"}) == 0.25
    assert retry_after({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, now) == 30
    assert retry_after({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, now) == 0
    assert retry_after({"retry-after": "soon"}) is None and retry_after({}) is None
    assert [duration(text) for text in ("6m0s", "20ms", "1h2m3.5s", "1", "")] == [360, 0.02, 3723.5, None, None]
    left = {"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "60s"}
    assert exhausted(left) == 6 and exhausted({**left, "x-ratelimit-remaining-tokens": "5"}) is None
