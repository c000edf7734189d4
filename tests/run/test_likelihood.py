"""Runs by likelihood: what is asked, which answer counts, what stands beside it, and which runs can be compared."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scripted import Scripted
from sklearn.metrics import accuracy_score, brier_score_loss

import mibe
from mibe.analysis.compare import compare
from mibe.analysis.rescore import rescore
from mibe.analysis.verify import verify
from mibe.data import store
from mibe.data.schema import to_line
from mibe.errors import UsageError
from mibe.leaderboard.runs import read_results
from mibe.registry import load_task
from mibe.report.page import write_report
from mibe.results.log import read_rows
from mibe.results.table import render
from mibe.run.documents import Documents
from mibe.run.likelihood import continuations, judge_likelihoods
from mibe.run.settings import BY_LIKELIHOOD, Settings
from mibe.task import Example


class Likely(Scripted):
    """A model whose likelihoods are a function of prompt and continuation."""

    def __init__(self, likelihood, identity="likely-1", *, chat=False):
        super().__init__(lambda _: "", identity)
        self.likelihood, self.is_chat, self.requests = likelihood, chat, []

    def loglikelihood(self, requests):
        self.requests += requests
        for index, request in enumerate(requests):
            yield index, tuple(self.likelihood(request.text, text) for text in request.continuations)


def drawn(prompt, text, *, near=6.0):
    """A log-likelihood between 0 and -near, the same for the same texts."""
    digest = hashlib.sha256(f"{prompt}\0{text}".encode()).digest()
    return -near * int.from_bytes(digest[:4], "big") / 2**32 - 1e-3


def run(model, tmp_path, tasks="pubmedqa", **settings):
    arguments = {"limit": 60, "resamples": 20, "scoring": "loglikelihood"} | settings
    return mibe.evaluate(model=model, tasks=tasks, output_dir=tmp_path / "runs", **arguments)


def own_data(name, examples):
    folder = store.data_dir() / name
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("".join(to_line(example) + "\n" for example in examples))


def test_the_likeliest_whole_label_is_the_answer(tmp_path):
    # Per byte "maybe" would be the likeliest, per character too.
    of = {" yes": -3.0, " no": -2.5, " maybe": -4.0}
    model = Likely(lambda _, text: of[text])
    done = run(model, tmp_path)
    rows = done.samples("pubmedqa")
    assert set(rows["prediction"]) == {"no"} and set(rows["outcome"]) == {"parsed"}
    assert rows["loglikelihoods"][0] == [-3.0, -2.5, -4.0]
    assert {request.continuations for request in model.requests} == {(" yes", " no", " maybe")}
    total = sum(map(math.exp, of.values()))
    assert rows["scores"][0]["confidence"] == pytest.approx(math.exp(-2.5) / total)
    assert done.scores("pubmedqa")["accuracy"] == pytest.approx(accuracy_score(rows["target"], rows["prediction"]))
    assert "acc" not in done.scores("pubmedqa")


def test_letters_decide_and_the_texts_of_the_options_stand_beside_them(tmp_path):
    model = Likely(drawn)
    done = run(model, tmp_path, tasks="medqa")
    examples = {e.id: e for e in Documents.select(load_task("medqa"), "test", 60, Settings.seed)}
    right = {"accuracy": 0, "acc": 0, "acc_norm": 0}
    for row in done.samples("medqa").to_dict("records"):
        example = examples[row["id"]]
        request = next(r for r in model.requests if example.inputs["question"] in r.text)
        letters = [f" {letter}" for letter in "ABCDE"]
        texts = [f" {text}" for text in example.choices]
        assert list(request.continuations) == [*letters, *texts]
        by_letter = [drawn(request.text, text) for text in letters]
        by_text = [drawn(request.text, text) for text in texts]
        # As lm-eval's process_results: numpy's first largest, of the sums and of sums per character.
        gold = "ABCDE".index(row["target"])
        right["accuracy"] += np.argmax(by_letter) == gold
        right["acc"] += np.argmax(by_text) == gold
        right["acc_norm"] += np.argmax(np.array(by_text) / [float(len(text)) for text in example.choices]) == gold
        assert row["prediction"] == "ABCDE"[int(np.argmax(by_letter))]
        assert row["loglikelihoods"] == by_letter and row["option_loglikelihoods"] == by_text
    assert len(set(right.values())) > 1
    scores = done.scores("medqa")
    assert {name: round(60 * scores[name]) for name in right} == right


def test_letters_alone_on_demand_and_after_a_chat_template_without_a_space(tmp_path):
    model = Likely(drawn, chat=True)
    done = run(model, tmp_path, tasks="medmcqa", option_texts=False)
    assert {request.continuations for request in model.requests} == {("A", "B", "C", "D")}
    assert not {"acc", "acc_norm"} & done.scores("medmcqa").keys() and "brier" in done.scores("medmcqa")
    with pytest.raises(UsageError, match="--no-option-texts is for --scoring loglikelihood"):
        run(model, tmp_path, scoring="generate", option_texts=False)


def test_the_figures_of_calibration_are_scikit_learns(tmp_path):
    done = run(Likely(drawn), tmp_path, tasks="medmcqa", limit=150)
    rows = done.samples("medmcqa")
    logits = np.array(rows["loglikelihoods"].tolist())
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = done.scores("medmcqa")
    brier = brier_score_loss(rows["target"], table, labels=list("ABCD"), scale_by_half=False)
    assert scores["brier"] == pytest.approx(brier, abs=1e-12)
    assert scores["confidence"] == pytest.approx(table.max(axis=1).mean(), abs=1e-12)
    surest = np.argsort(-table.max(axis=1), kind="stable")[:120]
    assert scores["accuracy_at_80"] == pytest.approx((rows["prediction"] == rows["target"])[surest].mean())
    part = done.record["tasks"]["medmcqa"]
    curve = part["reliability"]
    assert sum(each["accuracy"]["n"] for each in curve) == 150
    gaps = [each["accuracy"]["n"] * abs(each["accuracy"]["value"] - each["confidence"]) for each in curve]
    assert scores["ece"] == pytest.approx(sum(gaps) / 150, abs=1e-12)
    for each in curve:
        assert each["low"] < each["confidence"] <= each["high"]
        assert each["accuracy"]["low"] <= each["accuracy"]["value"] <= each["accuracy"]["high"]
    for name in ("brier", "ece", "ece_adaptive", "accuracy_at_80"):
        assert part["figures"][name]["low"] < part["figures"][name]["high"]
    table = render(done.record["tasks"], "text")
    assert "ece_adaptive" in table and "accuracy: by the likeliest letter" in table


@pytest.mark.parametrize("name", ["pubmedqa", "medqa", "mmlu", "mtsample"])
def test_verify_computes_them_again(tmp_path, name):
    done = run(Likely(drawn), tmp_path, tasks=name, limit=100)
    found = verify(done.path)
    assert found.failed == [] and found.not_verified == {}
    names = {check.figure for check in found.verified}
    assert {"confidence", "brier", "ece", "ece_adaptive", "accuracy_at_80"} <= names
    assert any(figure.startswith("mean confidence, confidence 0.") for figure in names)
    assert ({"acc", "acc_norm"} <= names) == (name in ("medqa", "mmlu"))


def test_a_figure_of_calibration_that_is_wrong_is_found(tmp_path):
    done = run(Likely(drawn), tmp_path)
    done.record["tasks"]["pubmedqa"]["figures"]["ece"]["value"] += 1e-6
    done.record["tasks"]["pubmedqa"]["reliability"][0]["confidence"] += 1e-6
    (done.path / "run.json").write_text(json.dumps(done.record))
    first, second = verify(done.path).failed
    assert first.figure == "ece" and second.figure.startswith("mean confidence")


def test_an_option_of_the_right_ones_text_is_right():
    task = load_task("medmcqa")
    example = Example("1", {"question": "?"}, "C", choices=("Iron", "Zinc", "Iron", "Lead"))
    row = judge_likelihoods(task, example, [-0.5, -3.0, -2.0, -3.0, -4.0, -9.0, -4.0, -9.0])
    assert (row["prediction"], row["answered"]) == ("C", "A")
    assert row["scores"]["accuracy"] == row["scores"]["acc"] == row["scores"]["acc_norm"] == 1.0
    table = np.exp([-0.5, -3.0, -2.0, -3.0])
    table /= table.sum()
    brier = brier_score_loss([0], [table], labels=[0, 1, 2, 3], scale_by_half=False)
    assert row["scores"]["brier"] == pytest.approx(brier, abs=1e-12)


def test_a_label_that_begins_another_is_refused(tmp_path):
    task = load_task("pubmedqa")
    mibe.register_task(replace(task, name="own", labels=("yes", "no", "maybe", "no answer"), dataset="pubmedqa"))
    with pytest.raises(UsageError, match="own: 'no' begins 'no answer', which can so never be the likelier one"):
        run(Likely(drawn), tmp_path, tasks="own")


def test_a_task_without_a_closed_set_of_answers_is_refused(tmp_path):
    own_data("hoc", [Example("1", {"text": "x"}, ["cellular energetics"])])
    with pytest.raises(UsageError, match="no closed set of answers"):
        run(Likely(drawn), tmp_path, tasks="hoc")


def test_what_an_earlier_run_has_answered_is_found_and_other_continuations_are_asked(tmp_path):
    run(Likely(drawn), tmp_path, tasks="medmcqa", limit=5)
    again = Likely(drawn)
    run(again, tmp_path, tasks="medmcqa", limit=5, seed=7, resamples=10)
    fresh = Likely(drawn)
    run(fresh, tmp_path, tasks="medmcqa", limit=5, option_texts=False)
    assert len(fresh.requests) == 5


def older(done, name, values_of):
    """Make a run what it was when texts decided per byte: its log and its record."""
    task = load_task(name)
    examples = {e.id: e for e in Documents.select(task, "test", 60, Settings.seed)}
    rows = []
    for row in read_rows(done.samples_path(name)):
        candidates = task.candidates(examples[row["id"]])
        values = values_of(row)
        best = max(range(len(values)), key=lambda n: values[n] / len(candidates[n][1].encode()))
        prediction = candidates[best][0]
        scores = {"accuracy": float(prediction == row["target"])}
        rows.append({**row, "loglikelihoods": values, "prediction": prediction, "scores": scores})
        rows[-1].pop("option_loglikelihoods", None)
    done.samples_path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    part = done.record["tasks"][name]
    assert part.pop("rule") == BY_LIKELIHOOD
    del part["reliability"]
    part["figures"] = {key: part["figures"][key] for key in load_task(name).metrics[0].names}
    (done.path / "run.json").write_text(json.dumps(done.record))
    return rows


def test_an_older_run_is_brought_up_to_date_where_its_likelihoods_are_those_of_labels(tmp_path):
    done = run(Likely(drawn), tmp_path)
    new = {row["id"]: row["prediction"] for row in read_rows(done.samples_path("pubmedqa"))}
    old = older(done, "pubmedqa", lambda row: row["loglikelihoods"])
    assert any(row["prediction"] != new[row["id"]] for row in old)
    other = run(Likely(drawn, "likely-2"), tmp_path)
    with pytest.raises(UsageError, match="pubmedqa: the answer is the likeliest label or option text, per byte in A"):
        compare(done.path, other.path)
    with pytest.raises(UsageError, match="differ in the rule by which likelihoods decide"):
        read_results([done.path, other.path])
    again = rescore(done.path)
    assert {row["id"]: row["prediction"] for row in read_rows(again.samples_path("pubmedqa"))} == new
    assert again.record["tasks"]["pubmedqa"]["rule"] == BY_LIKELIHOOD and "ece" in again.scores("pubmedqa")
    found = compare(done.path, other.path)
    assert {row.metric for row in found.rows} >= {"accuracy", "brier", "ece", "accuracy_at_80"}
    assert all(row.difference == 0 for row in found.rows)


def test_a_confidence_of_one_is_no_right_answer(tmp_path):
    sure = [run(Likely(lambda *_: 0.0, name), tmp_path) for name in ("sure-1", "sure-2")]
    for done in sure:
        log = done.samples_path("pubmedqa")
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        log.write_text("".join(json.dumps(r | {"scores": r["scores"] | {"confidence": 1.0}}) + "\n" for r in rows))
    rows = {row.metric: row for row in compare(*(done.path for done in sure)).rows}
    assert (rows["accuracy"].only_a, rows["accuracy"].only_b) == (0, 0)
    assert rows["confidence"].only_a is None and rows["brier"].only_a is None


def test_an_older_run_whose_letters_were_never_asked_keeps_its_answers_and_its_rule(tmp_path):
    done = run(Likely(drawn), tmp_path, tasks="medmcqa")
    old = older(done, "medmcqa", lambda row: row["option_loglikelihoods"])
    again = rescore(done.path)
    kept = {row["id"]: row["prediction"] for row in read_rows(again.samples_path("medmcqa"))}
    assert kept == {row["id"]: row["prediction"] for row in old}
    assert "rule" not in again.record["tasks"]["medmcqa"] and "reliability" not in again.record["tasks"]["medmcqa"]


def test_text_and_likelihood_are_not_compared_in_silence(tmp_path):
    by_text = run(Scripted(lambda _: "yes"), tmp_path, scoring="generate")
    by_likelihood = run(Likely(drawn), tmp_path)
    with pytest.raises(UsageError, match="the answer is what is read in the text in A, the likeliest label"):
        compare(by_text.path, by_likelihood.path)
    assert {row.metric for row in compare(by_text.path, by_likelihood.path, force=True).rows} >= {"accuracy"}


def test_a_new_run_goes_on_and_one_by_the_older_rule_does_not(tmp_path):
    settings = Settings(scoring="loglikelihood")
    assert settings.asked()["rule"] == BY_LIKELIHOOD and "rule" not in Settings().asked()
    assert "option_texts" not in settings.asked()
    assert continuations(load_task("mmlu"), Example("1", {}, "A", ("x", "y")), option_texts=False) == ("A", "B")


def test_the_report_has_the_curve(tmp_path):
    done = run(Likely(drawn), tmp_path, tasks="pubmedqa,medmcqa", limit=20)
    page = write_report(done).read_text()
    assert 'id="reliability"' in page and "&#34;reliability&#34;" not in page
    data = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    assert data["tasks"][0]["reliability"] == done.record["tasks"]["pubmedqa"]["reliability"]
