"""The report of a run whose documents were asked in several versions, and of two such runs beside each other."""

import json
import re

import pytest
from varied_runs import leaning, steady, varied_run

from mibe.registry import load_task
from mibe.report import page as report_page
from mibe.report.comparison import write_comparison
from mibe.report.page import write_report
from mibe.report.prompts import documents_of
from mibe.report.versions import version_columns, versions_view
from mibe.variation import Variation

VARY = "options,noise,sex"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("versions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        runs = [varied_run(base / "runs", model, vary=VARY, limit=12) for model in (leaning, steady)]
        report = write_report(runs[0], base / "report").parent
        beside = write_comparison(*runs, base / "beside").parent
        patch.setattr(report_page, "is_credentialed", lambda task: True)
        private = write_report(runs[0], base / "private").parent
    return runs, report, beside, private


def data_of(path):
    return json.loads(re.fullmatch(r'mibeData\("[^"]+",(.*)\);\n', path.read_text(encoding="utf-8"), re.S)[1])


def shown(folder):
    """The page's text, its white space as one blank."""
    return " ".join(re.sub(r"<[^>]+>", " ", (folder / "index.html").read_text(encoding="utf-8")).split())


def test_every_figure_stands_there_with_its_interval_and_a_link_to_its_samples(made):
    (run, _), report, _, _ = made
    part = run.record["tasks"]["medqa"]
    page, text = (report / "index.html").read_text(encoding="utf-8"), shown(report)
    robust = part["robustness"]["options"]
    links = {
        "accuracy_mean": "options", "accuracy_sd": "options", "accuracy_in_all": "options/stays",
        "accuracy_worst": f"options%3A{robust['worst']}/wrong", "flipped": "options/changes",
    }  # fmt: skip
    for name, link in links.items():
        figure = robust["figures"][name]
        value = f'<a href="#versions/medqa/{link}">{figure["value"]:.3f}</a>'
        assert f"{value}<small>{figure['low']:.3f} – {figure['high']:.3f}</small>" in page, name
    for attribute in ("sex", "city"):
        figure = part["fairness"][attribute]["figures"]["divergence"]
        assert f'<a href="#versions/medqa/{attribute}/changes">{figure["value"]:.3f}</a>' in page
    excess, gap = part["fairness"]["sex"]["excess"], part["fairness"]["sex"]["gaps"]["female − male"]
    for found in (excess, gap):
        assert f"{found['value']:+.3f} {found['low']:+.3f} to {found['high']:+.3f} {found['p_holm']:.3f}" in text
    assert f"{gap['only_value']} : {gap['only_first']}" in text
    for reason, count in part["variation"]["refused"]["sex"].items():
        assert f"sex {reason} {count}" in text
    # The usual table is of the documents themselves.
    assert f"{part['figures']['accuracy']['value']:.3f} {part['figures']['accuracy']['low']:.3f}" in text
    assert "Documents varied in" in text and VARY in text


def test_the_columns_say_which_samples_are_versions_of_which_document(made):
    (run, _), report, _, private = made
    index = data_of(report / "data" / "0" / "index.js")
    of = index["versions"]
    rows = {row["id"]: row for row in run.rows("medqa")}
    assert of["ways"] == ["options", "noise", "sex", "city"]
    for number, ident in enumerate(index["ids"]):
        row = rows[ident]
        stands = row.get("variant", {}).get("stands", {})
        assert [of["names"][place] for place in of["stands"][number]] == [f"{w}:{v}" for w, v in stands.items()]
        document = row.get("variant", {}).get("of", ident)
        assert of["itself"][number] == (document == ident)
        assert of["documents"][number] == of["documents"][index["ids"].index(document)]
        letters = {
            other["variant"]["order"]["ABCDE".index(other["prediction"])]
            for other in rows.values()
            if other.get("variant", {}).get("of") == document and "options" in other["variant"]["stands"]
        }
        assert (of["ways"].index("options") in of["changing"][number]) == (len(letters) > 1)
    alone = data_of(private / "data" / "0" / "index.js")["versions"]
    # What was answered is not told of a credentialed task, not even whether it changes.
    assert not any(alone["changing"]) and alone["stands"] == of["stands"]
    assert '/changes">' not in (private / "index.html").read_text(encoding="utf-8")


def test_versions_are_made_of_the_documents_of_the_run_alone(made, monkeypatch):
    run = made[0][0]
    rows = list(run.rows("medqa"))
    varied, of = [], Variation.of

    def watched(self, document, refused=None):
        varied.append(document.id)
        return of(self, document, refused)

    monkeypatch.setattr(Variation, "of", watched)
    documents = documents_of("medqa", run.record, rows)
    asked = {row["id"].partition("~")[0] for row in rows}
    assert len(asked) == 12 and len(rows) > 12
    assert sorted(varied) == sorted(asked)
    assert set(documents.examples) == {row["id"] for row in rows}
    # Each prompt has the hash of the one that was asked, that of a version too.
    assert all(documents.prompt(row)[0] for row in rows)


def test_a_run_without_versions_has_nothing_of_it(made):
    (run, _), *_ = made
    assert (
        versions_view({key: value for key, value in run.record["tasks"]["medqa"].items() if key != "versions"}) is None
    )
    assert version_columns(load_task("medqa"), [{"id": "1", "prediction": "A"}], private=False) is None


def test_two_runs_stand_beside_each_other_in_each_figure_of_versions(made):
    _, _, beside, _ = made
    text, page = shown(beside), (beside / "index.html").read_text(encoding="utf-8")
    for name in ("options:accuracy_sd", "options:flipped", "noise:accuracy_worst", "sex:divergence"):
        assert name in text
    assert 'href="#versions/medqa/options"' in page
    # Documents are counted, not their versions.
    assert re.search(r"MedQA[^%]* 12 ", text)


@pytest.mark.browser
def test_versions_are_filtered_linked_to_and_put_beside_each_other(browser, made):
    (run, _), report, beside, _ = made
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))

    def found(count):
        page.wait_for_function(
            "text => document.getElementById('found').textContent.startsWith(text)", arg=f"{count} of "
        )

    def opened(address):
        page.goto("about:blank")
        page.goto((report / "index.html").as_uri() + address)
        page.wait_for_selector("#sample dl")

    rows = list(run.rows("medqa"))
    of_options = [row for row in rows if "options" in row.get("variant", {}).get("stands", {})]
    opened("#versions/medqa/options")
    found(len(of_options))
    page.locator("#filter-version").select_option("itself")
    found(12)
    page.locator("#filter-version").select_option("options:2")
    found(sum(row["variant"]["stands"].get("options") == "2" for row in of_options))
    page.locator("#filter-changing").select_option("changes")
    changes, stays = run.record["tasks"]["medqa"]["robustness"]["options"]["figures"]["changed"]["value"], 1
    documents = len({row["variant"]["of"] for row in of_options})
    found(round(documents * changes))
    opened("#versions/medqa/options/stays")
    found(5 * round(documents * (stays - changes)))
    page.get_by_role("link", name="wrong").click()
    found(
        sum(
            row["prediction"] != row["target"]
            for row in rows
            if row.get("variant", {}).get("of", row["id"]) == row["id"]
        )
    )
    opened(f"#sample/medqa/{of_options[1]['variant']['of']}")
    table = page.locator("table.beside")
    versions = [row for row in rows if row.get("variant", {}).get("of") == of_options[1]["variant"]["of"]]
    assert table.locator("tbody tr").count() == len(versions)
    third = next(row for row in versions if row["variant"]["stands"] == {"options": "2"})
    line = table.locator("tr", has_text="options: 2")
    place = third["variant"]["order"]["ABCDE".index(third["prediction"])]
    assert f"{third['prediction']} (option {place} of the document)" in line.inner_text()
    line.get_by_role("link").click()
    page.wait_for_function("text => document.querySelector('#sample h3 bdi').textContent === text", arg=third["id"])
    page.goto((beside / "index.html").as_uri() + "#versions/medqa/options:1")
    page.wait_for_selector("#sample dl")
    assert page.locator("#filter-version").input_value() == "options:1"
    context.close()
    assert troubles == []
