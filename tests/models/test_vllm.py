"""The model `vllm` with the real engine, on the CPU: a tiny random Llama and the demo model, beside `hf`."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import platformdirs
import pytest

import mibe
from mibe.errors import ModelError, UsageError
from mibe.models import load_model
from mibe.models.base import ChoiceRequest, Message, Request, Sampling
from mibe.models.tokens import Encoder

engine = pytest.mark.vllm
ENGINE = {"dtype": "float32", "kv_cache_memory_bytes": "256M", "enforce_eager": "true", "max_num_seqs": "16"}
TEXTS = [
    "A man of 54 has chest pain.",
    "Which drug?",
    "The patient was given 5 mg of warfarin and then bled",
    "No.",
    "Fever and a rash for three days in a child of six, after a journey to the tropics",
]
CHOICES = [
    ChoiceRequest("The vessel is the", (" aorta", " superior vena cava", "x")),
    ChoiceRequest("Which drug?\nAnswer: ", ("warfarin", "aspirin")),
    ChoiceRequest(" ", ("aorta and vein", "vein")),
    ChoiceRequest("The patient was given", ()),
]


# Without vLLM


def test_without_vllm_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("mibe.models.vllm.opening.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "mibe\[vllm\]"'):
        load_model("vllm", {"pretrained": "owner/name", "dtype": "float16"})


@pytest.mark.parametrize(
    ("args", "error", "says"),
    [
        ({}, UsageError, "needs pretrained="),
        ({"pretrained": "/no/such/folder"}, ModelError, "there is no such folder"),
        ({"pretrained": "owner/name", "lora": "./nowhere"}, ModelError, "lora=./nowhere: there is no such folder"),
        ({"pretrained": "owner/name", "chat_template": "on"}, UsageError, "must be auto"),
        ({"pretrained": "owner/name", "device": "cuda:7"}, UsageError, "vLLM has no device=: .*CUDA_VISIBLE_DEVICES"),
        ({"pretrained": "owner/name", "load_in_4bit": "true"}, UsageError, "no load_in_4bit=: its quantization=NAME"),
        ({"pretrained": "owner/name", "peft": "x"}, UsageError, "no peft=: an adapter goes into lora=FOLDER"),
    ],
)
def test_what_is_missing_is_an_answer_before_anything_starts(args, error, says):
    with pytest.raises(error, match=says):
        load_model("vllm", args)
    assert "vllm" not in sys.modules or find_spec("vllm")


# The engine


@pytest.fixture(scope="module")
def demo():
    pytest.importorskip("vllm")
    with pytest.MonkeyPatch.context() as patch:
        cache = os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe")
        patch.setenv("MIBE_CACHE_DIR", cache)
        from mibe.models.local.demo import demo_path

        try:
            return demo_path()
        except ModelError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def tiny(demo, tmp_path_factory):
    from tiny_models import save_tiny_llama

    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama", demo)


@pytest.fixture(scope="module")
def model(tiny):
    """The tiny model without its chat template."""
    opened = load_model("vllm", {"pretrained": str(tiny), "chat_template": "off", **ENGINE})
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def hf(tiny):
    args = {"pretrained": str(tiny), "device": "cpu", "dtype": "float32"}
    return load_model("hf", {**args, "chat_template": "off"})


def ask(text, *, max_new_tokens=12, stop=(), temperature=0.0, seed=0):
    return Request((), text, Sampling(max_new_tokens=max_new_tokens, stop=stop, temperature=temperature, seed=seed))


def generate(model, requests):
    found = dict(model.generate(requests))
    assert sorted(found) == list(range(len(requests)))
    return [found[index] for index in range(len(requests))]


def facts(responses):
    return [(r.text, r.finish_reason, r.prompt_tokens, r.new_tokens) for r in responses]


@engine
def test_text_is_that_of_hf(model, hf):
    requests = [ask(text, max_new_tokens=24) for text in TEXTS]
    ours = generate(model, requests)
    assert facts(ours) == facts(generate(hf, requests))
    assert len({response.text for response in ours}) == len(TEXTS)
    assert {response.finish_reason for response in ours} == {"length"}


@engine
def test_stop_strings_are_those_of_hf(model, hf):
    free = generate(hf, [ask(text, max_new_tokens=24) for text in TEXTS])
    stop = (free[0].text[10:14], "", free[2].text[5:8], "never said")
    requests = [ask(text, max_new_tokens=24, stop=stop) for text in TEXTS]
    ours = generate(model, requests)
    assert facts(ours) == facts(generate(hf, requests))
    assert ours[0].finish_reason == "stop" and stop[0] not in ours[0].text and ours[0].new_tokens < 24


@engine
def test_both_render_and_count_alike(tiny, model, hf):
    from mibe.models.vllm.model import VllmModel

    turns = [Message(role="system", content="Be brief."), Message(role="user", content="Which vein?")]
    chat = VllmModel(model._engine, name="chat", identity=None, chat=True)
    hf_chat = load_model("hf", {"pretrained": str(tiny), "device": "cpu", "dtype": "float32"})
    for ours, theirs in ((model, hf), (chat, hf_chat)):
        text = ours.render(turns)
        assert text == theirs.render(turns)
        assert ours.count_tokens(text) == theirs.count_tokens(text)
        assert ours.context_window == theirs.context_window == 512
        assert facts(generate(ours, [ask(text)])) == facts(generate(theirs, [ask(text)]))
    assert "<|im_start|>user" in chat.render(turns) and chat.is_chat and not model.is_chat


@engine
def test_a_token_that_begins_every_text_is_there_once(model):
    """As with Llama's tokenizers, whose templates write the token that the tokenizer would add."""
    encoder = Encoder(model._tokenizer, [7])
    assert encoder.whole(["No."]) == [[7, *encoder.bare(["No."])[0]]]
    assert encoder.whole([model._tokenizer.decode([7]) + "No."])[0].count(7) == 1


