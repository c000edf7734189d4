"""Names, arguments, functions as models, the stand-in, and what holds without any heavy library."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from mibe.errors import ModelError, UsageError
from mibe.models import as_model, list_models, load_model, parse_model_args
from mibe.models.base import ChoiceRequest, Message, Request, Sampling
from mibe.models.local.dummy import DEFAULT_ANSWER, DummyModel
from mibe.models.text import first_stop

QUESTION = "Which vessel?\nOptions:\nB. Aorta\nC. Vena cava\nAnswer:"


def ask(text, *, max_new_tokens=20, stop=()):
    return Request((Message(role="user", content=text),), text, Sampling(max_new_tokens=max_new_tokens, stop=stop))


def only(model, *requests):
    return [response for _, response in sorted(model.generate(list(requests)), key=lambda pair: pair[0])]


def test_nothing_heavy_is_imported():
    code = (
        "import sys, mibe.models, mibe.models.hf, mibe.models.local.demo; mibe.models.load_model('dummy')\n"
        "print([m for m in ('torch', 'transformers', 'lm_eval', 'numpy', 'pandas', 'huggingface_hub') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("", {}),
        ("pretrained=/a b/c, dtype=bfloat16", {"pretrained": "/a b/c", "dtype": "bfloat16"}),
        ("pretrained=x,note=a=b=c,", {"pretrained": "x", "note": "a=b=c"}),
        ("revision=", {"revision": ""}),
        (r"pretrained=/a\,b/c,dtype=float32", {"pretrained": "/a,b/c", "dtype": "float32"}),
        ('pretrained="/a,b/c" , dtype=float32', {"pretrained": "/a,b/c", "dtype": "float32"}),
        (r'a="say \"x, y\"",b=C:\models', {"a": 'say "x, y"', "b": r"C:\models"}),
        ('config={"mode": 0},a=""', {"config": '{"mode": 0}', "a": ""}),
    ],
)
def test_arguments_are_read(text, args):
    assert parse_model_args(text) == args


@pytest.mark.parametrize("text", ["pretrained", "=x", "a=1,b", "a=1,a=2"])
def test_malformed_arguments_are_refused(text):
    with pytest.raises(UsageError, match="NAME=VALUE|given twice"):
        parse_model_args(text)


def test_a_comma_in_a_value_is_explained_and_an_open_quote_named():
    with pytest.raises(UsageError, match=r"'b/c' is not of the form NAME=VALUE.*a comma in a value is written \\,"):
        parse_model_args("pretrained=/a,b/c")
    with pytest.raises(UsageError, match='a="x: the quote is not closed'):
        parse_model_args('a="x,b=2')


def test_unknown_names_come_with_the_nearest_ones():
    with pytest.raises(UsageError, match="unknown model 'demmo'.*demo"):
        load_model("demmo")
    with pytest.raises(UsageError, match="'pretrainde'; did you mean pretrained"):
        load_model("hf", {"pretrainde": "x"})
    with pytest.raises(UsageError, match="'sead'; did you mean seed"):
        load_model("dummy", {"sead": "1"})


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("hf", {}, "needs pretrained"),
        ("hf", {"pretrained": "x", "dtype": "float17"}, "dtype=float17.*bfloat16"),
        ("hf", {"pretrained": "x", "batch_size": "0"}, "at least 1"),
        ("hf", {"pretrained": "x", "load_in_4bit": "maybe"}, "true or false"),
        ("hf", {"pretrained": "x", "device": "gpu"}, "cuda"),
        ("hf", {"pretrained": "x", "chat_template": "none"}, "auto .* or off"),
        ("dummy", {"seed": "x"}, "whole number"),
        ("dummy", {"mode": "last"}, "first, echo, random"),
        ("dummy", {"mode": "first", "answer": "A"}, "not both"),
    ],
)
def test_values_out_of_range_are_refused(name, args, says):
    with pytest.raises(UsageError, match=says):
        load_model(name, args)


def test_a_plugin_is_found_by_its_entry_point(monkeypatch):
    point = EntryPoint("stand_in", "mibe.models.local.dummy:load", "mibe.models")
    monkeypatch.setattr("mibe.models.loading._plugins", lambda: {"stand_in": point})
    assert "stand_in" in list_models()
    assert only(load_model("stand_in", {"answer": "C"}), ask("?"))[0].text == "C"


def test_as_model_takes_names_models_and_functions():
    model = DummyModel()
    assert as_model(model) is model
    assert as_model("dummy", {"answer": "A"}).name == "dummy"
    assert as_model(lambda prompts: prompts).identity is None
    with pytest.raises(UsageError, match="not int"):
        as_model(3)
    with pytest.raises(UsageError, match="given by name"):
        as_model(model, {"answer": "A"})


def test_a_function_gets_batches_and_its_answers_are_cut_at_stop_strings():
    sizes = []

    def upper(prompts):
        sizes.append(len(prompts))
        return [prompt.upper() for prompt in prompts]

    model = as_model(upper)
    responses = list(model.generate([ask(f"q{i}\nmore", stop=("\n",)) for i in range(130)]))
    assert sizes == [64, 64, 2]
    assert [(index, response.text) for index, response in responses] == [(i, f"Q{i}") for i in range(130)]
    assert (model.name, model.is_remote, model.is_chat, model.context_window) == ("upper", False, False, None)
    with pytest.raises(ModelError, match="gives no likelihoods"):
        model.loglikelihood([ChoiceRequest("q", ("a",))])


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda prompts: prompts[1:], "given 2 prompts and returned 1"),
        (lambda prompts: [1 for _ in prompts], "must return texts, and returned int"),
        (lambda prompts: "ab", "list of 2 texts, and returned str"),
        (lambda prompts: None, "returned NoneType"),
    ],
)
def test_a_function_that_breaks_its_promise_is_named(function, says):
    with pytest.raises(ModelError, match=says):
        list(as_model(function).generate([ask("a"), ask("b")]))


def test_a_failed_batch_is_a_failed_batch():
    def fails_on_the_first_batch(prompts):
        if "q0" in prompts:
            raise ConnectionError("no route to host")
        return prompts

    responses = only(as_model(fails_on_the_first_batch), *(ask(f"q{i}") for i in range(70)))
    assert {(r.finish_reason, r.error) for r in responses[:64]} == {("error", "ConnectionError: no route to host")}
    assert [r.text for r in responses[64:]] == [f"q{i}" for i in range(64, 70)]


def test_interrupting_a_function_ends_the_run():
    def interrupted(prompts):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(as_model(interrupted).generate([ask("a")]))


def test_the_stand_in_answers_by_rule():
    assert only(load_model("dummy"), ask(QUESTION))[0].text == DEFAULT_ANSWER
    assert only(load_model("dummy", {"answer": "yes"}), ask(QUESTION))[0].text == "yes"
    assert only(load_model("dummy", {"mode": "first"}), ask(QUESTION))[0].text == "B"
    assert only(load_model("dummy", {"mode": "echo"}), ask(QUESTION))[0].text == QUESTION
    letters = [only(load_model("dummy", {"mode": "random", "seed": str(s)}), ask(QUESTION))[0].text for s in range(20)]
    assert set(letters) == {"B", "C"}
    assert letters == [
        only(load_model("dummy", {"mode": "random", "seed": str(s)}), ask(QUESTION))[0].text for s in range(20)
    ]


def test_the_stand_in_keeps_to_limit_and_stop_strings():
    model = load_model("dummy", {"mode": "echo"})
    cut, stopped, whole = only(
        model, ask("one two  three", max_new_tokens=2), ask("one two\nthree", stop=("x", "\n")), ask("")
    )
    assert (cut.text, cut.finish_reason, cut.new_tokens) == ("one two", "length", 2)
    assert (stopped.text, stopped.finish_reason, stopped.prompt_tokens) == ("one two", "stop", 3)
    assert (whole.text, whole.finish_reason, whole.new_tokens) == ("", "stop", 0)


def test_the_stand_in_has_likelihoods_and_an_identity():
    first, second = load_model("dummy"), load_model("dummy", {"seed": "1"})
    request = ChoiceRequest("q", ("a", "b", "c"))
    ((index, values),) = first.loglikelihood([request])
    assert (index, len(set(values))) == (0, 3) and all(-10 <= value <= 0 for value in values)
    assert list(first.loglikelihood([request])) == list(load_model("dummy").loglikelihood([request]))
    assert list(first.loglikelihood([request])) != list(second.loglikelihood([request]))
    assert first.identity != second.identity
    assert first.identity == load_model("dummy").identity


def test_the_first_stop_string_in_the_text_counts():
    assert first_stop("ab\n\ncd STOP", ("STOP", "\n\n")) == 2
    assert first_stop("abc", ("", "x")) is None
