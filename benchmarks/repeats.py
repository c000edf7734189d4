"""What draws cost: `--repeats K` beside one greedy pass, ours and lm-eval's `repeats`, on five-shot MMLU.

    python benchmarks/repeats.py [--documents 40] [--repeats 8] [--temperature 0.7] [--rounds 1] [--no-peer]

Both get the same rendered prompts and the room for an answer that the task has. lm-eval's `repeats` hands its model
each request K times, as is done here. Each measurement is a process of its own, and they take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hf_backend import WORKLOADS, Job, Outcome, loaded, measured, rendered


@dataclass(frozen=True)
class Draws:
    """So many draws of each prompt at a temperature; 0 is greedy."""

    count: int
    temperature: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=40)
    options.add_argument("--repeats", type=int, default=8)
    options.add_argument("--temperature", type=float, default=0.7)
    options.add_argument("--max-new-tokens", type=int, default=128)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--workloads", default="mmlu,mmlu-run")
    options.add_argument("--no-peer", action="store_true")
    options.add_argument("--worker", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        job = json.loads(given.worker)
        print(json.dumps(asdict(measure(Job(**job["job"]), Draws(**job["draws"])))))
        return
    print(f"{given.documents} documents, {given.repeats} draws at temperature {given.temperature}, at most")
    print(f"{given.max_new_tokens} new tokens, demo model, float32; {platform.machine()}, {os.cpu_count()} cores")
    print("\n| prompts | backend | draws | seconds | CPU seconds | of its greedy pass | peak MB |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.workloads.split(","):
            title, task, shots = WORKLOADS[name]
            file = Path(folder) / f"{name}.json"
            texts = rendered(task, shots, given.documents, "demo", kind=name.rpartition("-")[2])
            file.write_text(json.dumps(texts))
            compare(title, given, str(file))


def compare(title: str, given: argparse.Namespace, prompts: str) -> None:
    """Measure one greedy pass and K draws, of each backend in turn, and print their rows."""
    backends = {"mibe": "auto"} if given.no_peer else {"mibe": "auto", "lm_eval": "1"}
    kinds = [Draws(1, 0.0), Draws(given.repeats, given.temperature)]
    found: dict[tuple[str, int], list[Outcome]] = {}
    for _ in range(given.rounds):
        for backend, batch in backends.items():
            for draws in kinds:
                job = Job(backend, batch, "demo", "cpu", "float32", prompts, given.max_new_tokens)
                asked = json.dumps({"job": asdict(job), "draws": asdict(draws)})
                command = [sys.executable, __file__, "--worker", asked]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                outcome = Outcome(**json.loads(done.stdout.splitlines()[-1]))
                found.setdefault((backend, draws.count), []).append(outcome)
    for (backend, count), outcomes in found.items():
        cpu = statistics.median(outcome.cpu_seconds for outcome in outcomes)
        greedy = statistics.median(outcome.cpu_seconds for outcome in found[backend, 1])
        seconds = statistics.median(outcome.seconds for outcome in outcomes)
        megabytes = statistics.median(outcome.megabytes for outcome in outcomes)
        print(f"| {title} | {backend} | {count} | {seconds:.1f} | {cpu:.1f} | {cpu / greedy:.2f}× | {megabytes:.0f} |")
    sys.stdout.flush()


def measure(job: Job, draws: Draws) -> Outcome:
    """Load the model, run all draws of all prompts through one backend."""
    prompts = json.loads(Path(job.prompts).read_text())
    engine = loaded(job)
    run = run_ours if job.backend == "mibe" else run_theirs
    return measured(job, lambda: run(engine, job, prompts, draws))


def run_theirs(engine: Any, job: Job, prompts: list[str], draws: Draws) -> list[str]:
    """lm-eval's own loop: its evaluator repeats each request."""
    from lm_eval.api.instance import Instance

    sampled = {"do_sample": True, "temperature": draws.temperature} if draws.temperature else {"do_sample": False}
    settings = {"until": [], "max_gen_toks": job.max_new_tokens, **sampled}
    asked = [Instance("generate_until", {}, (prompt, dict(settings)), 0) for prompt in prompts]
    repeated = [request for request in asked for _ in range(draws.count)]
    texts: list[str] = engine.generate_until(repeated, disable_tqdm=True)
    return texts


def run_ours(engine: Any, job: Job, prompts: list[str], draws: Draws) -> list[str]:
    """mibe's: a request for each draw, with a seed of its own."""
    from mibe.models.base import Request, Sampling
    from mibe.models.hf.model import HfModel

    model = HfModel(engine, name="model", identity=None, batch_size=None, chat=bool(engine.tokenizer.chat_template))
    requests = [
        Request((), prompt, Sampling(max_new_tokens=job.max_new_tokens, temperature=draws.temperature, seed=seed))
        for prompt in prompts
        for seed in range(draws.count)
    ]
    found = dict(model.generate(requests))
    return [found[index].text for index in range(len(requests))]


if __name__ == "__main__":
    main()
