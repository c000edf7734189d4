"""Several processes that run the same command, each on its part of the documents (`accelerate launch`, `torchrun`).

Both launchers set RANK, WORLD_SIZE and the address of the first process. Processes talk as little as can be: what the
first one has decided, and that all have come to a point. A process that dies ends the others: theirs is the launcher's
to do, and whoever waits for it hears that the connection broke.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from mibe.errors import RunError, UsageError

T = TypeVar("T")

BLOCK = 16
"""Documents in a row that one process takes: neighbours often share a head, which is then read by one alone."""

PATIENCE = timedelta(days=30)
"""How long a process may wait for another: a model may need days for its part."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of one run: this one's number `rank` (from 0) of `count`; how many are on this machine."""

    rank: int = 0
    count: int = 1
    on_this_machine: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes the run folder and speaks to the user."""
        return self.rank == 0

    def has(self, position: int, total: int) -> bool:
        """Whether the document at `position` of `total` is this process's: blocks of neighbours take turns."""
        block = max(1, min(BLOCK, total // (4 * self.count)))
        return position // block % self.count == self.rank

    def agree(self, value: T) -> T:
        """The first process's value, in all of them; returns when all have come here.

        Raises `RunError` when another process is gone.
        """
        if self.count == 1:
            return value
        import torch.distributed as dist

        held: list[Any] = [value]
        try:
            dist.broadcast_object_list(held, src=0, group=_connection())
            dist.barrier(group=_connection())
        except RuntimeError as error:
            raise RunError(
                "another process of this run has ended (its own message says why); everything so far is kept, "
                "run the same command again"
            ) from error
        agreed: T = held[0]
        return agreed


def current(environment: Mapping[str, str] = os.environ) -> Ranks:
    """The processes of this run, as the launcher says; one alone without a launcher.

    Raises `UsageError` for variables that do not fit together.
    """
    try:
        rank, count = int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1"))
        # vLLM's engine may have set LOCAL_WORLD_SIZE here, for processes of its own.
        local = int(environment.get("LOCAL_WORLD_SIZE", str(count))) if count > 1 else 1
    except ValueError as error:
        raise UsageError(f"RANK, WORLD_SIZE or LOCAL_WORLD_SIZE is no number: {error}") from None
    if not (0 <= rank < count and 1 <= local <= count):
        raise UsageError(f"RANK={rank} is not one of WORLD_SIZE={count} processes; unset both, or use a launcher")
    return Ranks(rank, count, local)


@cache
def _connection() -> Any:
    """The group of all processes. On CPU memory, whatever the models use among themselves."""
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=PATIENCE)
    # Its threads would otherwise be running still when the interpreter takes itself apart.
    atexit.register(dist.destroy_process_group)
    return dist.new_group(backend="gloo", timeout=PATIENCE)
