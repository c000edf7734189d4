"""A plugin with a credentialed task and a model that sends prompts away, installed for a command."""

import json
import os
import subprocess
import sys

import pytest

WORDS = [f"zq{i}notetext" for i in range(12)]
"""No other text holds these: one in an output is a leak."""

PLUGIN = '''
import json
import urllib.request
from dataclasses import replace

from mibe.errors import ModelError
from mibe.models.base import Response
from mibe.models.local.dummy import DummyModel
from mibe.parsers.plain import PlainText
from mibe.metrics.qa import ExactMatch, TokenF1
from mibe.tasks.pubmedqa import TASK as OPEN_TASK
from mibe.task import Category, Prompt, credentialed

SECRET = replace(
    OPEN_TASK,
    name="secret",
    category=Category.QA,
    access=credentialed("Notes Data Use Agreement 1.5"),
    prompt=Prompt(instruction="Repeat the note.", input="NOTE: {note}", cut=("note",)),
    parser=PlainText(),
    metrics=(ExactMatch(), TokenF1()),
    headline="exact_match",
    labels=(),
)


class Served(DummyModel):
    """Sends whatever it is given to a server, as a remote tokenizer or chat API would."""

    name = "served"

    def __init__(self, url, fail, remote):
        super().__init__()
        self.identity = {"model": "served", "fail": fail}
        self.is_remote = remote
        self.context_window = 4096
        self._url = url
        self._fail = fail

    def _post(self, kind, text):
        data = json.dumps({"kind": kind, "text": text}).encode()
        with urllib.request.urlopen(urllib.request.Request(self._url, data)) as answer:
            return answer.read().decode()

    def render(self, messages):
        self._post("render", json.dumps(messages))
        return super().render(messages)

    def count_tokens(self, text):
        self._post("count", text)
        return super().count_tokens(text)

    def generate(self, requests):
        for index, request in enumerate(requests):
            answer = self._post("generate", request.text)
            if self._fail == "exception":
                raise RuntimeError(f"400 Bad Request: {request.text}")
            if self._fail == "model error":
                raise ModelError(f"400 Bad Request: {request.text}")
            if self._fail == "response":
                yield index, Response(text="", finish_reason="error", error=f"400 Bad Request: {request.text}")
            else:
                yield index, Response(text=request.text, finish_reason="stop")


def load(args):
    return Served(args["url"], args.get("fail"), args.get("where", "remote") == "remote")
'''


@pytest.fixture
def mibe(tmp_path, own_folders):
    """Run a command with the plugin installed and the credentialed data prepared."""
    site = tmp_path / "site"
    info = site / "notes-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: notes\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mibe.tasks]\nsecret = notes:SECRET\n[mibe.models]\nserved = notes:load\n")
    (site / "notes.py").write_text(PLUGIN)
    data = own_folders / "data" / "secret"
    data.mkdir(parents=True)
    for split, words in (("train", WORDS[:6]), ("test", WORDS[6:])):
        rows = [{"id": f"{split}-{i}", "inputs": {"note": f"The {w}."}, "target": w} for i, w in enumerate(words)]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*arguments):
        path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "mibe", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            timeout=120,
        )

    return run
