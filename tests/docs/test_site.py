"""`make docs`: the pages as a site that is whole, asks no server for anything, and can be searched from the disk."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason="the extra docs is not installed (make docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_it_and_every_link_holds(site):
    pages = {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= pages
    assert {"index", "contributing", "changelog", "reference"} <= pages
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="?([^"\s>]+)', text):
            target = unquote(link.split("#")[0].split("?")[0])
            if target and ":" not in target and page.name != "404.html":
                assert (site / target).exists(), f"{page.name}: {link}"


def test_it_asks_no_server(site):
    for page in site.glob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link)[^>]+(?:src|href)=\"?(https?:[^\"\s>]+)", page.read_text(encoding="utf-8")
        )
        assert not loaded, f"{page.name}: {loaded}"


def test_the_reference_has_every_name_with_its_text(site):
    names = set(re.findall(r"^::: (.*)$", _reference(), re.MULTILINE))
    assert len(names) > 60
    text = (site / "reference.html").read_text(encoding="utf-8")
    assert [name for name in names if f'id="{name}"' not in text] == []
    assert "Score a model on tasks and return the run" in text


def _reference():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from site_pages import reference
    finally:
        sys.path.pop(0)
    return reference()


@pytest.mark.browser
def test_it_can_be_searched_from_the_disk(site, browser):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.locator("[data-md-component=search-query]").fill("namespace without routes")
    found = page.locator(".md-search-result__link").first
    found.wait_for(state="attached")
    assert "offline.html" in found.get_attribute("href")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    page.close()
