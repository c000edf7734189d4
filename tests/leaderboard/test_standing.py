"""Who stands where on the leaderboard: names and identities, coverage, always the same answer, tiers of tested runs."""

import csv
import io
import json
import random
import re

import pytest
from scipy.stats import norm
from scripted import Scripted

import mibe
from mibe.data import store
from mibe.leaderboard import remembered
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.cells import Cell, Column, Row
from mibe.leaderboard.page import forgetting_points
from mibe.leaderboard.standing import means_of, places_of
from mibe.leaderboard.tables import render
from mibe.leaderboard.tiers import PairTests, tiers
from mibe.results.answers import is_constant
from mibe.results.table import remarks_on

ACCURACY = Column("pubmedqa", "accuracy", headline=True)


def knowing(share, seed):
    """A model that knows a share of PubMedQA's answers and errs elsewhere."""
    rng = random.Random(seed)
    gold = {example.inputs["question"]: example.target for example in store.load_examples("pubmedqa", "test")}
    known = {question for question in gold if rng.random() < share}
    wrong = {"yes": "no", "no": "maybe", "maybe": "yes"}

    def answer(prompt):
        question = prompt.split("INPUT: ")[-1].split("\nCONTEXT:")[0]
        return gold[question] if question in known else wrong[gold[question]]

    return answer


