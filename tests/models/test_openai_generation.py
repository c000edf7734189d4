"""How an API model is asked to generate: parameters in the body, switches of a server's template, allowed answers."""

import json

import pytest
from api_requests import request
from api_server import error, prompt_of, said, serving

import mibe
from mibe.errors import ModelError, UsageError
from mibe.models import load_model
from mibe.models.base import Request, Sampling
from mibe.results.folder import read_record
from mibe.results.log import read_rows

FAST = {"max_wait": "0.05", "timeout": "5"}
PLAIN = {"model", "messages", "max_tokens", "temperature", "seed"}


@pytest.fixture
def evaluated(tmp_path):
    """A run of three PubMedQA questions against a server."""

    def run(server, **settings):
        args = {"model": "m", "base_url": server.url, **FAST, **settings.pop("args", {})}
        given = {"tasks": "pubmedqa", "limit": 3, "resamples": 20, "output_dir": tmp_path / "runs"} | settings
        return mibe.evaluate(model="openai", model_args=args, **given)

    return run


def yes(number, body):
    return said("yes")


def test_a_run_that_sets_nothing_asks_as_it_always_did(evaluated):
    with serving(yes) as server:
        evaluated(server)
    assert all(body.keys() == PLAIN and body["temperature"] == 0 for body in server.bodies)


def test_sampling_and_switches_are_in_the_body_and_no_others_answer_is_taken(evaluated):
    with serving(yes) as server:
        plain = evaluated(server)
        done = evaluated(
            server, temperature=0.7, top_p=0.9, top_k=20, min_p=0.1, thinking="off", reasoning_effort="low",
            chat_template_args={"depth": [1, 2]}, system_prompt="You are careful.",
        )  # fmt: skip
    assert len(server.bodies) == 6
    for body in server.bodies[3:]:
        assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (0.7, 0.9, 20, 0.1)
        assert body["reasoning_effort"] == "low"
        assert body["chat_template_kwargs"] == {"depth": [1, 2], "enable_thinking": False}
        assert body["messages"][0] == {"role": "system", "content": "You are careful."}
    identity = read_record(done.path)["model"]["identity"]
    assert identity["chat_template_kwargs"] == {"depth": [1, 2], "enable_thinking": False}
    assert identity["reasoning_effort"] == "low"
    assert "chat_template_kwargs" not in read_record(plain.path)["model"]["identity"]


def test_a_switch_that_no_prompt_shows_is_part_of_the_cache_key(evaluated):
    with serving(yes) as server:
        for thinking in ("auto", "on", "off", "on"):
            done = evaluated(server, thinking=thinking)
        assert done.record["tasks"]["pubmedqa"]["timing"]["from_cache"] == 3
    kwargs = [body.get("chat_template_kwargs") for body in server.bodies]
    assert kwargs == [None] * 3 + [{"enable_thinking": True}] * 3 + [{"enable_thinking": False}] * 3


def test_switches_of_one_run_are_gone_in_the_next():
    model = load_model("openai", {"model": "m", "reasoning_effort": "high"})
    before = model.identity, model.endpoint
    model.use_template_args({"enable_thinking": False, "reasoning_effort": "low"})
    assert model.identity["reasoning_effort"] == "low" and model.endpoint.template_args == {"enable_thinking": False}
    model.use_template_args({})
    assert (model.identity, model.endpoint) == before
    model.close()


