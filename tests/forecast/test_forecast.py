"""A forecast counts what a run will really send, and its arithmetic is that of the published configurations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import Scripted

import mibe
from mibe.cli import main
from mibe.errors import DataUseError, ModelError, UsageError
from mibe.forecast import prompts as forecasts
from mibe.forecast.amounts import Probe, Tally, Throughput, cost, parse_throughput
from mibe.forecast.hardware import (
    GIB,
    SHAPES,
    Fleet,
    Shape,
    at_once,
    gpus_of_a_copy,
    parse_count,
    parse_fleet,
    parse_shape,
)
from mibe.forecast.prompts import forecast, tally
from mibe.forecast.text import render
from mibe.models.base import Response
from mibe.models.local.counting import Estimate, load_counter
from mibe.registry import load_task
from mibe.run.plan import plan_task
from mibe.run.settings import Settings

TALLY = Tally(
    task="t",
    documents=100,
    prompt_tokens=50_000,
    shared_tokens=20_000,
    max_new_tokens=10,
    longest=900,
    row_bytes=42_000,
    draws=1,
)


def plan(tasks, **options):
    defaults = {"fleet": Fleet(gpus=1, per_copy=1), "gpu_bytes": 80 * GIB}
    return forecast(tasks=tasks, **defaults | options)


def test_cost_is_tokens_by_throughput_and_text_on_disk():
    price = cost(TALLY, output_share=0.5, characters_per_token=4, throughput=Throughput(prefill=3000, decode=100))
    assert price.new_tokens == 500
    assert price.seconds == 30_000 / 3000 + 500 / 100
    assert price.sample_bytes == 42_000 + 500 * 4


def test_a_probe_counts_before_the_throughput_and_the_share():
    price = cost(
        TALLY,
        output_share=0.5,
        characters_per_token=4,
        throughput=Throughput(prefill=1, decode=1),
        probe=Probe(documents=20, seconds=3, new_tokens=40),
    )
    assert (price.seconds, price.new_tokens) == (15, 200)


def test_memory_of_llama_2_70b_is_what_everybody_finds():
    """138 GB of weights in 16 bits; 320 KiB a token with 8 of 64 heads for keys and values (Touvron et al. 2023)."""
    shape = SHAPES["llama2-70b"]
    assert shape.weight_bytes("bfloat16") == pytest.approx(138e9, rel=0.01)
    assert shape.cache_bytes("bfloat16") == 320 * 1024
    assert SHAPES["llama2-7b"].cache_bytes("bfloat16") == 512 * 1024
    assert [gpus_of_a_copy(shape, dtype, 80 * GIB) for dtype in ("bfloat16", "fp8", "int4")] == [2, 1, 1]
    assert gpus_of_a_copy(shape, "float32", 80 * GIB) == 4
    fleet = Fleet(gpus=8, per_copy=2)
    assert fleet.copies == 4
    room = 2 * 80 * GIB * 0.9 - shape.weight_bytes("bfloat16")
    assert at_once(shape, "bfloat16", 80 * GIB, fleet, 1000) == int(room // (320 * 1024 * 1000))
    assert at_once(Shape(params=1e9), "bfloat16", 80 * GIB, fleet, 1000) is None


def test_counted_tokens_are_those_that_a_run_sends(tmp_path):
    """The model of the run counts its own prompts; the forecast, without it, comes to the same."""
    model = Scripted(lambda _: "yes")
    mibe.evaluate(
        model=model, tasks="pubmedqa", num_fewshot=3, limit=40, resamples=10, output_dir=tmp_path, use_cache=False
    )
    counted = tally(plan_task(load_task("pubmedqa"), Settings(num_fewshot=3, limit=40)), Estimate(1))
    assert counted.documents == 40
    assert counted.prompt_tokens == sum(map(len, model.asked))
    assert counted.longest == max(map(len, model.asked)) + counted.max_new_tokens
    head = len(os.path.commonprefix(model.asked))  # noqa: RUF071
    assert counted.shared_tokens == 39 * head > 0.5 * counted.prompt_tokens


def test_draws_are_answers_whose_prompt_is_shared(tmp_path):
    model = Scripted(lambda _: "yes")
    mibe.evaluate(
        model=model, tasks="pubmedqa", limit=40, repeats=5, resamples=10, output_dir=tmp_path, use_cache=False
    )
    once, five = (tally(plan_task(load_task("pubmedqa"), Settings(limit=40, repeats=k)), Estimate(1)) for k in (1, 5))
    assert (five.documents, five.samples, five.most_new_tokens) == (40, 200, 200 * once.max_new_tokens)
    assert five.prompt_tokens == sum(map(len, model.asked)) == 5 * once.prompt_tokens
    # What is read is what one draw reads.
    assert five.prompt_tokens - five.shared_tokens == once.prompt_tokens - once.shared_tokens
    assert (five.longest, five.row_bytes) == (once.longest, 5 * once.row_bytes)
    prices = [
        cost(each, output_share=0.5, characters_per_token=4, throughput=Throughput(prefill=100, decode=10))
        for each in (once, five)
    ]
    assert prices[1].new_tokens == 5 * prices[0].new_tokens == 200 * once.max_new_tokens / 2
    assert prices[1].cache_bytes == 5 * prices[0].cache_bytes
    assert prices[1].seconds - prices[0].seconds == pytest.approx(4 * prices[0].new_tokens / 10)


def test_a_plan_of_several_draws(capsys, monkeypatch):
    options = ["plan", "--tasks", "pubmedqa,ddi,pubmedsum", "--limit", "10", "--throughput", "1000"]
    tables = []
    for repeats in ((), ("--repeats", "3")):
        assert main([*options, *repeats]) == 0
        tables.append(capsys.readouterr().out)
    once, thrice = (
        {line.split()[0]: [int(n) for n in line.replace(",", "").split() if n.isdecimal()] for line in rows if line}
        for rows in (table.splitlines()[2:] for table in tables)
    )
    documents, tokens, shared, most, expected = once["pubmedqa"][:5]
    assert thrice["pubmedqa"][:5] == [documents, 3 * tokens, shared + 2 * tokens, 3 * most, 3 * expected]
    assert thrice["pubmedsum"] == [once["pubmedsum"][0], 3 * once["pubmedsum"][1]]
    assert "draws: 3 of each document" in tables[1] and "draws:" not in tables[0]
    model = Scripted(lambda _: Response(text="yes", finish_reason="stop", new_tokens=7))
    monkeypatch.setattr(forecasts, "as_model", lambda name, args: model)
    found = plan("pubmedqa", model="dummy", probe=4, limit=8, repeats=3)
    assert len(model.asked) == 3 * (1 + 4) and found.costs[0].new_tokens == 8 * 3 * 7


def test_shared_heads_are_those_of_each_subject(tmp_path):
    counted = tally(plan_task(load_task("mmlu"), Settings(num_fewshot=5, limit=600)), Estimate(1))
    zero = tally(plan_task(load_task("mmlu"), Settings(limit=600)), Estimate(1))
    assert counted.shared_tokens > 5 * zero.shared_tokens
    # Of 600 prompts in 57 subjects, the first of each subject reads its examples.
    assert 0.6 < counted.shared_tokens / counted.prompt_tokens < 1 - 57 / 600


def test_disk_is_what_a_run_writes(tmp_path):
    done = mibe.evaluate(
        model="dummy", model_args={"answer": "yes"}, tasks="pubmedqa,mmlu", output_dir=tmp_path, limit=300
    )
    found = plan("pubmedqa,mmlu", limit=300)
    for counted, price in zip(found.tallies, found.costs, strict=True):
        written = done.samples_path(counted.task).stat().st_size
        without_text = price.sample_bytes - price.new_tokens * 4
        assert without_text == pytest.approx(written, rel=0.15)


def test_tasks_whose_data_is_missing_are_shown_and_not_counted(capsys):
    found = plan("pubmedqa,ddi,mednli")
    assert [each.task for each in found.tallies] == ["pubmedqa"]
    assert [each.task for each in found.absent] == ["ddi", "mednli"]
    text = render(found, "text")
    documented = load_task("ddi").source.counts["test"]
    [line] = [line for line in text.splitlines() if line.startswith("ddi (not here)")]
    assert f" {documented:,} " in line and "?" in line
    assert "not in the total, since their data is not here (mibe data list says how to get it): ddi, mednli" in text


def test_the_whole_command_at_a_throughput(capsys):
    options = [
        "--tasks",
        "pubmedqa",
        "--limit",
        "100",
        "--model-shape",
        "llama2-70b",
        "--gpus",
        "8",
        "--throughput",
        "1000",
    ]
    assert main(["plan", *options, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [counted], [price] = found["tallies"], found["costs"]
    expected = (counted["prompt_tokens"] - counted["shared_tokens"] + price["new_tokens"]) / 1000
    assert price["seconds"] == pytest.approx(expected)
    assert found["copies"] == 4
    assert main(["plan", *options]) == 0
    out = capsys.readouterr().out
    assert "weights: 128.5 GiB in bfloat16" in out and "320 KiB a token" in out and "--shard 1/4 to 4/4" in out
    assert f"{expected * 2 / 3600:.2f}" in out


def test_without_a_throughput_time_is_not_guessed():
    found = plan("pubmedqa", limit=20)
    assert found.seconds is None and found.costs[0].seconds is None
    assert "?" in render(found, "text")


def test_a_probe_is_a_real_run_that_leaves_nothing(tmp_path, monkeypatch):
    model = Scripted(lambda _: "yes")
    monkeypatch.setattr(forecasts, "as_model", lambda name, args: model)
    monkeypatch.chdir(tmp_path)
    found = plan("pubmedqa,medqa", model="dummy", probe=12)
    # One to warm up, then twelve of each task.
    assert len(model.asked) == 1 + 12 + 12
    assert found.seconds is not None and found.seconds > 0
    assert "measured on 12 documents of each task" in render(found, "text")
    assert list(tmp_path.iterdir()) == []


def test_a_probe_sends_no_credentialed_text_away(monkeypatch):
    from mibe.data import store

    folder = store.data_dir() / "mednli"
    folder.mkdir(parents=True)
    line = {"id": "1", "inputs": {"premise": "note", "hypothesis": "x"}, "target": load_task("mednli").labels[0]}
    (folder / "test.jsonl").write_text(json.dumps(line) + "\n")
    remote = Scripted(lambda _: "yes")
    remote.is_remote = True
    monkeypatch.setattr(forecasts, "as_model", lambda name, args: remote)
    with pytest.raises(DataUseError):
        plan("mednli", model="dummy", probe=1)
    assert remote.asked == []


def test_a_tokenizer_is_used_without_its_weights(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    tokenizer.chat_template = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 4096}))
    counter = load_counter("hf", {"pretrained": str(tmp_path)}, characters_per_token=4)
    assert counter.is_chat and counter.context_window == 4096
    assert counter.render([{"role": "user", "content": "two words"}]) == "<user> two words "
    assert counter.count_tokens("<user> two words ") == 3
    plain = load_counter("hf", {"pretrained": str(tmp_path), "chat_template": "off"}, characters_per_token=4)
    assert not plain.is_chat
    assert not list(tmp_path.glob("*.safetensors"))
    with pytest.raises(ModelError):
        load_counter("hf", {"pretrained": str(tmp_path / "nothing")}, characters_per_token=4)


def test_the_shape_of_a_model_folder(tmp_path):
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 2000)
    assert parse_shape(str(tmp_path)) == Shape(params=1000, layers=2, kv_heads=2, head_dim=16)


def test_a_shape_in_numbers():
    assert parse_shape("params=70B,layers=80,kv_heads=8,head_dim=128") == Shape(
        params=70e9, layers=80, kv_heads=8, head_dim=128
    )
    assert parse_shape("params=1.5e9").cache_bytes("bfloat16") == 0
    assert parse_count("13B") == 13e9


@pytest.mark.parametrize("text", ["llama9", "layers=3", "params=0", "params=x", "params=70B,width=3", ""])
def test_what_is_no_shape_is_told_so(text):
    with pytest.raises(UsageError, match="--model-shape"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--throughput", "0"], "above 0"),
        (["--prefill-throughput", "5"], "give --throughput, or both"),
        (["--throughput", "5", "--decode-throughput", "5"], "give --throughput, or both"),
        (["--output-share", "1.5"], "--output-share 1.5 is out of range"),
        (["--characters-per-token", "0"], "--characters-per-token 0.0 is out of range"),
        (["--probe"], "name one with --model"),
        (["--dtype", "float8"], "unknown --dtype"),
        (["--gpus", "1", "--model-shape", "llama2-70b"], "one copy of the model takes 2 GPUs and there are 1"),
        (["--gpu-memory", "0"], "--gpu-memory"),
        (["--tasks", "ddi"], "none of the data is here"),
    ],
)
def test_bad_requests(options, message, capsys):
    tasks = [] if "--tasks" in options else ["--tasks", "pubmedqa", "--limit", "3"]
    assert main(["plan", *tasks, *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_fleet_without_a_shape_is_one_copy():
    assert parse_fleet(8, None, shape=None, dtype="bfloat16", gpu_bytes=80 * GIB).copies == 1
    assert parse_fleet(8, 4, shape=None, dtype="bfloat16", gpu_bytes=80 * GIB).copies == 2
    assert parse_throughput(both=None, prefill=None, decode=None) is None


def test_planning_without_a_tokenizer_imports_nothing_heavy():
    code = (
        "import sys; from mibe.cli import main; main(['plan', '--tasks', 'pubmedqa', '--limit', '3'])\n"
        "print(sorted({'torch', 'transformers', 'lm_eval', 'pandas', 'sklearn'} & set(sys.modules)), file=sys.stderr)"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": root}
    )
    assert done.stderr.strip() == "[]"
