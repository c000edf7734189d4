"""The leaderboard's page: its files, and what a reader does with it in a real browser."""

import hashlib
import html
import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

import pytest
from scripted import Scripted

import mibe
from mibe.errors import RunError, UsageError
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.page import write_page
from mibe.pages import embed

HOSTILE = '<script>document.title="gone"</script>&"\u202eevil\u2028</td>'


def evaluated(folder, name, answer, **settings):
    model = Scripted(answer, identity=name)
    model.name = name
    arguments = {"tasks": "pubmedqa,medqa,mmlu_medical", "limit": 60, "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=folder, use_cache=False, **arguments)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A page with two own models, one of them with a hostile name, and a diagnosis curve."""
    base = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        evaluated(base / "runs", "small", lambda p: "yes" if "CONTEXT" in p else "A")
        hostile = evaluated(base / "runs", HOSTILE, lambda _: "no idea at all")
        record = json.loads((hostile.path / "run.json").read_text())
        curve = {
            f"top{k}_accuracy": {"value": k / 10, "low": k / 20, "high": k / 8, "stderr": 0.1, "n": 60}
            for k in range(1, 6)
        }
        record["tasks"]["nejm_cpc"] = record["tasks"]["pubmedqa"] | {"figures": curve, "headline": "top1_accuracy"}
        record["task_names"].append("nejm_cpc")
        record["tasks"]["mmlu"] = record["tasks"].pop("mmlu_medical")
        record["task_names"] = list(record["tasks"])
        (hostile.path / "run.json").write_text(json.dumps(record))
        boards = leaderboard([base / "runs"])
        write_page(boards, base / "site", backbones={HOSTILE: "LLaMA2-7B"})
    return base / "site"


def test_the_folder_is_whole_and_names_no_other_place(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    for reference in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert reference.startswith(("#", "data:,")) or (site / reference).is_file(), reference
    assert "http://" not in text and "https://" not in text
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in text
    assert "<script>" not in text and " onclick" not in text and " style=" not in text


def test_the_library_is_the_one_that_the_notice_names():
    assets = files("mibe.pages").joinpath("assets")
    notice = assets.joinpath("NOTICE").read_text(encoding="utf-8")
    digest = hashlib.sha256(assets.joinpath("echarts.common.min.js").read_bytes()).hexdigest()
    assert digest in notice and "Apache License" in assets.joinpath("LICENSE-echarts").read_text(encoding="utf-8")


def test_text_of_a_run_is_escaped_in_markup_and_in_data(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert html.escape(HOSTILE, quote=False) in text or str(html.escape(HOSTILE)) in text.replace("&#34;", "&quot;")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
    assert not set("<>&\u2028") & set(data)
    assert HOSTILE in [model["name"] for model in json.loads(data)["boards"][0]["models"]]
    assert json.loads(embed({"a": "</script>&\u2029"})) == {"a": "</script>&\u2029"}


def test_a_page_is_written_again_over_itself_and_never_over_a_file(site, tmp_path):
    boards = leaderboard([])
    first = write_page(boards, tmp_path / "new").read_text()
    (tmp_path / "new" / "CNAME").write_text("mine")
    assert write_page(boards, tmp_path / "new").read_text() == first
    assert (tmp_path / "new" / "CNAME").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        write_page(boards, tmp_path / "file")
    with pytest.raises(UsageError, match="--backbone: 'x' has no figures of both"):
        write_page(boards, tmp_path / "new", backbones={"x": "LLaMA2-7B"})


@pytest.fixture
def opened(browser, site):
    """Opens the page; at the end nothing was said on the console and nothing was asked of another machine."""
    troubles, contexts = [], []

    def watch(request):
        if not request.url.startswith(("file://", "data:", "blob:", "http://127.0.0.1:")):
            troubles.append(request.url)

    def open_page(address=None, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", watch)
        page.goto(address or (site / "index.html").as_uri())
        page.wait_for_selector(".plot svg")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def names_of(page):
    return page.locator("#zero_shot-table tbody tr:not([hidden]) th bdi").all_inner_texts()


@pytest.mark.browser
def test_every_chart_is_drawn_with_a_table_of_its_figures(opened):
    page = opened()
    kinds = page.locator("[data-chart]").evaluate_all("all => all.map((each) => each.dataset.chart)")
    assert kinds == ["overview", "task", "outcomes", "topk", "forgetting"]
    assert page.locator(".plot[role=img][aria-label] svg path").count() > 50
    assert page.locator("[data-chart] details table tbody tr").count() > 150
    page.locator("[data-chart=forgetting] summary").click()
    lines = page.locator("[data-chart=forgetting] tbody tr").all_inner_texts()
    assert "Me-LLaMA-13B\tLLaMA2-13B\t0.580\t+0.010\t0.493\t+0.026" in lines


@pytest.mark.browser
def test_a_header_sorts_both_ways_by_mouse_and_keyboard_and_says_so(opened):
    page = opened()
    header = page.locator("#zero_shot-table thead th").nth(2)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert names_of(page)[0] == "Me-LLaMA-70B-chat"
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    values = page.locator("#zero_shot-table tbody tr td:nth-of-type(2)").evaluate_all(
        "cells => cells.map((cell) => Number(cell.dataset.sort))"
    )
    assert values == sorted(values)
    missing = page.locator("#zero_shot-table thead th").filter(has_text="BioNLI")
    for _ in range(2):
        missing.locator("button").click()
        assert {"small", HOSTILE.replace("\u2028", "\n")} & set(names_of(page)[-2:])
    assert header.get_attribute("aria-sort") is None


@pytest.mark.browser
def test_the_mean_sorts_by_coverage_first_in_both_directions(opened):
    page = opened()
    as_written = names_of(page)
    header = page.locator("#zero_shot-table thead th").filter(has_text="Mean")
    header.locator("button").click()
    assert names_of(page) == as_written and as_written[0] == "Me-LLaMA-70B-chat"
    # Two tasks of twelve stand below twelve of twelve with a lower mean.
    mean = page.locator("#zero_shot-table tbody tr.own td:nth-of-type(1)").first
    assert float(mean.inner_text()[:5]) > 0.26 and "2 of 12" in mean.inner_text()
    header.locator("button").click()
    assert names_of(page) == as_written[::-1]


@pytest.mark.browser
def test_what_a_figure_is_of_stands_beside_it(opened):
    page = opened()
    row = page.locator("#zero_shot-table tbody tr").filter(has=page.get_by_text("small", exact=True))
    marks = row.locator("td").nth(1).locator("abbr")
    assert [(mark.inner_text(), mark.get_attribute("title")) for mark in marks.all()] == [
        ("*", "60 of 500 documents"),
        ("†", "always the same answer"),
    ]
    assert row.locator("td").first.locator("abbr").all_inner_texts() == ["*", "†"]
    caption = page.locator("#zero_shot-table caption").inner_text()
    assert "* a part of the documents. † always the same answer." in caption
    page.locator("[data-chart=overview] summary").click()
    lines = page.locator("[data-chart=overview] tbody tr").all_inner_texts()
    assert any(line.startswith("small\tPubMedQA\taccuracy") and "*†" in line for line in lines)


@pytest.mark.browser
def test_rows_and_columns_are_filtered(opened):
    page = opened()
    page.get_by_label("Find a model").fill("me-llama")
    assert names_of(page) == ["Me-LLaMA-70B-chat", "Me-LLaMA-13B-chat", "Me-LLaMA-70B", "Me-LLaMA-13B"]
    assert page.locator(".count").inner_text() == "4 of 13 models"
    page.get_by_label("Find a model").fill("")
    page.get_by_label("Rows").select_option("own")
    assert len(names_of(page)) == 2
    page.get_by_label("Columns").select_option("Classification")
    shown = page.locator("#zero_shot-table thead th:not([hidden])").all_inner_texts()
    assert [text.split("\n")[0] for text in shown] == ["Model", "Mean", "HoC", "MTSample"]


@pytest.mark.browser
def test_a_hostile_name_is_text_wherever_it_stands(opened):
    page = opened()
    assert page.title() == "MIBE leaderboard"
    assert any('<script>document.title="gone"</script>' in name for name in names_of(page))
    assert page.locator("bdi script, .plot script").count() == 0
    assert "<script>" in page.locator("[data-chart=outcomes] .choice select").inner_text()


@pytest.mark.browser
def test_colours_follow_the_system_until_the_reader_says_otherwise(opened):
    page = opened(color_scheme="dark")

    def background():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    dark = background()
    page.get_by_role("button", name="Light colours").click()
    light = background()
    assert sum(map(int, re.findall(r"\d+", light))) > 600 > 200 > sum(map(int, re.findall(r"\d+", dark)))
    page.reload()
    assert background() == light
    page.get_by_role("button", name="Dark colours").click()
    assert background() == dark


@pytest.mark.browser
def test_a_phone_shows_all_of_it_without_scrolling_sideways(opened):
    page = opened(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    widest = page.locator(".plot svg").evaluate_all(
        "all => Math.max(...all.map((svg) => svg.getBoundingClientRect().width))"
    )
    assert 200 < widest <= 360


@pytest.mark.browser
def test_a_chart_is_saved_as_svg_and_as_png(opened, tmp_path):
    page = opened()
    figure = page.locator("#zero_shot-task")
    with page.expect_download() as svg:
        figure.get_by_role("button", name="Save as SVG").click()
    text = svg.value.path().read_text(encoding="utf-8")
    assert svg.value.suggested_filename == "zero_shot-task.svg"
    assert text.startswith("<svg") and "Me-LLaMA-70B-chat" in text and "<script" not in text
    with page.expect_download() as png:
        figure.get_by_role("button", name="Save as PNG").click()
    data = png.value.path().read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 5000


@pytest.mark.browser
def test_another_data_set_is_chosen_by_keyboard(opened):
    page = opened()
    figure = page.locator("#zero_shot-task")
    before = figure.locator("tbody").text_content()
    figure.get_by_role("combobox").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("old => document.querySelector('#zero_shot-task tbody').textContent !== old", arg=before)
    assert "macro-F1" in figure.locator("tbody").text_content()


@pytest.mark.browser
def test_it_works_from_a_web_server_and_without_scripts_and_prints(opened, site, browser, tmp_path):
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    handler.func.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = opened(f"http://127.0.0.1:{server.server_port}/")
        assert page.locator(".plot svg").count() == 5
        server.shutdown()
    assert page.pdf().startswith(b"%PDF")
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto((site / "index.html").as_uri())
    assert plain.locator("#zero_shot-table tbody tr").count() == 13
    assert not plain.locator(".controls").is_visible() and not plain.locator("#theme").is_visible()
    context.close()
