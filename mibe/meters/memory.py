"""Peak memory in bytes: of this process, of those that it started, and device by device, others' apart.

The kernel keeps the peak of each process (`VmHWM`), so nothing has to be watched meanwhile.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mibe.meters import nvml

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator. `allocated_peak_bytes` is the most that this process's tensors took, `reserved_peak_bytes` the
    most that torch held for them; `used_bytes` is what all processes use when the figure is taken, `own_bytes` the part
    of this process and those that it started, and `others_bytes` the rest. None: not measured.
    """

    name: str
    total_bytes: int
    used_bytes: int
    allocated_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None
    own_bytes: int | None = None
    others_bytes: int | None = None


def process_peak() -> int:
    """Peak resident memory of this process, from its start on."""
    # `ru_maxrss` holds on Linux what the process was before it became this program: the memory of whoever started it.
    if (own := _of_process(os.getpid(), "VmHWM")) is not None:
        return own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident() -> int | None:
    """Resident memory of this process now; None where the system does not say."""
    return _of_process(os.getpid(), "VmRSS")


def children_peak() -> int | None:
    """The sum of the peaks of the processes that this one started and that are alive, and of those that they started.

    None where there is none, or the system does not say. Pages that several share count in each, and peaks need not
    fall together: the sum is an upper bound.
    """
    peaks = [peak for pid in descendants() if (peak := _of_process(pid, "VmHWM")) is not None]
    return sum(peaks) if peaks else None


def devices() -> list[Device]:
    """The accelerators of this machine that torch works on here, or that the driver can be asked about."""
    known = nvml.states()
    own = {os.getpid(), *descendants()}
    by_torch = _torch_devices()
    if not known:
        return [device for _, device in by_torch]
    peaks = dict(by_torch)
    return [_device(state, own, peaks.get(state.uuid)) for state in known]


def _device(state: nvml.State, own: set[int], peaks: Device | None) -> Device:
    """A device as driver and torch see it. A driver that names no process of ours does not tell ours from others'."""
    mine = [used for pid, used in state.by_process.items() if pid in own]
    return Device(
        name=state.name,
        total_bytes=state.total,
        used_bytes=state.used,
        allocated_peak_bytes=None if peaks is None else peaks.allocated_peak_bytes,
        reserved_peak_bytes=None if peaks is None else peaks.reserved_peak_bytes,
        own_bytes=sum(mine) if mine else None,
        others_bytes=max(0, state.used - sum(mine)) if mine else None,
    )


def _torch_devices() -> list[tuple[str, Device]]:
    """The devices that torch works on in this process, each with its identifier; asking would occupy any other."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        properties = torch.cuda.get_device_properties(number)
        device = Device(
            name=torch.cuda.get_device_name(number),
            total_bytes=total,
            used_bytes=total - free,
            allocated_peak_bytes=torch.cuda.max_memory_allocated(number),
            reserved_peak_bytes=torch.cuda.max_memory_reserved(number),
        )
        found.append((f"GPU-{getattr(properties, 'uuid', number)}", device))
    return found


def descendants(root: int | None = None) -> Sequence[int]:
    """Numbers of the processes that a process (this one) started, directly or by others."""
    parents = dict(_parents())
    found: list[int] = []
    layer = {os.getpid() if root is None else root}
    while layer:
        layer = {pid for pid, parent in parents.items() if parent in layer}
        found += sorted(layer)
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """(process, its parent) of all processes that can be seen."""
    for folder in PROC.glob("[0-9]*"):
        parent = _status(int(folder.name)).get("PPid")
        if parent is not None:
            yield int(folder.name), int(parent)


def _of_process(pid: int, field: str) -> int | None:
    kilobytes = _status(pid).get(field)
    return None if kilobytes is None else int(kilobytes.split()[0]) * 1024


def _status(pid: int) -> dict[str, str]:
    """What the kernel says of a process; nothing of one that has ended meanwhile, and on other systems than Linux."""
    try:
        lines = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return dict(line.split(":", 1) for line in lines if ":" in line)
