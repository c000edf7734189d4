"""The page of a run's report in a real browser: what a reader does with it, and what a hostile output does not."""

import re
import time

import pytest
from scripted import Scripted

import mibe
from mibe.models.base import Response
from mibe.report import page as report_page
from mibe.report.page import write_report

pytestmark = pytest.mark.browser

HOSTILE = {
    "script": '<script>document.title="gone"</script><img src=x onerror="document.title=1">&amp; yes',
    "broken": "</pre></article></body><table><b><!-- </bdi>\nyes ",
    "long": "yes: " + "x" * 999_999 + " end",
    "turned": "\u202eyes\u2066, evil \u05d0\u05d1 \u0000\u001b[31m red",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report of three tasks: hostile outputs and their like, letters, and one that is taken for credentialed."""
    base = tmp_path_factory.mktemp("report")
    strange = iter(HOSTILE.values())

    def answer(prompt):
        text = "B"
        if "CONTEXT" in prompt:
            text = next(strange, "It seems that the answer is yes, in Winnipeg")
        tokens = {"prompt_tokens": len(prompt.split()), "new_tokens": len(text.split())}
        return Response(text=text, finish_reason="stop", seconds=len(prompt) / 1e4, **tokens)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        model = Scripted(answer)
        model.name = HOSTILE["script"]
        run = mibe.evaluate(
            model=model,
            tasks="pubmedqa,mmlu_medical,medqa",
            limit=150,
            output_dir=base / "runs",
            use_cache=False,
            resamples=50,
        )
        patch.setattr(report_page, "is_credentialed", lambda task: task.name == "medqa")
        return write_report(run, base / "site").parent


@pytest.fixture
def opened(browser, folder):
    """Opens the page; at the end nothing was said on the console and nothing was asked of another machine."""
    troubles, contexts = [], []

    def watch(request):
        if not request.url.startswith(("file://", "data:", "blob:")):
            troubles.append(request.url)

    def open_page(address="", **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", watch)
        page.goto((folder / "index.html").as_uri() + address)
        page.wait_for_selector("#sample dl")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def found(page, count):
    page.wait_for_function("text => document.getElementById('found').textContent.startsWith(text)", arg=f"{count} of ")


def test_samples_are_filtered_by_outcome_answer_label_and_text(opened):
    page = opened()
    found(page, 150)
    page.locator("#filter-right").select_option("wrong")
    wrong = int(page.locator("#found").inner_text().split()[0])
    assert 0 < wrong < 150
    page.locator("#filter-gold").select_option("yes")
    found(page, 0)
    assert "No sample" in page.locator("#sample").inner_text()
    page.get_by_role("button", name="Clear").click()
    found(page, 150)
    page.locator("#find").fill("DOCUMENT.title")
    found(page, 1)
    page.locator("#find").fill("winnipeg")
    found(page, 146)
    page.locator("#find").fill("earlier from winnipeg hospitals")
    found(page, 0)
    page.locator("#find-in").select_option("prompts and outputs")
    page.wait_for_function("() => !document.getElementById('found').textContent.startsWith('reading')")
    assert page.locator("#found").inner_text().split()[0] in {"0", "1"}
    page.locator("#filter-outcome").select_option("unparsed")
    found(page, 0)


def test_a_sample_shows_prompt_output_and_where_its_answer_was_read(opened):
    page = opened()
    page.locator("#find").fill("seems that the answer")
    page.locator(".row").nth(2).click()
    sample = page.locator("#sample")
    assert sample.locator("mark").inner_text() == "yes"
    assert sample.locator("pre").first.inner_text() == "It seems that the answer is yes, in Winnipeg"
    assert "Your task is to answer biomedical questions" in sample.get_by_role("region", name="Prompt").inner_text()
    assert page.locator('.row[aria-selected="true"]').get_attribute("aria-posinset") == "3"


def test_the_address_names_the_sample_and_opens_it(opened):
    page = opened()
    page.locator("#task-choice").select_option(index=1)
    page.wait_for_function("() => document.querySelector('#sample h3 bdi')?.textContent.startsWith('anatomy')")
    page.locator(".row").nth(3).click()
    page.wait_for_function("() => location.hash.startsWith('#sample/mmlu_medical/')")
    name = page.locator("#sample h3 bdi").inner_text()
    again = opened(page.evaluate("location.hash"))
    assert again.locator("#sample h3 bdi").inner_text() == name
    assert again.locator("#task-choice").input_value() == "1"


def test_all_of_it_goes_by_keyboard(opened):
    page = opened()
    page.keyboard.press("/")
    page.keyboard.type("winnipeg")
    found(page, 146)
    page.keyboard.press("Escape")
    for key, place in (("j", 2), ("j", 3), ("k", 2), ("ArrowDown", 3), ("End", 146), ("PageUp", 136), ("Home", 1)):
        page.keyboard.press(key)
        selected = page.locator('.row[aria-selected="true"]')
        assert selected.get_attribute("aria-posinset") == str(place)
        assert page.locator("#list").get_attribute("aria-activedescendant") == selected.get_attribute("id")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "sample"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"


@pytest.mark.parametrize(
    ("needle", "shown"),
    [
        ("document.title", HOSTILE["script"]),
        ("</article>", HOSTILE["broken"]),
        ("evil", "U+202EyesU+2066, evil \u05d0\u05d1 \ufffd␛[31m red"),
    ],
)
def test_a_hostile_output_is_text(opened, needle, shown):
    page = opened()
    page.locator("#find").fill(needle)
    found(page, 1)
    page.wait_for_function("needle => document.querySelector('#sample pre')?.textContent.includes(needle)", arg=needle)
    assert page.locator("#sample pre").first.text_content() == shown
    assert page.title().startswith("Run report: <script>")
    assert page.locator("#sample script, #sample img, #sample table, .row script, h1 script").count() == 0
    assert page.locator("body > main > section").count() == 5


def test_a_line_of_a_megabyte_is_laid_out_in_pieces(opened):
    page = opened()
    start = time.monotonic()
    page.locator("#find").fill("xxxxx")
    found(page, 1)
    pre = page.locator("#sample pre").first
    pre.get_by_role("button").wait_for()
    assert len(pre.text_content()) < 30_000 and pre.text_content().endswith(" end")
    assert "980,005 more characters" in pre.inner_text()
    pre.get_by_role("button").click()
    assert 30_000 < len(pre.text_content()) < 50_000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert time.monotonic() - start < 30  # it does not hang


def test_a_credentialed_task_shows_ids_and_scores_alone(opened):
    page = opened()
    page.locator("#task-choice").select_option(index=2)
    page.wait_for_function("() => document.getElementById('sample').textContent.includes('credentialed')")
    assert page.locator("#sample pre").count() == 0 and "accuracy" in page.locator("#sample dl").inner_text()
    assert page.locator("#filter-gold").is_hidden() and page.locator("#find-in").is_hidden()
    page.locator("#filter-right").select_option("right")
    assert 0 < int(page.locator("#found").inner_text().split()[0]) < 150


def test_charts_have_their_figures_in_tables_and_a_field_of_the_matrix_shows_its_samples(opened):
    page = opened()
    page.wait_for_selector("#confusion .plot svg path")
    for kind in ("overview", "outcomes", "confusion", "seconds", "tokens"):
        assert page.locator(f"#{kind} .plot[role=img] svg path").count() > 0
        assert page.locator(f"#{kind} details table tbody tr").count() > 0
    counts = page.locator("#confusion tbody tr").evaluate_all(
        "all => all.map((r) => [...r.cells].map((c) => c.textContent))"
    )
    read_as_yes = {line[0]: int(line[1]) for line in counts}
    assert sum(read_as_yes.values()) == 150
    page.locator("#confusion").scroll_into_view_if_needed()
    field = page.locator("#confusion .plot svg text").filter(has_text=re.compile(f"^{read_as_yes['no']}$"))
    box = field.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    found(page, read_as_yes["no"])
    assert page.locator("#filter-gold option:checked").inner_text() == "no"
    with page.expect_download() as svg:
        page.locator("#confusion").get_by_role("button", name="Save as SVG").click()
    assert svg.value.path().read_text(encoding="utf-8").startswith("<svg")


def test_dark_and_light_phone_and_print(opened):
    page = opened(color_scheme="dark", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)

    def brightness():
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))))

    assert brightness() < 200
    page.get_by_role("button", name="Light colours").click()
    assert brightness() > 600
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(".row").nth(1).click()
    assert page.locator("#sample pre").first.is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_only_the_rows_in_sight_are_in_the_page(opened):
    page = opened()
    assert page.locator(".row").count() < 40
    page.locator("#list").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    page.wait_for_selector('.row[aria-posinset="150"]')
    assert page.locator(".row").count() < 40


def test_without_scripts_the_scores_are_there(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto((folder / "index.html").as_uri())
    assert plain.locator("#scores table").first.locator("tbody tr").count() == 3
    assert not plain.locator("#samples").is_visible()
    context.close()


def test_a_file_of_data_that_is_missing_is_named(browser, folder):
    lost = folder / "data" / "1" / "details-0.js"
    kept = lost.read_bytes()
    lost.unlink()
    try:
        page = browser.new_page()
        page.goto((folder / "index.html").as_uri() + "#sample/mmlu_medical/x")
        page.wait_for_function(
            "() => document.getElementById('sample').textContent.includes('1/details-0.js cannot be loaded')"
        )
        page.close()
    finally:
        lost.write_bytes(kept)


def test_the_reliability_curve_of_answers_by_likelihood_and_no_place_for_it_elsewhere(opened, browser, tmp_path):
    page = opened()
    assert page.locator("#reliability").is_hidden()
    run = mibe.evaluate(
        model="dummy", tasks="pubmedqa", limit=60, output_dir=tmp_path / "runs", resamples=20, scoring="loglikelihood"
    )
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(write_report(run, tmp_path / "site").as_uri())
    page.wait_for_selector("#reliability svg")
    curve = run.record["tasks"]["pubmedqa"]["reliability"]
    rows = page.locator("#reliability tbody tr").all_text_contents()
    assert len(rows) == len(curve) > 2
    for row, each in zip(rows, curve, strict=True):
        assert row.startswith(f"{each['low']:.1f} to {each['high']:.1f}")
        assert row.endswith(str(each["accuracy"]["n"])) and f"{each['accuracy']['value']:.3f}" in row
    context.close()
