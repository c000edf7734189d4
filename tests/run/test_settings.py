"""What a run is told to do: protocol, suite, worked examples for each task, and metrics that come last."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from scripted import Scripted

import mibe
from mibe.analysis.outputs import score_outputs
from mibe.analysis.rescore import rescore
from mibe.data import store
from mibe.errors import ModelError, UsageError
from mibe.metrics import bertscore
from mibe.metrics.base import Mean
from mibe.metrics.score import score_by
from mibe.prompting import Shots
from mibe.registry import load_task
from mibe.results.log import read_rows
from mibe.run import plan
from mibe.run.plan import plan_task
from mibe.run.settings import Settings, arguments_under
from mibe.suites import Suite
from mibe.task import Example
from mibe.terminal.news import heard_by


def run(model, tmp_path, **settings):
    arguments = {"limit": 12, "resamples": 20} | settings
    return mibe.evaluate(model=model, output_dir=tmp_path / "runs", **arguments)


def write_data(name, split, rows):
    folder = store.data_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_protocol_is_part_of_record_prompt_score_cache_and_run(tmp_path):
    unknown = Scripted(lambda _: "unknown")
    default = run(unknown, tmp_path, tasks="pubmedqa", limit=None)
    paper = run(unknown, tmp_path, tasks="pubmedqa", limit=None, protocol="paper")
    assert (default.record["protocol"], paper.record["protocol"]) == ("default", "paper")
    assert default.record["fingerprint"] != paper.record["fingerprint"]
    assert paper.record["tasks"]["pubmedqa"]["timing"]["from_cache"] == 0
    # The released code looks for "yes", "no", "maybe" in that order, anywhere: "unknown" is a "no" (169 of 500).
    assert paper.scores("pubmedqa")["accuracy"] == 169 / 500
    assert default.record["tasks"]["pubmedqa"]["outcomes"]["unparsed"] == 500
    assert paper.record["tasks"]["pubmedqa"]["max_new_tokens"] == 256 and not paper.record["tasks"]["pubmedqa"]["stop"]
    assert "As an expert doctor in clinical science" in paper.record["tasks"]["pubmedqa"]["first_prompt"]
    again = rescore(paper.path)
    assert again.record["protocol"] == "paper" and again.scores("pubmedqa") == paper.scores("pubmedqa")


@pytest.mark.parametrize(
    ("is_remote", "is_chat", "protocol", "limit"),
    [
        (True, True, "paper", 512),
        (True, False, "paper", 256),
        (False, True, "paper", 256),
        (True, True, "default", load_task("pubmedqa").max_new_tokens),
    ],
)
def test_chat_apis_get_more_new_tokens_under_the_paper_protocol(tmp_path, is_remote, is_chat, protocol, limit):
    class Api(Scripted):
        def generate(self, requests):
            self.limits = {request.sampling.max_new_tokens for request in requests}
            return super().generate(requests)

    model = Api(lambda _: "yes")
    model.is_remote, model.is_chat = is_remote, is_chat
    done = run(model, tmp_path, tasks="pubmedqa", protocol=protocol)
    assert model.limits == {limit} == {done.record["tasks"]["pubmedqa"]["max_new_tokens"]}
    if protocol == "paper":
        own = run(model, tmp_path, tasks="pubmedqa", protocol=protocol, max_new_tokens=7)
        assert model.limits == {7} == {own.record["tasks"]["pubmedqa"]["max_new_tokens"]}


def test_the_same_prompt_under_another_protocol_is_not_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("mibe.protocols.apply", lambda protocol, task, prompts=None: task)
    run(Scripted(lambda _: "yes"), tmp_path, tasks="pubmedqa")
    second = Scripted(lambda _: "no")
    run(second, tmp_path, tasks="pubmedqa", protocol="paper")
    assert second.asked == []


def test_an_unknown_protocol_ends_before_the_model_is_asked(tmp_path):
    model = Scripted(lambda _: "yes")
    with pytest.raises(UsageError, match="unknown protocol 'papers'"):
        run(model, tmp_path, tasks="pubmedqa", protocol="papers")
    assert model.asked == []


def test_the_paper_protocol_gives_local_models_no_chat_template_unless_told_to():
    assert arguments_under("paper", "hf", {"pretrained": "x"}) == {"chat_template": "off", "pretrained": "x"}
    assert arguments_under("paper", "demo", {"chat_template": "auto"}) == {"chat_template": "auto"}
    assert arguments_under("default", "hf", {"pretrained": "x"}) == {"pretrained": "x"}
    assert arguments_under("paper", "dummy", None) is None and arguments_under("paper", [].append, None) is None


@pytest.fixture
def small_suite(monkeypatch):
    suite = Suite("small", "Two tasks", "figure 0", {"pubmedqa": 2, "mmlu": 0})
    monkeypatch.setattr("mibe.run.settle.load_suite", {"small": suite}.get)


def test_a_suite_has_its_own_number_of_examples_for_each_task(tmp_path, small_suite):
    done = run(Scripted(lambda _: "yes"), tmp_path, suite="small")
    assert done.record["suite"] == "small" and done.record["task_names"] == ["pubmedqa", "mmlu"]
    tasks = done.record["tasks"]
    assert [tasks[name]["num_fewshot"] for name in tasks] == [2, 0]
    assert [len(ids) for ids in tasks["pubmedqa"]["shots"].values()] == [2] and tasks["mmlu"]["shots"] == {}
    assert tasks["pubmedqa"]["first_prompt"].count("OUTPUT:") == 3
    given = run(Scripted(lambda _: "yes"), tmp_path, suite="small", num_fewshot=1)
    assert [part["num_fewshot"] for part in given.record["tasks"].values()] == [1, 1]


def test_tasks_with_a_suite_are_some_of_its_tasks(tmp_path, small_suite):
    done = run(Scripted(lambda _: "yes"), tmp_path, tasks="pubmedqa", suite="small")
    assert (done.record["suite"], done.record["task_names"]) == ("small", ["pubmedqa"])
    assert done.record["tasks"]["pubmedqa"]["num_fewshot"] == 2
    with pytest.raises(UsageError, match="the suite small has no medqa, ddi; it has pubmedqa, mmlu"):
        run(Scripted(lambda _: ""), tmp_path, tasks="medqa,pubmedqa,ddi", suite="small")


def test_tasks_or_a_suite(tmp_path):
    with pytest.raises(UsageError, match="name the tasks or a suite"):
        run(Scripted(lambda _: ""), tmp_path)
    with pytest.raises(UsageError, match="unknown suite 'zero_shoot'; did you mean zero_shot"):
        run(Scripted(lambda _: ""), tmp_path, suite="zero_shoot")
    with pytest.raises(UsageError, match="--num-fewshot -1 is out of range"):
        Settings(num_fewshot={"pubmedqa": -1})


def test_examples_of_a_documents_own_are_listed_with_the_document(tmp_path):
    model = Scripted(lambda _: "yes")
    done = run(model, tmp_path, tasks="pubmedqa", num_fewshot=2, fewshot_per_document=True)
    train = {e.id: e.inputs["question"] for e in store.load_examples("pubmedqa", "train")}
    test = {e.id: e.inputs["question"] for e in store.load_examples("pubmedqa", "test")}
    rows = list(read_rows(done.path / "samples" / "pubmedqa.jsonl"))
    assert len({tuple(row["shots"]) for row in rows}) > 6
    prompts = {text.rsplit("INPUT: ", 1)[1].split("\n")[0]: text for text in model.asked}
    for row in rows:
        prompt = prompts[test[row["id"]].split("\n")[0]]
        assert len(row["shots"]) == 2 and all(train[ident] in prompt for ident in row["shots"])
    assert done.record["tasks"]["pubmedqa"]["shots"] == {}


def test_a_train_example_that_is_also_a_test_document_never_becomes_an_example(tmp_path):
    question = {"question": "Is it so?", "context": "It is."}
    write_data("pubmedqa", "test", [{"id": "t", "inputs": question, "target": "yes"}])
    same = {"question": " is it SO? ", "context": "It  is."}
    other = {"question": "Is it not?", "context": "It is."}
    write_data(
        "pubmedqa",
        "train",
        [{"id": "leak", "inputs": same, "target": "yes"}, {"id": "fine", "inputs": other, "target": "no"}],
    )
    done = run(Scripted(lambda _: "yes"), tmp_path, tasks="pubmedqa", num_fewshot=1)
    task = done.record["tasks"]["pubmedqa"]
    assert task["shots"] == {"": ["fine"]} and task["shots_left_out_as_leaked"] == ["leak"]
    with pytest.raises(UsageError, match="the train split has 1 examples"):
        run(Scripted(lambda _: "yes"), tmp_path, tasks="pubmedqa", num_fewshot=2)


def test_examples_of_entities_are_balanced_over_their_types_and_none():
    types = ["problem", "treatment", "test"]
    pool = [Example(f"none-{i}", {"text": "x"}, []) for i in range(90)]
    pool += [Example(f"{t}-{i}", {"text": "x"}, [[t, 0, 1]]) for t in types for i in range(3)]
    for seed in range(5):
        kinds = [shot.id.split("-")[0] for shot in Shots.prepare(load_task("i2b2"), pool, [], 5, seed=seed).choose("")]
        assert set(kinds) == {"none", *types} and len(kinds) == 5


def test_breakdowns_are_what_scoring_each_group_by_itself_gives(tmp_path):
    done = run(Scripted(lambda p: "ABCD"[len(p) % 4]), tmp_path, tasks="mmlu", limit=400)
    rows = list(read_rows(done.path / "samples" / "mmlu.jsonl"))
    task = load_task("mmlu")
    main = [metric for metric in task.metrics if not any("[" in name for name in metric.names)]
    groups = [row["metadata"]["category"] for row in rows]
    columns = [row["prediction"] for row in rows], [row["target"] for row in rows]
    expected = score_by(groups, main, *columns, resamples=20, seed=1234)
    found = done.record["tasks"]["mmlu"]["breakdowns"]["category"]
    assert found.keys() == expected.keys() and len(found) == 4
    for group, figures in expected.items():
        assert {name: found[group][name]["value"] for name in figures} == {n: f.value for n, f in figures.items()}
        assert all((found[group][n]["low"], found[group][n]["high"]) == (f.low, f.high) for n, f in figures.items())


CALLS = []


@dataclass(frozen=True)
class Counted(Mean):
    """Stands in for BERTScore: the share of the target's words in the prediction, and how often it was asked."""

    model: str = "default"
    layer: int | None = None
    names = ("bertscore_f1",)

    def values(self, predictions, targets):
        CALLS.append((self.model, self.layer, len(targets)))
        return np.array([[float((p or "") == t)] for p, t in zip(predictions, targets, strict=True)])


