"""docs/offline.md is true: its second half, as printed, in a network namespace without routes."""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "offline.md"
ALONE = ["unshare", "--map-root-user", "--net"]


def block(kind):
    (found,) = re.findall(
        rf"^```console {kind}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return found


@pytest.fixture
def alone():
    """The words before a command that is to have no network at all; even the loopback device is down there."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here (util-linux)")
    done = subprocess.run([*ALONE, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no network namespace may be made here: {done.stderr.strip()}")
    return ALONE


def test_there_is_no_way_out_of_the_namespace(alone):
    ask = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run([*alone, sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert "Network is unreachable" in done.stderr
    routes = subprocess.run([*alone, "cat", "/proc/net/route"], capture_output=True, text=True, check=True)
    assert routes.stdout.splitlines()[1:] == []  # after its header, where there is one


@pytest.mark.slow
def test_the_machine_without_internet(alone, tmp_path):
    pytest.importorskip("torch")
    from tiny_llama import save_tiny_llama

    carry = tmp_path / "carry"
    config = save_tiny_llama(carry / "models" / "my-model") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 8192}))
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    shutil.copytree(ROOT / "mibe", source / "mibe", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "mellama_train", source / "mellama_train", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([*wheel, "--wheel-dir", carry / "wheels", source], check=True)
    shutil.copytree(ROOT / "mibe" / "data" / "bundled" / "pubmedqa", carry / "data" / "pubmedqa")
    with tarfile.open(tmp_path / "carry.tar", "w") as archive:
        archive.add(carry, "carry")
    shutil.rmtree(carry)

    # Everything that mibe needs is taken from where the tests run, mibe itself from its wheel.
    prepared = f"""
python3() {{ {sys.executable} "$@"; }}
pip() {{ python -m pip --quiet "$@" --no-deps --ignore-installed; }}
"""
    script = block("offline").replace(
        ". venv/bin/activate",
        ". venv/bin/activate && unset -f python3\n"
        f"echo {site.getsitepackages()[0]} > $(echo venv/lib/python*/site-packages)/beside.pth",
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MIBE_DATA_DIR")}
    done = subprocess.run(
        [*alone, "bash", "-euo", "pipefail", "-c", prepared + script],
        cwd=tmp_path, env=environment | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pubmedqa: sound" in done.stdout
    assert re.search(r"pubmedqa +accuracy", done.stdout)
    (run,) = (tmp_path / "runs").glob("*/run.json")
    assert len((run.parent / "samples" / "pubmedqa.jsonl").read_text(encoding="utf-8").splitlines()) == 20
    assert (tmp_path / "venv" / "bin" / "mibe").exists()
    for folder in (run.parent / "report", tmp_path / "site"):
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert "<script" in page
        assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", page)


def test_a_name_that_needs_the_internet_is_one_line(alone, tmp_path):
    pytest.importorskip("torch")
    for arguments in (
        ("eval", "--model", "hf", "--model-args", "pretrained=owner/no-such-model", "--tasks", "pubmedqa"),
        ("data", "download", "bc5cdr"),
    ):
        done = subprocess.run(
            [*alone, sys.executable, "-m", "mibe", *arguments],
            cwd=tmp_path, env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("mibe: ")
        assert "Traceback" not in done.stderr
