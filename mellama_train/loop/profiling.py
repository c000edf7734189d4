"""A trace of some steps, for Perfetto or Chrome's tracing page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

FOLDER = "profile"

BEFORE, WARMUP = 1, 1
"""Steps that are not traced: the first, in which memory is found and kernels are chosen, and one with the tracer on."""


@contextmanager
def traced(steps: int | None, output: Path, rank: int) -> Iterator[Callable[[], None]]:
    """Call what is yielded after each step; `steps` of them are traced to `OUTPUT/profile/rank-N.json.gz`."""
    if steps is None:
        yield lambda: None
        return
    file = output / FOLDER / f"rank-{rank}.json.gz"

    def write(profile: torch.profiler.profile) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        profile.export_chrome_trace(str(file))

    plan = torch.profiler.schedule(wait=BEFORE, warmup=WARMUP, active=steps, repeat=1)
    with torch.profiler.profile(schedule=plan, on_trace_ready=write, record_shapes=True) as profile:
        yield profile.step
