"""What NVIDIA's driver knows of its devices, by NVML. The package is `nvidia-ml-py`; without it nothing is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

INSTALL = "pip install nvidia-ml-py"
DRIVER = Path("/proc/driver/nvidia/version")
"""Where a machine with NVIDIA's driver says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A device now. Memory in bytes; `by_process` is process number → what it uses, as the driver sees it."""

    number: int
    name: str
    uuid: str
    total: int
    used: int
    by_process: Mapping[int, int]


def states() -> list[State]:
    """Every device of this machine that answers; none where NVML cannot be had."""
    nvml = library()
    if nvml is None:
        return []
    numbers = range(_known(nvml, nvml.nvmlDeviceGetCount) or 0)
    found = (_known(nvml, partial(_state, nvml, number)) for number in numbers)
    return [state for state in found if state is not None]


def millijoules(number: int) -> int | None:
    """The energy that a device has used since the driver was loaded; None where it does not count it."""
    nvml = library()
    if nvml is None:
        return None
    return _known(nvml, lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByIndex(number))))


@cache
def library() -> Any:
    """The package, ready to be asked; None where it or the driver is missing."""
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def why_none() -> str:
    """Why NVML says nothing here."""
    if not DRIVER.exists():
        return "no NVIDIA device"
    return f"NVML needs `{INSTALL}`" if library() is None else "NVML counts no energy of these devices"


def _state(nvml: Any, number: int) -> State:
    device = nvml.nvmlDeviceGetHandleByIndex(number)
    memory = nvml.nvmlDeviceGetMemoryInfo(device)
    return State(
        number=number,
        name=_text(nvml.nvmlDeviceGetName(device)),
        uuid=_text(nvml.nvmlDeviceGetUUID(device)),
        total=int(memory.total),
        used=int(memory.used),
        # In a container or a virtual machine the driver may hide what a process uses.
        by_process={
            int(process.pid): int(process.usedGpuMemory)
            for process in _known(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(device)) or ()
            if process.usedGpuMemory is not None
        },
    )


def _known(nvml: Any, ask: Callable[[], T]) -> T | None:
    """What the driver answers; None where it refuses."""
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    """Older releases of the package give bytes."""
    return value.decode() if isinstance(value, bytes) else value
