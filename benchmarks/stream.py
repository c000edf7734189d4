"""Wall time of a run over six tasks whose answers take unequal time, beside one pool of the bare client.

    python benchmarks/stream.py [--rounds 5] [--at-once 32] [--delay 0.05] [--slow 4] [--one-in 40]

A server in a process of its own on loopback answers each call after `--delay` seconds, and one prompt in `--one-in`,
chosen by its hash and so the same for both, after `--slow`. The peer is `AsyncOpenAI` with a semaphore of `--at-once`
over all prompts of all tasks; ours is the whole of `mibe.evaluate` with as many at once: prompts built, answers parsed
and logged, tasks scored. They take turns, each round with new connections; medians of all rounds. Imports are not
measured.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from api_client import MODEL, serve

from mibe.models import load_model
from mibe.models.base import Message, Model
from mibe.prompting import PromptBuilder
from mibe.registry import resolve
from mibe.run.evaluate import evaluate
from mibe.run.plan import plan_task
from mibe.run.settings import Settings

TASKS = "pubmedqa,medqa,medqa_4,medmcqa,mmlu,mtsample"
LIMIT = 80


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--at-once", type=int, default=32)
    options.add_argument("--delay", type=float, default=0.05, help="seconds that an answer takes")
    options.add_argument("--slow", type=float, default=4.0, help="seconds that a slow one takes")
    options.add_argument("--one-in", type=int, default=40, help="one prompt of so many is slow")
    options.add_argument("--tasks", default=TASKS)
    options.add_argument("--limit", type=int, default=LIMIT, help="documents of each task")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve(lambda body: delay_of(body, given))
        return
    command = [sys.executable, __file__, "--serve"]
    for name in ("delay", "slow", "one_in"):
        command += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        try:
            model = open_model(url, given.at_once)
            asked = list(prompts(model, given))
            model.close()
            # Imports and the first reading of the data are not what is measured.
            asyncio.run(bare(url, asked[:2], given.at_once))
            ours(url, given, limit=1)
            for number in range(given.rounds):
                for name in sorted(seconds, reverse=bool(number % 2)):
                    begun = time.perf_counter()
                    if name == "bare":
                        answered = asyncio.run(bare(url, asked, given.at_once))
                    else:
                        answered = ours(url, given, limit=given.limit)
                    seconds[name].append(time.perf_counter() - begun)
                    if answered != len(asked):
                        raise SystemExit(f"{name}: {answered} of {len(asked)} prompts were answered")
        finally:
            server.kill()
    slow = sum(is_slow(prompt, given.one_in) for prompt in asked)
    print(f"{platform.machine()}, {os.cpu_count()} cores; {len(asked)} prompts of {given.tasks}, {slow} of them slow,")
    print(f"{given.at_once} at once; medians of {given.rounds} rounds, in turn\n")
    print("| client | seconds | of the bare client |")
    print("|---|---:|---:|")
    base = statistics.median(seconds["bare"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.2f} ({min(values):.2f} – {max(values):.2f}) | {middle / base:.2f} |")


def open_model(url: str, at_once: int) -> Model:
    """mibe's model of the server."""
    return load_model("openai", {"model": MODEL, "base_url": url, "concurrency": str(at_once)})


def prompts(model: Model, given: argparse.Namespace) -> Iterator[str]:
    """The prompts of the run, in its order."""
    for task in resolve(given.tasks):
        plan = plan_task(task, Settings(limit=given.limit))
        builder = PromptBuilder(plan.task, model, plan.shots, max_new_tokens=plan.max_new_tokens)
        for example in plan.documents:
            [message] = builder.build(example).messages
            yield message["content"]


def ours(url: str, given: argparse.Namespace, *, limit: int) -> int:
    """Samples that a whole run has an answer for."""
    model = open_model(url, given.at_once)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = evaluate(model=model, tasks=given.tasks, limit=limit, output_dir=folder, use_cache=False)
            return sum(task["scored"] for task in run.record["tasks"].values())
    finally:
        model.close()


async def bare(url: str, asked: list[str], at_once: int) -> int:
    """Answers that the client of the `openai` package gets, with `at_once` calls under way at any time."""
    import openai

    gate = asyncio.Semaphore(at_once)
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

        async def call(prompt: str) -> str | None:
            async with gate:
                answer = await client.chat.completions.create(
                    model=MODEL, messages=[Message(role="user", content=prompt)], max_tokens=64, temperature=0, seed=0
                )
            return answer.choices[0].message.content

        return sum(text == "A" for text in await asyncio.gather(*map(call, asked)))


def is_slow(prompt: str, one_in: int) -> bool:
    """Whether the server takes long for this prompt."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big") % one_in == 0


def delay_of(body: bytes, given: argparse.Namespace) -> float:
    """Seconds that the server takes for a request."""
    prompt = json.loads(body)["messages"][-1]["content"]
    return given.slow if is_slow(prompt, given.one_in) else given.delay


if __name__ == "__main__":
    main()
