"""Energy in joules, where the machine counts it: processors by RAPL, NVIDIA's devices by NVML.

Both count the whole chip, whoever works on it. RAPL's counters begin anew after some minutes of full load, so they are
read now and then; the kernel lets nobody but root read them unless it is told to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mibe.meters import nvml

RAPL = Path("/sys/class/powercap")
STEP = 20.0
"""Seconds between two readings: at 1,000 W a counter of 65 kJ, the smallest there is, runs for a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules by what used them, over so many seconds; empty where nothing counts, and `why` says why not."""

    joules: Mapping[str, float]
    seconds: float
    why: str = ""

    @property
    def total(self) -> float | None:
        """All of them together; None where nothing was measured."""
        return sum(self.joules.values()) if self.joules else None


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that counts microjoules: `read` gives them, and begins anew after `most`. It raises `OSError` where it
    cannot be read any more."""

    name: str
    read: Callable[[], int]
    most: int | None = None

    def between(self, before: int, after: int) -> float:
        """Joules from one reading to the next one."""
        passed = after - before
        return (passed + self.most if passed < 0 and self.most is not None else max(0, passed)) / 1e6


class EnergyMeter:
    """Adds up what counters count from its start until `stop`, in a thread of its own that is hardly ever awake."""

    def __init__(self, counters: list[Counter], why: str = "") -> None:
        self._why = why
        self._last = {counter: counter.read() for counter in counters}
        self._joules = dict.fromkeys(counters, 0.0)
        self._begun = time.perf_counter()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if counters:
            self._thread = threading.Thread(target=self._watch, name="mibe-energy", daemon=True)
            self._thread.start()

    @classmethod
    def start(cls) -> EnergyMeter:
        """A meter of all that counts on this machine."""
        counters, why = rapl_counters()
        devices = nvml_counters()
        missing = [] if counters else [why]
        missing += [] if devices else [nvml.why_none()]
        return cls([*counters, *devices], "; ".join(missing))

    def stop(self) -> Energy:
        """What was counted since the start."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._add()
        return Energy(
            joules={counter.name: joules for counter, joules in self._joules.items()},
            seconds=time.perf_counter() - self._begun,
            why=self._why,
        )

    def _watch(self) -> None:
        while not self._over.wait(STEP):
            self._add()

    def _add(self) -> None:
        for counter in list(self._joules):
            try:
                now = counter.read()
            except OSError as error:
                # A part of what it used would be taken for all.
                del self._joules[counter]
                self._why = "; ".join(filter(None, [self._why, f"{counter.name} was lost ({error})"]))
                continue
            self._joules[counter] += counter.between(self._last[counter], now)
            self._last[counter] = now


def rapl_counters(root: Path | None = None) -> tuple[list[Counter], str]:
    """The counters of processors and their memory; and why there are none, where there are none.

    A package holds its cores, so of what stands within it only the memory, which it does not hold, counts beside it.
    """
    found: list[Counter] = []
    refused = False
    for zone in sorted((RAPL if root is None else root).glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            if not name.startswith(("package", "dram")):
                continue
            most = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
            counter = Counter(f"{name} ({zone.name})", partial(_microjoules, zone), most)
            counter.read()
        except PermissionError:
            refused = True
            continue
        except OSError:
            continue
        found.append(counter)
    if found:
        return found, ""
    return [], "RAPL may be read by root alone" if refused else "no RAPL counters"


def _microjoules(zone: Path) -> int:
    return int((zone / "energy_uj").read_text(encoding="ascii"))


def nvml_counters() -> list[Counter]:
    """The counters of NVIDIA's devices."""
    return [
        Counter(f"{state.name} ({state.number})", partial(_device_microjoules, state.number))
        for state in nvml.states()
        if nvml.millijoules(state.number) is not None
    ]


def _device_microjoules(number: int) -> int:
    found = nvml.millijoules(number)
    if found is None:
        raise OSError(f"device {number} does not answer any more")
    return 1000 * found
