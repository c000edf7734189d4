"""The leaderboard's page of thirty own models, one of them with a very long name: it stays short and can be read."""

import json
from itertools import pairwise

import pytest
from scripted import Scripted

import mibe
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.page import COLOURS, write_page

pytestmark = pytest.mark.browser

LONG = "a-group/" + "-".join(["a-checkpoint-of-a-very-long-name"] * 4)
MODELS = 30


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Thirty records made of one run, each with figures and an identity of its own; curves of a diagnosis task too."""
    base = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        model = Scripted(lambda p: "yes" if "CONTEXT" in p else "A", identity="one")
        run = mibe.evaluate(
            model=model, tasks="pubmedqa,medqa,mmlu", limit=20, output_dir=base / "first", resamples=20, use_cache=False
        )
        for number in range(MODELS):
            record = json.loads((run.path / "run.json").read_text())
            record["model"] |= {"name": f"model-{number:02}" if number else LONG, "identity": {"model": number}}
            value = 0.2 + 0.02 * number
            shifted = {"value": value, "low": value - 0.05, "high": value + 0.05}
            for part in record["tasks"].values():
                part["figures"] = {name: figure | shifted for name, figure in part["figures"].items()}
            curve = {
                f"top{k}_accuracy": shifted | {"value": value + k / 50, "stderr": 0.1, "n": 20} for k in range(1, 6)
            }
            record["tasks"]["nejm_cpc"] = record["tasks"]["pubmedqa"] | {"figures": curve, "headline": "top1_accuracy"}
            record["task_names"] = list(record["tasks"])
            folder = base / "runs" / str(number)
            folder.mkdir(parents=True)
            (folder / "run.json").write_text(json.dumps(record))
        return write_page(leaderboard([base / "runs"]), base / "site")


def opened(browser, site, **settings):
    page = browser.new_page(**({"viewport": {"width": 1280, "height": 800}} | settings))
    page.goto(site.as_uri())
    page.wait_for_selector("[data-chart=forgetting] svg")
    return page


def test_the_ranked_table_comes_first_and_all_of_it_takes_four_screens(browser, site):
    page = opened(browser, site)
    table, chart = page.locator(".sortable").first.bounding_box(), page.locator(".chart").first.bounding_box()
    assert table["y"] < 800 and table["y"] < chart["y"]
    assert page.evaluate("document.documentElement.scrollHeight") <= 4 * 800
    assert page.locator("#zero_shot-table tbody tr").count() > MODELS
    page.close()


def test_name_and_header_stay_in_sight_and_an_arrow_says_that_there_is_more(browser, site):
    page = opened(browser, site)
    scroll, cue = page.locator(".scroll").first, page.locator(".cue").first
    name, header = page.locator("#zero_shot-table tbody th").first, page.locator("#zero_shot-table thead th").nth(3)
    assert cue.is_visible()
    left = name.bounding_box()["x"]
    scroll.evaluate("each => each.scrollTo(400, 300)")
    assert name.bounding_box()["x"] == left
    assert abs(header.bounding_box()["y"] - scroll.bounding_box()["y"]) < 3
    scroll.evaluate("each => each.scrollTo(each.scrollWidth, 0)")
    cue.wait_for(state="hidden")
    page.close()


def test_a_long_name_is_cut_and_whole_on_hover_and_on_paper(browser, site):
    page = opened(browser, site)
    name = page.locator("#zero_shot-table bdi").filter(has_text=LONG)
    assert name.get_attribute("title") == LONG
    assert name.evaluate("each => each.scrollHeight > each.clientHeight + 4")
    page.emulate_media(media="print")
    assert name.evaluate("each => getComputedStyle(each).display") == "inline"
    assert page.locator(".scroll").first.evaluate("each => each.clientHeight === each.scrollHeight")
    page.close()


def test_no_more_models_have_colours_than_the_eye_tells_apart_and_any_can_be_chosen(browser, site):
    page = opened(browser, site)
    figure = page.locator("[data-chart=overview]")
    texts = figure.locator("svg text").all_text_contents
    named = [text for text in texts() if text.startswith(("model-", "a-group"))]
    assert len(named) == COLOURS and "other own runs" in texts()
    figure.get_by_role("combobox").select_option("model-03")
    figure.locator("svg text").filter(has_text="model-03").wait_for()
    assert [text for text in texts() if text.startswith(("model-", "a-group"))] == ["model-03"]
    # Names stand at the ends of the curves, none on another.
    boxes = [
        text.bounding_box()
        for text in page.locator("[data-chart=topk] svg text").all()
        if text.text_content().startswith("model-")
    ]
    assert len(boxes) == COLOURS
    heights = sorted(box["y"] for box in boxes)
    assert all(second - first >= 12 for first, second in pairwise(heights))
    page.close()


@pytest.mark.parametrize("width", [1280, 700, 360])
def test_legends_stand_clear_of_what_is_drawn(browser, site, width):
    page = opened(browser, site, viewport={"width": width, "height": 800})
    legend = [
        text.bounding_box()
        for text in page.locator("[data-chart=overview] svg text").all()
        if text.text_content().startswith(("model-", "other own", "Me-LLaMA (", "other models", "a-group"))
    ]
    first = page.locator("[data-chart=overview] svg text").filter(has_text="Question answering").bounding_box()
    assert max(box["y"] + box["height"] for box in legend) <= first["y"]
    page.close()
