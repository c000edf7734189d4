"""PyTorch alone: one process, DDP, or FSDP2. Trained weights are float32; bf16 and fp16 are what layers compute in."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from mellama_train.engines.engine import StepOutcome
from mellama_train.engines.lockstep import Lockstep
from mellama_train.engines.optimizers import adamw, assert_master_weights
from mellama_train.engines.ranks import WAIT, Ranks
from mellama_train.model.adapters import bare
from mellama_train.model.loading import DTYPE, load_model, trainable
from mellama_train.model.loss import CausalLoss, open_loss
from mellama_train.recipe.config import Recipe
from mellama_train.rows.batches import MicroBatch


class PlainEngine:
    """See `Engine`."""

    def __init__(self, recipe: Recipe, ranks: Ranks) -> None:
        self.model = load_model(recipe, ranks.device, torch.float32)
        self._recipe, self._ranks = recipe, ranks
        loss = open_loss(self.model, recipe)
        self._sharded = recipe.engine.sharding == "fsdp"
        self._loss: Any
        if self._sharded:
            self._loss = _shard(loss, recipe, ranks)
        else:
            self._loss = loss.to(ranks.device)
            if ranks.size > 1:
                self._loss = DistributedDataParallel(self._loss, broadcast_buffers=False, gradient_as_bucket_view=True)
        self._parameters = trainable(self.model)
        assert_master_weights(self._parameters)
        # Fused AdamW passes over the weights once: five times as fast on a CPU, too. FSDP's shards have it on GPUs.
        self._fused = not recipe.engine.offload_optimizer and (ranks.device.type == "cuda" or not self._sharded)
        self._optimizer = adamw(self._parameters, recipe.optimizer, fused=self._fused)
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=recipe.precision == "fp16")
        # What is written beside the steps has its own messages.
        self._writers = torch.distributed.new_group(backend="gloo", timeout=WAIT)
        self._lockstep = Lockstep(self.model, ranks) if recipe.engine.check_ranks else None
        self._loss.train()

    def step(
        self,
        micro: tuple[MicroBatch, ...],
        targets: int,
        learning_rate: float,
        accept: Callable[[float], bool],
        before: Callable[[], None],
    ) -> StepOutcome:
        """See `Engine`."""
        # DDP and FSDP take the mean of the ranks' gradients, and the sum is what is wanted.
        weight = self._ranks.size / targets
        losses: list[torch.Tensor] = []
        for number, batch in enumerate(micro):
            before()
            if number > 1:
                # A GPU is at most two micro-batches behind, so that a step can be given up between them.
                losses[number - 2].item()
            with self._gathering(last=number == len(micro) - 1):
                with self._precision():
                    loss = self._loss(batch.to(self._ranks.device))
                self._scaler.scale(loss * weight).backward()
                self._end_pass()
            losses.append(loss.detach())
        mean = self._ranks.sum([sum(loss.item() for loss in losses)])[0] / targets
        if not accept(mean):
            self._optimizer.zero_grad()
            return StepOutcome(mean, math.nan, applied=False)
        norm = self._update(learning_rate)
        return StepOutcome(mean, norm, applied=math.isfinite(norm))

    def _update(self, learning_rate: float) -> float:
        """Clip and apply the gradients, if they are finite; returns their norm."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._scaler.unscale_(self._optimizer)
        limit = self._recipe.optimizer.clip_norm or math.inf
        found: Any = torch.nn.utils.clip_grad_norm_(self._parameters.values(), limit)
        norm = float(found.full_tensor() if self._sharded else found)
        if math.isfinite(norm) or self._scaler.is_enabled():
            # With fp16 the scaler itself leaves the step out and lowers the scale.
            self._scaler.step(self._optimizer)
            self._scaler.update()
        self._optimizer.zero_grad()
        return norm

    def summed_loss(self, batch: MicroBatch) -> float:
        """See `Engine`."""
        loss = self._loss if self._sharded else self._module
        loss.eval()
        with torch.no_grad(), self._precision():
            value = float(loss(batch.to(self._ranks.device)))
        self._end_pass()
        loss.train()
        return value

    @contextlib.contextmanager
    def live(self) -> Iterator[Any]:
        """See `Engine`."""
        if self._sharded:
            # The layers gather themselves; what stands outside them belongs to the root, which nobody calls here.
            self._loss.unshard()
        self.model.eval()
        try:
            with torch.no_grad(), self._precision():
                yield self.model
        finally:
            self.model.train()
            if self._sharded:
                self._loss.reshard()

    def _end_pass(self) -> None:
        if self._lockstep:
            self._lockstep.end_pass()

    def weights(self) -> dict[str, torch.Tensor]:
        """See `Engine`."""
        whole = {}
        for name, parameter in self._parameters.items():
            found: Any = parameter.detach()
            value = found.full_tensor() if self._sharded else found
            if self._ranks.is_first:
                whole[name] = value.cpu()
        return whole

    def save(self, folder: Path) -> Future[Any]:
        """See `Engine`. The form is PyTorch's distributed checkpoint, which any number of ranks can read.

        The state is copied into the CPU's memory and written from there, behind the steps that follow.
        """
        written: Any = dcp.async_save(self._state(), checkpoint_id=folder, process_group=self._writers)
        return written  # type: ignore[no-any-return]

    def load(self, folder: Path) -> None:
        """See `Engine`."""
        self._begin_optimizer()
        state = self._state()
        dcp.load(state, checkpoint_id=folder)
        if self._sharded:
            # A pass before this one left what stands outside the layers gathered, as it was then.
            self._loss.reshard()
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])

    def _state(self) -> dict[str, Any]:
        """Trained weights and AdamW's moments by the names of the weights: the same with and without sharding."""
        moments = {name: self._optimizer.state[parameter] for name, parameter in self._parameters.items()}
        return {"weights": dict(self._parameters), "optimizer": moments, "scaler": self._scaler.state_dict()}

    def _begin_optimizer(self) -> None:
        """Make the moments, as AdamW does at its first step, for a checkpoint to be read into."""
        for parameter in self._parameters.values():
            self._optimizer.state[parameter] = {
                "step": torch.zeros((), device=parameter.device if self._fused else "cpu"),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    @property
    def _module(self) -> Any:
        return self._loss.module if isinstance(self._loss, DistributedDataParallel) else self._loss

    @contextlib.contextmanager
    def _gathering(self, *, last: bool) -> Iterator[None]:
        """Gradients go to the other ranks with the last micro-batch alone."""
        if isinstance(self._loss, FSDPModule):
            self._loss.set_requires_gradient_sync(last)
            yield
        elif isinstance(self._loss, DistributedDataParallel) and not last:
            with self._loss.no_sync():
                yield
        else:
            yield

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """FSDP casts the weights it gathers; otherwise autocast does."""
        dtype, on = DTYPE[self._recipe.precision], self._recipe.precision != "fp32" and not self._sharded
        context: contextlib.AbstractContextManager[Any] = torch.autocast(
            self._ranks.device.type, dtype=dtype if on else torch.bfloat16, enabled=on
        )
        return context


def _shard(loss: CausalLoss, recipe: Recipe, ranks: Ranks) -> Any:
    """FSDP2 over every layer and then over the rest."""
    mixed = MixedPrecisionPolicy(
        param_dtype=None if recipe.precision == "fp32" else DTYPE[recipe.precision], reduce_dtype=torch.float32
    )
    options: dict[str, Any] = {
        "mesh": torch.distributed.init_device_mesh(ranks.device.type, (ranks.size,)),
        "mp_policy": mixed,
        "offload_policy": CPUOffloadPolicy() if recipe.engine.offload_parameters else OffloadPolicy(),
    }
    inner = bare(loss.model)
    for layer in getattr(inner, inner.base_model_prefix).layers:
        fully_shard(layer, **options)
    fully_shard(loss, **options)
    return loss if recipe.engine.offload_parameters else loss.to(ranks.device)
