"""Training speed and memory: ours beside the Hugging Face Trainer with padding and beside a minimal PyTorch loop.

    python benchmarks/training.py                      # both comparisons on this machine
    python benchmarks/training.py --model-shape llama-7b --micro-rows 2   # model-FLOPs utilisation on one GPU

Each measurement is a process of its own (peak memory is a process's), ours and the peer's by turns; the figures are
medians over the rounds. Work: a Llama of 20M weights in float32 and rows of 512 tokens, (a) samples of mixed lengths as
instruction data has them, (b) rows full of documents. Tokens are those of the text: padding counts for nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from mellama_train.engines.opening import open_engine
from mellama_train.engines.ranks import Ranks
from mellama_train.loop.meter import peak_memory
from mellama_train.loop.training import TrainingData, train
from mellama_train.model.adapters import bare
from mellama_train.model.loading import whole_shape
from mellama_train.plan.flops import cost, peak_flops
from mellama_train.recipe.config import Batch, EngineChoice, Lora, ModelSource, Recipe, Reporting
from mellama_train.rows.batches import load_step
from mellama_train.rows.packed import SampleRows, SampleSet
from mellama_train.rows.row import Row
from mellama_train.rows.samples import Encoded

CONTEXT, VOCABULARY, ROWS, WARMUP = 512, 8192, 4, 2
SMALL = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6}
SHAPES = {
    "llama-1b": {"hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 22, "num_attention_heads": 16},
    "llama-3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24},
    "llama-7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
}


class NoText:
    """In place of a tokenizer, which training needs only to write it beside the model."""

    def save_pretrained(self, folder: Path) -> None:
        pass


class FullRows:
    """Rows full of documents of 50 to 500 tokens."""

    def __init__(self, count: int, length: int, vocabulary: int, *, documents: bool = True) -> None:
        self.length, self._count, self._vocabulary, self._documents = length, count, vocabulary, documents

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Row:
        chance = np.random.default_rng(index)
        tokens = chance.integers(2, self._vocabulary, self.length)
        positions = np.arange(self.length)
        if self._documents:
            ends = np.cumsum(chance.integers(50, 500, self.length // 50))
            starts = np.concatenate([[0], ends[ends < self.length]])
            positions -= np.repeat(starts, np.diff(starts, append=self.length))
        return Row(tokens, positions, np.where(positions == 0, -100, tokens), "text")

    def describe(self) -> dict[str, Any]:
        return {"rows": self._count}


def samples(count: int) -> list[Encoded]:
    """Lengths as in instruction data: a median of 120 tokens, a tail up to the context; a third is prompt."""
    chance = np.random.default_rng(0)
    lengths = np.clip(np.exp(chance.normal(np.log(120), 0.9, count)).astype(int), 8, CONTEXT)
    return [
        Encoded(chance.integers(2, VOCABULARY, n).tolist(), [place >= n // 3 for place in range(n)]) for n in lengths
    ]


def recipe(folder: Path, model: Path, **more: Any) -> Recipe:
    settings: dict[str, Any] = {"context": CONTEXT, "precision": "fp32", "batch": Batch(rows=ROWS, micro_rows=ROWS)}
    return Recipe(model=ModelSource(path=str(model)), output=folder, **(settings | more))


def ours(rows: Any, model: Path, folder: Path) -> tuple[float, float]:
    """(tokens, seconds) of the real loop, with its log and TensorBoard, after the warm-up."""
    one = recipe(folder, model, reporting=Reporting(every_steps=1))
    train(one, TrainingData(rows, {}, NoText()), Ranks.join())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "loss" in line][WARMUP:]
    return sum(line["tokens_per_second"] * line["seconds"] for line in measured), sum(
        line["seconds"] for line in measured
    )


def packed_samples(count: int) -> SampleRows:
    encoded = samples(count)
    found = SampleSet(encoded, ["x"] * count, tokenizer_sha256="")
    return SampleRows(found, length=CONTEXT, epochs=1, window=4096, seed=0, padding=0)


def ours_on_samples(model: Path, folder: Path, steps: int) -> tuple[float, float]:
    return ours(packed_samples(steps * ROWS * 3), model, folder)


def ours_on_rows(model: Path, folder: Path, steps: int) -> tuple[float, float]:
    return ours(FullRows(steps * ROWS, CONTEXT, VOCABULARY), model, folder)


def trainer_on_samples(model: Path, folder: Path, steps: int) -> tuple[float, float]:
    """The Hugging Face Trainer: as many samples a step as fill the same rows, padded to the longest of them."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    data = samples(steps * ROWS * 3)
    rows = [
        {"ids": s.tokens, "labels": [t if w else -100 for t, w in zip(s.tokens, s.learned, strict=True)]} for s in data
    ]
    per_step = max(1, round(CONTEXT * ROWS / np.mean([len(s.tokens) for s in data])))
    seen = {"tokens": 0, "steps": 0, "since": 0.0, "at": 0}

    def collate(part: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["ids"]) for row in part)
        seen["tokens"] += sum(len(row["ids"]) for row in part)

        def padded(key: str, fill: int) -> torch.Tensor:
            return torch.tensor([row[key] + [fill] * (longest - len(row[key])) for row in part])

        mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in part])
        return {"input_ids": padded("ids", 0), "labels": padded("labels", -100), "attention_mask": mask}

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            seen["steps"] += 1
            if seen["steps"] == WARMUP:
                seen["since"], seen["at"] = time.perf_counter(), seen["tokens"]

    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=per_step,
        num_train_epochs=1,
        learning_rate=8e-6,
        adam_beta2=0.95,
        logging_steps=1,
        save_strategy="no",
        report_to=["tensorboard"],
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )
    loaded = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    Trainer(loaded, arguments, train_dataset=rows, data_collator=collate, callbacks=[Clock()]).train()
    return seen["tokens"] - seen["at"], time.perf_counter() - seen["since"]


