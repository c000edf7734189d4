"""`hf` beside lm-eval's own `hf`: the same model, prompts and number of new tokens, in one run.

Five-shot MMLU (its dev split gives the shots) and zero-shot MedMCQA, rendered once and given to both: where neighbours
share their worked examples, and where no two prompts do. Greedy text of both is compared as well. Every measurement is
a process of its own, so that its peak memory is its own too; the backends take turns, and medians are compared. lm-eval
gets each of `--peer-batches` in the first round and its best one in the others (on a CPU by CPU seconds). Its "auto"
batch size is for GPUs: on a CPU it tries batches of the whole context window until the machine runs out of memory.

    python benchmarks/hf_backend.py                                    # the demo model on the CPU, float32
    python benchmarks/hf_backend.py --dtype bfloat16
    python benchmarks/hf_backend.py --device cuda --dtype bfloat16 --documents 2000 \\
        --pretrained random:llama-3.1-8b                               # random weights of a known shape, on a GPU

"CPU seconds" are the process's own: on a machine that others use as well, the fairer measure.
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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

WORKLOADS = {
    "mmlu-apart": ("five-shot MMLU, one question a subject", "mmlu", 5),
    "mmlu": ("five-shot MMLU, a sample over all subjects", "mmlu", 5),
    "mmlu-run": ("five-shot MMLU, neighbours as in a whole run", "mmlu", 5),
    "medmcqa": ("zero-shot MedMCQA, a sample", "medmcqa", 0),
}
"""Name → title, task, worked examples. A sample is what `mibe eval --limit` takes; neighbours follow each other.

MMLU has 57 subjects, each with worked examples of its own: so many prompts share nothing but the instruction."""

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.2-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                     "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "head_dim": 64},
    "llama-3.1-8b": {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
                     "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256},
    "llama-3.1-70b": {"hidden_size": 8192, "intermediate_size": 28_672, "num_hidden_layers": 80,
                      "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128_256},
}  # fmt: skip
"""Published shapes, for random weights; the text goes through the demo model's tokenizer."""


@dataclass(frozen=True)
class Job:
    """One measurement: `backend` is "mibe" or "lm_eval", `batch` a number or "auto"."""

    backend: str
    batch: str
    pretrained: str
    device: str
    dtype: str
    prompts: str
    max_new_tokens: int