def run(folder, name, answer, *, identity=None, **settings):
    model = Scripted(answer, identity=identity or name)
    model.name = name
    arguments = {"tasks": "pubmedqa", "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=folder / "runs", use_cache=False, **arguments)


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """Runs of six models: two that know 80 % of the answers, two 60 %, and two that always say "yes" and "no"."""
    folder = tmp_path_factory.mktemp("tested")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(folder / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(folder / "data"))
        for name, share, seed in (("good-1", 0.8, 1), ("good-2", 0.8, 2), ("fair-1", 0.6, 3), ("fair-2", 0.6, 4)):
            run(folder, name, knowing(share, seed))
        run(folder, "yes", lambda _: "yes")
        run(folder, "no", lambda _: "no")
    return folder / "runs"


@pytest.fixture
def board(tested):
    (found,) = leaderboard([tested])
    return found


def own(found):
    return {row.name: row for row in found.rows if row.own}


# One model is one row.


def test_one_set_of_weights_under_two_names_is_one_row_with_all_its_figures(tmp_path):
    run(tmp_path, "original", lambda _: "yes", identity="weights")
    copied = run(tmp_path, "copied", lambda _: "A", identity="weights", tasks="medmcqa,pubmedqa", limit=30)
    (found,) = leaderboard([tmp_path / "runs"])
    ((name, row),) = own(found).items()
    assert name == "copied, also original" and row.names == (name, "copied", "original")
    assert row.results.keys() == {"pubmedqa", "medmcqa"}
    # Of two runs of one task the larger counts, whatever it is called.
    assert row.cells[ACCURACY].n == 500 and row.results["medmcqa"].path == copied.path.resolve()
    for reference in ("copied", "original", name):
        (found,) = leaderboard([tmp_path / "runs"], references={reference: "LLaMA2-13B"})
        assert own(found)[name].cells[ACCURACY].difference.reference == "LLaMA2-13B"


def test_a_name_that_runs_have_given_is_that_of_the_row_for_the_chart_of_forgetting(tmp_path):
    for name in ("first", "second"):
        run(tmp_path, name, lambda _: "A", identity="weights", tasks="mmlu_medical,medqa", limit=20)
    for path in (tmp_path / "runs").glob("*/run.json"):
        record = json.loads(path.read_text())
        record["tasks"]["mmlu"] = record["tasks"].pop("mmlu_medical")
        path.write_text(json.dumps(record | {"task_names": ["mmlu", "medqa"]}))
    boards = leaderboard([tmp_path / "runs"])
    points = {point["name"]: point for point in forgetting_points(boards, {"second": "LLaMA2-7B"})}
    assert points["first, also second"]["backbone"] == "LLaMA2-7B"


def test_two_functions_of_one_name_are_two_models(tmp_path):
    def function(text):
        def answer(prompts):
            return [text] * len(prompts)

        return answer

    for text in ("yes", "no"):
        mibe.evaluate(model=function(text), tasks="pubmedqa", output_dir=tmp_path / "runs", resamples=50)
    (found,) = leaderboard([tmp_path / "runs"])
    assert sorted(row.cells[ACCURACY].value for row in own(found).values()) == [169 / 500, 276 / 500]
    assert all(re.fullmatch(r"answer \([0-9a-f]{6}\)", name) for name in own(found))
    assert sum("has no identity" in note for note in found.run_notes) == 2


# The order, and what a mean is of.


def test_a_figure_of_one_task_stands_below_models_that_have_them_all(board):
    names = [row.name for row in board.rows]
    published = [row.name for row in board.rows if not row.own]
    assert names[: len(published)] == published and names[0] == "Me-LLaMA-70B-chat"
    assert names.index("yes") > names.index("Me-LLaMA-70B")
    assert board.means["own:yes"].value > board.means["published:Me-LLaMA-70B"].value
    values = [board.means[row.key].value for row in board.rows if not row.own]
    assert values == sorted(values, reverse=True)
    assert [mean["model"] for mean in json.loads(render([board], "json"))[0]["means"]] == names
    header = render([board], "markdown").splitlines()[2]
    assert header.index("Me-LLaMA-70B |") < header.index("own: yes")


def test_a_mean_of_partial_figures_is_marked_and_stands_below_whole_ones(tmp_path):
    run(tmp_path, "whole", lambda _: "maybe")
    run(tmp_path, "partial", knowing(1.0, 1), limit=50)
    (found,) = leaderboard([tmp_path / "runs"], published="none")
    assert [row.name for row in found.rows] == ["whole", "partial"]
    text = render([found], "text")
    assert re.search(r"^mean +0\.110† +1\.000\*$", text, flags=re.M)
    means = {mean["model"]: mean for mean in json.loads(render([found], "json"))[0]["means"]}
    assert (means["whole"]["partial"], means["partial"]["partial"], means["partial"]["rank"]) == (False, True, None)


# Always the same answer.


def test_always_the_same_answer_is_marked_wherever_the_figure_stands(board):
    constant = {name: row.cells[ACCURACY].constant for name, row in own(board).items()}
    assert constant == {name: name in ("yes", "no") for name in constant}
    assert board.means["own:yes"].constant and not board.means["own:fair-1"].constant
    assert any("always the same answer" in remark and "yes (pubmedqa 500 of 500)" in remark for remark in board.remarks)
    text, latex = render([board], "text"), render([board], "latex")
    assert text.count("0.552†") == 3 and "0.338†" in text
    assert r"0.552\dag{}" in latex and "†" not in latex.split("\n%")[0]
    lines = list(csv.DictReader(io.StringIO(render([board], "csv"))))
    assert {line["model"] for line in lines if line["constant"] == "True"} == {"yes", "no"}
    assert {line["constant"] for line in lines if line["own"] == "False"} == {""}


def test_older_records_tell_by_their_confusion_or_say_that_they_do_not(tested, tmp_path):
    path = next(tested.glob("yes-*"))
    record = json.loads((path / "run.json").read_text())
    del record["tasks"]["pubmedqa"]["answers"]
    older = tmp_path / "older"
    older.mkdir()
    (older / "run.json").write_text(json.dumps(record))
    (found,) = leaderboard([older])
    assert own(found)["yes"].cells[ACCURACY].constant is True
    record["tasks"]["pubmedqa"]["confusion"] = None
    (older / "run.json").write_text(json.dumps(record))
    (found,) = leaderboard([older])
    assert own(found)["yes"].cells[ACCURACY].constant is None
    assert any("yes: the record does not say" in note and "pubmedqa" in note for note in found.run_notes)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"read": 500, "distinct": 1, "commonest": 500}, True),
        ({"read": 500, "distinct": 2, "commonest": 495}, True),
        ({"read": 500, "distinct": 2, "commonest": 494}, False),
        ({"read": 9, "distinct": 1, "commonest": 9}, False),
        ({"read": 0, "distinct": 0, "commonest": 0}, False),
    ],
)
def test_from_which_share_an_answer_is_always_the_same(counts, expected):
    assert is_constant({"answers": counts}) is expected
    # The table of a run says so too where no share of a label does.
    remarks = remarks_on("bc5cdr", {"figures": {}, "outcomes": {"error": 0}, "answers": counts})
    same = f"bc5cdr: {counts['commonest']} of {counts['read']} answers are one and the same, whatever the question"
    assert remarks == [same] * expected


# Tiers.


