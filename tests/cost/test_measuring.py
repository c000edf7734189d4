"""A model measured: real servers and functions that take as long as the test says, and a tiny real model."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from api_clients import clients
from api_requests import requests
from api_server import error, grown, prompt_of, said, serving

from mibe.cli import main
from mibe.cost.flops import flops
from mibe.cost.measuring import ask, level_of, measure
from mibe.errors import LimitReached, ModelError, UsageError
from mibe.results.record import tokens_read


def price_file(folder):
    path = folder / "prices.json"
    prices = {"*": {"m": {"prompt": 2.0, "completion": 8.0, "cached": 1.0}}}
    path.write_text(json.dumps({"date": "2026-01-01", "prices": prices}))
    return path


def test_latencies_are_those_of_the_server_and_percentiles_those_of_numpy():
    pauses = [0.02 * number for number in range(10)]

    def script(number, body):
        return grown("A", "B", before=pauses[number], between=0.05)

    with serving(script) as server, clients(stream="yes") as make:
        made = ask(make(server), requests(10), 1)
    assert len(made.answered) == 10 and made.at_once == 1
    for pause, each in zip(pauses, made.answered, strict=True):
        # The server slept this long; whatever else goes on only adds to it.
        assert each.first_token >= pause and each.seconds >= pause + 0.05
        assert each.response.first_token < each.response.latency <= each.seconds
    level = level_of(made, {1: [each.first_token for each in made.answered]})
    seconds, first = ([getattr(each, name) for each in made.answered] for name in ("seconds", "first_token"))
    assert (level.latency_p50, level.latency_p95) == pytest.approx(tuple(np.percentile(seconds, [50, 95])))
    assert (level.first_token_p50, level.first_token_p95) == pytest.approx(tuple(np.percentile(first, [50, 95])))
    assert level.read_per_second == pytest.approx(10 * 100 / made.seconds)
    assert level.written_per_second == pytest.approx(10 * 10 / made.seconds) and level.seconds == made.seconds / 10


def test_a_server_is_asked_one_by_one_and_then_several_at_once_and_no_document_twice(tmp_path):
    active, at_once, lock = [0], [], threading.Lock()

    def script(number, body):
        with lock:
            active[0] += 1
            at_once.append(active[0])
        answer = grown("A", before=0.02)
        answer.delay = 0.02
        with lock:
            active[0] -= 1
        return answer

    with serving(script) as server:
        args = {"model": "m", "base_url": server.url, "prices": str(price_file(tmp_path))}
        cost = measure(model="openai", model_args=args, tasks="pubmedqa", limit=6, batch=3)
        prompts = [prompt_of(body) for body in server.bodies]
        assert 1 < server.most_active <= 3
    assert len(prompts) == 1 + 6 + 6 == len(set(prompts)) and all(body["stream"] for body in server.bodies)
    assert [level.at_once for level in cost.levels] == [1, 3] and cost.documents == 12
    assert all(level.first_token_p50 < level.latency_p50 for level in cost.levels)
    # 100 tokens read, 40 of them from the server's cache, and 10 written.
    assert cost.usd == pytest.approx((60 * 2 + 40 * 1 + 10 * 8) / 1e6) and cost.price.prompt == 2.0
    assert (cost.prompt_tokens, cost.new_tokens) == (100, 10)
    assert cost.memory.peak is cost.flops is cost.joules is cost.load_seconds is None


def test_a_server_without_streams_tells_no_first_token():
    with serving(lambda number, body: said("A")) as server:
        args = {"model": "m", "base_url": server.url}
        cost = measure(model="openai", model_args=args, tasks="pubmedqa", limit=2, batch=2)
        # No second pass is asked for one token: it would cost what it costs and tell when all of it was there.
        assert len(server.requests) == 1 + 2 + 2
    assert all(level.first_token_p50 is None and level.latency_p50 > 0 for level in cost.levels)


def test_a_function_gets_as_many_as_are_asked_at_once():
    sizes = []

    def answer(prompts):
        sizes.append(len(prompts))
        return ["yes"] * len(prompts)

    cost = measure(model=answer, tasks="pubmedqa", limit=5, batch=4)
    # A fifth beside nobody would not be one of four at once.
    assert sizes == [1] + [1] * 5 + [4]
    assert [(level.at_once, level.documents, level.latencies) for level in cost.levels] == [(1, 5, 5), (4, 4, 4)]
    assert cost.load_seconds is cost.flops is cost.prompt_tokens is cost.levels[0].first_token_p50 is None
    assert cost.levels[1].latency_p50 > 0 and cost.levels[0].read_per_second is None


def test_fewer_documents_than_a_batch_are_as_many_at_once_as_there_are(capsys):
    sizes = []

    def answer(prompts):
        sizes.append(len(prompts))
        return ["yes"] * len(prompts)

    cost = measure(model=answer, tasks="pubmedqa,medqa", limit=3, batch=8)
    # One of each task beforehand, and three of each.
    assert sizes == [1] * 2 + [1] * 6 + [6] and [level.at_once for level in cost.levels] == [1, 6]
    sizes.clear()
    assert len(measure(model=answer, tasks="pubmedqa", limit=1, batch=8).levels) == 1 and sizes == [1, 1]
    assert main(["cost", "--model", "dummy", "--limit", "2"]) == 0
    out = capsys.readouterr().out
    assert "2 at once, 2 documents" in out and "8 at once" not in out


def test_of_answers_that_a_server_does_not_count_nothing_is_shown_as_measured(tmp_path):
    def script(number, body):
        return grown("A", usage=number % 3 != 0)

    with serving(script) as server:
        args = {"model": "m", "base_url": server.url, "prices": str(price_file(tmp_path))}
        cost = measure(model="openai", model_args=args, tasks="pubmedqa", limit=3, batch=3)
    # Of the answers 1 to 6 those of 3 and 6 have no counts.
    assert (cost.documents, cost.counted, cost.priced) == (6, 4, 4)
    assert cost.usd == pytest.approx((60 * 2 + 40 * 1 + 10 * 8) / 1e6) and cost.prompt_tokens == 100
    assert all(level.read_per_second is None for level in cost.levels)


def test_a_limit_of_money_says_that_nothing_is_kept(tmp_path):
    with serving(lambda number, body: said("A")) as server:
        args = {"model": "m", "base_url": server.url, "prices": str(price_file(tmp_path))}
        with pytest.raises(LimitReached, match="nothing is kept: give a higher --max-cost, or a smaller --limit"):
            measure(model="openai", model_args=args, tasks="pubmedqa", limit=3, batch=3, max_cost=1e-6)
        assert server.requests == []


def test_a_prompt_that_fails_ends_it():
    def answer(prompts):
        raise RuntimeError("no")

    with pytest.raises(ModelError, match="1 of 1 prompts failed"):
        measure(model=answer, tasks="pubmedqa", limit=2)
    refuses = serving(lambda number, body: error(400, "bad prompt"))
    with refuses as server, clients() as make, pytest.raises(ModelError, match="2 of 2 prompts failed .*bad prompt"):
        ask(make(server), requests(2), 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"limit": 10_000}, "too few documents"),
        ({"scoring": "loglikelihood"}, "the cost is that of text"),
        ({"repeats": 2, "temperature": 0.7}, "the cost is that of text"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        measure(model="dummy", tasks="pubmedqa", **settings)


def test_the_dummy_by_the_command_line(capsys):
    assert main(["cost", "--model", "dummy", "--limit", "3", "--batch", "2", "--plan", "--format", "json"]) == 0
    [cost] = json.loads(capsys.readouterr().out)["costs"]
    assert [level["at_once"] for level in cost["levels"]] == [1, 2] and cost["load_seconds"] > 0
    assert all(level["first_token_p95"] is not None for level in cost["levels"])
    assert cost["memory"]["process_peak"] > 0 and cost["flops"] is None
    assert {line["figure"] for line in cost["plan"]} >= {"prompt tokens", "new tokens", "USD"}


@pytest.mark.slow
def test_a_real_model_tells_its_first_token_its_size_and_its_operations(tmp_path):
    pytest.importorskip("torch")
    from tiny_llama import tiny_llama, tiny_tokenizer

    import mibe
    from mibe.models.hf import from_loaded
    from mibe.results.log import latest_rows

    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 8192
    tiny = tiny_llama()
    tiny.config.max_position_embeddings = 8192
    model = from_loaded(tiny, tokenizer, name="tiny", batch_size=4)
    run = mibe.evaluate(
        model=model, tasks="medqa", limit=4, max_new_tokens=6, resamples=5, output_dir=tmp_path, use_cache=False
    )
    rows = list(latest_rows(run.samples_path("medqa")))
    assert all(0 < row["first_token"] <= row["latency"] for row in rows if row["finish_reason"] != "error")
    size = model.size
    assert run.record["model"]["size"]["layer_params"] == size.layer_params
    cost = measure(model=model, tasks="medqa", limit=2, batch=2, max_new_tokens=6)
    assert [level.documents for level in cost.levels] == [2, 2]
    assert all(level.first_token_p50 <= level.latency_p50 for level in cost.levels)
    [request] = requests(1)
    made = ask(model, [replace(request, text="A man of 54 has chest pain.")], 1)
    response = made.answered[0].response
    read = tokens_read(response.prompt_tokens, response.new_tokens)
    assert flops(size, positions=read, attended=read * (read + 1) // 2, new_tokens=response.new_tokens) > 0
    assert cost.flops > 2 * size.layer_params * cost.prompt_tokens
