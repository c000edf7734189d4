"""One odd reply is one error sample, never the end of a run: a server on loopback that sends whatever it likes."""

import gzip
import json
import zlib

import pytest
from api_clients import answers, clients
from api_requests import request, requests
from api_server import Answer, prompt_of, said, serving
from hypothesis import given
from hypothesis import strategies as st

from mibe.models.base import Response
from mibe.models.openai.answers import read_answer
from mibe.models.openai.content import Reply
from mibe.models.openai.endpoint import Endpoint
from mibe.models.openai.format import Problem, problem_of
from mibe.models.openai.policy import action_for, duration, exhausted, retry_after


@pytest.fixture
def client():
    with clients(max_wait="0.02", timeout="2", deadline="0.3", concurrency="8") as make:
        yield make


def choice(content="yes", **more):
    return {"message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}


def body(*choices, **more):
    return json.dumps({"id": "1", "choices": list(choices), **more}).encode()


def packed(content, *, times=1, encoding="gzip"):
    for _ in range(times):
        content = gzip.compress(content)
    return Answer(body=content, headers={"Content-Encoding": ", ".join([encoding] * times)})


ODD = {
    "half a character": (Answer(body=body(choice("yes \ud800"))), "stop", "yes \ufffd"),
    "a NUL": (Answer(body=body(choice("yes\0"))), "stop", "yes\ufffd"),
    "a deep body": (Answer(body=b"[" * 200_000), "error", ""),
    "a deep answer": (Answer(body=b'{"choices":' + b"[" * 500 + b"]" * 500 + b"}"), "error", ""),
    "deep errors": (Answer(500, b'{"error":' * 100_000), "error", ""),
    "infinite usage": (
        Answer(body=b'{"choices":[{"message":{"content":"yes"}}],"usage":{"prompt_tokens":Infinity}}'),
        "stop",
        "yes",
    ),
    "huge usage": (
        Answer(body=b'{"choices":[{"message":{"content":"yes"}}],"usage":{"prompt_tokens":1e999}}'),
        "stop",
        "yes",
    ),
    "a refusal without words": (
        Answer(body=body({"message": {"content": None, "refusal": True}, "finish_reason": "stop"})),
        "filter",
        "",
    ),
    "a refusal as an object": (
        Answer(body=body({"message": {"content": "I will not", "refusal": {"why": []}}, "finish_reason": "stop"})),
        "filter",
        "I will not",
    ),
    "no refusal": (
        Answer(body=body({"message": {"content": "yes", "refusal": {}}, "finish_reason": "stop"})),
        "stop",
        "yes",
    ),
    "an empty body": (Answer(body=b"{}"), "error", ""),
    "choices out of order": (Answer(body=body(choice("no", index=1), choice("yes", index=0))), "stop", "yes"),
    "choices that are none": (Answer(body=body(None, 5, choice("yes"))), "stop", "yes"),
    "a bomb": (packed(b"0" * 20_000_000), "error", ""),
    "a bomb in a bomb": (packed(b"0" * 20_000_000, times=2), "error", ""),
    "a bomb as an error": (Answer(500, packed(b"0" * 20_000_000).body, {"Content-Encoding": "gzip"}), "error", ""),
    "another packing": (Answer(body=b"x", headers={"Content-Encoding": "br"}), "error", ""),
    "broken packing": (Answer(body=b"x", headers={"Content-Encoding": "gzip"}), "error", ""),
    "a charset that is none": (
        Answer(500, zlib.compress(b"x"), {"Content-Type": "text/html; charset=zlib"}),
        "error",
        "",
    ),
    "an endless header": (Answer(500, b"x", {"X-RateLimit-Reset-Requests": "1" * 60_000}), "error", ""),
    "a redirect to nowhere": (Answer(400, b"x", {"Location": "http://[:::"}), "error", ""),
}


@pytest.mark.parametrize("group", range(3))
def test_an_odd_reply_is_one_sample_and_the_others_are_answered(client, group):
    kinds = list(ODD)[group::3]

    def script(number, body):
        return ODD[prompt_of(body)][0] if prompt_of(body) in ODD else said(prompt_of(body))

    with serving(script) as server:
        asked = [*requests(2), *map(request, kinds), request("last")]
        got = answers(client(server, max_reply_mb="1", timeout="3", deadline="3", concurrency="16"), asked)
    assert [response.text for response in (*got[:2], got[-1])] == ["question 0", "question 1", "last"]
    found = dict(zip(kinds, got[2:-1], strict=True))
    assert {kind: (response.finish_reason, response.text) for kind, response in found.items()} == {
        kind: ODD[kind][1:] for kind in kinds
    }
    for kind, response in found.items():
        assert (response.error is None) is (response.finish_reason != "error")
        assert "usage" not in kind or response.prompt_tokens is None


def test_a_reply_that_is_too_long_is_asked_for_a_few_times_alone(client):
    with serving(lambda number, body: packed(b"0" * 20_000_000)) as server:
        [response] = answers(client(server, max_reply_mb="1", timeout="60", deadline="60"), [request("x")])
        assert len(server.requests) == 3
    assert response.error == "the reply is longer than 1 MB (max_reply_mb)"


def test_a_long_answer_within_the_limit_comes_whole_packed_or_not(client):
    text = "word " * 100_000
    plain = json.dumps(said(text).body).encode()
    with serving(lambda number, body: [said(text), packed(plain)][number % 2]) as server:
        model = client(server, concurrency="1", timeout="60", deadline="60")
        assert [response.text for response in answers(model, requests(2))] == [text] * 2


@pytest.mark.parametrize("status", [200, 500])
def test_a_server_that_trickles_is_given_up_in_time(client, status):
    """Each byte is in time; all of them, which would be a good answer, take ten seconds."""
    answer = Answer(status, said("yes").body, trickle=0.03)
    with serving(lambda number, body: answer) as server:
        [response] = answers(client(server, timeout="0.2", deadline="0.5"), [request("x")])
    assert response.finish_reason == "error" and "no answer in time (given up after" in response.error


def test_the_last_attempt_ends_with_the_deadline(client):
    with serving(lambda number, body: Answer(200, said("yes").body, trickle=0.03)) as server:
        [response] = answers(client(server, timeout="100", deadline="0.5"), [request("x")])
        assert len(server.requests) == 1
    assert response.error == "no answer in time (given up after 1 attempts in 0 s)"


def test_headers_are_read_in_linear_time_and_what_is_no_wait_is_none():
    assert duration("1" * 200_000) is None and duration("1m" * 50_000 + "x") is None
    assert duration("9" * 400 + "h") is None and duration("1m" * 3) == 180
    for text in ("inf", "nan", "-inf", "1e999", "Mon, 01 Jan 9999999999999999999 00:00:00 GMT", "9" * 5000):
        assert retry_after({"retry-after": text}) is None, text
    odd = {"x-ratelimit-limit-tokens": "9" * 5000, "x-ratelimit-remaining-tokens": "0"}
    assert exhausted({**odd, "x-ratelimit-reset-tokens": "1s"}) is None


# Whatever comes


NAMES = st.sampled_from(
    ["choices", "message", "content", "text", "finish_reason", "refusal", "reasoning", "reasoning_content", "usage"]
    + ["prompt_tokens", "completion_tokens", "index", "error", "code", "type", "param", "prompt_filter_results"]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["stop", "length", "content_filter", "<think>", "</think>", "yes", "assistant", "text"]),
    st.text(max_size=8),
    st.text(st.characters(categories=["Cs", "Cc"]), max_size=3),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("content", "refusal", "reasoning", "reasoning_content", "role"), VALUES)
)
CHOICES = st.fixed_dictionaries(
    {}, optional={"message": MESSAGES | VALUES, "finish_reason": VALUES, "index": VALUES, "text": VALUES}
)
BODIES = (
    st.fixed_dictionaries({"choices": st.lists(CHOICES | VALUES, max_size=3) | VALUES}, optional={"usage": VALUES})
    | st.dictionaries(NAMES, VALUES, max_size=4)
    | VALUES
)
ENDPOINTS = [Endpoint(model="m", base_url="http://127.0.0.1:1/v1", api=api) for api in ("chat", "completions")]


