"""Samples that share a document, note or premise: one cluster in every figure, counted again with plain loops."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test
from scripted import Scripted

import mibe
from mibe.analysis.compare import _differences
from mibe.analysis.rescore import rescore
from mibe.data.clusters import blocks, of_id, of_input
from mibe.leaderboard.consistency import consistent
from mibe.leaderboard.runs import Result
from mibe.published.figures import TEST_DOCUMENTS, load_published
from mibe.registry import load_task
from mibe.results.log import latest_rows
from mibe.results.table import render
from mibe.run.columns import read_columns
from mibe.run.scoring import score_rows
from mibe.task import Example, own_id

DDI = load_task("ddi")


def rows_of(documents, pairs, seed, *, draws=1, named=True):
    """Rows of made-up DDI pairs, those of one document mostly right or mostly wrong together."""
    rng = random.Random(seed)
    rows = []
    for document in range(documents):
        chance = rng.choice((0.1, 0.9))
        for pair in range(pairs):
            target = rng.choice(DDI.labels)
            for draw in range(draws):
                row = {"id": f"d{document}.s0.p{pair}", "outcome": "parsed", "target": target, "scores": {}}
                row["prediction"] = target if rng.random() < chance else rng.choice(DDI.labels)
                row |= {"cluster": f"d{document}"} if named else {}
                rows.append(row | ({"draw": draw} if draws > 1 else {}))
    return rows


def right(rows):
    return np.array([row["prediction"] == row["target"] for row in rows], dtype=float)


@pytest.mark.parametrize(
    ("task", "example", "cluster"),
    [
        ("ddi", Example("DDI-DrugBank.d519.s3.p0", {"text": "a"}, "DDI-int"), "DDI-DrugBank.d519"),
        ("i2b2", Example("test/note-7/12", {"text": "a"}, []), "test/note-7"),
        ("emrqa", Example("medication/77/3", {"context": "a", "question": "b"}, ["c"]), "medication/77"),
        ("bc5cdr", Example("test/39", {"text": "a"}, []), "test/1"),
        ("bc5cdr", Example("test/40", {"text": "a"}, []), "test/2"),
        ("pubmedqa", Example("123", {"question": "a"}, "yes"), "123"),
    ],
)
def test_what_documents_share_is_read_from_the_id(task, example, cluster):
    assert load_task(task).cluster(example) == cluster


@pytest.mark.parametrize(("task", "field"), [("mednli", "premise"), ("bionli", "premise"), ("mtsample", "text")])
def test_where_no_id_tells_it_equal_texts_are_one_cluster(task, field):
    def cluster(ident, text):
        return load_task(task).cluster(Example(ident, {field: text, "hypothesis": ident}, "neutral"))

    assert cluster("1", "No  fever.") == cluster("2", "no fever.") != cluster("3", "Fever.")
    assert "fever" not in cluster("1", "No fever.") and len(cluster("1", "x")) == 16


def test_intervals_and_standard_errors_are_those_of_documents():
    rows = rows_of(40, 15, 1)
    part = score_rows(DDI, rows, resamples=1000, seed=1)
    assert (part["scored"], part["clusters"]) == (600, 40)
    shares = right(rows).reshape(40, 15).mean(axis=1)
    accuracy = part["figures"]["accuracy"]
    assert accuracy["stderr"] == pytest.approx(shares.std(ddof=1) / np.sqrt(40))
    by_hand = np.random.default_rng(2).choice(shares, size=(4000, 40)).mean(axis=1)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=0.02)
    alone = score_rows(DDI, [{k: v for k, v in row.items() if k != "cluster"} for row in rows], resamples=1000, seed=1)
    assert alone["clusters"] == 600
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        wide, narrow = (each["figures"][name] for each in (part, alone))
        assert wide["value"] == narrow["value"] and wide["stderr"] > 2 * narrow["stderr"]


def test_groups_and_failed_samples_keep_their_clusters():
    rows = [row | {"metadata": {"kind": "ab"[n % 2]}} for n, row in enumerate(rows_of(30, 10, 2))]
    for row in rows[::7]:
        row |= {"outcome": "error", "prediction": None}
    part = score_rows(replace(DDI, breakdowns=("kind",)), rows, resamples=200, seed=1)
    failed = np.array([row["outcome"] == "error" for row in rows], dtype=float)
    sums = failed.reshape(30, 10).sum(axis=1) - 10 * failed.mean()
    assert part["rates"]["error"]["stderr"] == pytest.approx(np.sqrt(30 / 29 * (sums**2).sum()) / 300)
    inside = [row for row in rows if row["metadata"]["kind"] == "a" and row["outcome"] != "error"]
    alone = score_rows(DDI, inside, resamples=200, seed=1)["figures"]
    assert part["breakdowns"]["kind"]["a"]["accuracy"] == alone["accuracy"]


def test_a_draw_is_in_its_document_s_cluster():
    once = rows_of(25, 8, 3)
    drawn = [row | {"draw": draw} for row in once for draw in range(4)]
    single, fourfold = (score_rows(DDI, rows, resamples=200, seed=1) for rows in (once, drawn))
    assert fourfold["clusters"] == single["clusters"] == 25
    of_draws = fourfold["repeats"]["figures"]
    # The same answer four times tells no more than once, whatever is made of the draws.
    for figure in (fourfold["figures"]["accuracy"], of_draws["accuracy_maj@4"], of_draws["accuracy_pass@4"]):
        for key in ("value", "low", "high", "stderr"):
            assert figure[key] == pytest.approx(single["figures"]["accuracy"][key])


def test_a_cluster_may_have_the_name_of_one_of_its_documents():
    rows = rows_of(3, 2, 4, named=False)
    for row, name in zip(rows[1::2], ("d0.s0.p0", "d1.s0.p0", "d2.s0.p0"), strict=True):
        row["cluster"] = name
    random.Random(1).shuffle(rows)
    found = read_columns(rows, [], with_scores=False)
    first, second = found.clusters.reshape(3, 2).T
    assert first.tolist() == second.tolist() and found.count == 3


def test_a_comparison_permutes_documents():
    a, b = rows_of(12, 9, 5), rows_of(12, 9, 6)
    b = [row | {"target": other["target"]} for row, other in zip(b, a, strict=True)]
    found = {row.metric: row for row, _ in _differences(DDI, (a, b), (), 4000, 1)}["accuracy"]
    assert (found.n, found.clusters) == (108, 12)
    gains = (right(a) - right(b)).reshape(12, 9).sum(axis=1)
    exact = permutation_test((gains,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert found.p == pytest.approx(exact, abs=0.03)
    # A log of before clusters takes them from the other run's.
    old = [{k: v for k, v in row.items() if k != "cluster"} for row in a]
    assert {row.metric: row for row, _ in _differences(DDI, (old, b), (), 4000, 1)}["accuracy"] == found


def test_clusters_stand_in_the_log_the_record_and_the_table(tmp_path, monkeypatch):
    folder = tmp_path / "data/ddi"
    folder.mkdir(parents=True)
    examples = [
        {"id": f"D.d{n // 4}.s0.p{n}", "inputs": {"text": f"@DRUG$ {n} @DRUG$"}, "target": DDI.labels[n % 5]}
        for n in range(20)
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
    monkeypatch.setenv("MIBE_DATA_DIR", str(tmp_path / "data"))
    arguments = {"tasks": "ddi", "num_fewshot": 0, "resamples": 20, "use_cache": False, "allow_egress": ()}
    runs = [
        mibe.evaluate(model=Scripted(answer, identity=str(number)), output_dir=tmp_path / f"runs{number}", **arguments)
        for number, answer in enumerate((lambda prompt: "DDI-false", lambda prompt: "DDI-int"))
    ]
    log = runs[0].path / "samples/ddi.jsonl"
    assert {row["cluster"] for row in latest_rows(log)} == {f"D.d{n}" for n in range(5)}
    assert runs[0].record["tasks"]["ddi"]["clusters"] == 5
    shown = render(runs[0].record["tasks"], "text")
    assert " 20 in 5 " in shown and "n in m: " in shown
    found = mibe.compare(*runs, resamples=20)
    assert "ddi: 20 documents in 5 clusters; interval and p go by cluster" in found.notes
    # Logs of before, and what scoring again makes of them.
    for run in runs:
        path = run.path / "samples/ddi.jsonl"
        rows = [{k: v for k, v in row.items() if k != "cluster"} for row in latest_rows(path)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    old = mibe.compare(*runs, resamples=20)
    assert old.rows[0].clusters == 20 and any("mibe rescore RUN" in note for note in old.notes)
    again = rescore(runs[0].path)
    assert again.record["tasks"]["ddi"]["figures"] == runs[0].record["tasks"]["ddi"]["figures"]
    assert "cluster" in next(iter(latest_rows(log)))


def test_a_published_figure_is_consistent_by_the_interval_of_clusters():
    rows = rows_of(40, 15, 7)
    clustered = score_rows(DDI, rows, resamples=500, seed=1)
    alone = score_rows(DDI, [{k: v for k, v in row.items() if k != "cluster"} for row in rows], resamples=500, seed=1)
    wide, narrow = (part["figures"]["macro_f1"]["high"] for part in (clustered, alone))
    assert wide > narrow + 0.02
    printed = next(figure for figure in load_published("v2") if (figure.dataset, figure.metric) == ("ddi", "macro_f1"))
    between = replace(printed, value=(wide + narrow) / 2)
    data = {
        "of": TEST_DOCUMENTS["ddi"],
        "sha256": "a",
        "manifest": {"variant": "hub", "splits": {"test": {"sha256": "a"}}},
    }
    answers = []
    for part in (clustered, alone):
        own = Result(
            model="m", name="own", setting="zero_shot", task="ddi", protocol="paper", path=Path("run"), ended="",
            conditions={"split": "test", "scoring": "generate", "style": "direct"}, settings={},
            part=part | {"max_new_tokens": 256, "data": data},
        )  # fmt: skip
        answers.append(consistent(own, between).consistent)
    assert answers == [True, False]


def test_the_functions_of_clusters():
    example = Example("a/b/c", {"text": "T"}, "x")
    assert of_id("/")(example) == "a/b" and of_id("/", 2)(example) == "a" and own_id(example) == "a/b/c"
    assert of_input("text")(example) == of_input("text")(Example("z", {"text": " t "}, "y"))
    assert blocks(5)(Example("test/9", {"text": "T"}, "x")) == "test/1"
    assert blocks(5)(Example("my-9", {"text": "T"}, "x")) == "my-9"
