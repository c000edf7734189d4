"""What the record of a run tells of its cost, and what an older one does not."""

import json

import numpy as np
import pytest
from api_server import error, said, serving
from scripted import Scripted

import mibe
from mibe.cli import main
from mibe.cost import text
from mibe.cost.figures import Memory
from mibe.cost.flops import flops
from mibe.cost.recorded import cost_of
from mibe.meters.memory import Device
from mibe.models.base import Response
from mibe.models.size import Size
from mibe.results.log import latest_rows
from mibe.results.run import load_run

SIZE = Size(params=1000, bytes=4000, layer_params=800, head_params=100, layers=2, attention_width=16)
NEW = ("counted", "positions", "attended", "latency", "first_token")


class Counting(Scripted):
    """Tells tokens, seconds and latencies that follow from the prompt's length."""

    size = SIZE

    def __init__(self):
        super().__init__(self.answered)

    @staticmethod
    def answered(prompt):
        length = len(prompt)
        return Response(
            text="yes",
            finish_reason="stop",
            prompt_tokens=length,
            new_tokens=length % 7,
            seconds=length / 1000,
            latency=length / 100,
            first_token=length / 300,
        )


@pytest.fixture
def run(tmp_path):
    return mibe.evaluate(
        model=Counting(), tasks="pubmedqa,medqa", limit=9, resamples=5, use_cache=False, output_dir=tmp_path / "runs"
    )


def rows_of(run, task):
    return list(latest_rows(run.samples_path(task)))


def older(run):
    """The record as runs wrote it before any of this was recorded."""
    record = json.loads((run.path / "run.json").read_text())
    record["model"].pop("size")
    record["memory"] = {"process_peak_bytes": 10**9, "device_peak_bytes": None}
    for session in record["sessions"]:
        session.pop("energy", None)
        session.pop("loading", None)
    for part in record["tasks"].values():
        for name in NEW:
            part["timing"].pop(name, None)
    return record


def test_percentiles_tokens_and_operations_are_those_of_the_rows(run):
    rows = rows_of(run, "pubmedqa")
    cost = cost_of(run.record, ["pubmedqa"])
    [level] = cost.levels
    for name, found in (("latency", (level.latency_p50, level.latency_p95)), ("first_token", None)):
        expected = np.percentile([row[name] for row in rows], [50, 95])
        found = found or (level.first_token_p50, level.first_token_p95)
        assert found == pytest.approx(tuple(expected), rel=1e-12)
    read, written = (np.array([row[name] for row in rows]) for name in ("prompt_tokens", "new_tokens"))
    seconds = sum(row["seconds"] for row in rows)
    assert (cost.prompt_tokens, cost.new_tokens, cost.documents) == (read.mean(), written.mean(), 9)
    # The record has milliseconds.
    assert level.read_per_second == pytest.approx(read.sum() / seconds, rel=1e-3)
    assert level.written_per_second == pytest.approx(written.sum() / seconds, rel=1e-3)
    by_hand = []
    for prompt, new in zip(read.tolist(), written.tolist(), strict=True):
        n = prompt + max(0, new - 1)
        by_hand.append(2 * 800 * n + 4 * 2 * 16 * sum(range(1, n + 1)) + 2 * 100 * new)
    assert cost.flops == pytest.approx(np.mean(by_hand), rel=1e-12)
    assert flops(SIZE, positions=3, attended=6, new_tokens=1) == 2 * 800 * 3 + 4 * 2 * 16 * 6 + 200


def test_of_several_tasks_means_are_of_all_answers_and_percentiles_are_told_by_task(run):
    cost = cost_of(run.record)
    every = [row for task in ("pubmedqa", "medqa") for row in rows_of(run, task)]
    assert cost.prompt_tokens == np.mean([row["prompt_tokens"] for row in every]) and cost.documents == 18
    assert cost.levels[0].latency_p50 is None and "told by task" in cost.why["latency"]
    shown = {(name, value) for name, value, _ in text.rows(cost)}
    assert ("latency, p50 / p95", "not measured") in shown