@given(BODIES, st.sampled_from(ENDPOINTS))
def test_whatever_json_a_server_sends_is_an_answer_a_problem_or_nothing(value, endpoint):
    reply = Reply(200, {}, json.dumps(value).encode())
    found = read_answer(endpoint, reply.json(), request("question", tokens=4, stop=("x",)))
    if isinstance(found, Response):
        # A file can hold it, as can a terminal, and the answer stands in it.
        assert json.dumps(found.text, ensure_ascii=False).encode() and found.answer in found.text
        assert found.finish_reason in ("stop", "length", "filter", "error")
    else:
        assert found is None or (isinstance(found, Problem) and action_for(found))
    assert action_for(problem_of(reply))


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda raw: b'{"error":' + raw))
def test_whatever_bytes_a_server_sends_are_a_problem_in_words(content):
    problem = problem_of(Reply(500, {}, content))
    assert problem.message.encode() is not None and len(problem.message) <= 501 and "\n" not in problem.message


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=40)))
def test_whatever_a_header_says_is_seconds_or_nothing(headers):
    found = retry_after(headers)
    assert found is None or 0 <= found < float("inf")


@given(st.text(st.sampled_from("0123456789.mshd "), max_size=30))
def test_whatever_a_reset_says_is_seconds_or_nothing(text):
    found = duration(text)
    assert found is None or 0 <= found < float("inf")


def test_errors_that_quote_half_characters_can_be_shown():
    assert problem_of(Reply(400, {}, b'{"error":{"message":"a\\ud800b"}}')).message == ("a\ufffdb")
