"""DeepSpeed: ZeRO 1, 2 and 3, with offload. It keeps float32 masters of weights in the recipe's precision."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

if not torch.cuda.is_available():
    # Before the import, which looks for an accelerator.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
from deepspeed.utils import safe_get_full_fp32_param
from pydantic import ValidationError
from transformers.integrations import HfDeepSpeedConfig

from mellama_train.engines.engine import StepOutcome
from mellama_train.engines.lockstep import Lockstep
from mellama_train.engines.optimizers import adamw, parameter_groups
from mellama_train.engines.ranks import Ranks
from mellama_train.engines.zero import TAG, configuration
from mellama_train.errors import CheckpointError, EngineError, one_line
from mellama_train.model.adapters import bare
from mellama_train.model.loading import DTYPE, load_model, trainable, whole_shape
from mellama_train.model.loss import open_loss
from mellama_train.recipe.config import Recipe
from mellama_train.rows.batches import MicroBatch

UNIVERSAL = "universal"

if not torch.cuda.is_available():
    # The shared-memory collectives for CPUs would be compiled for minutes; gloo does the same. No setting says so.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


class DeepSpeedEngine:
    """See `Engine`."""

    def __init__(self, recipe: Recipe, ranks: Ranks, *, universal: bool) -> None:
        self._recipe, self._ranks, self._universal = recipe, ranks, universal
        settings = configuration(recipe, ranks.size, universal=universal)
        deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
        # A process that no launcher started is the only one, and DeepSpeed asks for its place all the same.
        os.environ.setdefault("LOCAL_RANK", "0")
        _refuse_unknown(settings, recipe)
        # While this object lives, transformers loads the weights in parts onto the ranks where the stage is 3.
        self._partitioned = HfDeepSpeedConfig(settings)
        self.model = load_model(recipe, ranks.device, DTYPE[recipe.precision])
        loss = open_loss(self.model, recipe)
        if recipe.engine.zero == 3 and loss.kernel == "fused":
            # The weight of the output layer is used outside of its own layer.
            deepspeed.zero.register_external_parameter(loss, bare(self.model).get_output_embeddings().weight)
        self._parameters = trainable(self.model)
        self._engine, *_ = deepspeed.initialize(
            model=loss, optimizer=_optimizer(recipe, ranks, self._parameters), config=settings
        )
        self._assert_master_weights()
        self._lockstep = Lockstep(self.model, ranks) if recipe.engine.check_ranks else None
        self._engine.train()

    def step(
        self,
        micro: tuple[MicroBatch, ...],
        targets: int,
        learning_rate: float,
        accept: Callable[[float], bool],
        before: Callable[[], None],
    ) -> StepOutcome:
        """See `Engine`."""
        engine, ranks = self._engine, self._ranks
        for group in engine.optimizer.param_groups:
            group["lr"] = learning_rate
        # DeepSpeed takes means over ranks and micro-batches, and the sum is what is wanted.
        weight = ranks.size * len(micro) / targets
        total, mean = 0.0, math.nan
        for number, batch in enumerate(micro):
            before()
            last = number == len(micro) - 1
            loss = engine(batch.to(ranks.device))
            total += float(loss.detach())
            if last:
                mean = ranks.sum([total])[0] / targets
                if not accept(mean):
                    # What DeepSpeed has gathered cannot be dropped, but it leaves out a gradient that is no number.
                    weight = math.nan
            engine.backward(loss * weight)
            self._end_pass()
            if not last:
                engine.step()
        engine.step()
        applied = bool(engine.was_step_applied())
        norm = engine.get_global_grad_norm()
        return StepOutcome(mean, float(norm) if applied and norm is not None else math.nan, applied)

    def summed_loss(self, batch: MicroBatch) -> float:
        """See `Engine`."""
        self._engine.eval()
        with torch.no_grad():
            value = float(self._engine(batch.to(self._ranks.device)))
        self._end_pass()
        self._engine.train()
        return value

    @contextlib.contextmanager
    def live(self) -> Iterator[Any]:
        """See `Engine`."""
        self._engine.eval()
        try:
            with torch.no_grad():
                yield self.model
        finally:
            self._engine.train()

    def _end_pass(self) -> None:
        if self._lockstep:
            self._lockstep.end_pass()

    def weights(self) -> dict[str, torch.Tensor]:
        """See `Engine`. One weight at a time is gathered, so that no GPU needs to hold the model."""
        whole = {}
        for name, parameter in self._parameters.items():
            with deepspeed.zero.GatheredParameters([parameter], enabled=self._recipe.engine.zero == 3):
                if self._ranks.is_first:
                    whole[name] = parameter.detach().cpu().clone()
        return whole

    def save(self, folder: Path) -> Future[Any]:
        """See `Engine`. The ranks wait: DeepSpeed's own writer beside the steps needs libaio and is not there for all.

        What it writes is on the disk when this returns.
        """
        self._engine.save_checkpoint(
            str(folder), tag=TAG, save_latest=False, exclude_frozen_parameters=self._recipe.lora is not None
        )
        written: Future[Any] = Future()
        written.set_result(None)
        return written

    def load(self, folder: Path) -> None:
        """See `Engine`. For another number of ranks the checkpoint is first converted, once, beside its own files."""
        tag = TAG
        if self._universal:
            tag = UNIVERSAL
            problem = _convert(folder) if self._ranks.is_first else None
            if problem := self._ranks.from_first(problem):
                raise CheckpointError(f"cannot convert {folder} for {self._ranks.size} ranks: {problem}")
        decays = [group["weight_decay"] for group in self._engine.optimizer.param_groups]
        path, _ = self._engine.load_checkpoint(
            str(folder), tag=tag, load_module_strict=self._recipe.lora is None, load_lr_scheduler_states=False
        )
        if path is None:
            raise CheckpointError(f"DeepSpeed found no checkpoint in {folder}")
        if self._universal and self._recipe.engine.zero == 3:
            self._mend_universal_state(decays)

    def _mend_universal_state(self, decays: list[float]) -> None:
        """Undo what ZeRO-3 does when it reads the universal form.

        It gives all groups of weights one and the same step counter, which then counts once for each of them in
        every step (AdamW's bias correction runs ahead), and the weight decay of the first.
        """
        for state in self._engine.optimizer.optimizer.state.values():
            state["step"] = state["step"].clone()
        for group, decay in zip(self._engine.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay

    def _assert_master_weights(self) -> None:
        """What DeepSpeed updates is float32: of the smallest trained weight, since it treats all alike."""
        smallest = min(self._parameters.values(), key=lambda parameter: math.prod(whole_shape(parameter)))
        master = safe_get_full_fp32_param(smallest)
        found = "none" if master is None else master.dtype
        if found != torch.float32:
            raise EngineError(
                f"DeepSpeed keeps no float32 masters of the trained weights ({found}); check engine.config"
            )


def _refuse_unknown(settings: dict[str, Any], recipe: Recipe) -> None:
    """Raise `EngineError`, before a model is loaded, for what DeepSpeed cannot do here or does not understand."""
    here = deepspeed.accelerator.get_accelerator()
    able = {"fp16": here.is_fp16_supported(), "bf16": here.is_bf16_supported(), "fp32": True}
    if not able[recipe.precision]:
        raise EngineError(
            f"precision: DeepSpeed does not compute in {recipe.precision} on this machine ({here.device_name()}); take "
            f"{' or '.join(name for name, is_able in able.items() if is_able)}, or engine.name: plain"
        )
    try:
        deepspeed.DeepSpeedConfig(copy.deepcopy(settings))
    except (ValueError, TypeError, AssertionError) as error:
        raise EngineError(f"engine.config: DeepSpeed refuses {recipe.engine.config}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
    return one_line(error)


def _optimizer(recipe: Recipe, ranks: Ranks, parameters: dict[str, torch.nn.Parameter]) -> Any:
    """PyTorch's AdamW; where GPUs' optimizer state lies on the CPU, DeepSpeed's, which is built for that."""
    if recipe.engine.offload_optimizer and ranks.device.type == "cuda":
        optimizer = recipe.optimizer
        return deepspeed.ops.adam.DeepSpeedCPUAdam(
            parameter_groups(parameters, optimizer.weight_decay),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.epsilon,
            adamw_mode=True,
        )
    return adamw(parameters, recipe.optimizer, fused=ranks.device.type == "cuda")


def _convert(folder: Path) -> str | None:
    """Write DeepSpeed's universal form of a checkpoint; returns what went wrong."""
    target = folder / UNIVERSAL
    if target.is_dir():
        return None
    aside = target.with_suffix(".partial")
    shutil.rmtree(aside, ignore_errors=True)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    done = subprocess.run(
        [*command, "--input_folder", str(folder / TAG), "--output_folder", str(aside)],
        capture_output=True,
        text=True,
        env={**os.environ, "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
    )
    if done.returncode != 0:
        shutil.rmtree(aside, ignore_errors=True)
        return next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
    aside.rename(target)
    return None