@pytest.fixture
def summaries(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(bertscore, "BertScore", Counted)
    texts = [{"id": f"{i}", "inputs": {"text": f"report {i}"}, "target": f"short {i % 2}"} for i in range(6)]
    write_data("pubmedsum", "test", texts)
    task = load_task("pubmedsum")
    field = next(iter(task.prompt.cut))
    write_data("pubmedsum", "test", [row | {"inputs": {field: row["inputs"]["text"]}} for row in texts])
    return "pubmedsum"


@pytest.mark.slow
def test_a_missing_encoder_stops_a_run_before_anything_is_asked(tmp_path):
    pytest.importorskip("bert_score")
    field = next(iter(load_task("pubmedsum").prompt.cut))
    write_data("pubmedsum", "test", [{"id": "1", "inputs": {field: "long"}, "target": "short"}])
    asked = []
    with pytest.raises(ModelError, match=r"BERTScore cannot load \./nowhere"):
        run(Scripted(asked.append), tmp_path / "runs", tasks="pubmedsum", bertscore="./nowhere:6")
    assert asked == [] and not (tmp_path / "runs").exists()


def test_bertscore_sees_all_samples_once_after_the_responses(tmp_path, summaries):
    done = run(Scripted(lambda _: "short 1"), tmp_path, tasks=f"{summaries},pubmedqa", bertscore="folder/encoder:6")
    assert CALLS == [("folder/encoder", 6, 6)]
    assert done.scores(summaries)["bertscore_f1"] == 0.5 and "bertscore_f1" not in done.scores("pubmedqa")
    rows = list(read_rows(done.path / "samples" / f"{summaries}.jsonl"))
    first, last = rows[:6], rows[6:]
    assert all("rougeL" in row["scores"] for row in rows) and all("bertscore_f1" not in row["scores"] for row in first)
    assert [row["scores"]["bertscore_f1"] for row in last] == [float(row["target"] == "short 1") for row in last]
    assert rescore(done.path).scores(summaries) == done.scores(summaries) and len(CALLS) == 2
    rescore(done.path, bertscore="C:other")
    assert CALLS[-1] == ("C:other", None, 6)
    assert mibe.load_run(done.path).record["settings"]["bertscore"] == "C:other"


def test_runs_with_bertscore_are_compared_by_it_and_others_are_told(tmp_path, summaries):
    a, b, other, without = (
        run(Scripted(lambda _, i=i: f"short {i}", identity=f"m{i}"), tmp_path, tasks=summaries, bertscore=encoder)
        for i, encoder in ((1, "folder"), (2, "folder"), (3, "another"), (4, None))
    )
    calls = len(CALLS)
    found = mibe.compare(a, b)
    row = next(row for row in found.rows if row.metric == "bertscore_f1")
    assert (row.a, row.b, row.difference, row.n, row.headline) == (0.5, 0, 0.5, 6, False) and found.notes == ()
    # McNemar's mid-p of 3 to 0, whose counts are shown of figures alone that are of right and wrong answers.
    assert (row.only_a, row.only_b) == (None, None) and row.p == pytest.approx(1 / 8, abs=0.03)
    assert len(CALLS) == calls, "what the logs hold is not computed again"
    for one in (other, without):
        told = mibe.compare(a, one)
        assert "bertscore_f1" not in {row.metric for row in told.rows}
        assert told.notes == (
            "pubmedsum: BERTScore has no part in it, since only one run has it, or with another encoder",
        )
    rescore(without.path, bertscore="folder")
    assert next(row for row in mibe.compare(a, without.path).rows if row.metric == "bertscore_f1").difference == 0.5
    log = b.path / "samples" / "pubmedsum.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if "bertscore" not in line))
    assert mibe.compare(a, b.path).notes == (
        "pubmedsum: BERTScore has no part in it, since a run does not hold it by sample: mibe rescore RUN",
    )


def test_outputs_from_elsewhere_can_have_it_too_and_other_tasks_cannot(tmp_path, summaries):
    file = tmp_path / "outputs.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "output": "short 0"}) + "\n" for i in range(6)))
    scores = score_outputs(load_task(summaries), file, bertscore="encoder", resamples=20)
    assert scores["figures"]["bertscore_f1"]["value"] == 0.5
    with pytest.raises(UsageError, match="none of the tasks is a summarization task"):
        run(Scripted(lambda _: ""), tmp_path, tasks="pubmedqa", bertscore="encoder")


def test_a_rescore_that_cannot_score_leaves_the_run_as_it_was(tmp_path, summaries, monkeypatch):
    done = run(Scripted(lambda _: "short 1"), tmp_path, tasks=summaries)
    before = {path: path.read_bytes() for path in done.path.rglob("*.json*")}

    def fails(self, predictions, targets):
        raise RuntimeError("no such encoder")

    monkeypatch.setattr(Counted, "values", fails)
    with pytest.raises(RuntimeError):
        rescore(done.path, bertscore="encoder")
    assert {path: path.read_bytes() for path in done.path.rglob("*.json*")} == before


def test_reading_a_large_data_set_is_said_before_it_is_read(monkeypatch):
    heard = []
    with heard_by(heard.append):
        plan_task(load_task("pubmedqa"), Settings())
        monkeypatch.setattr(plan, "LARGE", 10)
        plan_task(load_task("pubmedqa"), Settings())
    size = store.require("pubmedqa").files["test"].stat().st_size
    assert heard == [f"reading pubmedqa ({size / 1e6:.0f} MB) …"]
