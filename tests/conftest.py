"""Every test has its own cache and data folders; real data is read from beside the checkout where it is there."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from mibe import registry
from mibe.results import included

# No deadline: a busy machine is no counterexample. And the same examples in every run of CI: a new counterexample is
# found at a desk, not in somebody's unrelated change.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

# A suite that a shell started in its background ignores Ctrl-C, and so would every process that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch):
    base = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MIBE_DATA_DIR", str(base / "data"))
    monkeypatch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
    return base


@pytest.fixture(autouse=True)
def own_tasks():
    """What a test registers is forgotten after it."""
    kept = (registry._REGISTERED, registry._EXPLAINED, included._named, included._recalled)
    before = [dict(each) for each in kept]
    registry._say_once.cache_clear()
    yield
    for each, earlier in zip(kept, before, strict=True):
        each.clear()
        each.update(earlier)


@pytest.fixture
def shared():
    """The folder of real data and cases."""
    if not SHARED.exists():
        pytest.skip("the folder of real data is not beside this checkout")
    return SHARED


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, driven by Playwright.

    For a module, not for all tests: while it is open, Playwright's event loop counts as running in this thread.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    # Inside a container, as root, Chromium's own sandbox cannot start.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield found
        found.close()
