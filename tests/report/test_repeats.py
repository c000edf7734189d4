"""The report of a run with several draws a document: every draw a sample, found by its id and number."""

import json
import re

import pytest
from drawn_runs import drawn_run
from scripted import Scripted

from mibe.report.page import write_report
from mibe.report.samples import in_order


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        models = [Scripted(lambda _, word=word: f"I say {word}") for word in ("yes", "no", "maybe")]
        return write_report(drawn_run(base, models, tasks="pubmedqa", limit=12)).parent


def data_of(path):
    return json.loads(re.fullmatch(r'mibeData\("[^"]+",(.*)\);\n', path.read_text(encoding="utf-8"), re.S)[1])


def test_the_draws_of_a_document_stand_together(folder):
    index = data_of(folder / "data" / "0" / "index.js")
    assert len(index["ids"]) == len(set(index["ids"])) == 36 and index["draws"] == [0, 1, 2] * 12
    assert [name.split(", draw ")[1] for name in index["ids"]] == ["0", "1", "2"] * 12
    assert data_of(folder / "data" / "0" / "outputs-0.js")[:3] == [
        ["I say ", word, ""] for word in ("yes", "no", "maybe")
    ]
    rows = [{"id": ident, "draw": draw} for draw in (10, 2) for ident in ("b/10", "b/9")]
    assert [(row["id"], row["draw"]) for row in in_order(rows)] == [("b/9", 2), ("b/9", 10), ("b/10", 2), ("b/10", 10)]


def test_the_page_says_that_figures_are_means_over_draws(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    for said in ("avg@3", "3 of each document", "12 × 3", "accuracy_maj@3", "accuracy_sd", "pubmedqa 12 of 500"):
        assert said in page, said


@pytest.mark.browser
def test_draws_are_filtered_found_and_linked_to(browser, folder):
    context = browser.new_context()
    page = context.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))

    def found(count):
        page.wait_for_function(
            "text => document.getElementById('found').textContent.startsWith(text)", arg=f"{count} of "
        )

    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("#sample dl")
    found(36)
    page.locator("#filter-draw").select_option("1")
    found(12)
    assert page.locator("#sample h3 bdi").inner_text().endswith(", draw 1")
    assert page.locator("#sample mark").inner_text() == "no"
    page.get_by_role("button", name="Clear").click()
    page.locator("#find").fill("draw 2")
    found(12)
    page.locator(".row").nth(1).click()
    name = page.locator("#sample h3 bdi").inner_text()
    address = page.evaluate("location.hash")
    again = context.new_page()
    again.goto((folder / "index.html").as_uri() + address)
    again.wait_for_selector("#sample dl")
    assert again.locator("#sample h3 bdi").inner_text() == name and name.endswith(", draw 2")
    context.close()
    assert troubles == []