def loop_on_rows(model: Path, folder: Path, steps: int) -> tuple[float, float]:
    """The least that trains on packed rows with documents apart: nothing is logged, checked or saved."""
    rows = FullRows(steps * ROWS, CONTEXT, VOCABULARY)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32).to(device).train()
    optimizer = torch.optim.AdamW(loaded.parameters(), lr=8e-6, betas=(0.9, 0.95), weight_decay=1e-5)
    since = 0.0
    for step in range(steps):
        if step == WARMUP:
            since = time.perf_counter()
        part = [rows[step * ROWS + n] for n in range(ROWS)]
        tokens, positions, labels = (
            torch.from_numpy(np.stack([getattr(row, name) for row in part])).to(device)
            for name in ("tokens", "positions", "labels")
        )
        loaded(input_ids=tokens, position_ids=positions, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(loaded.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (steps - WARMUP) * ROWS * CONTEXT, time.perf_counter() - since


CONTENDERS = {f.__name__: f for f in (ours_on_samples, trainer_on_samples, ours_on_rows, loop_on_rows)}
COMPARISONS = (
    ("instruction data, packed / Trainer with padding", "ours_on_samples", "trainer_on_samples", 1.5),
    ("packed pretraining / minimal loop", "ours_on_rows", "loop_on_rows", 0.9),
)


def measure(name: str, model: Path, steps: int) -> None:
    """One contender in this process: a JSON line of tokens a second and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        tokens, seconds = CONTENDERS[name](model, Path(folder), steps)
    device = Ranks.join().device
    print(json.dumps({"tokens_per_second": tokens / seconds, "peak_mib": peak_memory(device) / 2**20}))


def compare(steps: int, rounds: int) -> None:
    """All contenders by turns; prints medians and the ratios of each round."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, **SMALL)).save_pretrained(
            folder
        )
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(rounds):
            for name in CONTENDERS:
                command = [sys.executable, __file__, "--measure", name, "--model", folder, "--steps", str(steps)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    for title, us, them, target in COMPARISONS:
        speeds = [[run["tokens_per_second"] for run in found[name]] for name in (us, them)]
        memory = [median(run["peak_mib"] for run in found[name]) for name in (us, them)]
        ratios = [a / b for a, b in zip(*speeds, strict=True)]
        print(
            f"{title}: {median(speeds[0]):,.0f} / {median(speeds[1]):,.0f} tokens/s = {median(ratios):.2f} "
            f"({min(ratios):.2f} – {max(ratios):.2f}; target ≥ {target}), "
            f"peak memory {memory[0]:,.0f} / {memory[1]:,.0f} MiB"
        )


def utilisation(
    shape: str,
    micro_rows: int,
    steps: int,
    source: dict[str, Any],
    engine_choice: EngineChoice,
    lora: Lora | None,
    *,
    documents: bool,
) -> None:
    """Model-FLOPs utilisation of full training in bf16 at context 4,096 on one GPU, optimizer included.

    `source` are keys of the recipe's `model`. DeepSpeed is started by torchrun.
    """
    context, vocabulary = 4096, 32000
    ranks = Ranks.join()
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        with ranks.device:
            config = LlamaConfig(
                vocab_size=vocabulary, max_position_embeddings=context, dtype="bfloat16", **SHAPES[shape]
            )
            AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
        if ranks.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        one = Recipe(
            model=ModelSource(path=folder, **source),
            output=Path(folder) / "run",
            lora=lora,
            batch=Batch(rows=4 * micro_rows * ranks.size, micro_rows=micro_rows),
            engine=engine_choice,
        )
        engine = open_engine(one, ranks, resumed_from_ranks=None)
    rows = FullRows(one.batch.rows * (steps + WARMUP), context, vocabulary, documents=documents)
    price, peak = cost(engine.model), peak_flops(ranks.device, None)
    seconds, tokens, attended = 0.0, 0, 0
    for step in range(steps + WARMUP):
        part = load_step(rows, step, one.batch, ranks.rank, ranks.size)
        since = time.perf_counter()
        engine.step(part.micro, part.targets, 1e-6, lambda loss: True, lambda: None)
        if ranks.device.type == "cuda":
            torch.cuda.synchronize()
        if step >= WARMUP:
            seconds += time.perf_counter() - since
            tokens += sum(part.tokens.values())
            attended += part.attended
    name = torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else "CPU"
    mfu = f"{price.of(tokens, attended) / seconds / peak:.1%}" if peak else "unknown (no peak for this device)"
    size = sum(math.prod(whole_shape(p)) for p in engine.model.parameters()) / 1e9
    more = [key for key in ("activation_checkpointing", "compile", "liger", "fp8") if source.get(key)]
    engines = f"ZeRO-{engine_choice.zero}" if engine_choice.name == "deepspeed" else engine_choice.sharding
    tuned = "" if lora is None else ", QLoRA" if lora.four_bit else ", LoRA"
    print(
        f"| {shape}{tuned} ({size:.2f}B) | {name} | {micro_rows} "
        f"| {'documents' if documents else 'one document a row'} "
        f"| {bare(engine.model).config._attn_implementation} | {', '.join(more) or '–'} "
        f"| {engines} | {tokens / seconds:,.0f} | {mfu} "
        f"| {peak_memory(ranks.device) / 2**30:.1f} |",
        flush=True,
    )
    ranks.leave()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model-shape", choices=SHAPES)
    parser.add_argument("--micro-rows", type=int, default=1)
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--activation-checkpointing", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--liger", action="store_true")
    parser.add_argument("--fp8", action="store_true")
    parser.add_argument(
        "--lora", action="store_true", help="adapters of the default recipe over frozen weights in bf16"
    )
    parser.add_argument("--four-bit", action="store_true", help="the same over 4-bit weights (QLoRA)")
    parser.add_argument("--fsdp", action="store_true", help="FSDP2: weights are cast to bf16 as they are gathered")
    parser.add_argument("--zero", type=int, choices=(1, 2, 3), help="DeepSpeed's stage; started by torchrun")
    parser.add_argument("--documents", action="store_true", help="several documents a row, kept apart")
    parser.add_argument("--measure", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.measure:
        measure(a.measure, a.model, a.steps)
    elif a.model_shape:
        source = {key: getattr(a, key) for key in ("attention", "activation_checkpointing", "compile", "liger", "fp8")}
        engine = {"name": "deepspeed", "zero": a.zero} if a.zero else {"sharding": "fsdp" if a.fsdp else "ddp"}
        lora = Lora(four_bit=a.four_bit) if a.lora or a.four_bit else None
        choice = EngineChoice(**engine)
        utilisation(a.model_shape, a.micro_rows, a.steps, source, choice, lora, documents=a.documents)
    else:
        compare(a.steps, a.rounds)


if __name__ == "__main__":
    main()