def row(name, value=0.5, stderr=0.1, *, own=True, low=None, high=None):
    cell = Cell(value=value, stderr=stderr if own else None, low=low, high=high)
    return Row(name=name, own=own, cells={ACCURACY: cell})


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ({}, [1, 1, 1, 1]),
        ({"AD": 0.001}, [1, 1, 1, 2]),
        # B and C differ from the best, and from each other: a tier for each.
        ({"AB": 0.001, "AC": 0.001, "AD": 0.001, "BC": 0.001, "BD": 0.001, "CD": 0.001}, [1, 2, 3, 4]),
        # Alike in a chain: the tier goes by its best.
        ({"AC": 0.001, "AD": 0.001}, [1, 1, 2, 2]),
        # What is not shown to be worse takes those of higher figures along.
        ({"AB": 0.001, "AC": 0.001}, [1, 1, 1, 1]),
        # 0.02, 0.03 and 0.04 are 0.06 each by Holm's correction, a single 0.02 among others is 0.06 as well.
        ({"AB": 0.04, "AC": 0.03, "AD": 0.02}, [1, 1, 1, 1]),
        # In the second tier fewer are compared: 0.02 times two.
        ({"AB": 0.001, "AC": 0.001, "AD": 0.001, "BD": 0.02}, [1, 2, 2, 3]),
    ],
)
def test_tiers_go_by_the_best_of_each_with_holms_correction(p_values, expected):
    def p_value(a, b):
        return p_values.get(a.name + b.name, 1.0)

    found = tiers([row(name) for name in "ABCD"], p_value)
    assert [found[f"own:{name}"] for name in "ABCD"] == expected


def test_models_that_are_not_shown_to_differ_share_a_rank(board, tested):
    place = {name: board.places[ACCURACY, each.key] for name, each in own(board).items()}
    assert place["good-1"].tier == place["good-2"].tier == 1
    assert place["good-1"].rank == place["good-2"].rank
    # 60 % of the answers and the constant "yes", which is right in 55 %, are alike in accuracy; "no" has 34 %.
    assert place["fair-1"].tier == place["fair-2"].tier == place["yes"].tier == 2 and place["no"].tier == 3
    macro = Column("pubmedqa", "macro_f1")
    assert board.tier(macro, own(board)["fair-1"]) == 2 and board.tier(macro, own(board)["yes"]) == 3
    assert board.means["own:fair-1"].tier == 2 and board.means["own:no"].tier == 3
    text = render([board], "text")
    assert "(tier 1 of 3)" in text and "(tier 3 of 3)" in text
    assert any("Published figures have no interval" in remark for remark in board.remarks)
    # The rank says how many are better: of the published models four lie above the interval of "fair-1", which is
    # about 0.56 to 0.65, and the two good ones are of a better tier.
    low, high = (getattr(own(board)["fair-1"].cells[ACCURACY], side) for side in ("low", "high"))
    better = [v for v in (0.768, 0.700, 0.682, 0.668, 0.546, 0.538) if v > high]
    assert low < own(board)["fair-1"].cells[ACCURACY].value < high and place["fair-1"].rank == 1 + 2 + len(better)


def test_the_test_of_a_pair_is_that_of_compare(board, tested):
    rows = own(board)
    pair = rows["good-1"], rows["fair-1"]
    there = mibe.compare(*(row.results["pubmedqa"].path for row in pair))
    accuracy = next(difference for difference in there.rows if difference.metric == "accuracy")
    tests = PairTests(pair)
    assert tests.of_column(ACCURACY, *pair) == accuracy.p
    # The mean of one task is that task.
    assert tests.of_mean([ACCURACY], *pair) == accuracy.p and tests.notes == {}


def test_models_that_differ_in_two_documents_do_not_differ_in_the_mean(tmp_path):
    # One document of each of two tasks is right in one model alone: p 0.5 of each, as a coin that is tossed once.
    tasks = ("pubmedqa", "medmcqa")
    gold = {e.inputs["question"]: e.target for task in tasks for e in store.load_examples(task, "test")}

    def knowing_all_but(missed):
        missed = list(missed)

        def answer(prompt):
            question = max((each for each in gold if each in prompt), key=prompt.rfind)
            wrong = "no" if len(gold[question]) > 1 else "ABCD"["ABCD".index(gold[question]) - 1]
            return wrong if gold[question] in missed and not missed.remove(gold[question]) else gold[question]

        return answer

    for name, missed in (("all", ()), ("but-two", ("yes", "A"))):
        run(tmp_path, name, knowing_all_but(missed), tasks=",".join(tasks))
    (found,) = leaderboard([tmp_path / "runs"], published="none")
    pair = tuple(own(found)[name] for name in ("all", "but-two"))
    columns = [column for column in found.columns if column.headline]
    tests = PairTests(pair, columns)
    assert [tests.of_column(column, *pair) for column in columns] == pytest.approx([0.5, 0.5], abs=0.01)
    assert tests.of_mean(columns, *pair) > 0.2
    assert tests.of_mean(columns, *pair) == tests.of_mean(columns, *pair[::-1])
    assert {found.means[row.key].tier for row in pair} == {1}