def test_an_older_run_can_be_read_and_says_not_measured_and_never_nought(run):
    (run.path / "run.json").write_text(json.dumps(older(run)))
    cost = cost_of(load_run(run.path).record, ["pubmedqa"])
    assert cost.load_seconds is cost.flops is cost.joules is cost.usd is cost.weights is None
    assert cost.levels[0].latency_p50 is None and cost.memory.peak is None
    # What older runs did record is told.
    assert cost.prompt_tokens > 0 and cost.levels[0].read_per_second > 0 and cost.memory.process_peak == 10**9
    values = {name: value for name, value, _ in text.rows(cost)}
    for name in ("load time", "weights", "latency, p50 / p95", "operations", "energy", "money"):
        assert values[name] == "not measured"
    assert not any(value.startswith(("0 ", "0.00 ")) for value in values.values())


def test_a_model_that_counts_no_tokens_has_none_counted(tmp_path):
    def answer(prompts):
        return ["yes"] * len(prompts)

    run = mibe.evaluate(model=answer, tasks="pubmedqa", limit=3, resamples=5, output_dir=tmp_path)
    timing = run.record["tasks"]["pubmedqa"]["timing"]
    assert timing["counted"] == 0 and timing["latency"]["n"] == 3
    cost = cost_of(run.record)
    assert cost.prompt_tokens is None and cost.levels[0].read_per_second is None and cost.levels[0].latency_p50 > 0
    old = older_of_a_function(run.record)
    assert cost_of(old).prompt_tokens is None and cost_of(old).levels[0].read_per_second is None


def older_of_a_function(record):
    old = json.loads(json.dumps(record))
    for name in NEW:
        old["tasks"]["pubmedqa"]["timing"].pop(name, None)
    return old


def test_a_model_loaded_by_name_has_a_load_time_and_its_memory_one_handed_over_has_not(tmp_path, run):
    named = mibe.evaluate(model="dummy", tasks="pubmedqa", limit=3, resamples=5, output_dir=tmp_path, use_cache=False)
    cost = cost_of(named.record)
    loading = named.record["sessions"][0]["loading"]
    assert cost.load_seconds == loading["seconds"] > 0 and 0 < loading["before_bytes"] <= cost.memory.process_peak
    assert cost.memory.peak >= cost.memory.process_peak
    handed_over = cost_of(run.record)
    assert handed_over.load_seconds is None and handed_over.memory.peak is None
    assert handed_over.memory.process_peak == run.record["memory"]["process_peak_bytes"] > 0


def test_answers_from_the_cache_cost_nothing_and_are_not_counted(tmp_path):
    settings = {"tasks": "pubmedqa", "limit": 5, "resamples": 5, "output_dir": tmp_path}
    mibe.evaluate(model=Counting(), **settings)
    again = mibe.evaluate(model=Counting(), **settings)
    assert again.record["tasks"]["pubmedqa"]["timing"]["from_cache"] == 5
    cost = cost_of(again.record)
    assert cost.documents == 0 and cost.levels == () and cost.flops is None and cost.prompt_tokens is None


def test_the_memory_of_devices_is_theirs_and_others_do_not_count():
    device = Device(
        name="H100", total_bytes=80, used_bytes=50, reserved_peak_bytes=20, allocated_peak_bytes=15, others_bytes=30
    )
    idle = Device(name="H100", total_bytes=80, used_bytes=9)
    assert Memory(process_peak=7, before=1, devices=(device, idle)).peak == 20
    served = Device(name="H100", total_bytes=80, used_bytes=70, reserved_peak_bytes=0, own_bytes=60, others_bytes=10)
    assert Memory(process_peak=7, before=1, devices=(served,)).peak == 60
    assert Memory(process_peak=7, before=1, device_peak=40).peak == 40
    assert Memory(process_peak=7, before=1, children_peak=5).peak == 12


def test_a_model_behind_an_api_has_no_memory_of_ours(run):
    record = json.loads(json.dumps(run.record))
    name = record["model"]["name"]
    price = {"prompt": 2.0, "completion": 8.0, "cached": 1.0, "batch": 0.5, "source": "a list"}
    record["sessions"][-1] |= {"services": [{"name": name, "cost_usd": 0.9, "price": price}]}
    for part in record["tasks"].values():
        part["timing"]["usage"] = {"cached_tokens": 0, "reasoning_tokens": 0, "cost_usd": 0.45}
    cost = cost_of(record)
    assert cost.memory == Memory() and cost.joules is cost.load_seconds is None and "API" in cost.machine
    assert cost.usd == pytest.approx(0.9 / 18) and cost.price.completion == 8.0


