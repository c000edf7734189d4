"""Reasoning: in every family's form, whatever is cut inside it gives no prediction, and a whole response its answer."""

import functools
import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from api_server import said, serving
from chain_model import chain
from hypothesis import given, settings
from hypothesis import strategies as st
from reasoning_forms import ANSWER, CHANNELS, FORMS, THOUGHT

from mibe.analysis.outputs import parse_outputs
from mibe.models import load_model
from mibe.models.base import Message, Request, Sampling
from mibe.models.openai.endpoint import Endpoint
from mibe.models.openai.format import response_of
from mibe.models.reasoning import recognise, room_to_think, tell_apart, within_limits
from mibe.parsers.outcome import read
from mibe.parsers.reasoning import FORMATS, opened_by
from mibe.registry import load_task
from mibe.task import Outcome, Prediction

NAMES = list(FORMS)
PARSER = load_task("pubmedqa").parser


def prediction(response):
    return read(None if response.answer_at is None else response.answer, response.finish_reason, PARSER)


@functools.cache
def model_of(name):
    return chain(FORMS[name], ANSWER)


def generate(model, prompt, **sampling):
    request = Request((), prompt, Sampling(**{"max_new_tokens": 8, "thinking_budget": 200} | sampling))
    return dict(model.generate([request]))[0]


# --- hf, with models that write a fixed text ------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_hf_reads_the_answer_behind_the_reasoning(name):
    model, prompt = model_of(name)
    found = generate(model, prompt)
    assert found.text == FORMS[name].written + ANSWER and found.finish_reason == "stop"
    assert found.answer == ANSWER and prediction(found) == Prediction("no", Outcome.PARSED)
    assert found.new_tokens == found.reasoning_tokens + len(ANSWER) + 1 and not found.budget_cut


