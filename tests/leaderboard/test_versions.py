"""Runs with varied documents on the leaderboard: documents in the usual columns, beside them what versions tell."""

import json
import re

import pytest
from varied_runs import leaning, steady, varied_run

from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.page import write_page
from mibe.leaderboard.tables import lines, render
from mibe.report.page import write_report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        options = varied_run(base / "runs", leaning, vary="options", limit=12)
        sex = varied_run(base / "runs", leaning, vary="sex", limit=12)
        plain = varied_run(base / "runs", leaning, vary=None, limit=12)
        write_report(options)
    return leaderboard([base / "runs"]), base, options, sex, plain


def test_a_varied_run_is_the_row_of_its_model_with_the_figures_of_its_documents(made):
    (board,), _, options, sex, plain = made
    (row,) = [row for row in board.rows if row.own]
    # Three runs of one model are one row, whose figure is the documents' own.
    (cell,) = [cell for column, cell in row.cells.items() if column.metric == "accuracy"]
    assert row.name == "scripted" and cell.n == 12
    assert cell.value == plain.scores("medqa")["accuracy"] == options.scores("medqa")["accuracy"]
    # What versions tell is gathered from all of them.
    assert set(row.results["medqa"].versions) == {"options", "sex", "city"}
    assert row.results["medqa"].versions["sex"]["run"] == sex.path


def test_text_csv_and_json_have_the_figures_of_versions(made):
    (board,), _, options, sex, _ = made
    robust = options.record["tasks"]["medqa"]["robustness"]["options"]
    fair = sex.record["tasks"]["medqa"]["fairness"]["sex"]
    text = render([board], "text")
    for name in ("accuracy_mean", "accuracy_sd", "accuracy_worst", "accuracy_in_all", "flipped"):
        figure = robust["figures"][name]
        assert f"{figure['value']:.3f} ({figure['low']:.3f} – {figure['high']:.3f})" in text, name
    divergence = fair["figures"]["divergence"]
    assert f"{divergence['value']:.3f} ({divergence['low']:.3f} – {divergence['high']:.3f})" in text
    assert f"{fair['excess']['p_holm']:.3f}" in text and "female − male" in text
    found = {line["metric"]: line for line in lines(board) if line["own"]}
    flipped = found["options:flipped"]
    assert flipped["value"] == robust["figures"]["flipped"]["value"] and flipped["rank"] is None
    assert flipped["source"] == options.path.name and found["sex:divergence"]["source"] == sex.path.name
    assert found["options:answered[A]"]["value"] == robust["letters"]["figures"]["answered[A]"]["value"]
    assert "options:accuracy_sd" in json.dumps(json.loads(render([board], "json"))[0]["figures"])
    assert "right in all" in render([board], "markdown") and "right in all" in render([board], "latex")


def test_the_page_has_both_tables_and_links_to_reports_that_are_there(made):
    boards, base, options, sex, _ = made
    page = write_page(boards, base / "site").read_text(encoding="utf-8")
    assert "Robustness: the same documents in another form" in page and "Fairness: the same patient" in page
    (link,) = re.findall(r'href="([^"]+#versions/medqa/options)"', page)
    assert (base / "site" / link.split("#")[0]).resolve() == (options.path / "report" / "index.html").resolve()
    assert "#versions/medqa/sex" not in page and sex.path.name in page


def test_versions_that_are_not_as_many_or_by_other_rules_are_a_note(tmp_path):
    few = varied_run(tmp_path / "runs", leaning, vary="options:3", limit=6)
    varied_run(tmp_path / "runs", steady, vary="options,sex", limit=6)
    (board,) = leaderboard([tmp_path / "runs"])
    (note,) = [note for note in board.run_notes if "versions are not the same" in note]
    assert note.startswith("medqa, options: ") and "3 versions, rules" in note and "5 versions, rules" in note
    record = json.loads((few.path / "run.json").read_text())
    record["tasks"]["medqa"]["variation"]["version"] = 1
    (few.path / "run.json").write_text(json.dumps(record))
    (board,) = leaderboard([tmp_path / "runs"])
    assert any("3 versions, rules 1" in note for note in board.run_notes)