@engine
def test_likelihoods_are_those_of_hf(model, hf):
    ours, theirs = dict(model.loglikelihood(CHOICES)), dict(hf.loglikelihood(CHOICES))
    assert ours.keys() == theirs.keys() == set(range(len(CHOICES)))
    for index, values in theirs.items():
        assert ours[index] == pytest.approx(values, abs=1e-3)
        assert all(value < -0.5 for value in values)


@engine
def test_what_does_not_fit_is_an_error_response(model):
    fits, too_long, empty = generate(model, [ask("No."), ask("xyz " * 600), ask("")])
    assert fits.finish_reason == "length"
    assert (too_long.finish_reason, too_long.text) == ("error", "")
    assert "do not fit the context window of 512" in too_long.error
    assert empty.error == "the prompt is empty"
    with pytest.raises(ModelError, match="do not fit the context window"):
        list(model.loglikelihood([ChoiceRequest("xyz " * 600, (" a",))]))


@engine
def test_sampling_depends_on_the_seed_alone(model):
    texts = [generate(model, [ask(TEXTS[0], temperature=1.5, seed=seed)])[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@engine
def test_cuts_that_leave_one_token_are_greedy(model):
    greedy = [response.text for response in generate(model, [ask(text) for text in TEXTS])]
    for cut in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        requests = [Request((), text, Sampling(max_new_tokens=12, temperature=2.0, **cut)) for text in TEXTS]
        assert [response.text for response in generate(model, requests)] == greedy


@engine
def test_a_constrained_answer_is_one_of_those_allowed(model):
    allowed = ("yes", "no", "not sure")
    requests = [Request((), text, Sampling(max_new_tokens=40, allowed=allowed)) for text in TEXTS]
    got = generate(model, [*requests, ask(TEXTS[0])])
    assert all(response.text.strip() in allowed and response.finish_reason == "stop" for response in got[:-1])
    assert got[-1].text == generate(model, [ask(TEXTS[0])])[0].text


@engine
def test_a_caller_who_leaves_ends_what_is_running(model):
    answers = model.generate([ask(TEXTS[0] * n, max_new_tokens=4 if n == 1 else 300) for n in (1, 2, 3)])
    assert next(answers)[0] == 0
    answers.close()
    assert model._engine._llm.get_num_unfinished_requests() == 0
    assert generate(model, [ask("No.")])[0].finish_reason == "length"


@engine
def test_a_whole_run_its_resumption_and_its_cache(model, tmp_path):
    """Few-shot prompts, a run cut off by Ctrl-C, and the same command once more."""

    class Cut:
        def __getattr__(self, name):
            return getattr(model, name)

        def stream(self, requests):
            for number, answer in enumerate(model.stream(requests)):
                if number == 2:
                    raise KeyboardInterrupt
                yield answer

    asked = {"tasks": "pubmedqa", "num_fewshot": 1, "limit": 6, "output_dir": tmp_path, "max_new_tokens": 8}
    with pytest.raises(KeyboardInterrupt):
        mibe.evaluate(model=Cut(), **asked)
    (log,) = tmp_path.glob("*/samples/pubmedqa.jsonl")
    kept = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(kept) == 2 and not any(row["cached"] for row in kept)
    run = mibe.evaluate(model=model, **asked)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert run.path == log.parents[1] and rows[:2] == kept and len(rows) == 6
    assert {row["finish_reason"] for row in rows} <= {"length", "stop"}
    again = mibe.evaluate(model=model, **asked, use_cache=True)
    assert all(json.loads(line)["cached"] for line in (again.path / "samples/pubmedqa.jsonl").read_text().splitlines())


@engine
def test_identity_is_content_and_settings_and_not_placement(model, tiny):
    from mibe.models.vllm.identity import identity

    values = {"pretrained": str(tiny), "chat_template": False}
    base = identity(model._engine.config, values, {"dtype": "float32"}, None)
    assert base == {k: v for k, v in model.identity.items() if k in base}
    assert base["pretrained"].keys() == {"sha256"} and base["dtype"] == "float32"
    placed = {
        "tensor_parallel_size": "2",
        "data_parallel_size": "4",
        "data_parallel_backend": "ray",
        "max_num_seqs": "9",
    }
    assert identity(model._engine.config, values, placed, None) == base
    assert identity(model._engine.config, values, {"kv_cache_dtype": "fp8"}, None) != base
    assert identity(model._engine.config, values | {"lora": str(tiny)}, {}, None) != base
    assert identity(model._engine.config, values, {}, "{{ messages }}") != base
    assert identity(model._engine.config, {"pretrained": "owner/unknown"}, {}, None) is None


@engine
def test_prefixes_are_computed_once(model):
    head = "The patient was given warfarin and then bled, and so on and so forth, for many days. " * 8
    generate(model, [ask(head + "One")])
    outputs = [output for _, output in model._engine.run([_job(model, head + "Two")])]
    assert outputs[0].num_cached_tokens > 64


def _job(model, text):
    from mibe.models.vllm.engine import Job

    return Job(0, model._encoder.whole([text])[0], model._params(Sampling(max_new_tokens=2)))


@engine
@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"tensor_paralel_size": "2"}, "did you mean tensor_parallel_size"),
        ({"model": "x"}, "unknown argument"),
        ({"hf_token": "hf_secret"}, "unknown argument"),
        ({"max_model_len": "many"}, "max-model-len"),
        ({"dtype": "float31"}, "invalid choice: 'float31'"),
        ({"quantization": "gptqq"}, "unknown quantization of the model 'vllm' 'gptqq'; did you mean gptq"),
        ({"enforce_eager": "perhaps"}, "must be true or false"),
    ],
)
def test_wrong_arguments_are_one_line(tiny, args, says):
    with pytest.raises(UsageError, match=says) as caught:
        load_model("vllm", {"pretrained": str(tiny), **args})
    assert "\n" not in str(caught.value)