@pytest.mark.parametrize(
    ("url", "api", "can"),
    [
        ("https://api.openai.com/v1", "chat", {"temperature", "top_p", "seed", "reasoning_effort", "constrain"}),
        ("https://eu.api.openai.com/v1", "chat", {"temperature", "top_p", "seed", "reasoning_effort", "constrain"}),
        ("https://x.openai.azure.com/v1", "chat", {"temperature", "top_p", "seed", "reasoning_effort", "constrain"}),
        (
            "http://127.0.0.1:8000/v1",
            "chat",
            {"temperature", "top_p", "seed", "reasoning_effort", "constrain", "top_k", "min_p", "chat_template_args"},
        ),
        ("http://127.0.0.1:8000/v1", "completions", {"temperature", "top_p", "seed", "top_k", "min_p"}),
        ("https://notopenai.com/v1", "completions", {"temperature", "top_p", "seed", "top_k", "min_p"}),
    ],
)
def test_what_can_be_asked_for_depends_on_the_host(url, api, can):
    model = load_model("openai", {"model": "m", "base_url": url, "api": api})
    assert model.can == can
    model.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.7, "top_k": 5}, "m cannot do --top-k"),
        ({"thinking": "off"}, "the chat template of m has no switch for thinking"),
        ({"chat_template_args": {"a": 1}}, "m has no chat template whose switches could be set"),
        ({"generation": "model"}, "m has no generation settings that can be read here"),
    ],
)
def test_what_openai_itself_does_not_take_is_one_line_before_anything_is_sent(tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        mibe.evaluate(model="openai", model_args={"model": "m"}, tasks="pubmedqa", output_dir=tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"temperature": 0.7, "top_k": 5}, "top_k"),
        ({"temperature": 0.7}, "temperature"),
        ({"constrain": True}, "response_format"),
        ({"thinking": "off"}, "chat_template_kwargs"),
    ],
)
def test_a_server_that_does_not_know_what_was_asked_for_ends_the_run(evaluated, settings, parameter):
    def script(number, body):
        if parameter in body:
            return error(400, f"Unsupported parameter: '{parameter}'", code="unsupported_parameter", param=parameter)
        return said("yes")

    with (
        serving(script) as server,
        pytest.raises(ModelError, match=f"m does not take {parameter}, which was asked for"),
    ):
        evaluated(server, **settings)


def test_greedy_is_no_wish_that_a_server_must_know(evaluated):
    def script(number, body):
        if "temperature" in body:
            return error(400, "Unsupported value: 'temperature'", code="unsupported_value", param="temperature")
        return said("yes")

    with serving(script) as server:
        assert evaluated(server).record["tasks"]["pubmedqa"]["outcomes"]["parsed"] == 3


def test_a_constrained_answer_is_asked_for_as_json_and_read_from_it(evaluated):
    def script(number, body):
        schema = body["response_format"]["json_schema"]["schema"]
        return said(
            json.dumps({"answer": schema["properties"]["answer"]["enum"][2]}), reasoning_content="Hm, yes or no."
        )

    with serving(script) as server:
        done = evaluated(server, constrain=True)
    assert server.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"answer": {"type": "string", "enum": ["yes", "no", "maybe"]}},
                "required": ["answer"],
                "additionalProperties": False,
            },
        },
    }
    rows = list(read_rows(done.path / "samples" / "pubmedqa.jsonl"))
    assert [row["prediction"] for row in rows] == ["maybe"] * 3
    assert all(row["output"].endswith("maybe") and "Hm, yes or no." in row["output"] for row in rows)


@pytest.mark.parametrize(
    "text", ["maybe", '{"answer": "perhaps"}', '{"reply": "yes"}', '["yes"]', '{"answer": ["yes"]}', ""]
)
def test_a_server_that_lets_any_answer_through_gives_error_samples(text):
    asked = request("Is it?")
    bound = Request(asked.messages, asked.text, Sampling(max_new_tokens=9, allowed=("yes", "no", "maybe")))
    with serving(lambda number, body: said(text)) as server:
        model = load_model("openai", {"model": "m", "base_url": server.url, **FAST})
        [(_, got)] = model.generate([bound])
        [(_, free)] = model.generate([asked])
        model.close()
    assert got.finish_reason == "error" and "did not keep to the answers allowed" in got.error
    assert (free.finish_reason, free.text) == ("stop", text)


def test_a_constrained_answer_that_is_cut_or_refused_is_what_it_is(evaluated):
    def script(number, body):
        return [said('{"answ', finish="length"), said("", refusal="I cannot."), said('{"answer": "yes"}')][number % 3]

    with serving(script) as server:
        done = evaluated(server, constrain=True, args={"concurrency": "1"})
    outcomes = done.record["tasks"]["pubmedqa"]["outcomes"]
    assert (outcomes["truncated"], outcomes["refused"], outcomes["parsed"]) == (1, 1, 1)


def test_prompts_are_those_of_the_style(evaluated):
    with serving(lambda number, body: said("It is known.\nAnswer: no")) as server:
        done = evaluated(server, prompt_style="cot")
    assert all('after "Answer:" on a line of its own' in prompt_of(body) for body in server.bodies)
    assert {body["max_tokens"] for body in server.bodies} == {1024}
    assert {row["prediction"] for row in read_rows(done.path / "samples" / "pubmedqa.jsonl")} == {"no"}
