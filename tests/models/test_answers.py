"""What is an answer and what is none, though the status says 200; and what is asked again, how often."""

import json

import pytest
from api_clients import answers, clients
from api_requests import request, requests
from api_server import Answer, error, prompt_of, said, serving

import mibe
from mibe.errors import LimitReached, ModelError
from mibe.models.base import Request, Sampling
from mibe.models.finish import FINISH_REASONS, finish_of
from mibe.models.openai.format import Problem
from mibe.models.openai.policy import Action, action_for

FILTERED = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": True, "severity": "high"}}
TOO_LARGE = (
    "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 41000. The "
    "input or output tokens must be reduced in order to run successfully."
)


@pytest.fixture
def client():
    """A model for a server, with a deadline that a request which is asked again for nothing would use up."""
    with clients(max_wait="0.02", timeout="5", deadline="20") as make:
        yield make


def always(answer):
    return lambda number, body: answer


# Finish reasons


def test_the_table_holds_what_engines_say():
    # OpenAI's reference, vLLM's FinishReason, Anthropic's stop_reason, Mistral's, TGI's.
    assert {finish_of(word) for word in ("stop", "tool_calls", "function_call", "end_turn", "eos_token", "STOP")} == {
        "stop"
    }
    assert {finish_of(word) for word in ("length", "max_tokens", "model_length", "repetition")} == {"length"}
    assert {finish_of(word) for word in ("content_filter", "refusal", "SAFETY")} == {"filter"}
    assert {finish_of(word) for word in ("error", "abort", "None", "", "whatever")} == {None}
    assert all(word == word.lower() for word in FINISH_REASONS)


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("reason", ["error", "abort", "cancelled", "a word of tomorrow"])
def test_an_answer_that_was_broken_off_is_asked_for_again_and_then_an_error(client, api, reason):
    def script(number, body):
        if "messages" in body:
            return said("The answer is yes", finish=reason)
        return Answer(body={"choices": [{"text": "yes", "index": 0, "finish_reason": reason}]})

    with serving(script) as server:
        [got] = answers(client(server, api=api), [request("q")])
        assert len(server.requests) == 3
    assert (got.finish_reason, got.text) == ("error", "")
    assert got.error == f"the answer was broken off (finish_reason {reason!r})"


def test_an_engine_that_recovers_costs_no_sample(client):
    def script(number, body):
        return said("half an", finish="abort") if number % 2 == 0 else said(prompt_of(body))

    with serving(script) as server:
        got = answers(client(server, concurrency="1"), requests(10))
        assert len(server.requests) == 20
    assert [(r.text, r.finish_reason) for r in got] == [(f"question {number}", "stop") for number in range(10)]


def test_the_servers_words_stand_in_the_error(client):
    body = {"choices": [{"message": {"content": "so"}, "finish_reason": "error", "error": {"message": "GPU lost"}}]}
    with serving(always(Answer(body=body))) as server:
        [got] = answers(client(server), [request("q")])
    assert got.error == "the answer was broken off (finish_reason 'error'): GPU lost"


@pytest.mark.parametrize(
    ("choice", "finish", "text"),
    [
        ({"message": {"content": "yes"}, "finish_reason": None}, "stop", "yes"),
        ({"message": {"content": "yes"}}, "stop", "yes"),
        ({"message": {"content": "yes"}, "finish_reason": "eos"}, "stop", "yes"),
        ({"message": {"content": None, "tool_calls": [{"id": "1"}]}, "finish_reason": "tool_calls"}, "stop", ""),
        ({"message": {"content": "a a a"}, "finish_reason": "repetition"}, "length", "a a a"),
        ({"index": 0, "finish_reason": "content_filter"}, "filter", ""),
        ({"index": 0, "message": None, "finish_reason": "SAFETY"}, "filter", ""),
        ({"index": 0, "finish_reason": "length"}, "length", ""),
    ],
)
def test_reasons_of_compatible_servers(client, choice, finish, text):
    with serving(always(Answer(body={"choices": [choice]}))) as server:
        [got] = answers(client(server), [request("q")])
        assert len(server.requests) == 1
    assert (got.finish_reason, got.text, got.error) == (finish, text, None)


@pytest.mark.parametrize(("limit", "finish"), [(10, "length"), (11, "stop")])
def test_where_no_reason_is_given_the_servers_count_tells(client, limit, finish):
    # `said` counts 10 new tokens.
    with serving(always(said("yes", finish=None))) as server:
        [got] = answers(client(server), [request("q", tokens=limit)])
    assert got.finish_reason == finish


@pytest.mark.parametrize(("budget", "finish"), [(6, "length"), (7, "stop")])
def test_the_room_to_think_is_part_of_what_the_count_is_held_against(client, budget, finish):
    asked = Request(request("q").messages, "q", Sampling(max_new_tokens=4, thinking_budget=budget))
    with serving(always(said(None, finish=None, reasoning_content="Is it"))) as server:
        [got] = answers(client(server), [asked])
    assert (got.finish_reason, got.answer_at, got.budget_cut) == (finish, None, finish == "length")


