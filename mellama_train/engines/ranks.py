"""The processes of a run: who this one is, and the small sums and messages that pass between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from mellama_train.errors import EngineError

WAIT = timedelta(hours=2)
"""How long a rank waits for the others: rank 0 may be converting a checkpoint, or scoring a probe."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `size` ones, and its device."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls) -> Ranks:
        """Join the processes that torchrun, deepspeed or Slurm started; a process alone is a group of one.

        Numbers and messages go over gloo on the CPU, tensors on GPUs over NCCL. Raises `EngineError` for a process that
        finds no GPU of its own on a machine that has some.
        """
        size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
        on_gpu = torch.cuda.is_available()
        device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
        if on_gpu and local >= torch.cuda.device_count():
            raise EngineError(
                f"process {local} of this machine has no GPU of its own: torch sees {torch.cuda.device_count()}; "
                f"start as many processes as that"
            )
        if on_gpu:
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
            if size > 1:
                dist.init_process_group(backend, timeout=WAIT)
            else:
                dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @classmethod
    def alone(cls) -> Ranks:
        """This process alone, which takes no GPU: those that it starts are to have them."""
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        return cls(0, 1, torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """True on the one process that writes files and speaks."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all ranks, in double precision."""
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def from_first(self, value: Any) -> Any:
        """The `value` that the first rank has."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def as_on_first(self, tensor: torch.Tensor) -> None:
        """Put the values of the first rank's tensor into this one, in place; the shapes are the same."""
        values = tensor.contiguous()
        dist.broadcast(values, src=0)
        tensor.copy_(values)

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, by rank."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all ranks are here."""
        dist.barrier()

    def leave(self) -> None:
        """End the group."""
        if dist.is_initialized():
            dist.destroy_process_group()
