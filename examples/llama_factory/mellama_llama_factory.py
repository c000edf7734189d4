"""LLaMA-Factory as a trainer of mellama-train, by its command line and configuration file: it is never imported.

    pip install examples/llama_factory
    mellama-train train llama_factory examples/llama_factory/recipe.yaml

LLaMA-Factory may have an environment of its own: the key `program` is the path of its `llamafactory-cli` then.
"""

from __future__ import annotations

import filecmp
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mellama_train.errors import DataError, PluginError
from mellama_train.model.folders import problem_of
from mellama_train.model.provenance import built_test_sets, file_sources
from mellama_train.recipe.config import Precision
from mellama_train.recipe.problems import FieldError, Problem
from mellama_train.recipe.ranges import Count, Positive, RowLength, Seed
from mellama_train.trainers.contract import Trainer
from mellama_train.trainers.handover import finished_before, hand_over
from mellama_train.trainers.inputs import problems_of_samples

if TYPE_CHECKING:
    from mellama_train.engines.ranks import Ranks

OURS = {"model_name_or_path", "stage", "do_train", "dataset", "dataset_dir", "output_dir", "overwrite_output_dir"}
"""Keys of LLaMA-Factory's configuration that this trainer needs to be as it sets them."""

OPENAI_FORM = {
    "file_name": "samples.jsonl",
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}
"""How LLaMA-Factory is told of messages of role and content (its data/README.md)."""


@dataclass(frozen=True, kw_only=True)
class LlamaFactoryRecipe:
    """The keys of a recipe.

    `files` are as for `mellama-train instruct`; `template` is LLaMA-Factory's name of the model's chat template. A step
    has micro_rows × accumulation × processes samples. `settings` are other keys of LLaMA-Factory's configuration.
    """

    model: str
    files: tuple[Path, ...]
    template: str
    output: Path
    method: Literal["lora", "full"] = "lora"
    lora_rank: Count = 16
    context: RowLength = 4096
    epochs: Positive = 3.0
    learning_rate: Positive = 1e-5
    micro_rows: Count = 1
    accumulation: Count = 8
    precision: Precision = "bf16"
    seed: Seed = 0
    settings: dict[str, Any] = field(default_factory=dict)
    program: str = "llamafactory-cli"

    def __post_init__(self) -> None:
        if not self.files:
            raise FieldError("files", "names no file")
        if taken := sorted(OURS & self.settings.keys()):
            raise FieldError("settings", f"{', '.join(taken)} follow from the other keys of the recipe")


def problems(recipe: LlamaFactoryRecipe) -> Iterator[Problem]:
    """What is wrong with what a recipe names."""
    if problem := problem_of(recipe.model):
        yield Problem("model", problem)
    yield from problems_of_samples(recipe.files, "files")
    if shutil.which(recipe.program) is None:
        yield Problem(
            "program", f"there is no program {recipe.program}; pip install llamafactory, and name where it is"
        )
    if problem := _begun_otherwise(recipe):
        yield Problem("output", problem)


def configuration(recipe: LlamaFactoryRecipe) -> dict[str, Any]:
    """What LLaMA-Factory is asked for, by its own keys."""
    work = recipe.output / "llama-factory"
    return {
        "model_name_or_path": recipe.model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": recipe.method,
        **({"lora_rank": recipe.lora_rank, "lora_target": "all"} if recipe.method == "lora" else {}),
        "dataset": "samples",
        "dataset_dir": str(recipe.output / "data"),
        "template": recipe.template,
        "cutoff_len": recipe.context,
        # It goes on from the newest checkpoint in here by itself.
        "output_dir": str(work),
        "per_device_train_batch_size": recipe.micro_rows,
        "gradient_accumulation_steps": recipe.accumulation,
        "num_train_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "bf16": recipe.precision == "bf16",
        "fp16": recipe.precision == "fp16",
        "seed": recipe.seed,
        "report_to": "none",
        **recipe.settings,
    }


def _begun_otherwise(recipe: LlamaFactoryRecipe) -> str | None:
    """Why LLaMA-Factory must not go on from what is in the output: it was asked for something else there."""
    import yaml

    if not _file(recipe).is_file():
        return None
    before, now = yaml.safe_load(_file(recipe).read_text(encoding="utf-8")) or {}, configuration(recipe)
    other = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return f"{_file(recipe)} began with another {', '.join(other)}; choose another output" if before and other else None


