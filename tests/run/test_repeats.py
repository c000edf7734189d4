"""What a task's record says of several draws a document, counted again with plain loops."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted

import mibe
from mibe.cli import main
from mibe.metrics.bertscore import BertScore
from mibe.models.base import Response
from mibe.registry import load_task
from mibe.results.log import latest_rows
from mibe.results.table import render
from mibe.run.scoring import score_rows, score_task

LABELS = ("yes", "no", "maybe")
TASK = load_task("pubmedqa")


def row(ident, draw, prediction, target, outcome="parsed"):
    return {"id": ident, "draw": draw, "prediction": prediction, "target": target, "outcome": outcome, "scores": {}}


def rows_of(draws_of_documents, targets):
    return [
        row(f"d{number}", draw, answer, targets[number], "parsed" if answer else "unparsed")
        for number, answers in enumerate(draws_of_documents)
        for draw, answer in enumerate(answers)
    ]


def scored(rows, task=TASK, resamples=50):
    return score_rows(task, rows, resamples=resamples, seed=1)


DRAWN = [
    ("yes", "yes", "no"),  # of "yes": right by majority, two of three
    ("no", "maybe", None),  # of "no": a tie, the first drawn
    (None, None, None),  # of "maybe": nothing read
    ("yes", "yes", "yes"),  # of "no": sure and wrong
    (None, "maybe", None),  # of "maybe": the only one read
]
TARGETS = ("yes", "no", "maybe", "no", "maybe")


def test_every_figure_is_that_of_a_plain_count():
    part = scored(rows_of(DRAWN, TARGETS))
    repeats = part["repeats"]
    values = {name: figure["value"] for name, figure in repeats["figures"].items()}
    assert (repeats["draws"], repeats["documents"], part["samples"], part["scored"]) == (3, 5, 15, 15)
    assert part["figures"]["accuracy"]["value"] == pytest.approx((2 + 1 + 0 + 0 + 1) / 15)
    assert part["outcomes"] == {"parsed": 9, "unparsed": 6, "truncated": 0, "refused": 0, "error": 0}
    assert values["accuracy_maj@3"] == pytest.approx(3 / 5)
    assert values["changed"] == pytest.approx(3 / 5)
    # C(n - c, k) / C(n, k) by hand: two right of three, one of three twice, none twice.
    assert values["accuracy_pass@1"] == pytest.approx(4 / 15)
    assert values["accuracy_pass@2"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 5)
    assert values["accuracy_pass@3"] == pytest.approx(3 / 5)
    of_draws = [np.mean([answers[k] == t for answers, t in zip(DRAWN, TARGETS, strict=True)]) for k in range(3)]
    assert values["accuracy_sd"] == pytest.approx(np.std(of_draws, ddof=1))
    assert {"macro_f1_sd", "macro_f1_maj@3", "weighted_f1_sd"} <= values.keys()
    assert not any("[" in name or "macro_f1_pass" in name for name in values)
    for name, figure in {**part["figures"], **repeats["figures"]}.items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
        assert np.isfinite([figure["low"], figure["high"]]).all()
    assert json.loads(json.dumps(part)) == part


def test_the_uncertainty_of_every_figure_goes_by_document():
    rng = random.Random(3)
    targets = [rng.choice(LABELS) for _ in range(60)]
    once = [target if rng.random() < 0.6 else "yes" for target in targets]
    single = scored([{k: v for k, v in r.items() if k != "draw"} for r in rows_of([(a,) for a in once], targets)])
    tenfold = scored(rows_of([(answer,) * 10 for answer in once], targets))
    # The same answer ten times tells no more than once.
    for kind in ("figures", "rates"):
        for name, figure in single[kind].items():
            other = tenfold[kind][name]
            assert other["value"] == pytest.approx(figure["value"]) and other["n"] == 600
            assert (other["low"], other["high"]) == pytest.approx((figure["low"], figure["high"]))
            assert other["stderr"] == pytest.approx(figure["stderr"])
    repeats = {name: figure["value"] for name, figure in tenfold["repeats"]["figures"].items()}
    assert repeats["changed"] == repeats["accuracy_sd"] == 0
    assert (
        repeats["accuracy_maj@10"]
        == repeats["accuracy_pass@10"]
        == pytest.approx(single["figures"]["accuracy"]["value"])
    )
    assert "repeats" not in single


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from([*LABELS, None]), min_size=3, max_size=3), st.sampled_from(LABELS)),
        min_size=1,
        max_size=12,
    ),
    st.randoms(),
)
def test_neither_the_order_of_rows_nor_that_of_draws_matters(documents, random):
    drawn, targets = [answers for answers, _ in documents], [target for _, target in documents]
    rows = rows_of(drawn, targets)
    part = scored(rows, resamples=5)
    assert scored(random.sample(rows, len(rows)), resamples=5) == part
    figures = part["repeats"]["figures"]
    assert figures["accuracy_pass@1"]["value"] == pytest.approx(part["figures"]["accuracy"]["value"])
    turned = scored(rows_of([random.sample(answers, 3) for answers in drawn], targets), resamples=5)
    assert turned["figures"] == part["figures"] and turned["rates"] == part["rates"]
    for name, figure in turned["repeats"]["figures"].items():
        # Ties and the spread depend on which draw is which.
        if "maj@" not in name and not name.endswith("_sd"):
            assert figure == figures[name]


def test_rates_go_by_document_too_over_failed_and_cut_draws():
    rng = random.Random(5)
    drawn = [(rng.choice([*LABELS, None]),) * 4 for _ in range(50)]
    rows = rows_of(drawn, [rng.choice(LABELS) for _ in drawn])
    for each in rows:
        number = int(each["id"][1:])
        each["budget_cut"] = number % 5 == 0
        # Of some documents every draw failed, of one a single one.
        if number % 9 == 1 or (number, each["draw"]) == (3, 2):
            each |= {"outcome": "error", "prediction": None}
    part = scored(rows, resamples=400)
    assert (part["budget_cut"], part["rates"]["budget_cut"]["value"]) == (
        sum(each["budget_cut"] and each["outcome"] != "error" for each in rows),
        part["budget_cut"] / len(rows),
    )
    for name, holds in (
        ("error", lambda each: each["outcome"] == "error"),
        ("unparsed", lambda each: each["outcome"] == "unparsed"),
        ("budget_cut", lambda each: each["budget_cut"] and each["outcome"] != "error"),
    ):
        shares = np.array([[holds(each) for each in rows[at : at + 4]] for at in range(0, 200, 4)]).mean(axis=1)
        figure = part["rates"][name]
        assert (figure["value"], figure["n"]) == (pytest.approx(shares.mean()), 200)
        assert figure["stderr"] == pytest.approx(shares.std(ddof=1) / np.sqrt(50))
        by_hand = np.random.default_rng(2).choice(shares, size=(4000, 50)).mean(axis=1)
        assert (figure["low"], figure["high"]) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=0.03)


def test_draws_that_all_failed_leave_no_figure():
    rows = [each | {"outcome": "error", "prediction": None} for each in rows_of(DRAWN, TARGETS)]
    part = scored(rows)
    assert (part["figures"], part["scored"], part["rates"]["error"]["value"]) == ({}, 0, 1)
    assert part["repeats"] == {"draws": 3, "documents": 0, "figures": {}}
    assert " – " in render({"pubmedqa": part | {"headline": "accuracy"}}, "text")


def test_the_number_of_draws_is_that_asked_for_where_the_last_ones_failed():
    rows = rows_of(DRAWN, TARGETS)
    rows = [each | ({"outcome": "error", "prediction": None} if each["draw"] == 2 else {}) for each in rows]
    part = scored(rows)
    assert part["repeats"]["draws"] == 3 and part["repeats"]["figures"]["accuracy_pass@2"]["n"] == 5
    assert "accuracy_pass@3" not in part["repeats"]["figures"]


def test_one_draw_a_document_has_the_figures_that_it_had():
    rows = rows_of([(a,) for a in ("yes", "no", None, "maybe")], ("yes", "yes", "no", "maybe"))
    plain = [{key: value for key, value in each.items() if key != "draw"} for each in rows]
    assert scored(rows) == scored(plain) and "repeats" not in scored(plain)


def test_draws_that_failed_count_for_nothing():
    rows = rows_of(DRAWN, TARGETS)
    rows[1] |= {"outcome": "error", "prediction": None}  # a "yes" of the first
    for at in (9, 10):
        rows[at] |= {"outcome": "error", "prediction": None}  # the fourth has one draw left
    part = scored(rows)
    figures = part["repeats"]["figures"]
    assert (part["samples"], part["scored"], part["outcomes"]["error"]) == (15, 12, 3)
    assert part["figures"]["accuracy"]["value"] == pytest.approx(3 / 12)
    assert (figures["accuracy_pass@1"]["n"], figures["accuracy_pass@2"]["n"]) == (5, 4)
    assert figures["accuracy_pass@3"]["n"] == 3 and figures["changed"]["n"] == 4
    # The first is now "yes" against "no": the first drawn.
    assert figures["accuracy_maj@3"]["value"] == pytest.approx(3 / 5)
    assert part["repeats"]["documents"] == 5


def test_summaries_and_entities_have_a_spread_and_no_vote():
    texts = [("the patient is well", "the patient died"), ("no fever", "no fever")]
    rows = rows_of(texts, ("the patient is well", "fever"))
    figures = scored(rows, load_task("sumpubmed"))["repeats"]["figures"]
    assert figures["changed"]["value"] == 0.5 and figures["rougeL_sd"]["value"] > 0
    assert not any("@" in name for name in figures)
    late = [each | {"scores": dict.fromkeys(BertScore().names, 0.5 + each["draw"] / 4)} for each in rows]
    with_late = score_rows(load_task("sumpubmed"), late, late=(BertScore(),), resamples=50, seed=1)
    assert with_late["repeats"]["figures"]["bertscore_f1_sd"]["value"] == pytest.approx(np.std([0.5, 0.75], ddof=1))
    spans = [([["Disease", 0, 4]], [["Disease", 0, 5]])]
    entities = scored(rows_of(spans, ([["Disease", 0, 4]],)), load_task("bc5cdr"))["repeats"]["figures"]
    assert entities["changed"]["value"] == 1 and not any("@" in name for name in entities)


def test_sets_of_labels_are_voted_on_whatever_their_order():
    one, two = ["sustaining proliferative signaling", "resisting cell death"], ["resisting cell death"]
    figures = scored(rows_of([(one, two, one[::-1])], (one,)), load_task("hoc"))["repeats"]["figures"]
    assert figures["subset_accuracy_maj@3"]["value"] == 1
    assert figures["subset_accuracy_pass@1"]["value"] == pytest.approx(2 / 3)


def test_judged_diagnoses_are_counted_by_the_verdicts_of_each_draw():
    def verdicts(*found):
        return [{"diagnosis": f"x{rank}", "match": match, "source": "exact"} for rank, match in enumerate(found)]

    given = {("a", 0): (False, True), ("a", 1): (True,), ("b", 0): (False,), ("b", 1): (False,)}
    rows = [row(ident, draw, ["x"], ["Gout"]) | {"verdicts": verdicts(*v)} for (ident, draw), v in given.items()]
    part = score_task(load_task("nejm_cpc"), rows, resamples=50, seed=1)
    values = {name: figure["value"] for name, figure in part["repeats"]["figures"].items()}
    assert part["figures"]["top1_accuracy"]["value"] == 0.25 and part["figures"]["top5_accuracy"]["value"] == 0.5
    assert values["top1_accuracy_pass@2"] == 0.5 and values["changed"] == 0.5
    assert values["top1_accuracy_sd"] == pytest.approx(np.std([0, 0.5], ddof=1))
    assert not any("maj@" in name for name in values)


def test_breakdowns_go_by_document_too():
    task = load_task("mmlu_medical")
    field = task.breakdowns[0]
    rows = rows_of([("A", "A"), ("B", "A"), ("C", "C")], ("A", "A", "B"))
    rows = [each | {"metadata": {field: "anatomy" if each["id"] != "d2" else "virology"}} for each in rows]
    part = scored(rows, task)
    anatomy = part["breakdowns"][field]["anatomy"]["accuracy"]
    assert (anatomy["value"], anatomy["n"]) == (0.75, 4)
    assert anatomy["stderr"] == pytest.approx(np.std([1, 0.5], ddof=1) / np.sqrt(2))


def test_the_table_says_that_figures_are_means_over_draws():
    part = scored(rows_of(DRAWN, TARGETS))
    part["headline"] = "accuracy"
    text = render({"pubmedqa": part}, "text")
    for shown in ("accuracy_avg@3", "macro_f1_avg@3", "accuracy_sd", "accuracy_maj@3", "accuracy_pass@3", "changed"):
        assert f" {shown} " in text
    assert "5 × 3" in text and "pass@2" not in text
    assert "avg@k: mean over the draws of each document" in text and "maj@k" in text and "pass@k" in text
    assert "avg@k" not in render({"pubmedqa": part}, "markdown")
    plain = scored([{k: v for k, v in r.items() if k != "draw"} for r in rows_of([("yes",)], ("no",))])
    assert "avg@k" not in render({"pubmedqa": plain | {"headline": "accuracy"}}, "text")
    lines = render({"pubmedqa": part}, "csv").splitlines()
    assert any(line.startswith("pubmedqa,accuracy_pass@2,") for line in lines)
    assert json.loads(render({"pubmedqa": part}, "json"))["pubmedqa"]["repeats"]["draws"] == 3


# --- whole runs


class Dice(Scripted):
    """Answers by the seed of a request, as an engine that samples would."""

    can = frozenset({"temperature", "seed"})

    def __init__(self):
        super().__init__(None)
        self.seeds = []

    def generate(self, requests):
        for index, request in enumerate(requests):
            self.asked.append(request.text)
            self.seeds.append(request.sampling.seed)
            yield index, Response(text=random.Random(request.sampling.seed).choice(LABELS), finish_reason="stop")


def sampled(folder, model, repeats, **settings):
    arguments = {"tasks": "pubmedqa", "limit": 10, "temperature": 0.7, "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=folder, repeats=repeats, **arguments)


def outputs(run):
    return {(row["id"], row["draw"]): row["output"] for row in latest_rows(run.samples_path("pubmedqa"))}


def test_more_draws_ask_for_the_further_ones_alone(tmp_path):
    first = Dice()
    three = sampled(tmp_path, first, 3)
    assert len(first.asked) == len(set(first.seeds)) == 30
    further = Dice()
    five = sampled(tmp_path, further, 5)
    assert five.path != three.path and len(further.asked) == 20 and not set(further.seeds) & set(first.seeds)
    assert outputs(three).items() <= outputs(five).items() and len(outputs(five)) == 50
    nothing = Dice()
    assert outputs(sampled(tmp_path, nothing, 5, use_cache=False)) == outputs(five) and len(nothing.asked) == 50


def test_a_run_that_goes_on_comes_to_the_figures_of_one_that_never_stopped(tmp_path):
    whole = sampled(tmp_path / "whole", Dice(), 4, use_cache=False)
    cut = sampled(tmp_path / "cut", Dice(), 4, use_cache=False)
    log = cut.samples_path("pubmedqa")
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:11] + lines[14:30]) + lines[30][:20])
    record = json.loads((cut.path / "run.json").read_text())
    (cut.path / "run.json").write_text(json.dumps(record | {"status": "running"}))
    model = Dice()
    again = sampled(tmp_path / "cut", model, 4, use_cache=False)
    assert again.path == cut.path and len(model.asked) == 40 - 11 - 16
    parts = [run.record["tasks"]["pubmedqa"] for run in (whole, again)]
    assert parts[0]["repeats"]["draws"] == 4 and outputs(again) == outputs(whole)
    assert all(parts[0][key] == parts[1][key] for key in ("figures", "rates", "repeats", "confusion"))


def test_the_command_from_draws_to_every_table(tmp_path, capsys):
    folder = tmp_path / "runs"
    arguments = ["--model", "dummy", "--model-args", "mode=random", "--tasks", "pubmedqa,medqa", "--limit", "6"]
    assert main(["eval", *arguments, "--repeats", "3", "--resamples", "50", "--output-dir", str(folder)]) == 0
    table = capsys.readouterr().out
    assert table.count("6 × 3") == 2 and "accuracy_avg@3" in table and "Intervals go by document." in table
    [run] = folder.iterdir()
    assert main(["leaderboard", str(run)]) == 0
    assert "(avg@3)" in capsys.readouterr().out
    assert main(["compare", str(run), str(run)]) == 0
    assert "the mean of 3 draws a document in A, of 3 in B" in capsys.readouterr().out
    assert main(["export", str(run), "--to", "csv"]) == 0
    assert "accuracy_maj@3" in capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    assert main(["rescore", str(run)]) == 0
    assert "accuracy_pass@3" in capsys.readouterr().out