@engine
def test_arguments_are_those_of_vllm(tiny):
    from mibe.models.vllm.engine import engine_arguments

    made = engine_arguments(
        str(tiny),
        None,
        {
            "tensor_parallel_size": "2",
            "pipeline_parallel_size": "3",
            "data_parallel_size": "4",
            "distributed_executor_backend": "ray",
            "gpu_memory_utilization": "0.5",
            "enable_prefix_caching": "false",
            "quantization": "fp8",
            "trust_remote_code": "yes",
            "revision": "main",
            "compilation_config.cudagraph_capture_sizes": "[8]",
        },
    )
    assert (made.tensor_parallel_size, made.pipeline_parallel_size, made.data_parallel_size) == (2, 3, 4)
    assert (made.distributed_executor_backend, made.gpu_memory_utilization) == ("ray", 0.5)
    assert made.enable_prefix_caching is False and made.trust_remote_code is True
    assert (made.quantization, made.revision, made.model) == ("fp8", "main", str(tiny))
    assert made.compilation_config.cudagraph_capture_sizes == [8]


@engine
@pytest.mark.parametrize("way", ["data_parallel_size", "tensor_parallel_size"])
def test_two_engines_or_two_halves_give_what_one_gives(tiny, hf, monkeypatch, way):
    # On a CPU, halves of a model must be told which cores are theirs.
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1" if way == "tensor_parallel_size" else "auto")
    parallel = load_model("vllm", {"pretrained": str(tiny), "chat_template": "off", **ENGINE, way: "2"})
    requests = [ask(text, max_new_tokens=8) for text in TEXTS * 2]
    try:
        assert facts(generate(parallel, requests)) == facts(generate(hf, requests))
    finally:
        parallel.close()


@engine
def test_what_goes_wrong_in_the_engine_is_one_line(tiny, capfd):
    with pytest.raises(ModelError, match="vLLM cannot load .*max_model_len") as caught:
        load_model("vllm", {"pretrained": str(tiny), **ENGINE, "max_model_len": "100000"})
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="vLLM cannot load .*emory"):
        load_model("vllm", {"pretrained": str(tiny), **ENGINE, "kv_cache_memory_bytes": "1K"})
    assert "Traceback" not in "".join(capfd.readouterr())