def test_without_logs_a_pair_is_tested_by_its_intervals_and_a_note_says_so(tested, tmp_path):
    for name in ("good-1", "fair-1"):
        folder = tmp_path / "records" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes((next(tested.glob(f"{name}-*")) / "run.json").read_bytes())
    (found,) = leaderboard([tmp_path / "records"])
    cells = [own(found)[name].cells[ACCURACY] for name in ("good-1", "fair-1")]
    reach = cells[0].value - cells[0].low + cells[1].high - cells[1].value
    z = (cells[0].value - cells[1].value) / (reach / 1.96)
    assert PairTests(tuple(own(found).values())).of_column(ACCURACY, *own(found).values()) == pytest.approx(
        2 * norm.sf(z)
    )
    assert [found.tier(ACCURACY, own(found)[name]) for name in ("good-1", "fair-1")] == [1, 2]
    assert any("good-1 and fair-1 are tested by their two intervals alone" in note for note in found.run_notes)


@pytest.mark.parametrize(("low", "high", "apart"), [(0.439, 0.561, False), (0.57, 0.56, True)])
def test_intervals_that_overlap_show_no_difference_whatever_the_standard_errors_are(low, high, apart, monkeypatch):
    right, wrong = row("right", 1.0, low=low, high=1.0, stderr=0.0), row("wrong", 0.0, low=0.0, high=high, stderr=0.0)
    tests = PairTests([])
    monkeypatch.setattr(tests, "_compared", lambda a, b, column: (None, None))
    assert (tests.of_column(ACCURACY, right, wrong) <= 0.05) == apart
    columns = [ACCURACY, Column("medqa", "accuracy", headline=True)]
    for each in (right, wrong):
        each.cells[columns[1]] = each.cells[ACCURACY]
    # Two tasks of the same figures tell more than one.
    assert tests.of_mean(columns, right, wrong) < tests.of_column(ACCURACY, right, wrong)


@pytest.mark.parametrize(
    ("published", "ranks"),
    [
        # Within the interval of the measured figure neither is better; beyond it one is.
        (0.58, {"own": 1, "paper": 1}),
        (0.42, {"own": 1, "paper": 1}),
        (0.70, {"own": 2, "paper": 1}),
        (0.30, {"own": 1, "paper": 2}),
    ],
)
def test_a_published_figure_counts_as_different_beyond_the_own_interval(published, ranks):
    rows = [row("own", 0.5, low=0.4, high=0.6), row("paper", published, own=False)]
    places = places_of([ACCURACY], rows, PairTests([]))
    assert {name.split(":")[1]: place.rank for (_, name), place in places.items()} == ranks
    assert places[ACCURACY, "published:paper"].tier is None and places[ACCURACY, "own:own"].tier == 1


def test_a_published_figure_beyond_one_interval_of_a_tier_does_not_part_it():
    rows = [
        row("A", 0.52, low=0.42, high=0.62),
        row("B", 0.50, low=0.40, high=0.56),
        row("paper", 0.60, own=False),
        row("worse", 0.30, own=False),
    ]
    tests = PairTests([])
    tests.of_column = lambda column, a, b: 1.0
    places = places_of([ACCURACY], rows, tests)
    assert [places[ACCURACY, each.key].rank for each in rows] == [1, 1, 1, 4]


def test_published_figures_rank_as_they_are_printed():
    rows = [row(name, value, own=False) for name, value in (("A", 0.5), ("B", 0.5), ("C", 0.4))]
    means = means_of([ACCURACY], rows, PairTests([]))
    assert [means[each.key].rank for each in rows] == [1, 1, 3]
    assert all(mean.tier is None and mean.low is None for mean in means.values())


def test_a_comparison_is_made_once_and_again_when_a_log_has_changed(tested, tmp_path, monkeypatch):
    made = []

    def counted(*arguments, **settings):
        made.append(arguments)
        return original(*arguments, **settings)

    original = remembered.compare
    monkeypatch.setattr(remembered, "compare", counted)
    first = leaderboard([tested])[0]
    asked = len(made)
    # Six models in three tiers: 5 comparisons with the best, 3 and none with the next two; macro-F1 has other heads.
    assert 8 <= asked <= 15
    assert leaderboard([tested])[0].places == first.places and len(made) == asked
    log = next(tested.glob("good-1-*")) / "samples" / "pubmedqa.jsonl"
    log.write_text(log.read_text() + log.read_text().splitlines()[-1] + "\n")
    assert leaderboard([tested])[0].places == first.places and asked < len(made) <= 2 * asked


def test_a_cache_that_cannot_be_used_costs_time_only(tested, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIBE_CACHE_DIR", str(tmp_path / "file"))
    assert leaderboard([tested])[0].places
    monkeypatch.setenv("MIBE_CACHE_DIR", str(tmp_path / "cache"))
    places = leaderboard([tested])[0].places
    for note in (tmp_path / "cache" / "comparisons").iterdir():
        note.write_text("[{}]")
    assert leaderboard([tested])[0].places == places
