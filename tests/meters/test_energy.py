"""Energy by counters as Linux and NVML have them, read from files laid out as the kernel lays them out."""

import sys
import threading

import pytest
from nvml_driver import Driver

from mibe.meters import energy, nvml
from mibe.meters.energy import Counter, Energy, EnergyMeter, nvml_counters, rapl_counters


@pytest.fixture
def zones(tmp_path):
    """Two packages, the cores and the memory of the first, and the platform, as intel_rapl lays them out."""
    for zone, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:2", "psys"),
    ):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(f"{name}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text("262143328850\n")
        (tmp_path / zone / "energy_uj").write_text("1000000\n")
    return tmp_path


def put(zones, zone, microjoules):
    (zones / zone / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_and_their_memory_count_and_what_is_within_or_around_them_does_not(zones):
    counters, why = rapl_counters(zones)
    assert [counter.name for counter in counters] == [
        "package-0 (intel-rapl:0)",
        "dram (intel-rapl:0:1)",
        "package-1 (intel-rapl:1)",
    ]
    assert why == ""


def test_a_meter_adds_up_what_passes_also_where_a_counter_begins_anew(zones):
    meter = EnergyMeter(rapl_counters(zones)[0])
    put(zones, "intel-rapl:0", 4_500_000)
    put(zones, "intel-rapl:0:1", 1_250_000)
    put(zones, "intel-rapl:1", 500_000)
    found = meter.stop()
    assert found.joules == {
        "package-0 (intel-rapl:0)": 3.5,
        "dram (intel-rapl:0:1)": 0.25,
        "package-1 (intel-rapl:1)": pytest.approx((262143328850 - 500_000) / 1e6),
    }
    assert found.total == pytest.approx(sum(found.joules.values())) and found.seconds > 0


def test_a_counter_is_read_before_it_has_gone_round(monkeypatch):
    monkeypatch.setattr(energy, "STEP", 0.001)
    readings, over = iter([90, 95, 10, 60]), threading.Event()

    def read():
        found = next(readings, None)
        if found is None:
            over.set()
            return 20
        return found

    meter = EnergyMeter([Counter("small", read, most=100)])
    assert over.wait(60)
    assert meter.stop().joules["small"] * 1e6 == pytest.approx(5 + 15 + 50 + 60)


def test_what_nobody_may_read_is_not_measured_and_says_why(zones, tmp_path):
    assert rapl_counters(tmp_path / "nothing") == ([], "no RAPL counters")
    for zone in zones.iterdir():
        (zone / "energy_uj").unlink()
        (zone / "energy_uj").mkdir()  # a directory cannot be read, by root either
    assert rapl_counters(zones)[0] == []
    assert Energy(joules={}, seconds=1.0, why="x").total is None


def test_a_counter_that_is_lost_on_the_way_is_left_out_and_named(zones):
    meter = EnergyMeter(rapl_counters(zones)[0])
    put(zones, "intel-rapl:0", 3_000_000)
    (zones / "intel-rapl:1" / "energy_uj").unlink()
    found = meter.stop()
    assert found.joules == {"package-0 (intel-rapl:0)": 2.0, "dram (intel-rapl:0:1)": 0.0}
    assert "package-1 (intel-rapl:1) was lost" in found.why


def test_devices_that_count_do_and_others_do_not(monkeypatch):
    made = Driver([[], []], energy=(5_000_000, None))
    monkeypatch.setitem(sys.modules, "pynvml", made)
    nvml.library.cache_clear()
    [counter] = nvml_counters()
    meter = EnergyMeter([counter])
    made.energy = (5_012_500, None)
    assert meter.stop().joules == {"H100 (0)": 12.5}
    nvml.library.cache_clear()
