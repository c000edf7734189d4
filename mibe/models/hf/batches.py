"""How much is read at once: by the memory there is, and less when it runs out."""

from __future__ import annotations

import ctypes
import gc
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import psutil
import torch

from mibe.models import ranks

T = TypeVar("T")
R = TypeVar("R")

CPU_SLOTS = 2048
"""Tokens of prompts in an automatic batch where there is no accelerator: more rows are hardly faster there, and where
prompts are so long that few rows have place, reading them takes far longer than what is written after them."""

CPU_BATCH = 8
"""Outputs of full length that have place in such a batch beside the prompts."""

LARGEST_BATCH = 256
"""Automatic batch sizes go no higher: responses should come, and be kept, in small steps."""

KEPT_BYTES = 2**30
"""Freed memory that a CPU's process keeps for its next batch."""

LARGEST_KEPT = 2**25
"""Bytes of the largest piece of memory that is kept: more the C library does not allow."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

_MEMORY_MESSAGES = ("can't allocate memory", "not enough memory", "out of memory", "cublas_status_alloc_failed")


class Batcher:
    """Cuts work into batches of at most `limit` items, and of half as many after each lack of memory.

    The limit stays lowered for all later work, so that one lesson is enough.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._warned = False

    def run(
        self,
        items: Sequence[T],
        work: Callable[[Sequence[T]], R],
        fit: Callable[[T], int] = lambda _: sys.maxsize,
    ) -> Iterator[tuple[Sequence[T], R | None]]:
        """Yield (batch, result of `work`) in order; the result is None for a single item that does not fit memory.

        `fit` says how many items like the first one of a batch should fit.
        """
        start = 0
        while start < len(items):
            size = max(1, min(self.limit, fit(items[start])))
            batch = items[start : start + size]
            result: R | None = None
            try:
                result = work(batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            if result is None:
                # Outside the handler: there the error's frames would still hold the memory.
                release_memory()
                if len(batch) > 1:
                    self.lower(len(batch))
                    continue
            yield batch, result
            start += len(batch)

    def lower(self, size: int) -> None:
        """Take half of `size` from now on, which was too many."""
        self.limit = size // 2
        if not self._warned:
            self._warned = True
            warnings.warn(f"out of memory with {size} prompts at once; going on with fewer", stacklevel=4)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on an accelerator or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(m in str(error).lower() for m in _MEMORY_MESSAGES)


def release_memory() -> None:
    """Give back what torch holds in reserve."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Have the C library keep what is freed: it would give it back after each prompt, only to be handed cleared pages.

    That takes up to 8 % of the time. Only glibc knows this setting, which is of the whole process.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)


def free_memory(devices: Iterable[torch.device]) -> int:
    """Bytes that a model on these devices may still take: as much on each as on the fullest.

    On a CPU an equal share for each process of this run on this machine.
    """
    accelerators = [device for device in devices if device.type == "cuda"]
    if accelerators:
        fullest: int = min(torch.cuda.mem_get_info(device)[0] for device in accelerators)
        return fullest * len(accelerators)
    free: int = psutil.virtual_memory().available
    return free // ranks.current().on_this_machine


def slots_that_fit(free: int, room: int, draws: int, config: Any, itemsize: int, *, on_cpu: bool) -> int:
    """How many tokens the key–value cache of a batch may hold, in `free` bytes beside the weights.

    On a CPU no more than `CPU_SLOTS` of prompts and `CPU_BATCH` outputs of `room` tokens, each with all its draws: they
    take one place for as long as they are alike.
    """
    fit = int((0.5 if on_cpu else 0.8) * free) // (cache_width(config) * itemsize)
    return min(fit, draws * (CPU_SLOTS + CPU_BATCH * room)) if on_cpu else fit


def cache_width(config: Any) -> int:
    """Numbers that the key–value cache holds for one token."""
    text = config.get_text_config()
    width = getattr(text, "hidden_size", 4096)
    heads = getattr(text, "num_attention_heads", 32)
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    head_width = getattr(text, "head_dim", None) or width // heads
    numbers: int = 2 * getattr(text, "num_hidden_layers", 32) * kv_heads * head_width
    return numbers


def batch_that_fits(free: int, tokens: int, config: Any, itemsize: int) -> int:
    """How many sequences of `tokens` tokens, each read at once, should fit into `free` bytes beside the weights.

    At least 1: a rough estimate from the key-value cache, the widest activations of one layer and one row of logits
    in float32. `config` is the model's configuration, `itemsize` the bytes of one number in the model's precision.
    """
    text = config.get_text_config()
    width = getattr(text, "hidden_size", 4096)
    activations = 6 * width + 3 * (getattr(text, "intermediate_size", None) or 4 * width)
    each = tokens * (cache_width(config) + activations) * itemsize + 8 * getattr(text, "vocab_size", 32_000)
    return max(1, int(0.8 * free / each))
