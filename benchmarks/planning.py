"""The plan's tokens a second beside those of published runs.

    python benchmarks/planning.py

"again" and "kept" are the plan with all activations computed again in the backward pass, and with all of them kept;
runs that compute some again, or do not say, lie between the two. Nothing is fitted to a single run: a kind of GPU has
one utilisation (`mellama_train/plan/gpus.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from mellama_train.plan.gpus import GPUS
from mellama_train.plan.shapes import SHAPES
from mellama_train.plan.time import Machines, step_time
from mellama_train.recipe.config import Batch, EngineChoice, Lora, ModelSource, Recipe

ZERO3, FSDP = EngineChoice(name="deepspeed", zero=3), EngineChoice(sharding="fsdp")
LLAMA2 = "Llama 2 (2307.09288), table 2: GPU-hours of 2T tokens"
TITAN_A100 = "torchtitan, docs/performance.md of 2024: FSDP2"
TITAN_H100 = "torchtitan, benchmarks/llama3_h100_202412: FSDP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A run: its model and machines, what it did with activations, and its tokens a second and GPU."""

    model: str
    gpus: int
    gpu: str
    context: int
    engine: EngineChoice
    activations: str
    tokens_a_second: float
    source: str
    micro_rows: int = 1
    accumulation: int = 1
    lora: Lora | None = None


def of_hours(tokens: float, gpu_hours: float) -> float:
    return tokens / gpu_hours / 3600


RUNS = (
    *(
        Published(
            model=model,
            gpus=gpus,
            gpu="a100-80g",
            context=4096,
            engine=ZERO3,
            activations="not said",
            tokens_a_second=of_hours(2e12, hours),
            source=LLAMA2,
        )
        for model, gpus, hours in (
            ("llama2-7b", 1024, 184_320),
            ("llama2-13b", 1024, 368_640),
            ("llama2-70b", 1024, 1_720_320),
        )
    ),
    Published(
        model="llama2-70b",
        gpus=160,
        gpu="a100-80g",
        context=4096,
        engine=ZERO3,
        activations="not said",
        tokens_a_second=of_hours(129e9, 700 * 160),
        source="Me-LLaMA: “about 700 hours on 160 A100 GPUs per epoch” of 129B tokens",
        accumulation=16,
    ),
    Published(
        model="llama2-70b",
        gpus=8,
        gpu="a100-80g",
        context=4096,
        engine=ZERO3,
        activations="not said",
        tokens_a_second=of_hours(214_595 * 4096, 70 * 8),
        source="Me-LLaMA: “roughly 70 hours on 8 A100 GPUs per epoch” of 214,595 samples by LoRA, a row of 4,096 each",
        accumulation=8,
        lora=Lora(),
    ),
    *(
        Published(
            model=model,
            gpus=64,
            gpu="a100-80g",
            context=8192,
            engine=FSDP,
            activations=activations,
            tokens_a_second=speed,
            source=TITAN_A100,
        )
        for model, activations, speed in (("llama3-8b", "some again", 2904), ("llama3-70b", "again", 331))
    ),
    *(
        Published(
            model="llama3-8b",
            gpus=gpus,
            gpu="h100-80g",
            context=8192,
            engine=FSDP,
            activations="some again",
            tokens_a_second=speed,
            source=source,
            micro_rows=2,
        )
        for gpus, speed, source in (
            (8, 5762, TITAN_H100),
            (8, 6667, f"{TITAN_H100}, compiled"),
            (128, 5605, TITAN_H100),
            (128, 6514, f"{TITAN_H100}, compiled"),
        )
    ),
)


def planned(run: Published, again: bool) -> float:
    """Tokens a second and GPU, by the plan."""
    rows = run.gpus * run.micro_rows * run.accumulation
    recipe = Recipe(
        model=ModelSource(path=run.model, activation_checkpointing=again),
        output=Path("run"),
        batch=Batch(rows=rows, micro_rows=run.micro_rows),
        context=run.context,
        engine=run.engine,
        lora=run.lora,
    )
    step = step_time(recipe, SHAPES[run.model], Machines(gpus=run.gpus, gpu=GPUS[run.gpu]))
    assert step is not None
    return rows * run.context / step.total / run.gpus


def main() -> None:
    rows = []
    for run in RUNS:
        again, kept = planned(run, True), planned(run, False)
        shares = [f"{speed:,.0f} ({speed / run.tokens_a_second - 1:+.0%})" for speed in (again, kept)]
        machines = f"{run.gpus} × {run.gpu}"
        rows.append(
            (run.model, machines, run.context, run.activations, f"{run.tokens_a_second:,.0f}", *shares, run.source)
        )
    head = ("model", "GPUs", "context", "activations", "published", "plan, again", "plan, kept", "source")
    print(tabulate(rows, head, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
