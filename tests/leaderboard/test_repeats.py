"""Means over draws beside single runs on the leaderboard: a row of their own, marked."""

import json

import pytest
from drawn_runs import drawn_run
from scripted import Scripted

import mibe
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.runs import read_results
from mibe.leaderboard.tables import lines, render


@pytest.fixture
def boards(tmp_path):
    once = mibe.evaluate(
        model=Scripted(lambda _: "no"), tasks="pubmedqa", output_dir=tmp_path / "runs", use_cache=False, resamples=50
    )
    drawn = drawn_run(tmp_path / "drawn", [Scripted(lambda _: "yes"), Scripted(lambda _: "no")], tasks="pubmedqa")
    return leaderboard([once.path, drawn.path], published="v2"), once, drawn


def test_a_mean_over_draws_is_a_row_of_its_own(boards):
    (board,), _, drawn = boards
    own = {row.name: row for row in board.rows if row.own}
    assert own.keys() == {"scripted", "scripted (avg@2)"}
    values = {
        (line["model"], line["metric"]): line for line in lines(board) if line["own"] and line["dataset"] == "pubmedqa"
    }
    single, mean = values["scripted", "accuracy"], values["scripted (avg@2)", "accuracy"]
    assert (single["draws"], single["n"], single["of"]) == (1, 500, 500)
    assert (mean["draws"], mean["n"], mean["of"]) == (2, 500, 500)
    assert mean["value"] == drawn.scores("pubmedqa")["accuracy"] == pytest.approx((276 + 169) / 1000)
    # All documents are scored: it has a rank, as a part of them would not.
    assert mean["rank"] is not None and "the mean of 2 draws" in mean["note"]
    assert drawn.record["tasks"]["pubmedqa"]["repeats"]["documents"] == 500


def test_the_number_of_draws_stands_beside_what_else_is_unusual(boards):
    _, _, drawn = boards
    record = json.loads((drawn.path / "run.json").read_text())
    record["settings"]["temperature"] = 0.7
    (drawn.path / "run.json").write_text(json.dumps(record))
    assert [result.name for result in read_results([drawn.path])[0]] == ["scripted (temperature 0.7, avg@2)"]


def test_the_page_and_the_text_say_so(boards):
    text = render(boards[0], "text")
    assert "(avg@2)" in text and "Rows marked avg@k are means over k draws of each document" in text
    assert "scripted (avg@2)" in json.dumps(json.loads(render(boards[0], "json"))[0]["figures"])


def test_the_papers_single_answer_is_not_compared_with_a_mean(tmp_path):
    models = [Scripted(lambda _: "yes"), Scripted(lambda _: "no")]
    for model in models:
        model.name = "LLaMA2-13B-chat"
    run = drawn_run(tmp_path, models, tasks="pubmedqa", protocol="paper")
    (board,) = leaderboard([run.path], references={"LLaMA2-13B-chat (avg@2)": "LLaMA2-13B-chat"})
    row = next(row for row in board.rows if row.own)
    answers = {str(cell.answer) for cell in row.cells.values()}
    assert answers == {"not comparable: the mean of 2 draws, the paper has one"}
