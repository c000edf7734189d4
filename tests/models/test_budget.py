"""The journal of what a run may spend: torn, damaged, large, shared, on a full disk."""

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from itertools import groupby

import pytest

from mibe.errors import RunError
from mibe.models.budget import JOURNAL, LARGEST, Balance, Budget, Journal


def opened(folder, limit=10.0, shared=None, noted=0.0):
    folder.mkdir(parents=True, exist_ok=True)
    budget = Budget(limit)
    budget.keep(Journal(folder, shared), noted)
    return budget


def on_disk(folder):
    return Journal(folder).balance()


def test_money_is_on_the_disk_before_it_may_be_spent(tmp_path):
    budget = opened(tmp_path)
    assert budget.reserve(3.0) and not budget.is_booked and on_disk(tmp_path) == Balance(0.0, 0.0)
    assert budget.book() and budget.is_booked and on_disk(tmp_path) == Balance(0.0, 3.0)
    budget.settle(3.0, 1.0)
    assert on_disk(tmp_path) == Balance(1.0, 0.0)
    # An attempt that may be charged takes the place of nothing: the next one is booked anew.
    assert budget.reserve(3.0) and budget.book()
    budget.charge(3.0)
    assert not budget.is_booked and budget.book() and on_disk(tmp_path) == Balance(4.0, 3.0)
    assert not budget.reserve(3.5) and budget.reserve(3.0)


def test_what_a_killed_session_held_counts_as_spent(tmp_path):
    killed = opened(tmp_path)
    assert killed.reserve(4.0) and killed.reserve(2.0) and killed.book()
    killed.settle(2.0, 0.5)
    after = opened(tmp_path)
    assert (after.spent, after.lost) == (4.5, 4.0)
    assert not after.reserve(6.0) and after.reserve(5.0)


def test_a_job_that_outlived_its_session_is_counted_once(tmp_path):
    killed = opened(tmp_path)
    assert killed.reserve(4.0) and killed.book()
    after = opened(tmp_path)
    after.take_over(3.0)
    assert (after.spent, after.reserved, after.lost) == (1.0, 3.0, 1.0) and after.is_booked
    after.settle(3.0, 0.25)
    assert after.spent == 1.25 and on_disk(tmp_path) == Balance(1.25, 0.0)


@pytest.mark.parametrize(
    "torn", [b'\n{"spent": 9', b"\0" * 5000, b'\n{"spent": -1, "held": 0}\n', b"\n[1]\nNaN\n", b"\n"]
)
def test_a_torn_line_was_never_acted_upon(tmp_path, torn):
    budget = opened(tmp_path)
    assert budget.reserve(2.0) and budget.book()
    budget.close()
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(torn)
    after = opened(tmp_path)
    assert after.spent == 2.0
    assert after.reserve(1.0) and after.book()
    assert on_disk(tmp_path) == Balance(2.0, 1.0)


def test_every_prefix_of_a_journal_is_one(tmp_path):
    budget = opened(tmp_path)
    for _ in range(3):
        assert budget.reserve(1.0) and budget.book()
        budget.settle(1.0, 0.5)
    content = (tmp_path / JOURNAL).read_bytes()
    first = content.index(b"\n") + 1  # written as a whole, with the file
    totals = []
    for end in range(first, len(content) + 1):
        (tmp_path / JOURNAL).write_bytes(content[:end])
        totals.append(on_disk(tmp_path).total)
    assert [total for total, _ in groupby(totals)] == [0.0, 1.0, 0.5, 1.5, 1.0, 2.0, 1.5]


@pytest.mark.parametrize("content", ["", "nonsense\n", '{"spent": Infinity, "held": 0}\n'])
def test_a_journal_without_a_sound_line_is_an_error_and_no_money(tmp_path, content):
    (tmp_path / JOURNAL).write_text(content)
    with pytest.raises(RunError, match="is damaged, and what this run has spent is not known: delete it"):
        opened(tmp_path)


def test_a_run_of_before_begins_with_what_its_record_says(tmp_path):
    assert opened(tmp_path, noted=2.5).spent == 2.5 and on_disk(tmp_path) == Balance(2.5, 0.0)
    assert opened(tmp_path, noted=1.0).spent == 2.5