@pytest.mark.parametrize("name", NAMES)
def test_hf_gives_no_prediction_for_a_reasoning_that_is_cut(name):
    model, prompt = model_of(name)
    opening, thought, _ = FORMS[name].written.partition(THOUGHT)
    first, last = (len(model._encoder.bare([text])[0]) if text else 0 for text in (opening, opening + thought))
    for budget, room in ((first + 1, {}), ((first + last) // 2, {"thinking_budget": None}), (last, {})):
        found = generate(model, prompt, **({"thinking_budget": budget, "max_new_tokens": budget} | room))
        assert prediction(found) == Prediction(None, Outcome.TRUNCATED)
        assert found.budget_cut and found.answer_at is None
        assert found.new_tokens == found.reasoning_tokens == budget
        assert (FORMS[name].written + ANSWER).startswith(found.text.rstrip("\ufffd"))
    if first:
        # Cut in its opening mark.
        found = generate(model, prompt, thinking_budget=first // 2, max_new_tokens=first // 2)
        assert prediction(found).value is None


def test_the_answer_has_a_room_of_its_own():
    model, prompt = chain(FORMS["Qwen3"], "no, it does not")
    found = generate(model, prompt, max_new_tokens=2)
    assert (found.answer, found.finish_reason, found.budget_cut) == ("no", "length", False)
    assert found.new_tokens == found.reasoning_tokens + 2


@pytest.mark.parametrize("budget", [30, 40, 45])
@pytest.mark.parametrize("name", ["DeepSeek-R1, opened by the prompt", "Qwen3", "Magistral", "gpt-oss"])
def test_at_the_budget_the_closing_mark_is_written_for_the_model_which_then_answers(name, budget):
    form = FORMS[name]
    closing = {"Magistral": "[/THINK]", "gpt-oss": "<|message|>"}.get(name, "</think>\n\n")
    # Letters that the reasoning does not have.
    after = (closing, "MY" + form.end) if name == "Magistral" else ("", "")
    model, prompt = chain(form, ANSWER, after=after)
    found = generate(model, prompt, thinking_budget=budget, at_budget="close")
    assert found.budget_cut and found.answer_at is not None
    assert found.reasoning_tokens <= budget
    before = found.text[: found.answer_at].rstrip()
    mark = closing.rstrip() if name != "gpt-oss" else "<|end|><|start|>assistant<|channel|>final<|message|>"
    assert before.endswith(mark) and form.written.startswith(before.removesuffix(mark).rstrip("\n"))
    if name == "Magistral":
        assert found.answer == "MY" and found.finish_reason == "stop"


@pytest.mark.parametrize("name", NAMES)
def test_a_constrained_answer_leaves_the_reasoning_free(name):
    model, prompt = model_of(name)
    written = FORMS[name].written
    assert generate(model, prompt, allowed=("maybe", "no")).text == written + "no"
    # What the model would not write: its reasoning stays, and its answer is one of those allowed.
    for shared in (True, False):
        model._reader.limit = model._reader.limit if shared else 0
        found = generate(model, prompt, allowed=("MY", "OMY"))
        assert found.text.startswith(written.rstrip()) and found.answer in ("MY", "OMY")
        assert found.finish_reason == "stop" and found.reasoning_tokens


@pytest.mark.parametrize("name", ["DeepSeek-R1, opened by the prompt", "Magistral", "gpt-oss"])
def test_models_that_run_without_shared_beginnings_keep_the_same_rooms(name):
    model, prompt = chain(FORMS[name], ANSWER)
    rooms = [{"thinking_budget": 200}, {"thinking_budget": 40}, {"thinking_budget": 45, "at_budget": "close"}]
    shared = [generate(model, prompt, **room) for room in rooms]
    model._reader.limit = 0
    plain = [generate(model, prompt, **room) for room in rooms]
    facts = [[(r.text, r.answer_at, r.reasoning_tokens, r.budget_cut) for r in found] for found in (shared, plain)]
    assert facts[0] == facts[1] and [r.budget_cut for r in plain] == [False, True, True]


def test_a_budget_that_is_enough_changes_nothing():
    model, prompt = model_of("Qwen3")
    assert generate(model, prompt, at_budget="close").text == generate(model, prompt).text


def test_a_turn_ends_where_the_template_says_and_no_message_does():
    harmony, _ = model_of("gpt-oss")
    ends = harmony._tokenizer.convert_ids_to_tokens(harmony._end_tokens)
    assert set(ends) == {"</s>", "<|return|>", "<|call|>"} and "<|end|>" in CHANNELS
    qwen, _ = model_of("Qwen3")
    assert qwen._tokenizer.convert_ids_to_tokens(qwen._end_tokens) == ["</s>", "<|im_end|>"]
    # The same token ends the turns of another family.
    phi, _ = chain(
        type(FORMS["Qwen3"])(
            "", special=("<|end|>",), end="<|end|>", turns=FORMS["Qwen3"].turns.replace("<|im_end|>", "<|end|>")
        ),
        ANSWER,
    )
    assert phi._tokenizer.convert_ids_to_tokens(phi._end_tokens) == ["</s>", "<|end|>"]


# --- what templates say ---------------------------------------------------------------------------------------------


def test_a_template_says_that_a_model_reasons_and_how():
    said_of = {name: model_of(name)[0].reasoning for name in NAMES}
    assert {name for name, found in said_of.items() if found is None} == {
        *("MedGemma", "HuatuoGPT-o1", "m1", "Granite 3.2", "OpenThinker")
    }
    opened = said_of["DeepSeek-R1, opened by the prompt"]
    assert (opened.format, opened.opened, opened.how) == ("think", True, "its prompt ends in <think>")
    assert {name: said_of[name].format for name in ("Magistral", "gpt-oss", "Gemma 4", "Kimi", "Seed-OSS")} == {
        "Magistral": "mistral",
        "gpt-oss": "harmony",
        "Gemma 4": "gemma",
        "Kimi": "kimi",
        "Seed-OSS": "seed",
    }


def test_a_template_that_has_closed_the_reasoning_switches_it_off():
    template = "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{{ reasoning_effort }}"
    on = recognise(template, "<|assistant|>\n")
    assert (on.format, on.opened, on.switches) == ("think", False, ("enable_thinking", "reasoning_effort"))
    assert recognise(template, "<|assistant|>\n<think>\n\n</think>\n\n") is None
    assert recognise("{{ m['content'] }}", "<|assistant|>") is None


def test_the_room_is_the_one_asked_for_or_what_the_window_leaves():
    model, _ = model_of("Qwen3")
    plain, _ = model_of("MedGemma")
    assert room_to_think(model, None, 20) == (320 - 20) // 2
    assert room_to_think(model, 70, 20) == room_to_think(plain, 70, 20) == 70
    assert room_to_think(plain, None, 20) is None
    assert room_to_think(load_model("openai", {"model": "m", "reasoning_effort": "low"}), None, 20) == 8192


# --- servers, vLLM's tokens, and text from elsewhere ----------------------------------------------------------------


def endpoint(name, **args):
    opened = opened_by(FORMS[name].prompt)
    return Endpoint(model="m", base_url="http://127.0.0.1:1/v1", reasoning=opened, **args)


REQUEST = Request((Message(role="user", content="Q"),), "[user]\nQ", Sampling(max_new_tokens=8))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_no_cut_inside_a_reasoning_gives_a_prediction_anywhere(name, data):
    form = FORMS[name]
    inside = form.written.rpartition(THOUGHT)
    last = len(form.written.rstrip()) - 1
    if name in ("Command A", "OpenThinker"):
        last = len(inside[0] + inside[1])
    cut = form.written[: data.draw(st.integers(0, last))]
    reason = data.draw(st.sampled_from(["length", "stop"]))
    outcome = Outcome.TRUNCATED if reason == "length" else Outcome.UNPARSED
    api = response_of(endpoint(name), said(cut, finish=reason).body, REQUEST)
    assert prediction(api) == Prediction(None, outcome)
    line = json.dumps({"output": cut, "finish_reason": reason, "prompt": f"Q{form.prompt}"})
    (parsed,) = parse_outputs(load_task("pubmedqa"), [line])
    assert parsed == {"prediction": None, "outcome": outcome.value}
    bounded = within_limits(
        [ord(letter) for letter in form.written + ANSWER],
        "stop",
        Sampling(max_new_tokens=8, thinking_budget=len(cut)),
        opened_by(form.prompt),
        lambda tokens: "".join(map(chr, tokens)),
    )
    text, answer_at = tell_apart("".join(map(chr, bounded.tokens)), opened_by(form.prompt))
    assert bounded.cut and bounded.finish_reason == "length" and text == cut
    assert answer_at is None or PARSER(text[answer_at:]) is None


@pytest.mark.parametrize("name", NAMES)
def test_whole_responses_give_their_answer_everywhere(name):
    form = FORMS[name]
    whole = form.written + ANSWER
    api = response_of(endpoint(name), said(whole).body, REQUEST)
    assert (api.text, api.budget_cut) == (whole, False) and prediction(api) == Prediction("no", Outcome.PARSED)
    (parsed,) = parse_outputs(load_task("pubmedqa"), [json.dumps({"output": whole, "prompt": form.prompt})])
    assert parsed == {"prediction": "no", "outcome": "parsed"}


def test_a_server_that_gives_the_reasoning_apart():
    answers = [
        said("no", reasoning_content=THOUGHT),
        said("no", reasoning="It ends in </think>. yes"),
        said("", reasoning_content=THOUGHT, finish="length"),
        said(None, finish="length"),
    ]
    with serving(lambda number, body: answers[number]) as server:
        model = load_model(
            "openai", {"model": "m", "base_url": server.url, "concurrency": "1", "reasoning_effort": "high"}
        )
        found = dict(model.generate([REQUEST] * 4))
        model.close()
        assert server.bodies[0]["max_tokens"] == 8
    assert [prediction(found[n]) for n in range(4)] == [
        *[Prediction("no", Outcome.PARSED)] * 2,
        *[Prediction(None, Outcome.TRUNCATED)] * 2,
    ]
    assert [found[n].answer_at for n in range(4)] == [
        len(f"<think>\n{THOUGHT}\n</think>\n\n"),
        found[1].text.rindex("no"),
        None,
        0,
    ]
    assert [found[n].budget_cut for n in range(4)] == [False, False, True, True]


def test_servers_get_both_rooms_in_one_limit():
    with serving(lambda number, body: said("no")) as server:
        model = load_model("openai", {"model": "m", "base_url": server.url})
        list(model.generate([Request(REQUEST.messages, "", Sampling(max_new_tokens=8, thinking_budget=100))]))
        model.close()
        assert server.bodies[0]["max_tokens"] == 108


def test_every_closing_mark_closes_its_form_and_every_opening_mark_opens_it():
    for form in FORMATS:
        text = f"{form.opening}yes{form.closing}no" if form.name != "harmony-bare" else "analysisYes.assistantfinalno"
        _, answer_at = tell_apart(text, None)
        assert text[answer_at:] == "no", form.name
        if form.opening[0] in "<[◁#":
            assert opened_by(f"Q\n{form.opening}") is form


@pytest.mark.parametrize(
    "text",
    [
        "<think>yes</think>\n\n<response>no</response>",
        "<|START_THINKING|>yes<|END_THINKING|><|START_RESPONSE|>no<|END_RESPONSE|>",
        "<|START_RESPONSE|>no<|END_RESPONSE|>",
        "<|begin_of_thought|>yes<|end_of_thought|>\n\n<|begin_of_solution|>\n\nno<|end_of_solution|>",
    ],
)
def test_marks_around_an_answer_are_no_part_of_it(text):
    kept, answer_at = tell_apart(text, None)
    assert kept[answer_at:] == "no"


def test_marks_behind_an_answer_mean_nothing_where_none_came_before():
    assert tell_apart("no</response>", None) == ("no</response>", 0)