def priced_run(folder, script, **settings):
    prices = folder / "prices.json"
    prices.write_text(json.dumps({"date": "2026-01-01", "prices": {"*": {"m": {"prompt": 2.0, "completion": 8.0}}}}))
    with serving(script) as server:
        # One prompt at a time, so that the server's numbers are those of the documents.
        args = {"model": "m", "base_url": server.url, "prices": str(prices), "concurrency": "1"}
        return mibe.evaluate(
            model="openai", model_args=args, resamples=5, use_cache=False, output_dir=folder / "runs", **settings
        )


def test_money_and_tokens_are_of_the_answers_that_the_server_counted(tmp_path):
    def script(number, body):
        if number == 2:
            return error(400, "bad prompt")
        return said("yes", usage=number % 3 != 0)

    run = priced_run(tmp_path, script, tasks="pubmedqa", limit=7)
    cost = cost_of(run.record)
    # Of seven prompts one failed, and 0, 3 and 6 were not counted. A counted one has 100 and 10 tokens.
    assert (cost.documents, cost.counted, cost.priced) == (6, 3, 3)
    assert cost.usd == pytest.approx((100 * 2 + 10 * 8) / 1e6, rel=1e-3)
    assert (cost.prompt_tokens, cost.new_tokens) == (100, 10) and cost.levels[0].read_per_second is None
    timing = run.record["tasks"]["pubmedqa"]["timing"]
    assert timing["tokens_per_second"] is None and timing["usage"]["cost_usd"] > timing["usage"]["priced_usd"]
    shown = {name: (value, of) for name, value, of in text.rows(cost)}
    assert shown["tokens read"] == ("100.0", "a document, mean of 3 that are counted, of 6")
    assert shown["money"][1] == "a document, mean of 3 that the server counted, of 6"
    assert shown["tokens a second, read / written"][0] == "not measured"
    assert "3 answers of 6" in shown["tokens a second, read / written"][1]
    # A run from before this was noted does not say what of its money was counted.
    older = json.loads(json.dumps(run.record))
    for name in ("priced", "priced_usd"):
        older["tasks"]["pubmedqa"]["timing"]["usage"].pop(name)
    assert cost_of(older).usd is None and "does not tell apart" in cost_of(older).why["usd"]


@pytest.mark.parametrize(
    ("usage", "counted"),
    [({"prompt_tokens": 0, "completion_tokens": 3}, 0), ({"prompt_tokens": 9}, 0), ({"completion_tokens": 3}, 0),
     ({"prompt_tokens": 50, "completion_tokens": 100_000}, 1)],
)  # fmt: skip
def test_counts_that_cannot_be_are_no_ground_for_a_price(tmp_path, usage, counted):
    def script(number, body):
        answer = said("yes")
        answer.body["usage"] = usage
        return answer

    cost = cost_of(priced_run(tmp_path, script, tasks="pubmedqa", limit=1).record)
    assert (cost.documents, cost.counted, cost.priced) == (1, counted, 0) and cost.usd is None
    assert cost.why["usd"] == "the server did not count the tokens"


def part(number, energy, *, started="2026-01-01T00:00:00", ended="2026-01-01T01:00:00", **more):
    session = {"started": started, "ended": ended, "energy": energy, **more}
    return {"sessions": [session], "hardware": {"cpu": "X", "cores": number}, "memory": {}}