def preview(recipe: LlamaFactoryRecipe) -> str:
    """The command, and its configuration."""
    import yaml

    return (
        f"# {recipe.program} train {_file(recipe)}\n{yaml.safe_dump(configuration(recipe), sort_keys=False)}".rstrip()
    )


def run(recipe: LlamaFactoryRecipe, ranks: Ranks) -> Path:
    """Write data and configuration, run LLaMA-Factory, and hand over what it wrote."""
    import yaml

    if final := finished_before(TRAINER, recipe):
        return final
    _write_samples(recipe)
    asked = configuration(recipe)
    _file(recipe).write_text(yaml.safe_dump(asked, sort_keys=False), encoding="utf-8")
    _call([recipe.program, "train", str(_file(recipe))], recipe.output / "llama-factory.log")

    work, aside = Path(asked["output_dir"]), recipe.output / "final.partial"
    if not work.is_dir():
        raise PluginError(f"{recipe.program} ended without an error and wrote nothing into {work}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(work, aside, ignore=shutil.ignore_patterns("checkpoint-*"))
    hand_over(
        aside,
        trainer=TRAINER,
        recipe=recipe,
        model=recipe.model,
        sources=file_sources(recipe.files),
        test_sets=built_test_sets(recipe.files),
        steps=_steps(aside / "trainer_state.json"),
        about=f"instruction tuning by LLaMA-Factory, {'by LoRA' if recipe.method == 'lora' else 'of all weights'}",
    )
    return aside.rename(recipe.output / "final")


def _file(recipe: LlamaFactoryRecipe) -> Path:
    return recipe.output / "llama-factory.yaml"


def _write_samples(recipe: LlamaFactoryRecipe) -> None:
    """All samples in one form, whatever keys their files have, and the description that LLaMA-Factory wants of them."""
    from mellama_train.rows.packed import file_samples

    folder = recipe.output / "data"
    folder.mkdir(parents=True, exist_ok=True)
    samples, new = folder / "samples.jsonl", folder / "samples.partial"
    with new.open("w", encoding="utf-8") as file:
        for sample in file_samples(recipe.files):
            if sample.tools or any(turn["role"] == "tool" for turn in sample.messages):
                raise DataError(f"{sample.place}: the sample calls tools, which this trainer does not hand on")
            file.write(json.dumps({"messages": sample.messages}, ensure_ascii=False) + "\n")
    if samples.is_file() and not filecmp.cmp(samples, new, shallow=False):
        raise DataError(
            f"{samples} was made of other data, and the run there would go on with it; choose another output"
        )
    new.replace(samples)
    (folder / "dataset_info.json").write_text(json.dumps({"samples": OPENAI_FORM}, indent=1), encoding="utf-8")


def _call(command: list[str], log: Path) -> None:
    """Run a command; what it says goes on to stderr, and into a file. Raises `PluginError` with its last line."""
    last = ""
    try:
        with (
            log.open("w", encoding="utf-8") as kept,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", file=sys.stderr)
                kept.write(line)
                last = line.strip() or last
    except OSError as error:
        raise PluginError(f"{command[0]} cannot be run: {error.strerror}") from None
    if process.returncode:
        how = (
            f"exit code {process.returncode}"
            if process.returncode > 0
            else f"the signal {signal.Signals(-process.returncode).name}"
        )
        raise PluginError(f"{command[0]} ended with {how}: {last or 'it said nothing'} (all of it is in {log})")


def _steps(state: Path) -> int | None:
    """Optimizer steps by the record that transformers' trainer leaves."""
    return int(json.loads(state.read_text(encoding="utf-8"))["global_step"]) if state.is_file() else None


TRAINER = Trainer(
    name="llama_factory",
    about="instruction tuning by LLaMA-Factory, by LoRA or of all weights",
    reads="prompts with responses, in files",
    recipe=LlamaFactoryRecipe,
    run=run,
    problems=problems,
    preview=preview,
    own_processes=True,
)