def test_a_journal_stays_small(tmp_path):
    budget = opened(tmp_path)
    (tmp_path / JOURNAL).write_bytes(b'{"spent": 1.0, "held": 0.0, "of": null}\n' * (LARGEST // 38))
    budget = opened(tmp_path)
    assert budget.reserve(2.0) and budget.book()
    assert (tmp_path / JOURNAL).stat().st_size < 100 and on_disk(tmp_path) == Balance(1.0, 2.0)
    budget.settle(2.0, 1.0)
    assert on_disk(tmp_path) == Balance(2.0, 0.0)


def test_many_requests_share_one_line(tmp_path):
    budget = opened(tmp_path, limit=None)

    async def one():
        assert budget.reserve(0.25)
        if not budget.is_booked:
            assert await asyncio.to_thread(budget.book)
        assert on_disk(tmp_path).total >= budget.spent + 0.25

    async def together():
        await asyncio.gather(*(one() for _ in range(400)))

    asyncio.run(together())
    assert on_disk(tmp_path) == Balance(0.0, 100.0)
    assert (tmp_path / JOURNAL).read_text().count("spent") < 40


def test_threads_lose_no_cent(tmp_path):
    budget = opened(tmp_path, limit=None)

    def work(seed):
        rng = random.Random(seed)
        for _ in range(200):
            assert budget.reserve(0.5) and budget.book()
            budget.settle(0.5, rng.choice([0.0, 0.25, 0.5]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = sum(rng.choice([0.0, 0.25, 0.5]) for rng in map(random.Random, range(4)) for _ in range(200))
    assert budget.spent == expected and on_disk(tmp_path) == Balance(expected, 0.0)


def test_a_full_disk_stops_what_is_not_booked(tmp_path, monkeypatch):
    budget = opened(tmp_path)
    assert budget.reserve(1.0) and budget.book()
    # A write of which half arrives, as on a disk that has just filled up.
    whole = Journal.note.__globals__["os"].write
    monkeypatch.setattr("mibe.models.budget.os.write", lambda file, line: whole(file, line[: len(line) // 2]))
    assert budget.reserve(2.0)
    with pytest.raises(RunError, match=r"the disk is full: .*cost\.jsonl"):
        budget.book()
    budget.settle(2.0, 0.0)
    budget.settle(1.0, 0.25)  # cannot be noted, and says too much, which does no harm
    assert budget.spent == 0.25 and on_disk(tmp_path) == Balance(0.0, 1.0)
    monkeypatch.undo()
    assert budget.reserve(2.0) and budget.book() and on_disk(tmp_path) == Balance(0.25, 2.0)


# --- shards


def test_shards_share_a_limit_and_other_runs_do_not(tmp_path):
    first, second = (opened(tmp_path / name, shared="run") for name in ("a-1", "a-2"))
    stranger = opened(tmp_path / "b", shared="another")
    alone = opened(tmp_path / "c")
    assert first.reserve(6.0) and first.book()
    assert second.reserve(6.0) and not second.book()  # it is told only where all are asked
    second.settle(6.0, 0.0)
    assert "$6.0000 by other shards" in str(second)
    assert second.reserve(4.0) and second.book() and not second.reserve(0.5)
    assert all(each.reserve(9.0) and each.book() for each in (stranger, alone))
    first.settle(6.0, 1.0)
    assert not second.reserve(0.5) and second.reserve_anew(0.5)


def test_a_damaged_journal_of_another_shard_is_named(tmp_path):
    first, second = (opened(tmp_path / name, shared="run") for name in ("a-1", "a-2"))
    (tmp_path / "a-1" / JOURNAL).write_text("")
    assert second.reserve(1.0)
    with pytest.raises(RunError, match=r"a-1/cost\.jsonl is damaged"):
        second.book()
    first.close()


SPENDER = """\
import random, sys
from pathlib import Path
from mibe.models.budget import Budget, Journal
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True)
rng, budget, sent = random.Random(seed), Budget(20.0), 0.0
budget.keep(Journal(folder, "run"), 0.0)
while budget.reserve(0.25) or budget.reserve_anew(0.25):
    if not budget.book():
        budget.settle(0.25, 0.0)
        break
    cost = rng.choice([0.0, 0.0625, 0.25])
    sent += cost
    budget.settle(0.25, cost)
print(sent)
"""


def test_processes_that_spend_at_once_never_pass_the_limit_together(tmp_path):
    spending = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(tmp_path / f"shard-{n}"), str(n)], stdout=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    spent = [float(process.communicate(timeout=60)[0]) for process in spending]
    assert 19.0 < sum(spent) <= 20.0 and sum(cost > 0 for cost in spent) >= 1
    assert sum(
        json.loads((tmp_path / f"shard-{n}" / JOURNAL).read_text().splitlines()[-1])["spent"] for n in range(4)
    ) == (pytest.approx(sum(spent)))


DAMAGED = [
    b'{"spent": 1' + b"0" * 400 + b', "held": 0}',
    b"[" * 200_000,
    b'{"spent": true, "held": 0}',
    b'{"spent": "0", "held": 0}',
    b'{"spent": -1, "held": 0}',
    b'{"spent": NaN, "held": 0}',
]


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_line_that_is_no_balance_is_damage_and_no_traceback(tmp_path, line):
    (tmp_path / JOURNAL).write_bytes(line + b"\n")
    with pytest.raises(RunError, match="is damaged"):
        Budget(1.0).keep(Journal(tmp_path), 0.0)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_in_place_of_a_journal_is_one_line(tmp_path, make):
    """A pipe would hold the run, and with the lock on all journals every shard beside it."""
    (tmp_path / "other").mkdir()
    make(tmp_path / "other" / JOURNAL)
    with pytest.raises(RunError, match="is damaged"):
        Journal(tmp_path / "other").balance()
    (tmp_path / "mine").mkdir()
    budget = Budget(1.0)
    budget.keep(Journal(tmp_path / "mine", "run"), 0.0)
    assert budget.reserve(0.1)
    with pytest.raises(RunError, match="is damaged"):
        budget.book()
    budget.close()