def test_of_a_merged_run_the_sessions_of_its_parts_tell_energy_and_services(run):
    record = json.loads(json.dumps(run.record)) | {"memory": None, "hardware": None}
    record["sessions"] = [{"started": "2026-01-02T00:00:00", "ended": "2026-01-02T00:00:01"}]
    took = [{"joules": {"package": joules}, "seconds": 3600.0, "why": ""} for joules in (36.0, 54.0)]
    record["parts"] = [part(4, took[0]), part(8, took[1])]
    assert cost_of(record).joules == pytest.approx((36 + 54) / 18)
    assert cost_of(record).machine == "X, 4 cores; X, 8 cores"
    silent = {"joules": {}, "seconds": 3600.0, "why": "no RAPL counters"}
    record["parts"] = [part(4, took[0]), part(8, silent)]
    assert cost_of(record).joules is None and cost_of(record).why["energy"] == "no RAPL counters"
    # Two parts at once on what may be one machine counted its chips twice; one after the other they did not.
    record["parts"] = [part(4, took[0]), part(4, took[1])]
    assert cost_of(record).joules is None and "one machine" in cost_of(record).why["energy"]
    later = {"started": "2026-01-01T01:00:00", "ended": "2026-01-01T02:00:00"}
    record["parts"] = [part(4, took[0]), part(4, took[1], **later)]
    assert cost_of(record).joules == pytest.approx((36 + 54) / 18)
    price = {"prompt": 2.0, "completion": 8.0, "cached": 1.0, "batch": 0.5, "source": "a list"}
    services = [{"name": record["model"]["name"], "cost_usd": 0.9, "price": price}]
    record["parts"] = [part(4, silent, services=services), part(8, silent, services=services)]
    cost = cost_of(record)
    assert "API" in cost.machine and cost.price.completion == 8.0


def test_of_a_merged_run_its_largest_part_tells_the_memory(run):
    record = json.loads(json.dumps(run.record)) | {"memory": None, "hardware": None}
    loading = {"seconds": 3.0, "before_bytes": 1, "after_bytes": 2}
    sessions = [{"started": "2026-01-01", "loading": loading}]
    record["parts"] = [
        {"sessions": sessions, "hardware": {"cpu": "X", "cores": 4}, "memory": {"process_peak_bytes": peak}}
        for peak in (100, 300, 200)
    ]
    cost = cost_of(record)
    assert cost.memory.peak == 300 and cost.load_seconds == 3.0 and cost.machine == "X, 4 cores"


def test_the_command_prints_a_run_a_task_of_it_and_its_plan(run, capsys):
    assert main(["cost", str(run.path), "--task", "medqa", "--plan"]) == 0
    out = capsys.readouterr().out
    assert "time to first token" in out and "prompt tokens" in out and '141.2 "GB"' in out
    assert main(["cost", str(run.path), "--format", "json", "--plan"]) == 0
    [found] = json.loads(capsys.readouterr().out)["costs"]
    lines = {line["figure"]: line for line in found["plan"]}
    read = lines["prompt tokens"]
    assert read["measured"] == cost_of(run.record).prompt_tokens
    # The plan counts a token for every 4 characters, of the same prompts; here a token is a character.
    assert read["planned"] == pytest.approx(read["measured"] / 4, rel=0.01)
    assert read["difference"] == read["measured"] - read["planned"]
    # Half of each task's limit is what a plan takes an answer to be.
    limits = [run.record["tasks"][task]["max_new_tokens"] for task in ("pubmedqa", "medqa")]
    assert lines["new tokens"]["planned"] == np.mean(limits) / 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a run, or a model"),
        (["RUN", "--tasks", "medqa"], "a RUN has its tasks"),
        (["RUN", "--model", "dummy"], "a RUN was asked already"),
        (["RUN", "--model-args", "a=b"], "a RUN was asked already"),
        (["RUN", "--limit", "4"], "a RUN was asked already; leave out --limit"),
        (["RUN", "--limit", "16"], "leave out --limit"),
        (["RUN", "--batch", "8"], "leave out --batch"),
        (["RUN", "--max-cost", "1"], "leave out --max-cost"),
        (["RUN", "--plan", "--num-fewshot", "2"], "leave out --num-fewshot"),
        (["RUN", "--fewshot-per-document"], "leave out --fewshot-per-document"),
        (["RUN", "--access", "open"], "leave out --access"),
        (["RUN", "--task", "hoc"], "has no task 'hoc'"),
        (["--model", "dummy", "--task", "medqa"], "--task is for a RUN"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run, capsys, words, message):
    assert main(["cost", *(str(run.path) if word == "RUN" else word for word in words)]) == 2
    assert message in capsys.readouterr().err
