"""Peak memory beside what was planted, in real processes, and as psutil and the kernel tell it."""

import json
import subprocess
import sys

import psutil
import pytest
from nvml_driver import Driver

from mibe.meters import memory, nvml

MIB = 2**20

PLANTED = """
import json, resource, sys
import psutil
from mibe.meters import memory
before = memory.resident(), psutil.Process().memory_info().rss
block = bytearray(b"x") * (150 * 2**20)
held = memory.resident(), psutil.Process().memory_info().rss
del block
print(json.dumps([before, held, memory.process_peak(), memory.resident()]))
"""

CHILD = "import time; block = bytearray(b'x') * (60 * 2**20); del block; print('ready', flush=True); time.sleep(60)"


def python(code, **options):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)


def test_a_planted_allocation_is_in_the_peak_and_in_what_is_resident_while_it_is_there():
    out, _ = python(PLANTED).communicate(timeout=120)
    (before, _), (held, by_psutil), peak, after = json.loads(out)
    assert 150 * MIB <= held - before < 155 * MIB
    assert held == pytest.approx(by_psutil, abs=MIB)
    # The kernel counts pages a few at a time, so that the two may differ by some.
    assert held - MIB <= peak < held + 10 * MIB and after < before + 10 * MIB


def test_the_memory_of_whoever_started_a_process_is_not_its_own():
    """`ru_maxrss` begins at the parent's; a test runner, a notebook or a launcher can be large."""
    parent = """
import subprocess, sys
block = bytearray(b"x") * (300 * 2**20)
child = "from mibe.meters import memory; print(memory.process_peak())"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout)
"""
    out, _ = python(parent).communicate(timeout=120)
    assert int(out) < 100 * MIB


def test_children_count_with_their_own_peaks_while_they_live():
    with python(CHILD) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            assert child.pid in memory.descendants()
            with_child = memory.children_peak()
            assert with_child >= 60 * MIB
            own = psutil.Process(child.pid).memory_info().rss
            assert own < 60 * MIB
        finally:
            child.kill()
    assert child.pid not in memory.descendants()


@pytest.fixture
def driver(monkeypatch):
    def put(made):
        monkeypatch.setitem(sys.modules, "pynvml", made)
        nvml.library.cache_clear()
        return made

    yield put
    nvml.library.cache_clear()


def test_devices_are_told_one_by_one_and_others_apart(driver):
    ours = psutil.Process().pid
    driver(Driver([[(ours, 12 * 2**30), (1, 18 * 2**30)], [(1, 29 * 2**30)]]))
    first, second = memory.devices()
    assert (first.name, first.used_bytes, first.own_bytes, first.others_bytes) == (
        "H100",
        30 * 2**30,
        12 * 2**30,
        18 * 2**30,
    )
    # Where the driver names no process of ours nobody knows whose the memory is.
    assert (second.own_bytes, second.others_bytes) == (None, None) and second.used_bytes == 29 * 2**30


def test_what_a_driver_hides_is_not_zero(driver):
    driver(Driver([[(psutil.Process().pid, None)], []]))
    assert [device.own_bytes for device in memory.devices()] == [None, None]


def test_without_the_package_nothing_is_known_of_devices_that_torch_does_not_work_on(driver):
    driver(None)
    assert nvml.library() is None and memory.devices() == []
