"""One command run by several processes, for real: each its part of the documents, one run folder, nothing lost."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from mibe.errors import UsageError
from mibe.models.ranks import Ranks, current
from mibe.results.log import absorb_parts, part_of, read_rows

torch = pytest.importorskip("torch")

SCRIPT = """
import os, sys, time
import mibe
from mibe.models.base import Response
from mibe.terminal.progress import Terminal

out, asked = sys.argv[1:3]
deadly = int(os.environ.get("DEADLY", "0"))
rank = int(os.environ.get("RANK", "0"))

class Slow:
    name, is_remote, is_chat, context_window, identity = "slow", False, False, None, {"model": "slow"}

    def render(self, messages):
        return messages[0]["content"]

    def count_tokens(self, text):
        return len(text)

    def generate(self, requests):
        for index, request in enumerate(requests):
            if deadly and rank == 1 and index == deadly:
                os.kill(os.getpid(), 9)
            time.sleep(0.02 if deadly else 0)
            with open(asked, "a") as log:
                log.write(f"{rank}\\n")
            yield index, Response(text="yes", finish_reason="stop", seconds=0.02)

    def device_memory_peak(self):
        return None

    def close(self):
        pass

with Terminal() as progress:
    settings = {"limit": 60, "output_dir": out, "use_cache": False, "resamples": 10}
    run = mibe.evaluate(model=Slow(), tasks="pubmedqa,medqa", progress=progress, **settings)
# In one write: the processes share the pipe, and without buffering `print` writes each word on its own.
sys.stdout.write(f"path {run.path} {run.scores('pubmedqa')['accuracy']}\\n")
"""


def launch(*command, processes=2, **environment):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*launcher, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_documents_are_divided_into_all_and_nothing_twice():
    for total, count in ((1, 4), (7, 2), (100, 3), (1000, 8)):
        taken = Counter(
            position for rank in range(count) for position in range(total) if Ranks(rank, count).has(position, total)
        )
        assert taken == Counter(range(total))
    shares = [sum(Ranks(rank, 8).has(position, 1000) for position in range(1000)) for rank in range(8)]
    assert max(shares) - min(shares) <= 16


def test_processes_are_what_the_launcher_says():
    assert current({}) == Ranks() and current({}).is_first
    found = current({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
    assert (found.rank, found.count, found.on_this_machine, found.is_first) == (3, 8, 4, False)
    for wrong in ({"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x"}, {"WORLD_SIZE": "0"}):
        with pytest.raises(UsageError, match="WORLD_SIZE"):
            current(wrong)
    assert Ranks().agree("x") == "x"


def test_parts_are_moved_into_the_log_and_a_torn_line_is_dropped(tmp_path):
    log = tmp_path / "t.jsonl"
    log.write_text('{"id": "a"}\n')
    part_of(log, 1).write_text('{"id": "b"}\n{"id": "c"')
    part_of(log, 2).write_text('{"id": "d"}\n')
    (tmp_path / "t2.rank1.jsonl").write_text('{"id": "z"}\n')
    absorb_parts(log, private=True)
    assert [row["id"] for row in read_rows(log)] == ["a", "b", "d"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.jsonl", "t2.rank1.jsonl"]
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_two_processes_make_one_run_and_a_dead_one_costs_nothing(tmp_path):
    script, asked = tmp_path / "run.py", tmp_path / "asked"
    script.write_text(SCRIPT)
    broken = launch(script, tmp_path / "runs", asked, DEADLY="5")
    assert broken.returncode != 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    parts = sorted(path.name for path in (folder / "samples").iterdir())
    assert parts == ["pubmedqa.jsonl", "pubmedqa.rank1.jsonl"]
    kept = sum(len(path.read_text().splitlines()) for path in (folder / "samples").iterdir())
    assert kept >= 6

    done = launch(script, tmp_path / "runs", asked)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("path")] == [str(folder)] * 2
    # The first process alone speaks.
    assert done.stderr.count("run folder:") == 1
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], [s["processes"] for s in record["sessions"]]) == ("finished", [2, 2])
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["medqa.jsonl", "pubmedqa.jsonl"]
    for task in ("pubmedqa", "medqa"):
        ids = [row["id"] for row in read_rows(folder / "samples" / f"{task}.jsonl")]
        assert len(ids) == len(set(ids)) == 60
    lines = asked.read_text().splitlines()
    assert {line.split()[0] for line in lines} == {"0", "1"}
    # Of all questions none was asked twice but what was in flight when the process died.
    assert 120 <= len(lines) <= 120 + 2

    alone = subprocess.run(
        [sys.executable, script, tmp_path / "alone", tmp_path / "asked-alone"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert alone.stdout.split()[2] == done.stdout.split()[2]


@pytest.mark.slow
def test_draws_of_two_processes_make_one_log(tmp_path):
    script, asked = tmp_path / "run.py", tmp_path / "asked"
    script.write_text(SCRIPT.replace('"limit": 60', '"limit": 20, "repeats": 3'))
    done = launch(script, tmp_path / "runs", asked)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    record = json.loads((folder / "run.json").read_text())
    for task in ("pubmedqa", "medqa"):
        rows = [(row["id"], row["draw"]) for row in read_rows(folder / "samples" / f"{task}.jsonl")]
        assert len(rows) == len(set(rows)) == record["tasks"][task]["samples"] == 60
    assert len(asked.read_text().splitlines()) == 120


@pytest.mark.slow
def test_accelerate_launch_with_a_real_model(tmp_path):
    """The command of the documentation; `--multi_gpu` without a GPU starts its processes on the CPU."""
    pytest.importorskip("accelerate")
    pytest.importorskip("lm_eval")
    from tiny_llama import save_tiny_llama

    folder = save_tiny_llama(tmp_path / "tiny-llama")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    asked = ["-m", "mibe", "eval", "--model", "hf", "--model-args", f"pretrained={folder},device=cpu,max_length=2048"]
    asked += ["--tasks", "medmcqa", "--limit", "24", "--max-new-tokens", "4", "--no-cache", "--resamples", "10"]
    tables = {}
    for name, command in (
        ("two", [*launcher, "--main_process_port", "0"]),
        ("one", [sys.executable]),
    ):
        done = subprocess.run(
            [*command, *asked, "--output-dir", str(tmp_path / name)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / name).iterdir()
        rows = {row["id"]: row["output"] for row in read_rows(run / "samples" / "medmcqa.jsonl")}
        assert len(rows) == 24
        # DeepSpeed, where it is installed, prints a line of its own when a launcher's process imports accelerate.
        lines = done.stdout.splitlines()
        tables[name] = (lines[next(at for at, line in enumerate(lines) if line.startswith("task ")) :], rows)
    assert tables["two"] == tables["one"]
