"""Answers that grow (`stream=yes`): the same answer as in one piece, and when its first token came."""

import pytest
from api_clients import answers, clients
from api_requests import request, requests
from api_server import Answer, error, grown, prompt_of, said, serving

from mibe.errors import UsageError
from mibe.models import load_model
from mibe.models.openai import events


@pytest.fixture
def client():
    with clients(max_wait="0.05", timeout="5", stream="yes") as make:
        yield make


def test_a_stream_is_asked_for_and_its_answer_is_that_of_one_piece(client):
    with serving(lambda number, body: grown("The ans", "wer: ", "A 𝛃")) as server:
        [got] = answers(client(server), [request("Which?")])
        [body] = server.bodies
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    with serving(lambda number, body: said("The answer: A 𝛃")) as server:
        [whole] = answers(client(server), [request("Which?")])
    fields = ("text", "finish_reason", "prompt_tokens", "new_tokens", "cached_tokens", "reasoning_tokens", "answer_at")
    assert [getattr(got, name) for name in fields] == [getattr(whole, name) for name in fields]
    # What came in one piece does not tell when it began.
    assert whole.first_token is None and whole.latency > 0


def test_the_first_token_is_the_first_text_and_the_latency_the_last(client):
    with serving(lambda number, body: grown("a", "b", before=0.3, between=0.4)) as server:
        [got] = answers(client(server), [request("Which?")])
    # A role came at once and is no token. The server slept this long; a busy machine only adds to it.
    assert 0.3 <= got.first_token < got.latency and got.latency >= 0.7


def test_reasoning_in_a_field_of_its_own_is_the_beginning(client):
    def script(number, body):
        thought, answer = grown("I think", finish=None, usage=False, done=False, name="reasoning_content"), grown("B")
        return Answer(events=[*thought.events, *[(0.2, answer.events[1][1]), *answer.events[2:]]])

    with serving(script) as server:
        [got] = answers(client(server), [request("Which?")])
    assert got.answer == "B" and "I think" in got.text and got.first_token < got.latency
    assert events.begins(b'data: {"choices": [{"delta": {"reasoning_content": "I"}}]}')
    assert not events.begins(b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}')


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: grown("half an ans", finish=None, usage=False, done=False),
        lambda: Answer(events=[(0.0, {"error": {"message": "upstream failed", "code": 502}})]),
        lambda: error(503, "overloaded"),
    ],
)
def test_a_stream_that_breaks_off_is_no_answer_and_is_tried_again(client, trouble):
    with serving(lambda number, body: trouble() if number == 0 else grown(prompt_of(body))) as server:
        model = client(server)
        [got] = answers(model, requests(1))
    assert got.text == "question 0" and model.report()["retries"] == 1


def test_a_server_that_knows_no_stream_is_asked_without(client):
    def script(number, body):
        for name in ("stream_options", "stream"):
            if name in body:
                return error(400, f"Unknown parameter: {name}", param=name)
        return said("A")

    with serving(script) as server:
        model = client(server)
        [got] = answers(model, requests(1))
    assert got.text == "A" and model.report()["refused_parameters"] == ["stream", "stream_options"]


def test_a_stream_without_counts_has_none(client):
    with serving(lambda number, body: grown("A", usage=False)) as server:
        [got] = answers(client(server), requests(1))
    assert got.text == "A" and got.prompt_tokens is None and got.new_tokens is None


def test_completions_grow_too_and_a_refusal_is_one(client):
    event = {"choices": [{"index": 0, "text": " A", "finish_reason": None}]}
    last = {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}
    with serving(lambda number, body: Answer(events=[(0.0, event), (0.0, last), (0.0, "[DONE]")])) as server:
        [got] = answers(client(server, api="completions"), requests(1))
    assert (got.text, got.finish_reason) == (" A", "length")
    with serving(lambda number, body: grown("I can", "not.", name="refusal")) as server:
        [got] = answers(client(server), requests(1))
    assert (got.text, got.finish_reason) == ("I cannot.", "filter")


def test_odd_events_are_no_events():
    lines = [
        b": keep alive",
        b"event: x",
        b"data:",
        b"data: {",
        b"data: [1]",
        b'data: {"choices": "x"}',
        b"data: " + b"[" * 99,
    ]
    assert not any(map(events.begins, lines)) and events.completion(b"\n".join(lines)) == b""


def test_what_cannot_stream_says_so():
    with pytest.raises(UsageError, match="stream=yes does nothing to Batch jobs"):
        load_model("openai", {"model": "m", "base_url": "http://127.0.0.1:1/v1", "stream": "yes", "batch_api": "yes"})
