"""TRL's trainers as this package runs them: its settings and schedule, and nothing told to anybody.

TRL and what it needs are imported where they are used.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellama_train.engines import zero
from mellama_train.errors import CheckpointError, EngineError, one_line
from mellama_train.loop.layout import CHECKPOINTS, HF_PREFIX, newest_hf_checkpoint
from mellama_train.loop.schedule import learning_rate
from mellama_train.recipe.config import Optimizer, Recipe
from mellama_train.rows.steps import accumulation

if TYPE_CHECKING:
    from mellama_train.engines.ranks import Ranks

ENGINE = {
    "trl": "TRL",
    "torch": "PyTorch",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "datasets": "datasets",
}
"""Package → how it is called."""

READING = ("_load_from_checkpoint", "_load_optimizer_and_scheduler", "_load_scaler", "_load_rng_state")
"""Methods of transformers' trainers that read a part of a checkpoint, which is their first argument."""

INSTALL = 'pip install "mibe[rl]"'


def problem_of_trl() -> str | None:
    """What to say where TRL is not installed, or what it needs."""
    lacking = next((shown for name, shown in ENGINE.items() if importlib.util.find_spec(name) is None), None)
    return lacking and f"this trainer runs on {lacking}, which is not here: {INSTALL}"


def imported() -> Any:
    """The package. Raises `EngineError` where it is not installed."""
    if problem := problem_of_trl():
        raise EngineError(problem)
    import torch

    if not torch.cuda.is_available():
        # TRL imports DeepSpeed where it is, which looks for an accelerator and says on stdout that there is none.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import trl

    return trl


def settings(recipe: Recipe, ranks: Ranks, *, steps: int) -> dict[str, Any]:
    """What a recipe says of any training by transformers' `TrainingArguments`, which all settings of TRL's have.

    An engine "plain" leaves the ranks to what started them: `accelerate launch` with a configuration of its own gets
    what that asks for (DDP, FSDP, DeepSpeed). Raises `RecipeError` where the rows do not go on the ranks.
    """
    optimizer = recipe.optimizer
    by_deepspeed = recipe.engine.name == "deepspeed"
    return {
        "output_dir": str(recipe.output / CHECKPOINTS),
        "max_steps": steps,
        "per_device_train_batch_size": recipe.batch.micro_rows,
        "gradient_accumulation_steps": accumulation(recipe.batch, ranks.size),
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "adam_beta1": optimizer.betas[0],
        "adam_beta2": optimizer.betas[1],
        "adam_epsilon": optimizer.epsilon,
        "max_grad_norm": optimizer.clip_norm,
        "bf16": recipe.precision == "bf16",
        "fp16": recipe.precision == "fp16",
        "gradient_checkpointing": recipe.model.activation_checkpointing,
        "deepspeed": _deepspeed(recipe, ranks) if by_deepspeed else None,
        "use_cpu": ranks.device.type == "cpu",
        "seed": recipe.seed,
        "logging_steps": recipe.reporting.every_steps,
        "logging_nan_inf_filter": False,
        "save_steps": recipe.checkpoints.every_steps,
        "save_total_limit": recipe.checkpoints.keep,
        "report_to": "none",
        "disable_tqdm": True,
        "trust_remote_code": recipe.model.trust_remote_code,
    }


def _deepspeed(recipe: Recipe, ranks: Ranks) -> dict[str, Any]:
    """The configuration of the package's own engine, by which transformers also gets whole weights, to save them."""
    found = zero.configuration(recipe, ranks.size, universal=False)
    found["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    return found


def as_ours(trainer: type[Any], optimizer: Optimizer) -> type[Any]:
    """A trainer class of TRL's with the recipe's own schedule, which sends and writes nothing that was not asked for.

    TRL would tell its makers of each run (which model family, which kind of GPUs), and put a card of its own beside
    each checkpoint. A checkpoint that cannot be written, or read, is one line (`CheckpointError`).
    """
    from mellama_train.loop.checkpoints import WRITE_ERRORS
    from mellama_train.model.loading import LOAD_ERRORS

    def create_scheduler(self: Any, num_training_steps: int, optimizer_of_steps: Any = None) -> Any:
        from torch.optim.lr_scheduler import LambdaLR

        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer_of_steps or self.optimizer,
                lambda step: learning_rate(step, num_training_steps, optimizer) / optimizer.learning_rate,
            )
        return self.lr_scheduler

    def nothing(self: Any, *_: Any, **__: Any) -> None:
        """In place of what is not wanted."""

    def save(self: Any, *given: Any) -> None:
        folder = Path(self.args.output_dir) / f"{HF_PREFIX}{self.state.global_step}"
        try:
            trainer._save_checkpoint(self, *given)
        except WRITE_ERRORS as error:
            if self.is_world_process_zero():
                shutil.rmtree(folder, ignore_errors=True)
            raise CheckpointError(unwritten(folder, error)) from error

    def reading(method: str) -> Any:
        def read(self: Any, checkpoint: Any, *given: Any) -> None:
            try:
                getattr(trainer, method)(self, checkpoint, *given)
            except (*LOAD_ERRORS, EOFError) as error:
                raise CheckpointError(
                    f"cannot read {checkpoint}: {one_line(error)}; remove it, and the run goes on from the one before"
                ) from error

        return read

    ours = {"create_scheduler": create_scheduler, "_send_telemetry": nothing, "create_model_card": nothing}
    read = {method: reading(method) for method in READING}
    return type(trainer.__name__, (trainer,), {**ours, **read, "_save_checkpoint": save})


def unwritten(folder: Path, error: BaseException) -> str:
    """What to say of a checkpoint that could not be written."""
    last = newest_hf_checkpoint(folder.parent)
    kept = f"the last whole one is {last.name}" if last else "there is none yet"
    return f"cannot write {folder}: {one_line(error)}; {kept}; make room, and the same command goes on"