@engine
def test_an_adapter_gives_what_merged_weights_give(tiny, tmp_path):
    pytest.importorskip("peft")
    from tiny_models import save_adapter

    save_adapter(tmp_path / "adapter", tiny, tmp_path / "merged")
    args = {"chat_template": "off", **ENGINE}
    requests = [ask(text, max_new_tokens=16) for text in TEXTS]
    merged = load_model("hf", {"pretrained": str(tmp_path / "merged"), "device": "cpu", "chat_template": "off"})
    expected = facts(generate(merged, requests))
    adapted = load_model("vllm", {"pretrained": str(tiny), "lora": str(tmp_path / "adapter"), **args})
    try:
        assert facts(generate(adapted, requests)) == expected
        assert adapted.identity["lora"].keys() == {"sha256"}
    finally:
        adapted.close()
    plain = load_model("hf", {"pretrained": str(tiny), "device": "cpu", "chat_template": "off"})
    assert facts(generate(plain, requests)) != expected


@engine
def test_what_mellama_train_exports_is_read_by_vllm(tiny, tmp_path):
    pytest.importorskip("peft")
    from tiny_models import save_adapter
    from transformers import AutoTokenizer

    from mellama_train.cli import main

    save_adapter(tmp_path / "adapter", tiny, tmp_path / "merged")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "adapter")
    exported = tmp_path / "exported"
    assert main(["export", str(tmp_path / "adapter"), "--merge-lora", "--base", str(tiny), "--to", str(exported)]) == 0
    requests = [ask(text, max_new_tokens=16) for text in TEXTS]
    merged = load_model("hf", {"pretrained": str(tmp_path / "merged"), "device": "cpu", "chat_template": "off"})
    expected = facts(generate(merged, requests))
    ours = load_model("vllm", {"pretrained": str(exported), "chat_template": "off", **ENGINE})
    try:
        assert facts(generate(ours, requests)) == expected
    finally:
        ours.close()


@engine
def test_an_adapter_that_is_none_is_one_line(tiny, tmp_path):
    with pytest.raises(ModelError, match="holds no LoRA adapter"):
        load_model("vllm", {"pretrained": str(tiny), "lora": str(tiny)})
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 1024}))
    with pytest.raises(ModelError, match="rank 1024, and vLLM takes at most 512"):
        load_model("vllm", {"pretrained": str(tiny), "lora": str(tmp_path)})


@engine
def test_the_death_of_the_engine_is_one_line_and_nothing_is_lost(tiny, tmp_path):
    """The engine's process is killed from outside, as the kernel does when memory runs out."""
    victim = load_model("vllm", {"pretrained": str(tiny), "chat_template": "off", **ENGINE})
    answers = victim.generate([ask(text, max_new_tokens=4 if n == 0 else 480) for n, text in enumerate(TEXTS)])
    assert next(answers)[1].finish_reason == "length"
    for pid in children(os.getpid()):
        if "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="vLLM's engine died: .* the same command goes on from there"):
        list(answers)
    victim.close()


@engine
def test_the_command_line_with_the_demo_model(demo, tmp_path):
    """A whole process: readable output, nothing of the engine on the screen, no process left behind."""
    command = [sys.executable, "-m", "mibe", "eval", "--model", "vllm", "--tasks", "pubmedqa", "--limit", "4"]
    args = ",".join(f"{k}={v}" for k, v in {"pretrained": demo, **ENGINE, "max_model_len": 2048}.items())
    command += ["--model-args", args, "--output-dir", str(tmp_path), "--max-new-tokens", "8"]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "pubmedqa" in done.stdout
    for noise in ("EngineCore", "VllmWorker", "INFO", "WARNING", "Gloo"):
        assert noise not in done.stdout + done.stderr
    (log,) = tmp_path.glob("*/samples/pubmedqa.jsonl")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == 4 and all(row["output"] and row["prompt_tokens"] > 100 for row in rows)
    deadline = time.monotonic() + 30
    while (left := [pid for pid in processes() if "VLLM::" in name_of(pid)]) and time.monotonic() < deadline:
        time.sleep(0.5)
    ours = {pid for pid in left if pid in descendants(os.getpid())}
    assert set(left) <= ours


def processes():
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def children(parent):
    return [pid for pid in processes() if parent_of(pid) == parent]


def descendants(parent):
    found = children(parent)
    return {*found, *(pid for child in found for pid in descendants(child))}


def parent_of(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
