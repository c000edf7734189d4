"""What NVIDIA's driver knows of its devices, by NVML. The package is `nvidia-ml-py`; without it nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

INSTALL = "pip install nvidia-ml-py"
DRIVER = Path("/proc/driver/nvidia/version")
"""Where a machine with NVIDIA's driver says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A device at this moment. Memory in bytes; `by_process` is process number → what it uses, as the driver sees it.

    `millijoules` is the energy since the driver was loaded, None for devices that do not count it (before Volta).
    """

    name: str
    uuid: str
    total: int
    used: int
    by_process: Mapping[int, int]
    millijoules: int | None


def states() -> list[State]:
    """Every device of this machine; none where NVML cannot be had."""
    nvml = library()
    if nvml is None:
        return []
    return [_state(nvml, nvml.nvmlDeviceGetHandleByIndex(number)) for number in range(nvml.nvmlDeviceGetCount())]


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


def _state(nvml: Any, device: Any) -> State:
    memory = nvml.nvmlDeviceGetMemoryInfo(device)
    return State(
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
        millijoules=_known(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(device)),
    )


def _known(nvml: Any, ask: Any) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    """Older releases of the package give bytes."""
    return value.decode() if isinstance(value, bytes) else value
