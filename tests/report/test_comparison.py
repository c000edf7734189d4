"""Two runs side by side: which samples differ and how, what the files hold, and what a reader does with the page."""

import json
import re

import pytest
from scripted import Scripted

import mibe
from mibe.cli import main
from mibe.data import store
from mibe.errors import UsageError
from mibe.report import comparison
from mibe.report.comparison import KINDS, write_comparison
from mibe.report.page import write_report


def run_of(base, name, answers, **settings):
    """A run of a model that gives these answers in turn, by the number in a document's place."""
    order = {example.inputs["question"]: n for n, example in enumerate(store.iter_examples("pubmedqa", "test"))}

    def answer(prompt):
        number = next(n for question, n in order.items() if question in prompt)
        return answers[number % len(answers)]

    model = Scripted(answer, identity=name)
    model.name = name
    arguments = {"tasks": "pubmedqa", "limit": 40, "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=base / "runs", use_cache=False, **arguments)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("beside")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        return run_of(base, "first", ["I say yes", "no"]), run_of(base, "second", ["yes", "maybe, or no: maybe"])


def handed_over(path):
    return json.loads(re.fullmatch(r'mibeData\("[^"]+",(.*)\);\n', path.read_text(encoding="utf-8"), re.S)[1])


def expected(runs):
    """Id → how it differs, counted from the logs."""
    a, b = ({row["id"]: row for row in run.samples("pubmedqa").to_dict("records")} for run in runs)
    found = {}
    for ident in a:
        (first, second), target = (a[ident]["prediction"], b[ident]["prediction"]), a[ident]["target"]
        if first != second:
            found[ident] = 0 if first == target else 1 if second == target else 2
    return found


def test_the_samples_that_differ_are_there_with_both_outputs_and_how_they_differ(runs, tmp_path):
    folder = write_comparison(*runs, tmp_path / "site").parent
    index = handed_over(folder / "data" / "0" / "index.js")
    differ = expected(runs)
    assert dict(zip(index["ids"], index["between"], strict=True)) == differ
    assert 0 < len(differ) < 40 and set(differ.values()) >= {0, 1}
    outputs = handed_over(folder / "data" / "0" / "outputs-0.js")
    assert all("".join(a) == "no" and "".join(b) == "maybe, or no: maybe" for a, b in outputs)
    details = handed_over(folder / "data" / "0" / "details-0.js")
    for ident, detail in zip(index["ids"], details, strict=True):
        assert (detail["prediction"], detail["other"]["prediction"]) == ("no", "maybe")
        assert (detail["scores"]["accuracy"] == 1) == (differ[ident] == 0)
        # One prompt, since both got the same.
        assert detail["prompt"].startswith("Your task") and detail["other"]["prompt"] is None
    page = (folder / "index.html").read_text(encoding="utf-8")
    for kind in range(3):
        count = list(differ.values()).count(kind)
        assert f'href="#differ/pubmedqa/{kind}">{count}</a>' in page or count == 0
    assert all(kind in page for kind in KINDS)


def test_nothing_of_a_credentialed_text_is_in_any_file(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "is_credentialed", lambda task: True)
    folder = write_comparison(*runs, tmp_path / "site").parent
    assert sorted(p.name for p in (folder / "data" / "0").iterdir()) == ["details-0.js", "index.js"]
    for path in (folder / "data").rglob("*.js"):
        assert "maybe" not in path.read_text() and "Your task" not in path.read_text()
    details = handed_over(folder / "data" / "0" / "details-0.js")
    assert all(set(detail) == {"scores", "other"} and set(detail["other"]) == {"scores"} for detail in details)


def test_the_command_writes_it_into_the_first_run_and_refuses_what_cannot_be_compared(runs, tmp_path, capsys):
    assert main(["report", *(str(run.path) for run in runs)]) == 0
    written = runs[0].path / f"report-beside-{runs[1].path.name}" / "index.html"
    assert capsys.readouterr().out.strip() == str(written) and written.is_file()
    other = run_of(tmp_path, "third", ["yes"], num_fewshot=1)
    with pytest.raises(UsageError, match="numbers of worked examples differ"):
        write_comparison(runs[0], other)


@pytest.mark.browser
def test_a_way_to_differ_is_one_click_from_its_count_and_both_outputs_stand_side_by_side(runs, tmp_path, browser):
    page = browser.new_page()
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(write_comparison(*runs, tmp_path / "site").as_uri())
    page.wait_for_selector("#sample dl")
    kinds = list(expected(runs).values())
    page.locator('a[href="#differ/pubmedqa/1"]').click()
    page.wait_for_function(
        "text => document.getElementById('found').textContent.startsWith(text)", arg=f"{kinds.count(1)} of {len(kinds)}"
    )
    assert page.locator(".row").first.locator(".mark").evaluate_all("all => all.map((m) => m.ariaLabel)") == [
        "A wrong",
        "B right",
    ]
    sides = page.locator("#sample .sides > div")
    # At one moment: the page may still be scrolling to the samples.
    first, second = sides.evaluate_all("all => all.map((side) => side.getBoundingClientRect().toJSON())")
    assert first["top"] == second["top"] and first["right"] <= second["left"]
    assert [side.locator("pre").inner_text() for side in sides.all()] == ["no", "maybe, or no: maybe"]
    page.close()
    assert troubles == []


@pytest.mark.browser
def test_wrong_answers_are_one_click_from_the_score_samples_are_sorted_and_the_search_says_where(
    runs, tmp_path, browser
):
    page = browser.new_page()
    page.goto(write_report(runs[1], tmp_path / "site").as_uri())
    page.wait_for_selector("#sample dl")
    rows = runs[1].samples("pubmedqa").to_dict("records")
    wrong = sum(row["scores"]["accuracy"] == 0 for row in rows)
    page.get_by_role("link", name=f"{wrong} wrong").click()
    page.wait_for_function(
        "text => document.getElementById('found').textContent === text", arg=f"{wrong} of 40 samples"
    )
    page.get_by_role("button", name="Clear").click()
    page.locator("#sort").select_option("score down")
    marks = page.locator(".row .mark")
    assert marks.first.get_attribute("aria-label") == "right"
    page.locator("#list").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    page.wait_for_selector('.row[aria-posinset="40"]')
    assert marks.last.get_attribute("aria-label") == "wrong"
    page.locator("#find").fill("maybe, or")
    there = sum("maybe, or" in row["output"] for row in rows)
    page.wait_for_function(
        "text => document.getElementById('found').textContent === text",
        arg=f"{there} of 40 samples, looked for in ids and outputs",
    )
    page.locator("#find").fill("nowhere to be found")
    page.wait_for_function("() => document.getElementById('sample').textContent.includes('Prompts were not looked')")
    page.locator("#find-in").select_option("prompts")
    page.wait_for_function("() => document.getElementById('found').textContent.endsWith('ids, outputs and prompts')")
    page.close()