@dataclass(frozen=True)
class Outcome:
    """Seconds for all prompts (the model was loaded before), peak memory in MB, and the texts.

    `cpu_seconds` is what the process itself worked: on a CPU that others use as well, the fairer measure.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float
    texts: list[str]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=400)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--max-new-tokens", type=int, default=32)
    options.add_argument("--pretrained", default="demo", help="demo, a folder, or random:SHAPE: " + ", ".join(SHAPES))
    options.add_argument("--device", default="cpu")
    options.add_argument("--dtype", default="float32")
    options.add_argument("--peer-batches", default=None, help="default 1,8 on a CPU and 1,8,auto on a GPU")
    options.add_argument("--workloads", default=",".join(WORKLOADS))
    options.add_argument("--worker", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        print(json.dumps(asdict(measure(Job(**json.loads(given.worker))))))
        return
    batches = (given.peer_batches or ("1,8" if given.device == "cpu" else "1,8,auto")).split(",")
    columns = ("prompts", "backend", "batch", "seconds", "CPU seconds", "documents/s", "peak MB", "same text")
    print(f"{given.pretrained}, {given.dtype}, {given.device}; {given.documents} documents, at most")
    print(
        f"{given.max_new_tokens} new tokens, medians of {given.repeats}; {platform.machine()}, {os.cpu_count()} cores"
    )
    print(f"\n| {' | '.join(columns)} |\n|---|---|---|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.workloads.split(","):
            title, task, shots = WORKLOADS[name]
            texts = rendered(task, shots, given.documents, given.pretrained, kind=name.rpartition("-")[2])
            prompts = Path(folder) / f"{name}.json"
            prompts.write_text(json.dumps(texts))
            compare(title, given, batches, str(prompts))


def compare(title: str, given: argparse.Namespace, batches: list[str], prompts: str) -> None:
    """Measure both backends in turns and print their rows."""

    def once(backend: str, batch: str) -> Outcome:
        job = Job(backend, batch, given.pretrained, given.device, given.dtype, prompts, given.max_new_tokens)
        command = [sys.executable, __file__, "--worker", json.dumps(asdict(job))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        outcome = Outcome(**json.loads(done.stdout.splitlines()[-1]))
        cost = f"{outcome.seconds:.1f} s, {outcome.cpu_seconds:.1f} s of CPU, {outcome.megabytes:.0f} MB"
        print(f"  {title}: {backend} {batch}: {cost}", file=sys.stderr, flush=True)
        return outcome

    ours, theirs = [once("mibe", "auto")], {batch: [once("lm_eval", batch)] for batch in batches}
    best = min(
        theirs, key=lambda batch: theirs[batch][0].cpu_seconds if given.device == "cpu" else theirs[batch][0].seconds
    )
    for _ in range(given.repeats - 1):
        ours.append(once("mibe", "auto"))
        theirs[best].append(once("lm_eval", best))
    rows = {("lm_eval", batch): outcomes for batch, outcomes in theirs.items()} | {("mibe", "auto"): ours}
    for (backend, batch), outcomes in rows.items():
        seconds, cpu, megabytes = medians(outcomes)
        texts = outcomes[0].texts
        same = sum(a == b for a, b in zip(texts, theirs[best][0].texts, strict=True)) / len(texts)
        print(
            f"| {title} | {backend} | {batch} | {seconds:.1f} | {cpu:.1f} | {len(texts) / seconds:.2f} "
            f"| {megabytes:.0f} | {same:.1%} |"
        )
    faster, cheaper, memory = (b / a for a, b in zip(medians(ours), medians(theirs[best]), strict=True))
    print(
        f"| {title} | **mibe beside lm_eval** | best | {faster:.2f}× | {cheaper:.2f}× | | {1 / memory:.2f}× | |",
        flush=True,
    )


def medians(outcomes: list[Outcome]) -> tuple[float, float, float]:
    """Of seconds, CPU seconds and MB."""
    return (
        statistics.median(outcome.seconds for outcome in outcomes),
        statistics.median(outcome.cpu_seconds for outcome in outcomes),
        statistics.median(outcome.megabytes for outcome in outcomes),
    )


def rendered(task: str, shots: int, documents: int, pretrained: str, *, kind: str) -> list[str]:
    """The prompts of `mibe eval`, as the model's chat template lays them out.

    `kind` is "run" (neighbours), "apart" (a subject each) or any other name (a sample).
    """
    from mibe.prompting import PromptBuilder
    from mibe.registry import load_task
    from mibe.run.plan import plan_task
    from mibe.run.settings import Settings

    limit = None if kind in ("run", "apart") else documents
    plan = plan_task(load_task(task), Settings(limit=limit, num_fewshot=shots))
    builder = PromptBuilder(plan.task, ChatTemplate(pretrained), plan.shots, max_new_tokens=plan.max_new_tokens)
    start = (plan.documents.count - documents) // 2 if kind == "run" else 0
    chosen = islice(one_a_subject(plan.documents) if kind == "apart" else plan.documents, start, start + documents)
    return [builder.build(example).text for example in chosen]


def one_a_subject(documents: Iterable[Any]) -> Iterator[Any]:
    """The first document of each subject."""
    seen = set()
    for example in documents:
        if example.metadata["subject"] not in seen:
            seen.add(example.metadata["subject"])
            yield example


class ChatTemplate:
    """What a prompt builder needs of a model: its chat template, or none."""

    name = "template"
    identity = None
    is_remote = False
    context_window = None

    def __init__(self, pretrained: str) -> None:
        self._tokenizer = tokenizer_of(pretrained)
        self.is_chat = bool(self._tokenizer.chat_template)

    def render(self, messages: Any) -> str:
        """The text of the messages."""
        if not self.is_chat:
            from mibe.models.text import plain_text

            return plain_text(messages)
        text: str = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return text


def tokenizer_of(pretrained: str) -> Any:
    """The model's tokenizer; the demo model's for random weights."""
    import transformers

    from mibe.models.local.demo import demo_path

    own = not pretrained.startswith("random:") and pretrained != "demo"
    return transformers.AutoTokenizer.from_pretrained(pretrained if own else str(demo_path()))


def measure(job: Job) -> Outcome:
    """Load the model, run the prompts through one backend."""
    prompts = json.loads(Path(job.prompts).read_text())
    engine = loaded(job)
    run = run_ours if job.backend == "mibe" else run_theirs
    if job.device != "cpu":
        run(engine, job, prompts[:8])  # kernels are chosen and loaded with the first batch
    return measured(job, lambda: run(engine, job, prompts))


def loaded(job: Job) -> Any:
    """The model, loaded by lm-eval for both backends."""
    from lm_eval.models.huggingface import HFLM

    from mibe.models.hf.loading import quiet

    with quiet():
        return HFLM(
            pretrained=model_of(job),
            tokenizer=tokenizer_of(job.pretrained),
            device=job.device,
            dtype=job.dtype,
            batch_size="auto" if job.batch == "auto" else int(job.batch),
            backend="causal",
        )


def measured(job: Job, run: Callable[[], list[str]]) -> Outcome:
    """What it takes to get the texts."""
    import torch

    if job.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    start, cpu_start = time.perf_counter(), time.process_time()
    texts = run()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = torch.cuda.max_memory_allocated() if job.device != "cpu" else peak_resident()
    return Outcome(seconds, cpu_seconds, peak / 2**20, texts)


def model_of(job: Job) -> Any:
    """A folder, or a model with random weights, equal for both backends."""
    if not job.pretrained.startswith("random:"):
        from mibe.models.local.demo import demo_path

        return str(demo_path()) if job.pretrained == "demo" else job.pretrained
    import torch
    import transformers

    shape = SHAPES[job.pretrained.removeprefix("random:")]
    config = transformers.LlamaConfig(**shape, max_position_embeddings=8192, rope_theta=500_000.0)
    torch.manual_seed(0)
    with torch.device(job.device):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, job.dtype)).eval()


def run_theirs(engine: Any, job: Job, prompts: list[str]) -> list[str]:
    """lm-eval's own loop."""
    from lm_eval.api.instance import Instance

    settings = {"until": [], "max_gen_toks": job.max_new_tokens, "do_sample": False}
    asked = [Instance("generate_until", {}, (prompt, dict(settings)), 0) for prompt in prompts]
    texts: list[str] = engine.generate_until(asked, disable_tqdm=True)
    return texts


def run_ours(engine: Any, job: Job, prompts: list[str]) -> list[str]:
    """mibe's, on the same loaded model."""
    from mibe.models.base import Request, Sampling
    from mibe.models.hf.model import HfModel

    model = HfModel(engine, name="model", identity=None, batch_size=None, chat=bool(engine.tokenizer.chat_template))
    sampling = Sampling(max_new_tokens=job.max_new_tokens)
    found = dict(model.generate([Request((), prompt, sampling) for prompt in prompts]))
    if failed := next((response.error for response in found.values() if response.error), None):
        raise SystemExit(failed)
    return [found[index].text for index in range(len(prompts))]


def peak_resident() -> int:
    """Bytes; of this program alone, not of the process that it was forked from, as `getrusage` would have it."""
    return 1024 * next(int(line.split()[1]) for line in status_lines() if line.startswith("VmHWM:"))


def status_lines() -> Iterator[str]:
    yield from Path("/proc/self/status").read_text().splitlines()


if __name__ == "__main__":
    main()