def test_reasoning_that_was_broken_off_is_an_error_and_no_text(client):
    with serving(always(said("", finish="error", reasoning_content="Is it"))) as server:
        [got] = answers(client(server), [request("q")])
    assert (got.finish_reason, got.text, got.budget_cut) == ("error", "", False)


# What stands in the place of an answer


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTERED}]},
        {"id": "x", "choices": [], "promptFeedback": {"blockReason": "SAFETY"}},
        {"choices": None, "usage": {"prompt_tokens": 3}, "prompt_feedback": {"block_reason": "OTHER"}},
        {
            "error": {
                "message": "The input was flagged for violence",
                "code": 403,
                "metadata": {"reasons": ["violence"]},
            }
        },
        {"error": {"message": "blocked", "code": "content_filter"}},
    ],
)
def test_a_filters_refusal_is_a_refusal_at_once(client, body):
    with serving(always(Answer(body=body))) as server:
        [got] = answers(client(server), [request("q")])
        assert len(server.requests) == 1
    assert got.finish_reason == "filter" and got.error is None


def test_a_report_of_a_filter_that_let_the_prompt_pass_changes_nothing(client):
    passed = {"hate": {"filtered": False, "severity": "safe"}}
    body = {**said("yes").body, "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": passed}]}
    with serving(always(Answer(body=body))) as server:
        [got] = answers(client(server), [request("q")])
    assert (got.finish_reason, got.text) == ("stop", "yes")


def test_an_answer_without_a_choice_is_an_error_after_a_few_attempts(client):
    with serving(always(Answer(body={"id": "x", "choices": [], "usage": {"prompt_tokens": 3}}))) as server:
        [got] = answers(client(server), [request("q")])
        assert len(server.requests) == 3
    assert (got.finish_reason, got.error) == ("error", "the server answered without a choice")


@pytest.mark.parametrize(
    ("answer", "requested"),
    [
        (error(429, TOO_LARGE, code="rate_limit_exceeded", kind="tokens"), "Requested 41000"),
        (error(429, "TPM: Limit 6,000, Requested 7,100, reduce your message"), "7,100"),
        (error(413, TOO_LARGE, code="rate_limit_exceeded"), "Requested 41000"),
        (
            Answer(body={"error": {"message": "maximum context length is 8192 tokens", "code": 400}}),
            "status 400: maximum",
        ),
    ],
)
def test_a_request_that_can_never_fit_is_one_error_and_asked_once(client, answer, requested):
    def script(number, body):
        return answer if prompt_of(body) == "question 3" else said("yes")

    with serving(script) as server:
        got = answers(client(server), requests(6))
        assert len(server.requests) == 6
    assert [response.finish_reason for response in got].count("stop") == 5
    assert got[3].finish_reason == "error" and requested in got[3].error


def test_an_ordinary_limit_is_waited_for():
    message = "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000."
    assert action_for(Problem(429, message, "rate_limit_exceeded")) is Action.SLOW_DOWN


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "nobody/m is not a valid model ID"),
        error(400, "Model Not Exist", kind="invalid_request_error"),
        error(400, "Invalid model: m", kind="invalid_model", code="1500"),
        error(400, "The model `m` does not exist", code="model_not_found"),
        error(404, "The model `m` does not exist.", kind="NotFoundError"),
        Answer(body={"error": {"message": "No endpoints found for m.", "code": 404}}),
    ],
)
def test_a_model_that_the_server_does_not_know_ends_the_run_in_one_line(client, answer):
    with serving(always(answer)) as server:
        with pytest.raises(ModelError, match="it knows no model 'm'") as caught:
            answers(client(server, concurrency="1"), requests(5))
        assert len(server.requests) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens",
        "the model does not support images",
        "bad request to the model. Metastases were not found",
        "[{'loc': ['body'], 'input': {'model': 'm', 'messages': [{'content': 'Thrombus not found'}]}}]",
        "invalid model output: x",
    ],
)
def test_messages_about_one_request_stop_nothing(message):
    assert action_for(Problem(400, message)) is Action.BAD


def test_an_empty_account_told_in_a_good_status_stops(client):
    body = {"error": {"message": "Insufficient credits", "code": 402}}
    with serving(always(Answer(body=body))) as server, pytest.raises(LimitReached, match="no credit or quota left"):
        answers(client(server), requests(3))


# A whole run


def test_what_was_broken_off_is_an_error_sample_and_asked_again_by_the_same_command(tmp_path):
    healthy = []

    def script(number, body):
        broken = not healthy and len(prompt_of(body)) % 4 == 0
        return said("yes", finish="abort" if broken else "stop")

    def run(server):
        args = {"model": "m", "base_url": server.url, "max_wait": "0.02"}
        return mibe.evaluate(model="openai", model_args=args, tasks="pubmedqa", limit=40, output_dir=tmp_path)

    with serving(script) as server:
        first = run(server)
        broken = first.failed
        rows = [json.loads(line) for line in (first.path / "samples" / "pubmedqa.jsonl").read_text().splitlines()]
        assert broken > 0 and [row["outcome"] for row in rows].count("error") == broken
        assert len(server.requests) == 40 + 2 * broken
        healthy.append(True)
        again = run(server)
        assert again.path == first.path and again.failed == 0
        assert len(server.requests) == 40 + 3 * broken
