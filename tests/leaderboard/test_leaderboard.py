"""Published figures against the paper's text; own runs beside them: merged, ranked, compared, refused, printed."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import Scripted

import mibe
from mibe.data import store
from mibe.errors import RunError, UsageError
from mibe.leaderboard.board import leaderboard, same_model
from mibe.leaderboard.consistency import consistent, other_documents
from mibe.leaderboard.runs import Result
from mibe.leaderboard.tables import render
from mibe.published.figures import TEST_DOCUMENTS, all_figures, forgetting_figures, load_notes, load_published

V1, V2 = "arxiv-2024-02", "preprint-2024-12"
DATASETS = {
    "PubMedQA": "pubmedqa",
    "MedQA": "medqa",
    "MedMCQA": "medmcqa",
    "EmrQA": "emrqa",
    "i2b2": "i2b2",
    "2012 i2b2": "i2b2",
    "DDI": "ddi",
    "2013 DDI": "ddi",
    "HoC": "hoc",
    "MTsample": "mtsample",
    "PubMed": "pubmedsum",
    "MIMIC-CXR": "mimic_cxr",
    "MIMIC- CXR": "mimic_cxr",
    "BioNLI": "bionli",
    "MedNLI": "mednli",
}
METRICS = {"Macro-F1": "macro_f1", "F1": "f1", "R-L": "rougeL", "Rouge-L": "rougeL", "BERTS": "bertscore"}
NAME = "|".join(sorted(map(re.escape, DATASETS), key=len, reverse=True))
LINE = re.compile(rf"(?:.*?\b({NAME})\s+)?(?:.*\s)?(Accuracy|Acc|Macro-F1|F1|R-L|Rouge-L|BERTS)\*?\s+([-\d.* \t]+)$")


def printed(shared, version, table):
    """(data set, metric) → figures in the order of the columns, read from the paper's text by this test's own rules."""
    name = {V1: "2024-02-arxiv-v1.txt", V2: "2024-12-preprint-v2.txt"}[version]
    text = (shared / "paper" / name).read_text(encoding="utf-8")
    part = re.split(rf"^Table {table}\.", text, flags=re.M)[-1]
    found, dataset = {}, None
    for line in part.splitlines():
        if line.startswith(("Table", "Figure 2 ", "DISCUSSION")) and found:
            break
        match = LINE.match(line.strip())
        if match is None:
            continue
        dataset = DATASETS[match[1]] if match[1] else dataset
        metric = METRICS.get(match[2], "exact_match" if dataset == "emrqa" else "accuracy")
        found[dataset, metric] = [None if v == "-" else float(v) for v in match[3].replace("*", " ").split()]
    return found


@pytest.mark.parametrize(("source", "table"), [(V2, "4"), (V2, "5"), (V2, "6"), (V1, "1"), (V1, "2"), (V1, "3")])
def test_every_figure_of_the_main_tables_stands_in_the_papers_text(shared, source, table):
    if not (shared / "paper").exists():
        pytest.skip("the paper's text is not beside this checkout")
    from_text = printed(shared, source, table)
    ours = {}
    for figure in all_figures():
        if (figure.source, figure.table) == (source, table):
            ours.setdefault((figure.dataset, figure.metric), []).append(figure.value)
    assert len(from_text) == 18 and from_text.keys() == ours.keys()
    for key, values in from_text.items():
        assert [value for value in values if value is not None] == ours[key], key


def test_the_forgetting_table_is_that_of_the_paper(shared):
    if not (shared / "paper").exists():
        pytest.skip("the paper's text is not beside this checkout")
    text = (shared / "paper" / "2024-02-arxiv-v1.txt").read_text(encoding="utf-8")
    by_model = {}
    for figure in forgetting_figures():
        by_model.setdefault(figure.model, []).append(figure.value)
    for model, values in by_model.items():
        pattern = re.escape(model).replace(r"\-", "[ -]").replace("LLaMA2", "LLaMA2")
        line = re.search(rf"^{pattern}\s.*$", text, flags=re.M)
        assert line, model
        numbers = [float(n) for n in re.findall(r"(?<![+\-\d.])0\.\d{3}", line[0])]
        assert sorted(numbers) == sorted(values), model


def test_the_package_has_all_748_figures_as_they_were_read(shared):
    from importlib.resources import files

    inside = files("mibe.published").joinpath("published.csv").read_bytes()
    assert inside == (shared / "published" / "results.csv").read_bytes()
    assert len(all_figures()) == 748
    assert {figure.setting for figure in all_figures()} == {"zero_shot", "supervised"}


def test_a_version_has_one_figure_for_each_model_and_the_first_table_counts():
    figures = {(f.setting, f.dataset, f.metric, f.model): f for f in load_published("v2")}
    assert len(figures) == len(load_published("v2"))
    both = figures["zero_shot", "i2b2", "macro_f1", "Me-LLaMA-13B-chat"]
    assert (both.value, both.table) == (0.166, "5")
    assert figures["zero_shot", "medqa", "accuracy", "LLaMA2-13B"].table == "6"
    assert load_published("none") == ()
    with pytest.raises(UsageError, match="unknown version 'v3'"):
        load_published("v3")


def test_the_journal_differs_from_the_preprint_in_one_figure_and_has_two_models_more():
    journal = {(f.dataset, f.metric, f.model): f.value for f in load_published("journal")}
    preprint = {(f.dataset, f.metric, f.model): f.value for f in all_figures() if (f.source, f.table) == (V2, "6")}
    assert len(journal) == 144 and len(preprint) == 108 and preprint.keys() < journal.keys()
    assert {key: (value, journal[key]) for key, value in preprint.items() if journal[key] != value} == {
        ("bionli", "macro_f1", "Me-LLaMA-70B"): (0.449, 0.499)
    }
    assert {key[2] for key in journal.keys() - preprint.keys()} == {"LLaMA2-13B-instruct", "LLaMA2-70B-instruct"}
    for version, other in (("v2", "0.499 in the journal"), ("journal", "0.449 in the preprint")):
        assert any(other in note.note for note in load_notes(["bionli"], setting="zero_shot", version=version))
        assert not any(other in note.note for note in load_notes(["bionli"], setting="supervised", version=version))
    (found,) = leaderboard([], published="journal")
    assert {row.cells[column].source for row in found.rows for column in row.cells} == {"npj-2025-03, table 3"}


def test_what_the_notes_say_of_the_figures_is_so():
    value = {(f.source, f.table, f.dataset, f.metric, f.model): f.value for f in all_figures()}
    for model in ("LLaMA2-70B", "Me-LLaMA-13B", "Me-LLaMA-70B"):
        assert value[V2, "4", "emrqa", "exact_match", model] > value[V2, "4", "emrqa", "f1", model]
    assert value[V2, "6", "i2b2", "macro_f1", "Me-LLaMA-13B-chat"] == 0.263
    chat = "LLaMA2-13B-chat"
    assert (value[V1, "1", "i2b2", "macro_f1", chat], value[V2, "5", "i2b2", "macro_f1", chat]) == (0.196, 0.143)
    assert (value[V1, "1", "ddi", "macro_f1", chat], value[V2, "5", "ddi", "macro_f1", chat]) == (0.058, 0.090)
    assert value[V2, "5", "medqa", "macro_f1", chat] > value[V2, "5", "medqa", "accuracy", chat]
    notes = load_notes(["i2b2", "emrqa"], setting="zero_shot", version="v2")
    assert [note.dataset for note in notes] == ["i2b2"] * 3 + ["emrqa"]
    assert len(load_notes(["i2b2"], setting="supervised", version="v1")) == 1


def run(answer, tmp_path, *, identity="own-1", name="own", **settings):
    model = Scripted(answer, identity=identity)
    model.name = name
    arguments = {"tasks": "pubmedqa", "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=tmp_path / "runs", use_cache=False, **arguments)


def board(*runs, **settings):
    (found,) = leaderboard([getattr(each, "path", each) for each in runs], **settings)
    return found


def own_row(found):
    """The one row of a run."""
    (row,) = (row for row in found.rows if row.own)
    return row


def cell(found, name, dataset, metric):
    row = next(row for row in found.rows if row.name == name)
    return next(
        (each for column, each in row.cells.items() if (column.dataset, column.metric) == (dataset, metric)), None
    )


def test_own_figures_stand_beside_published_ones_with_ranks_and_differences(tmp_path):
    own = run(lambda _: "yes", tmp_path)
    found = board(own)
    figure = own.record["tasks"]["pubmedqa"]["figures"]["accuracy"]
    accuracy = cell(found, "own", "pubmedqa", "accuracy")
    assert (accuracy.value, accuracy.low, accuracy.n, accuracy.of) == (figure["value"], figure["low"], 500, 500)
    # 276 of the 500 answers are yes: 0.552, between 0.668, 0.682, 0.700, 0.768 above and 0.546 below.
    column = next(column for column in found.columns if column.metric == "accuracy")
    assert found.rank(column, own_row(found)) == 5
    best = next(row for row in found.rows if row.name == "Me-LLaMA-70B-chat")
    assert found.rank(column, best) == 1
    assert accuracy.difference.reference == "Me-LLaMA-70B-chat"
    assert accuracy.difference.value == pytest.approx(0.552 - 0.768)
    assert accuracy.difference.low == pytest.approx(figure["low"] - 0.768)
    assert accuracy.answer is None and any("protocol default" in remark for remark in found.remarks)
    mean = found.means[own_row(found).key]
    assert mean.tasks == ("pubmedqa",) and mean.ranked == 1
    assert found.means[best.key].rank == 1 and found.means[best.key].ranked == 11
    assert cell(found, "own", "medqa", "accuracy") is None


def test_the_mean_is_over_the_tasks_that_are_there_and_never_imputed(tmp_path):
    own = run(lambda p: "yes" if "CONTEXT" in p else "A", tmp_path, tasks="pubmedqa,medmcqa,mmlu_medical")
    found = board(own)
    mean = found.means[own_row(found).key]
    parts = [own.record["tasks"][task]["figures"]["accuracy"] for task in ("pubmedqa", "medmcqa")]
    assert mean.tasks == ("pubmedqa", "medmcqa")
    assert mean.value == pytest.approx(sum(part["value"] for part in parts) / 2)
    # Two data sets: the distances to their bounds add up as the legs of a right angle.
    below, above = (sum((part[side] - part["value"]) ** 2 for part in parts) ** 0.5 / 2 for side in ("low", "high"))
    assert (mean.low, mean.high) == pytest.approx((mean.value - below, mean.value + above))
    assert (mean.rank, mean.ranked) == (1, 1)
    assert "2 of 12" in render([found], "text")
    (ranks,) = re.findall(r"^ +rank (.*)$", render([found], "text"), flags=re.M)
    assert ranks.split()[-1] == "–" and ranks.count("of 11") == 11


def test_equal_figures_share_a_rank_at_the_papers_precision():
    found = leaderboard([], settings=["supervised"])[0]
    column = next(c for c in found.columns if (c.dataset, c.metric) == ("pubmedqa", "accuracy"))
    ranks = {row.name: found.rank(column, row) for row in found.rows}
    assert ranks["Me-LLaMA-70B"] == 1 and ranks["Me-LLaMA-13B"] == 2 and ranks["PMC-LLaMA-13B"] == 6
    assert ranks["LLaMA2-13B"] == ranks["LLaMA2-70B"] == ranks["Meditron-70B"] == 3


def test_runs_of_one_model_make_one_row_and_of_two_models_two(tmp_path):
    first = run(lambda _: "yes", tmp_path)
    run(lambda _: "A", tmp_path, tasks="medmcqa")
    run(lambda _: "no", tmp_path, identity="own-2")
    found = board(tmp_path / "runs")
    own = [row for row in found.rows if row.own]
    assert len(own) == 2 and all(re.fullmatch(r"own \([0-9a-f]{6}\)", row.name) for row in own)
    assert sorted(len(row.results) for row in own) == [1, 2]
    assert board(f"{tmp_path}/runs/own-*", first.path).rows == found.rows


def test_of_two_runs_of_a_task_the_larger_then_the_later_counts_and_a_note_says_so(tmp_path):
    run(lambda _: "yes", tmp_path)
    run(lambda _: "no", tmp_path, limit=20)
    found = board(tmp_path / "runs")
    assert cell(found, "own", "pubmedqa", "accuracy").n == 500
    assert sum("counts, not" in note for note in found.run_notes) == 1


def test_partial_figures_are_marked_and_have_no_rank(tmp_path):
    found = board(run(lambda _: "yes", tmp_path, limit=20))
    own = own_row(found)
    assert not any(found.rank(column, own) for column in found.columns)
    assert found.means[own.key].rank is None
    assert "20 of 500" in render([found], "text") and "*" in render([found], "markdown")
    assert any("part of the documents" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        # "yes" is right 276 times of 500, 0.552: published 0.546 lies inside the interval, 0.768 does not.
        ("yes", "LLaMA2-13B-chat", "yes"),
        ("yes", "Me-LLaMA-70B-chat", "no"),
    ],
)
def test_the_same_protocol_and_data_answer_whether_a_figure_is_reproduced(tmp_path, answer, reference, expected):
    own = run(lambda _: answer, tmp_path, protocol="paper")
    found = board(own, references={"own": reference})
    assert str(cell(found, "own", "pubmedqa", "accuracy").answer) == expected
    assert not any("protocol default" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "not comparable: protocol is default, not paper"),
        ({"protocol": "paper", "limit": 40}, "on 40 of 500 documents"),
        ({"protocol": "paper", "split": "valid"}, "not comparable: split is valid, not test"),
        ({"protocol": "paper", "max_new_tokens": 8}, "answers of up to 8 tokens, the paper has 256"),
        ({"protocol": "paper", "scoring": "loglikelihood"}, "not comparable: answers by loglikelihood"),
    ],
)
def test_what_differs_from_the_paper_is_said_in_place_of_an_answer(tmp_path, settings, reason):
    found = board(run(lambda _: "yes", tmp_path, **settings), references={"": "LLaMA2-13B-chat"})
    assert reason in str(cell(found, "own", "pubmedqa", "accuracy").answer)


def test_another_test_set_is_not_comparable(tmp_path):
    found = board(run(lambda _: "Surgery", tmp_path, tasks="mtsample", protocol="paper"), references={"": "LLaMA2-13B"})
    assert f"the paper has {TEST_DOCUMENTS['mtsample']}" in str(cell(found, "own", "mtsample", "macro_f1").answer)


def result_of(name, data, *, documents=None):
    number = TEST_DOCUMENTS[name] if documents is None else documents
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    return Result(
        model="m", name="own", setting="zero_shot", task=name, protocol="paper", path=Path("runs/own"), ended="",
        conditions={"split": "test", "scoring": "generate", "style": "direct"},
        settings={},
        part={"scored": number, "max_new_tokens": 256, "data": {"of": number, **data}, "figures": {"macro_f1": figure}},
    )  # fmt: skip


def prepared(sha256, variant="official", written=None):
    return {"sha256": sha256, "manifest": {"variant": variant, "splits": {"test": {"sha256": written or sha256}}}}


OFFICIAL = store.shipped_fingerprint("medqa", "test")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("medqa", prepared(OFFICIAL), ""),
        ("medqa", {"sha256": OFFICIAL, "manifest": None}, ""),
        ("medqa", prepared("another"), "the documents are not known to be those of the official test set"),
        ("medqa", prepared("another", "hub"), ""),
        (
            "medqa",
            prepared("another", "hub", written="as downloaded"),
            "not known to be those of the official test set",
        ),
        ("hoc", prepared("by seed", "labelled"), "the paper does not say which 315 documents are its test set"),
        ("hoc", prepared("the authors' own", "hub"), ""),
        ("mtsample", prepared("by seed"), "the paper does not say which 999 documents are its test set"),
        ("mednli", prepared("as prepared"), ""),
        ("mednli", prepared("edited", written="as prepared"), "not known to be those of the official test set"),
        ("mednli", {"sha256": "made by hand", "manifest": None}, "not known to be those of the official test set"),
    ],
)
def test_documents_are_compared_and_not_their_number(name, data, reason):
    found = other_documents(result_of(name, data))
    assert reason in found and bool(found) == bool(reason)
    assert other_documents(result_of(name, data, documents=7)).startswith("7 test documents, the paper has")


def test_an_interval_without_width_answers_nothing():
    figure = next(f for f in load_published("v2") if (f.dataset, f.metric) == ("medqa", "macro_f1"))
    result = result_of("medqa", prepared(OFFICIAL))
    assert consistent(result, figure).consistent is (0.4 - 5e-4 <= figure.value <= 0.6 + 5e-4)
    result.part["figures"]["macro_f1"] |= {"low": 0.5, "high": 0.5}
    assert str(consistent(result, figure)) == "not comparable: the own interval has no width"


def test_a_model_of_the_papers_name_is_compared_with_itself(tmp_path):
    found = board(run(lambda _: "yes", tmp_path, name="Me-LLaMA-13B-chat", protocol="paper"))
    own = own_row(found)
    accuracy = next(c for column, c in own.cells.items() if column.metric == "accuracy")
    assert accuracy.difference.reference == "Me-LLaMA-13B-chat" and accuracy.answer.consistent is False
    assert [row.key for row in found.rows if row.name == own.name] == [
        "published:Me-LLaMA-13B-chat",
        "own:Me-LLaMA-13B-chat",
    ]
    assert same_model("meta-llama/LLaMA2-13b-chat-hf", "LLaMA2-13B-chat")
    assert not same_model("llama2-13b", "LLaMA2-13B-chat")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "paper"}, "different protocols .default in .*, paper in .*--protocol default"),
        ({"split": "valid"}, "differ in the split"),
        ({"scoring": "loglikelihood"}, "differ in the way of scoring"),
    ],
)
def test_what_cannot_stand_in_one_column_is_refused(tmp_path, settings, message):
    runs = [run(lambda _: "yes", tmp_path), run(lambda _: "yes", tmp_path, identity="own-2", **settings)]
    with pytest.raises(UsageError, match=message):
        board(*runs)


def test_a_protocol_can_be_chosen_and_the_rest_is_named(tmp_path):
    kept = run(lambda _: "yes", tmp_path)
    left = run(lambda _: "no", tmp_path, protocol="paper")
    found = board(kept, left, protocol="default")
    assert found.protocol == "default" and f"{left.path.name}: left out, its protocol is paper" in found.run_notes


def test_settings_follow_from_shots_and_suite(tmp_path):
    run(lambda _: "yes", tmp_path, limit=10)
    run(lambda _: "yes", tmp_path, limit=10, num_fewshot=2)
    tuned = run(lambda _: "yes", tmp_path, limit=10, identity="tuned")
    record = json.loads((tuned.path / "run.json").read_text())
    (tuned.path / "run.json").write_text(json.dumps(record | {"suite": "supervised"}))
    assert [each.setting for each in leaderboard([tmp_path / "runs"])] == ["zero_shot", "few_shot", "supervised"]
    few = leaderboard([tmp_path / "runs"], settings=["few_shot"])[0]
    assert [row.own for row in few.rows] == [True]
    assert {row.name for row in leaderboard([tmp_path / "runs"])[2].rows if not row.own} >= {"Meditron-70B"}


def test_metrics_can_be_chosen(tmp_path):
    own = run(lambda _: "yes", tmp_path)
    assert {c.metric for c in board(own).columns if c.dataset == "pubmedqa"} == {"accuracy", "macro_f1"}
    every = [c.metric for c in board(own, metrics=["all"]).columns if c.dataset == "pubmedqa"]
    assert every == ["accuracy", "macro_f1", "weighted_f1"]
    assert {c.metric for c in board(own, metrics=["f1"]).columns} == {"f1"}
    with pytest.raises(UsageError, match="nothing to show of nonsense"):
        board(own, metrics=["nonsense"])


def test_names_that_are_unknown_are_refused(tmp_path):
    own = run(lambda _: "yes", tmp_path, limit=5)
    for settings, message in (
        ({"settings": ["one_shot"]}, "unknown setting 'one_shot'"),
        ({"references": {"": "GPT-5"}}, "no published model 'GPT-5'"),
        ({"references": {"else": "LLaMA2-13B"}}, "no run of a model 'else'; there is own"),
    ):
        with pytest.raises(UsageError, match=message):
            board(own, **settings)


def test_folders_without_a_whole_run_are_refused_by_name(tmp_path):
    own = run(lambda _: "yes", tmp_path, limit=5)
    with pytest.raises(RunError, match="nowhere: no run folder there"):
        board(tmp_path / "nowhere")
    record = json.loads((own.path / "run.json").read_text())
    for change, message in (
        ({"settings": record["settings"] | {"shard": "1/4"}}, "is one shard of a run; mibe merge"),
        ({"model": None}, "not a whole run record"),
        ({"tasks": {"pubmedqa": {"figures": {"accuracy": {}}}}}, "not a whole run record"),
    ):
        (own.path / "run.json").write_text(json.dumps(record | change))
        with pytest.raises(RunError, match=message):
            board(own.path)
    (own.path / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        board(own.path)


def test_a_task_without_scores_yet_is_a_note(tmp_path):
    own = run(lambda _: "yes", tmp_path, limit=5, tasks="pubmedqa,medmcqa")
    record = json.loads((own.path / "run.json").read_text())
    del record["tasks"]["medmcqa"]
    (own.path / "run.json").write_text(json.dumps(record))
    found = board(own.path)
    assert found.run_notes == (f"{own.path.name}: medmcqa has no scores yet",)


def test_every_format_holds_the_figures(tmp_path):
    own = run(lambda _: "yes", tmp_path, name="a|b_c<d>", protocol="paper")
    boards = [board(own, references={"": "LLaMA2-13B-chat"})]
    text, markdown, latex = (render(boards, form) for form in ("text", "markdown", "latex"))
    assert "0.552" in text and "+0.006 (" in text and "yes" in text
    assert r"a\|b_c&lt;d>" in markdown and "**0.768**" in markdown
    assert r"a|b\_c<d>" in latex and r"\textbf{0.768}" in latex and r"\begin{tabular}" in latex
    lines = list(csv.DictReader(io.StringIO(render(boards, "csv"))))
    first = next(line for line in lines if line["own"] == "True" and line["metric"] == "accuracy")
    assert (float(first["value"]), first["consistent"], first["reference"]) == (0.552, "True", "LLaMA2-13B-chat")
    assert len([line for line in lines if line["own"] == "False"]) == len(
        [f for f in load_published("v2") if f.setting == "zero_shot"]
    )
    data = json.loads(render(boards, "json"))[0]
    own = next(mean for mean in data["means"] if mean["own"])
    assert len(data["figures"]) == len(lines) and own["tasks"] == ["pubmedqa"]


def test_the_latex_tables_have_as_many_cells_in_every_line():
    latex = render(leaderboard([], settings=["supervised"]), "latex")
    widths = {line.count("&") for line in latex.splitlines() if line.endswith(r"\\")}
    assert widths == {7}


def test_the_command_prints_tables_and_errors(tmp_path):
    def command(*arguments):
        return subprocess.run([sys.executable, "-m", "mibe", *arguments], capture_output=True, text=True)

    done = command("leaderboard", "--published", "v1", "--setting", "supervised", "--metric", "accuracy")
    assert done.returncode == 0, done.stderr
    assert "Supervised" in done.stdout and "previous" in done.stdout and "mmlu" in done.stdout
    assert command("leaderboard", "--backbone", "a=b").returncode == 2
    wrong = command("leaderboard", str(tmp_path))
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "no run folder" in wrong.stderr
