"""The rate behind a bar and the time left: told when it can be known, and moved by no beginning, pause or batch."""

import io
import random
import re
import sys

import pytest

from mibe.terminal.pace import Pace
from mibe.terminal.progress import Terminal


def run(total, times, *, before=0):
    """(seconds, pace's rate, time left) after each sample that came at one of `times`."""
    pace, seen = Pace(total, before, 0.0), []
    for now in times:
        pace.count(now)
        seen.append((now, pace.rate, pace.left(now)))
    return seen


def test_no_time_is_told_before_a_twentieth_or_half_a_minute():
    seen = run(1000, [float(n) for n in range(1, 100)])
    assert next(now for now, _, left in seen if left is not None) == 30.0
    # A twentieth of 400 is 20 samples; of 40 it is two, and ten are waited for.
    assert [left is None for _, _, left in run(400, [0.6 * n for n in range(1, 40)])].count(True) == 19
    assert [left is None for _, _, left in run(40, [0.6 * n for n in range(1, 40)])].count(True) == 9
    # What was there before is no part of the pace, nor of the twentieth.
    assert [left is None for _, _, left in run(900, [0.6 * n for n in range(1, 40)], before=500)].count(True) == 19


def test_an_even_pace_is_found_exactly():
    _, rate, left = run(1000, [2.0 * n for n in range(1, 101)])[-1]
    assert rate == pytest.approx(0.5) and left == pytest.approx(1800)


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([60 + n for n in range(1, 401)], id="a minute until the first"),
        pytest.param([0.0] * 200 + [float(n) for n in range(1, 401)], id="two hundred from a cache"),
        pytest.param([float(n) + 120 * (n > 350) for n in range(1, 401)], id="a pause of two minutes"),
        pytest.param([32.0 * (n // 32 + 1) for n in range(400)], id="in batches of 32"),
    ],
)
def test_what_happens_once_does_not_move_the_rate(times):
    assert run(1000, times)[-1][1] == pytest.approx(1.0, rel=0.12)


def test_uneven_samples_come_near_their_mean():
    draw = random.Random(5)
    now, times = 0.0, []
    for _ in range(2000):
        now += draw.expovariate(1.0)
        times.append(now)
    rates = [rate for now, rate, left in run(4000, times) if left is not None]
    assert all(0.6 < rate < 1.6 for rate in rates[50:]) and rates[-1] == pytest.approx(1.0, rel=0.15)


def test_the_bar_shows_rate_and_time_left_only_then(monkeypatch):
    screen, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", screen)
    bar = Terminal(lambda: now[0])
    bar.start("pubmedqa", 200, 0)
    for number in range(1, 101):
        now[0] = number * 2.0
        if number == 9:
            bar._bar.refresh()
            assert " left" not in screen.getvalue() and "a second" not in screen.getvalue()
        bar.advance()
    bar._bar.refresh()
    last = re.split("\r", screen.getvalue())[-1]
    assert "100/200" in last and "0.5 a second, 3 min 20 s left]" in last
    bar.stop()
