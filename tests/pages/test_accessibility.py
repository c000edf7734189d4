"""Every page as axe-core sees it, light, dark and on a phone, in Chromium and in Firefox."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from firefox import Firefox, firefox_path
from scripted import Scripted
from varied_runs import leaning, steady, varied_run

import mibe
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.page import write_page
from mibe.models.base import Response
from mibe.report.comparison import write_comparison
from mibe.report.page import write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = Path(__file__).resolve().parents[1] / "node_modules" / "axe-core" / "axe.min.js"
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
}
PAGES = ("leaderboard", "report", "beside", "versions", "versions beside", "versions ranked")
SHOWN = dict.fromkeys(PAGES, "#sample dl") | dict.fromkeys(("leaderboard", "versions ranked"), ".plot svg")
FOUND = """axe.run(document, { resultTypes: ["violations"] }).then((result) => result.violations.map(
    (each) => `${each.id}: ${each.help}: ${each.nodes.map((node) => node.html.slice(0, 120)).join(" ")}`))"""
OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


@pytest.fixture(scope="module")
def axe():
    if not AXE.exists():
        pytest.skip("axe-core is not here (make axe)")
    return AXE.read_text(encoding="utf-8")


def counted(prompt, word):
    """An answer whose tokens and seconds are told, so that pages show what they cost."""
    text = word if "CONTEXT" in prompt else "A, or rather B"
    return Response(text=text, finish_reason="stop", prompt_tokens=len(prompt), new_tokens=2, seconds=0.01 * len(word))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        for name, word in (("small", "yes"), ("a-model-of-a-very-long-name-that-does-not-fit-into-a-column", "no")):
            model = Scripted(lambda p, word=word: counted(p, word), identity=name)
            model.name = name
            mibe.evaluate(
                model=model,
                tasks="pubmedqa,mmlu_medical",
                limit=30,
                output_dir=base / "runs",
                resamples=30,
                use_cache=False,
            )
    return sorted((base / "runs").iterdir())


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    base = tmp_path_factory.mktemp("varied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        return [varied_run(base / "runs", model, vary="options,noise,sex", limit=8) for model in (leaning, steady)]


@pytest.fixture(scope="module")
def addresses(runs, varied, tmp_path_factory):
    base = tmp_path_factory.mktemp("sites")
    made = {
        "leaderboard": write_page(leaderboard(runs), base / "leaderboard"),
        "report": write_report(runs[0], base / "report"),
        "beside": write_comparison(*runs, base / "beside"),
        "versions": write_report(varied[0], base / "versions"),
        "versions beside": write_comparison(*varied, base / "versions-beside"),
        "versions ranked": write_page(leaderboard([run.path for run in varied]), base / "ranked"),
    }
    return {name: page.as_uri() for name, page in made.items()}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_in_chromium(browser, addresses, axe, name, look):
    context = browser.new_context(bypass_csp=True, **LOOKS[look])
    page = context.new_page()
    page.goto(addresses[name])
    page.wait_for_selector(SHOWN[name])
    page.evaluate(OPEN_ALL)
    page.evaluate(axe)
    assert page.evaluate(FOUND) == []
    context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_on_the_overview_of_runs(browser, runs, axe, look):
    pytest.importorskip("starlette")
    command = [sys.executable, "-m", "mibe", "view", str(runs[0].parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    context = browser.new_context(bypass_csp=True, **LOOKS[look])
    try:
        page = context.new_page()
        page.goto(process.stdout.readline().strip())
        page.wait_for_selector(".run")
        page.evaluate(axe)
        assert page.evaluate(FOUND) == []
    finally:
        context.close()
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize("look", LOOKS)
def test_firefox_shows_the_same_pages_and_axe_finds_nothing(addresses, axe, look):
    if firefox_path() is None:
        pytest.skip("no Firefox here (Debian: apt-get install firefox-esr)")
    firefox = Firefox(dark=look == "dark")
    try:
        for name in PAGES:
            size = LOOKS[look]["viewport"]
            firefox.open(addresses[name], width=size["width"], height=size["height"])
            firefox.wait(f"return document.querySelector({SHOWN[name]!r}) !== null")
            firefox.run(OPEN_ALL)
            firefox.run(axe)
            assert firefox.awaited(f"const done = arguments[0]; {axe}; {FOUND}.then(done)") == [], name
            assert firefox.run("return document.documentElement.scrollWidth <= innerWidth"), name
            background = firefox.run("return getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (look == "dark")
    finally:
        firefox.close()
