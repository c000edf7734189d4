"""Every test has its own cache and data folders; real data is read from beside the checkout where it is there."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a busy machine is no counterexample. And the same examples in every run of CI: a new counterexample is
# found at a desk, not in somebody's unrelated change.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch):
    base = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MIBE_DATA_DIR", str(base / "data"))
    monkeypatch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
    return base


@pytest.fixture
def shared():
    """The folder of real data and cases."""
    if not SHARED.exists():
        pytest.skip("the folder of real data is not beside this checkout")
    return SHARED
