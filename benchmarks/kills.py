"""Kills a run at random moments: is anything asked for twice that was answered, and is the cost limit ever passed?

    python benchmarks/kills.py [--kills 50] [--documents 400] [--seed 0]

`mibe eval --model openai` asks a server of this process, which counts requests and money: it charges what arrives,
whether or not anybody hears the answer, and answers late, not at all, or with an error now and then. The process is
killed (SIGKILL) while it starts, in full flow, and between "finished" and its exit. Where it stops at its limit, the
same command goes on with a higher one. Ends with exit code 1 at the first promise that is broken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PRICE = 1000.0
"""USD per million tokens, of prompt and answer: a token is a tenth of a cent."""

STEP = 40.0
"""USD: the first limit, and by how much it is raised each time that it is met. A request is held at some $1.6."""

CONCURRENCY = 8


@dataclass
class Till:
    """What the server was asked and what it charged."""

    asked: list[str] = field(default_factory=list)
    charged: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ring(self, prompt: str, tokens: int) -> None:
        """One request has arrived."""
        with self.lock:
            self.asked.append(digest(prompt))
            self.charged += tokens * PRICE / 1e6


def digest(prompt: str) -> str:
    """What a sample log has as the hash of a prompt that is one turn of a user's."""
    return hashlib.sha256(f"[user]\n{prompt}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    till: Till

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        dice = random.Random(f"{prompt}{len(self.till.asked)}")
        usage = {"prompt_tokens": len(prompt.encode()) // 3, "completion_tokens": dice.randint(1, body["max_tokens"])}
        fate = dice.random()
        if fate < 0.05:
            self._send(500, {"error": {"message": "a passing failure"}})
            return
        self.till.ring(prompt, sum(usage.values()))
        time.sleep(dice.uniform(0.002, 0.05))
        if fate < 0.1:
            self.close_connection = True  # charged, and never answered
            return
        text = ("yes", "no", "maybe")[int(digest(prompt), 16) % 3]
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self._send(200, {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        pass  # clients are killed here


@contextmanager
def serving(till: Till) -> Iterator[str]:
    """The address of a server that keeps this till."""
    handler = type("Handler", (_Handler,), {"till": till})
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@dataclass
class Outcome:
    """What came of it: `again` are requests for what was in flight at a kill, `limits` how often the limit was met."""

    kills: int = 0
    unseen: int = 0
    limits: int = 0
    requests: int = 0
    again: int = 0
    charged: float = 0.0
    limit: float = STEP
    scored: int = 0


class Broken(AssertionError):
    """A promise that did not hold."""


class Chaos:
    """One run in `folder` that is killed again and again."""

    def __init__(self, folder: Path, documents: int, seed: int) -> None:
        self._folder = folder
        self._documents = documents
        self._dice = random.Random(seed)
        self._till = Till()
        self.outcome = Outcome()

    def run(self, kills: int) -> Outcome:
        """Kill it so many times, let it finish, and check what is left."""
        prices = {"date": "2026-01-31", "prices": {"127.0.0.1": {"m": {"prompt": PRICE, "completion": PRICE}}}}
        (self._folder / "prices.json").write_text(json.dumps(prices))
        with serving(self._till) as url:
            while self.outcome.kills < kills:
                self._session(url, self._kill_somewhere)
            while not self._is_finished():
                self._session(url, self._kill_when_finished)
            self._session(url, lambda process: None)
        self._check_end()
        return self.outcome

    def _session(self, url: str, kill: Any) -> None:
        answered, before = self._answered(), len(self._till.asked)
        args = f"model=m,base_url={url},concurrency={CONCURRENCY},max_wait=0.05,prices={self._folder / 'prices.json'}"
        command = [sys.executable, "-m", "mibe", "eval", "--model", "openai", "--model-args", args]
        command += ["--tasks", "pubmedqa", "--limit", str(self._documents), "--max-cost", str(self.outcome.limit)]
        command += ["--resamples", "20"]
        env = os.environ | {"MIBE_CACHE_DIR": str(self._folder / "cache")}
        process = subprocess.Popen(
            command, cwd=self._folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        kill(process)
        _, told = process.communicate()
        self.outcome.charged = self._till.charged
        if self._till.charged > self.outcome.limit:
            raise Broken(f"${self._till.charged:.4f} were charged, and the limit is ${self.outcome.limit}")
        if twice := answered & set(self._till.asked[before:]):
            raise Broken(f"{len(twice)} prompts were asked for again that had their answers in the log")
        if process.returncode == 1 and "would be passed" in told:
            self.outcome.limits += 1
            self.outcome.limit += STEP
        elif process.returncode == -signal.SIGKILL:
            self.outcome.kills += 1
            if self.outcome.kills % 10 == 0:
                print(
                    f"{self.outcome.kills} kills, {len(answered)} answers, ${self._till.charged:.2f}", file=sys.stderr
                )
        elif process.returncode != 0:
            raise Broken(f"exit code {process.returncode}: {told}")

    def _kill_somewhere(self, process: subprocess.Popen[str]) -> None:
        """While it starts, or after some requests; always before it can have asked for everything."""
        wanted = self._dice.choice([0, 1, 4, 12, 20])
        target, late = len(self._till.asked) + wanted, self._dice.uniform(0, 0.05 if wanted else 1.5)
        while process.poll() is None and len(self._till.asked) < target:
            time.sleep(0.001)
        time.sleep(late)
        process.kill()

    def _kill_when_finished(self, process: subprocess.Popen[str]) -> None:
        """In the moment between the last word of the record and the end of the process."""
        while process.poll() is None and not self._is_finished():
            time.sleep(0.001)
        if process.poll() is None:
            process.kill()
            self.outcome.unseen += 1

    def _is_finished(self) -> bool:
        paths = list(self._folder.glob("runs/*/run.json"))
        return any(json.loads(path.read_text())["status"] == "finished" for path in paths)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for path in self._folder.glob("runs/*/samples/*.jsonl"):
            for line in path.read_bytes().split(b"\n")[:-1]:
                yield json.loads(line)

    def _answered(self) -> set[str]:
        return {row["prompt_sha256"] for row in self._rows() if row["finish_reason"] != "error"}

    def _check_end(self) -> None:
        self.outcome.requests = len(self._till.asked)
        self.outcome.again = len(self._till.asked) - len(set(self._till.asked))
        self.outcome.scored = len(self._answered())
        folders = list((self._folder / "runs").iterdir())
        if self.outcome.unseen and len(folders) != 1:
            raise Broken(f"the run stands in {len(folders)} folders")
        if self.outcome.scored != self._documents or any(not path.is_dir() for path in folders):
            raise Broken(f"{self.outcome.scored} of {self._documents} documents have an answer")
        if len(list(self._rows())) < self._documents:
            raise Broken("rows are missing")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--documents", type=int, default=400)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), given.documents, given.seed)
        try:
            print(chaos.run(given.kills))
        except Broken as broken:
            print(f"{broken}\n{chaos.outcome}")
            sys.exit(1)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
