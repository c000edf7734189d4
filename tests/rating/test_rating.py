"""Ratings on disk, the scores they make, what agreement, leaderboard and the commands make of them."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from rated_runs import CASES, MODELS, UNREADABLE, make_runs, rank_of
from sklearn.metrics import cohen_kappa_score

import mibe
from mibe.cli import main
from mibe.data_use import is_credentialed
from mibe.errors import DataError, DataUseError, RunError, UsageError
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.page import write_page
from mibe.leaderboard.runs import read_results
from mibe.rating import cases as rating_cases
from mibe.rating.cases import database_of, in_order, items_of, listed_in, rated_runs
from mibe.rating.reading import agreement
from mibe.rating.scores import scores
from mibe.rating.store import Ratings, Review, read_reviews
from mibe.registry import load_task
from mibe.results.log import latest_rows
from mibe.results.run import load_run
from mibe.task import credentialed

TASK = "nejm_cpc"


@pytest.fixture
def runs(tmp_path):
    return make_runs(tmp_path)


@pytest.fixture
def database(runs):
    ratings = Ratings(database_of(runs[0], TASK))
    yield ratings
    ratings.close()


def rate(ratings, run, rater, matches, *, cases=None):
    """Confirm the lists of a run: `matches` gives the matching ranks by number of the case."""
    for number, listed in enumerate(listed_in(run, TASK)):
        if listed.diagnoses and (cases is None or number in cases):
            ratings.confirm(rater, listed, matches=matches(number), unsure=number == 3, comment="")


def test_a_mark_is_kept_at_once_and_can_be_taken_back(database, runs):
    first, second = listed_in(runs[0], TASK)[:2]
    database.mark("A", first, 3, True)
    database.mark("A", first, 5, True)
    database.mark("A", first, 3, False)
    database.note("A", first, unsure=True, comment="Hm — “β”")
    elsewhere = read_reviews(database.path)
    assert elsewhere == {"A": {first.id: database.review("A", first)}}
    review = database.review("A", first)
    assert (review.marks, review.confirmed) == ({3: False, 5: True}, False)
    assert (review.unsure, review.comment) == (True, "Hm — “β”")
    assert database.review("A", second) == Review() == database.review("B", first)


def test_a_confirmed_rating_has_a_mark_for_every_rank_and_stays_open_to_change(database, runs):
    listed = listed_in(runs[0], TASK)[0]
    database.mark("A", listed, 9, True)
    database.confirm("A", listed, matches=[2], unsure=False, comment="")
    assert database.review("A", listed).marks == {rank: rank == 2 for rank in range(1, 11)}
    database.mark("A", listed, 4, True)
    assert database.review("A", listed).confirmed and database.review("A", listed).marks[4]


def test_ratings_of_another_list_do_not_count_and_give_way(database, runs):
    listed = listed_in(runs[0], TASK)[0]
    database.confirm("A", listed, matches=[1], unsure=True, comment="old")
    newer = replace(listed, diagnoses=listed.diagnoses[1:])
    assert newer.digest != listed.digest and database.review("A", newer) == Review()
    database.mark("A", newer, 1, False)
    assert database.review("A", newer) == Review(digest=newer.digest, marks={1: False})
    assert database.review("A", listed) == Review()


def test_the_database_is_its_owners_alone_and_holds_no_text_of_a_case(database, runs):
    rate(database, runs[0], "A", lambda number: [1])
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700
    files = list(database.path.parent.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    content = b"".join(path.read_bytes() for path in files)
    assert b"case-1" in content
    assert not any(word in content for word in (b"finding", b"Disease", b"Morbus", b"Gout", b"Secret"))


def test_ratings_outlive_a_killed_process(runs):
    """The process ends by SIGKILL right after the call returned; another one reads."""
    code = (
        "import os, signal, sys\n"
        "from mibe.rating.cases import database_of, listed_in\n"
        "from mibe.rating.store import Ratings\n"
        "from mibe.results.run import load_run\n"
        "run = load_run(sys.argv[1])\n"
        "ratings = Ratings(database_of(run, 'nejm_cpc'))\n"
        "for listed in listed_in(run, 'nejm_cpc')[:5]:\n"
        "    ratings.mark('A', listed, 2, True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(runs[0].path)])
    assert done.returncode == -9
    database = database_of(runs[0], TASK)
    assert database.with_name(f"{database.name}-wal").stat().st_size > 0
    assert [review.marks for review in read_reviews(database)["A"].values()] == [{2: True}] * 5


def test_every_commit_waits_for_the_disk(database):
    base = database._connection
    assert base.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert base.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_a_failed_write_leaves_what_was_there(database, runs):
    listed = listed_in(runs[0], TASK)[0]
    database.confirm("A", listed, matches=[1], unsure=False, comment="")
    before = database.review("A", listed)
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RunError, match="full"):
        database.note("A", listed, unsure=True, comment="x" * 100_000)
    assert database.review("A", listed) == before
    database.mark("A", listed, 2, True)
    assert database.review("A", listed).marks[2]


def test_files_that_are_no_ratings_are_refused(tmp_path):
    (tmp_path / "text.sqlite").write_text("no database, but long enough to have a header " * 40)
    with pytest.raises(DataError, match="no database of ratings"):
        Ratings(tmp_path / "text.sqlite")
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE note (text)")
    other.close()
    with pytest.raises(DataError, match="holds no ratings"):
        Ratings(tmp_path / "other.sqlite")
    Ratings(tmp_path / "new.sqlite").close()
    newer = sqlite3.connect(tmp_path / "new.sqlite")
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(DataError, match="schema 9"):
        read_reviews(tmp_path / "new.sqlite")
    with pytest.raises(RunError, match="cannot read or write"):
        Ratings(tmp_path / "text.sqlite" / "x.sqlite")


def test_scores_are_those_of_counting(runs, database):
    truth = lambda number: [rank_of(number)]  # noqa: E731
    rate(database, runs[0], "A", truth)
    found = scores(runs[0])[TASK]
    ranks = np.array([rank_of(number) for number in range(CASES)])
    for k in range(1, 11):
        figure = found["figures"][f"top{k}_accuracy"]
        assert figure["value"] == pytest.approx((ranks <= k).mean())
        assert figure["low"] <= figure["value"] <= figure["high"] and figure["n"] == CASES
    assert (found["scored"], found["raters"], found["unsure"]) == (CASES, 1, 1)
    # The first match counts, however many follow.
    rate(database, runs[0], "A", lambda number: [rank_of(number), 10])
    assert scores(runs[0])[TASK]["figures"]["top5_accuracy"] == found["figures"]["top5_accuracy"]


def test_several_raters_make_their_mean_and_open_cases_do_not_count(runs, database):
    rate(database, runs[0], "A", lambda number: [1], cases=range(6))
    rate(database, runs[0], "B", lambda number: [2], cases=range(3, 8))
    database.mark("C", listed_in(runs[0], TASK)[9], 1, True)
    found = scores(runs[0])[TASK]
    assert (found["scored"], found["raters"]) == (8, 2)
    # Cases 0–2: A alone says 1; 3–5: A says 1, B 2; 6–7: B alone says 2.
    assert found["figures"]["top1_accuracy"]["value"] == pytest.approx((3 + 3 / 2) / 8)
    assert found["figures"]["top2_accuracy"]["value"] == 1


def test_an_output_without_a_list_is_a_miss_that_nobody_is_asked_about(runs):
    ratings = Ratings(database_of(runs[1], TASK))
    assert scores(runs[1]) == {}
    rate(ratings, runs[1], "A", lambda number: [1])
    ratings.close()
    found = scores(runs[1])[TASK]
    assert found["scored"] == CASES
    assert found["figures"]["top10_accuracy"]["value"] == pytest.approx((CASES - 1) / CASES)
    assert not listed_in(runs[1], TASK)[UNREADABLE].diagnoses


def test_a_case_whose_reference_is_wrong_counts_nowhere(runs, database, tmp_path, capsys):
    """Of twelve cases A leaves out the first two, one of them confirmed before, and B the first."""
    first, second, third = listed_in(runs[0], TASK)[:3]
    rate(database, runs[0], "A", lambda number: [1] if number < 2 else [2])
    database.leave_out("A", first, True)
    database.leave_out("A", second, True)
    database.leave_out("A", third, True)
    database.leave_out("A", third, False)
    found = scores(runs[0])[TASK]
    assert (found["scored"], found["left_out"]) == (CASES - 2, 2)
    assert [found["figures"][f"top{k}_accuracy"]["value"] for k in (1, 2)] == [0, 1]
    rate(database, runs[0], "B", lambda number: [1])
    database.leave_out("B", first, True)
    found = scores(runs[0])[TASK]
    # The second counts by B alone, the first by nobody; a mark is never lost.
    assert (found["scored"], found["left_out"]) == (CASES - 1, 3)
    assert found["figures"]["top1_accuracy"]["value"] == pytest.approx((1 + (CASES - 2) / 2) / (CASES - 1))
    assert database.review("A", first).marks[1] and database.review("A", first).settled

    assert main(["ratings", "show", str(runs[0].path), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(line["rater"], line["rated"], line["left_out"]) for line in shown["ratings"]] == [
        ("A", CASES - 2, 2),
        ("B", CASES - 1, 1),
        ("(mean)", CASES - 1, 3),
    ]
    between = next(pair["agreement"] for pair in shown["agreement"] if (pair["a"], pair["b"]) == ("A", "B"))
    assert (between["cases"], between["wrong_reference"], between["left_out"]) == (CASES - 2, 2, 0)
    assert main(["ratings", "show", str(runs[0].path)]) == 0
    assert "left out" in capsys.readouterr().out

    # By files the figures are the same, and the cases left out stay known.
    for rater in "AB":
        arguments = ["ratings", "export", str(runs[0].path), "--rater", rater]
        assert main([*arguments, "--output", str(tmp_path / f"{rater}.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "A.jsonl").read_text().splitlines()]
    assert lines[:2] == [{"id": first.id, "left_out": True}, {"id": second.id, "left_out": True}]
    assert len(lines) == 2 + 10 * (CASES - 2)
    again = agreement(tmp_path / "A.jsonl", tmp_path / "B.jsonl")
    assert again == agreement(f"{database.path}:A", f"{database.path}:B") and asdict(again) == between
    assert main(["agreement", str(tmp_path / "A.jsonl"), str(tmp_path / "B.jsonl")]) == 0
    assert "2 cases are left out: a rater calls the reference wrong" in capsys.readouterr().out
    assert "3 times that a case is left out" in "".join(read_results([runs[0].path])[1])


def test_an_output_without_a_list_is_no_miss_where_the_reference_is_wrong(runs):
    ratings = Ratings(database_of(runs[1], TASK))
    rate(ratings, runs[1], "A", lambda number: [1])
    ratings.leave_out("A", listed_in(runs[1], TASK)[UNREADABLE], True)
    ratings.close()
    found = scores(runs[1])[TASK]
    assert (found["scored"], found["left_out"]) == (CASES - 1, 1)
    assert found["figures"]["top10_accuracy"]["value"] == 1


def test_ratings_of_the_former_schema_are_read_and_go_on(runs, database):
    listed = listed_in(runs[0], TASK)[0]
    database.confirm("A", listed, matches=[1], unsure=True, comment="old")
    database.close()
    former = sqlite3.connect(database.path)
    former.execute("ALTER TABLE review DROP COLUMN left_out")
    former.execute("PRAGMA user_version = 1")
    former.close()
    old = read_reviews(database.path)["A"][listed.id]
    assert (old.confirmed, old.unsure, old.comment, old.left_out) == (True, True, "old", False)
    again = Ratings(database.path)
    again.leave_out("A", listed, True)
    assert again.review("A", listed) == replace(old, left_out=True)
    again.close()


def test_the_order_is_each_raters_own_and_stays_when_a_run_is_added(runs):
    both, one = items_of(runs, shared=False), items_of(runs[:1], shared=False)
    assert len(both) == 2 * CASES
    order = in_order(both, rater="A", seed=1)
    assert order == in_order(reversed(both), rater="A", seed=1)
    assert [item for item in order if item in one] == in_order(one, rater="A", seed=1)
    assert order != in_order(both, rater="B", seed=1) and order != in_order(both, rater="A", seed=2)
    databases = [item.database for item in order]
    assert databases != sorted(databases) and len(set(databases[:CASES])) == 2


def test_a_folder_of_runs_is_rated_without_those_that_list_no_diagnoses(runs, tmp_path):
    other = mibe.evaluate(
        model=lambda prompts: ["yes"] * len(prompts), tasks="pubmedqa", limit=3, output_dir=tmp_path / "runs"
    )
    found, left_out = rated_runs([tmp_path / "runs", runs[0].path])
    assert [run.path for run in found] == sorted(run.path.resolve() for run in runs)
    (line,) = left_out
    assert line.startswith("left out: ") and f"{other.path.name} has no diagnoses to rate" in line
    with pytest.raises(UsageError, match="has no diagnoses to rate"):
        rated_runs([other.path])


def test_other_data_other_tasks_and_credentialed_text_are_refused(runs, tmp_path, monkeypatch):
    record = json.loads((runs[0].path / "run.json").read_text())
    record["tasks"][TASK]["data"]["sha256"] = "0" * 64
    (runs[0].path / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="not those that"):
        items_of([load_run(runs[0].path)], shared=False)
    record["tasks"] = {"pubmedqa": record["tasks"][TASK]}
    (runs[0].path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="no diagnoses to rate"):
        items_of([load_run(runs[0].path)], shared=False)
    private = replace(load_task(TASK), access=credentialed("an agreement"))
    assert is_credentialed(private)
    monkeypatch.setattr(rating_cases, "task_of", lambda record, name: private)
    assert items_of(runs[1:], shared=False)
    with pytest.raises(DataUseError, match="not shown over a network"):
        items_of(runs[1:], shared=True)


def test_agreement_takes_the_database_the_export_and_the_judges_log(runs, database, tmp_path, capsys):
    run = runs[0]
    rate(database, run, "A", lambda number: [rank_of(number)])
    rate(database, run, "Dr B", lambda number: [1 + number % 4], cases=range(10))
    path = str(database.path)
    found = agreement(f"{path}:A", f"{path}:Dr B")
    a = [[rank == rank_of(n) for rank in range(1, 11)] for n in range(10)]
    b = [[rank == 1 + n % 4 for rank in range(1, 11)] for n in range(10)]
    assert found.kappa.value == pytest.approx(cohen_kappa_score(np.ravel(a), np.ravel(b)))
    assert (found.n, found.cases, found.left_out) == (100, 10, 20)
    assert main(["ratings", "export", str(run.path), "--rater", "Dr B", "--output", str(tmp_path / "b.jsonl")]) == 0
    assert agreement(f"{path}:A", tmp_path / "b.jsonl") == found
    lines = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert lines[:2] == [{"id": "case-0", "rank": 1, "match": True}, {"id": "case-0", "rank": 2, "match": False}]
    # The judge stops at the first match, and at rank 5.
    judged = agreement(run.path / "samples" / f"{TASK}.jsonl", f"{path}:A")
    assert judged.n == sum(min(rank_of(number), 5) for number in range(CASES)) and judged.kappa.value == 1
    with pytest.raises(UsageError, match="has confirmed ratings of A, Dr B; name one"):
        agreement(path, tmp_path / "b.jsonl")
    with pytest.raises(UsageError, match="name one"):
        agreement(f"{path}:C", tmp_path / "b.jsonl")
    assert main(["agreement", f"{path}:A", f"{path}:Dr B", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["kappa"]["value"] == found.kappa.value


def test_ratings_of_a_list_that_a_run_no_longer_has_are_left_out(runs, database):
    rate(database, runs[0], "A", lambda number: [1])
    log = runs[0].path / "samples" / f"{TASK}.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows[-1]["prediction"] = rows[-1]["prediction"][1:]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert scores(runs[0])[TASK]["scored"] == CASES - 1
    assert agreement(database.path, database.path).cases == CASES - 1


def test_show_has_a_line_a_rater_and_their_agreement(runs, database, capsys):
    with pytest.raises(SystemExit):
        main(["ratings", "show"])
    assert main(["ratings", "show", str(runs[0].path)]) == 2
    assert "nobody has confirmed" in capsys.readouterr().err
    rate(database, runs[0], "A", lambda number: [rank_of(number)])
    rate(database, runs[0], "B", lambda number: [rank_of(number)], cases=range(6))
    arguments = ["ratings", "show", *(str(run.path) for run in runs), "--format"]
    assert main([*arguments, "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(line["rater"], line["rated"], line["of"]) for line in found["ratings"]] == [
        ("A", 12, 12),
        ("B", 6, 12),
        ("(mean)", 12, 12),
    ]
    assert [(pair["a"], pair["b"], pair["agreement"]["kappa"]["value"]) for pair in found["agreement"]] == [
        ("A", "B", 1.0),
        ("A", "judge", 1.0),
        ("B", "judge", 1.0),
    ]
    assert main([*arguments, "text"]) == 0
    text = capsys.readouterr().out
    assert "Cohen's kappa" in text and "12/12" in text and "0.167" in text
    assert main([*arguments, "csv"]) == 0
    assert "top5_accuracy_high" in capsys.readouterr().out


def test_people_have_a_column_of_their_own_on_the_leaderboard(runs, database, tmp_path):
    rate(database, runs[0], "A", lambda number: [rank_of(number)])
    other = Ratings(database_of(runs[1], TASK))
    rate(other, runs[1], "A", lambda number: [1], cases=range(6))
    other.close()
    (board,) = leaderboard([tmp_path / "runs"], published="none")
    columns = [(column.dataset, column.metric) for column in board.columns]
    assert columns == [(TASK, "top1_accuracy"), (f"{TASK}_human", "top1_accuracy"), (f"{TASK}_human", "top5_accuracy")]
    by_name = {row.name: row for row in board.rows}
    cells = [by_name[name].cells[board.columns[2]] for name in MODELS]
    assert cells[0].value == pytest.approx(np.mean([rank_of(n) <= 5 for n in range(CASES)])) and not cells[0].partial
    assert (cells[1].value, cells[1].n, cells[1].partial) == (pytest.approx(6 / 7), 7, True)
    assert f"{MODELS[0]}, {TASK}: rated by 1 person ({runs[0].path.name})" in board.run_notes
    text = write_page([board], tmp_path / "site").read_text(encoding="utf-8")
    assert "NEJM CPC, rated by people" in text and "top-5 accuracy" in text
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])["boards"][0]
    assert len(data["topk"]) == 4 and len(data["outcomes"][0]["tasks"]) == 1


def test_people_rate_one_draw_of_several(runs, database):
    rate(database, runs[0], "A", lambda number: [rank_of(number)])
    once = {result.task: result for result in read_results([runs[0].path])[0]}
    log = runs[0].samples_path(TASK)
    rows = [row | {"draw": draw} for row in latest_rows(log) for draw in (0, 1)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    record = json.loads((runs[0].path / "run.json").read_text(encoding="utf-8"))
    record["tasks"][TASK]["repeats"] = {"draws": 2, "documents": CASES, "figures": {}}
    (runs[0].path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    found = {result.task: result for result in read_results([runs[0].path])[0]}
    assert [found[task].name for task in (TASK, f"{TASK}_human")] == [f"{MODELS[0]} (avg@2)", MODELS[0]]
    assert found[f"{TASK}_human"].part == once[f"{TASK}_human"].part
    assert found[f"{TASK}_human"].model == once[TASK].model != found[TASK].model


def test_ratings_that_cannot_be_read_are_a_note_and_no_end(runs, tmp_path):
    database = database_of(runs[0], TASK)
    database.parent.mkdir()
    database.write_text("not a database at all " * 40)
    (board,) = leaderboard([tmp_path / "runs"], published="none")
    assert any("without the ratings of people" in note for note in board.run_notes)
    assert len(board.rows) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "every interface"),
        (["--host", "192.0.2.1"], "--allow-network"),
        (["--host", "example.org"], "IP address"),
        (["--host", "192.0.2.1", "--allow-network"], "cannot listen"),
        (["--port", "70000"], "cannot listen"),
        (["--rater", "a:b"], "no colon"),
        (["--rater", " "], "1 to 60"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(runs, capsys, arguments, message):
    assert main(["rate", str(runs[0].path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_the_extra_the_message_says_what_to_install(runs):
    code = (
        "import sys\nsys.modules['uvicorn'] = None\nfrom mibe.cli import main\nsys.exit(main(['rate', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(runs[0].path)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 2 and 'pip install "mibe[rate]"' in done.stderr
