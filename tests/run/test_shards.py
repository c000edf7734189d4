"""A run divided among machines is the same run: every document once, the same samples, the same figures."""

import json
import os
import stat
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted

import mibe
from mibe.analysis import merge as merging
from mibe.analysis.merge import merge
from mibe.data import store
from mibe.errors import RunError, UsageError
from mibe.models.base import Response
from mibe.prompting import question
from mibe.registry import load_task
from mibe.results.log import read_rows
from mibe.results.table import render
from mibe.run.documents import Documents
from mibe.run.shards import Shard

ROOT = Path(__file__).resolve().parents[2]
OWN = ("seconds", "cached")
"""Fields of a row that are of the machine, not of the answer."""


def answer(prompt):
    return ("yes", "no", "maybe", "who knows")[len(prompt) % 4]


def run(tmp_path, shard=None, *, model=None, **settings):
    arguments = {"tasks": "pubmedqa,medqa", "limit": 30, "resamples": 50} | settings
    model = model or Scripted(answer)
    folder = tmp_path / ("whole" if shard is None else "shards")
    return mibe.evaluate(model=model, output_dir=folder, use_cache=False, shard=shard, **arguments)


def shards(tmp_path, count, **settings):
    return [run(tmp_path, f"{number}/{count}", **settings).path for number in range(1, count + 1)]


@given(lengths=st.lists(st.integers(0, 5000), min_size=1, max_size=200), count=st.integers(1, 20))
def test_shards_are_a_division_balanced_in_number_and_length(lengths, count):
    documents = [(f"d{number}", length) for number, length in enumerate(lengths)]
    parts = [Shard(number, count).members(documents) for number in range(1, count + 1)]
    assert sorted(ident for part in parts for ident in part) == sorted(ident for ident, _ in documents)
    size = dict(documents)
    for a, b in combinations(parts, 2):
        assert abs(len(a) - len(b)) <= 1
        assert abs(sum(map(size.get, a)) - sum(map(size.get, b))) <= max(lengths)


def test_the_division_does_not_depend_on_the_order_of_the_file():
    documents = [(f"d{number}", number % 7) for number in range(50)]
    assert Shard(2, 3).members(documents) == Shard(2, 3).members(reversed(documents))


def test_real_shards_have_equally_long_prompts():
    task = load_task("pubmedqa")
    lengths = [
        sum(len(question(task.prompt, example)) for example in Documents.select(task, "test", None, 0, Shard(i, 8)))
        for i in range(1, 9)
    ]
    assert max(lengths) / min(lengths) < 1.02


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", "1.0/3", ""])
def test_what_is_no_part_of_a_whole_is_told_so(text, tmp_path):
    with pytest.raises(UsageError, match="--shard .* is not a part of a whole"):
        run(tmp_path, text)


def test_more_shards_than_documents_are_refused_by_each_of_them(tmp_path):
    for shard in ("1/31", "31/31"):
        with pytest.raises(UsageError, match="pubmedqa has 30 documents, so at most as many shards"):
            run(tmp_path, shard)


@pytest.mark.parametrize("settings", [{}, {"num_fewshot": 5, "tasks": "mmlu,pubmedqa", "limit": 120}])
def test_a_merged_run_is_the_undivided_run(tmp_path, settings):
    whole = run(tmp_path, **settings)
    merged = merge(reversed(shards(tmp_path, 3, **settings)), output_dir=tmp_path / "merged")
    for name, task in whole.record["tasks"].items():
        ours = merged.record["tasks"][name]
        assert ours.keys() == task.keys()
        same = task.keys() - {"timing", "first_prompt", "first_prompt_sha256", "finish_reasons"}
        assert {key: ours[key] for key in same} == {key: task[key] for key in same}
        rows = [
            {row["id"]: {k: v for k, v in row.items() if k not in OWN} for row in read_rows(each.samples_path(name))}
            for each in (whole, merged)
        ]
        assert rows[0] == rows[1]
        assert ours["timing"]["generated"] == task["timing"]["generated"]
    assert merged.record["status"] == "finished"
    assert "shard" not in render(merged.record["tasks"], "text")
    parts = merged.record["parts"]
    assert [part["shard"] for part in parts] == ["1/3", "2/3", "3/3"]
    assert all(part["hardware"]["cores"] and part["timing"] and part["sessions"] for part in parts)


def test_figures_of_real_numbers_do_not_depend_on_the_order_of_arrival(tmp_path):
    """ROUGE sums fractions: another order would change its last digits."""
    folder = store.data_dir() / "pubmedsum"
    folder.mkdir(parents=True)
    examples = store.load_examples("pubmedqa", "test")[:60]
    lines = [
        {"id": e.id, "inputs": {"text": next(iter(e.inputs.values()))}, "target": " ".join(e.inputs.values())[:400]}
        for e in examples
    ]
    fields = load_task("pubmedsum").prompt.input
    if "{text}" not in fields:
        pytest.fail(f"the task's input is {fields}")
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"tasks": "pubmedsum", "limit": None, "model": Scripted(lambda prompt: prompt[200:600])}
    whole = run(tmp_path, **settings)
    merged = merge(shards(tmp_path, 4, **settings), output_dir=tmp_path / "merged")
    assert merged.record["tasks"]["pubmedsum"]["figures"] == whole.record["tasks"]["pubmedsum"]["figures"]


def test_a_shard_says_in_every_format_that_it_is_one(tmp_path):
    done = run(tmp_path, "2/3")
    assert done.record["settings"]["shard"] == "2/3" and "-shard-2-of-3-" in done.path.name
    assert done.record["tasks"]["pubmedqa"]["data"] | {"manifest": 0, "sha256": 0} == {
        "split": "test", "sha256": 0, "manifest": 0, "documents": 10, "of": 500, "shard": "2/3",
    }  # fmt: skip
    for form in ("text", "csv", "markdown", "latex"):
        assert "pubmedqa (shard 2/3)" in render(done.record["tasks"], form)
    assert "partial, 10 of 500 documents" in render(done.record["tasks"], "text")
    assert '"shard": "2/3"' in render(done.record["tasks"], "json")


def test_each_shard_resumes_by_itself(tmp_path):
    flaky = Scripted(lambda p: Response(text="", finish_reason="error", error="x") if len(p) % 3 else "no")
    first = run(tmp_path, "1/2", model=flaky)
    assert first.failed
    other = run(tmp_path, "2/2", model=Scripted(lambda _: "no"))
    again = run(tmp_path, "1/2", model=Scripted(lambda _: "no"))
    assert again.path == first.path != other.path and again.failed == 0


def test_shards_of_different_runs_are_refused_with_all_that_differs(tmp_path):
    one = run(tmp_path, "1/2").path
    other = run(tmp_path, "2/2", model=Scripted(answer, identity="scripted-2"), seed=7, resamples=60).path
    with pytest.raises(UsageError) as error:
        merge([one, other], output_dir=tmp_path / "merged")
    assert "settings.seed is 1234 in" in str(error.value) and "settings.resamples is 50" in str(error.value)
    assert "model.identity.model is 'scripted-1' in" in str(error.value)
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tasks", "pubmedqa", "version"), 99),
        (("tasks", "pubmedqa", "prompt_template_sha256"), "other"),
        (("tasks", "pubmedqa", "data", "sha256"), "other"),
        (("protocol",), "paper"),
        (("versions", "packages", "numpy"), "1.0"),
        (("mibe_version",), "0.0"),
        (("judge",), {"name": "exact", "identity": "exact"}),
    ],
)
def test_each_thing_that_makes_another_run_is_seen(tmp_path, path, value):
    paths = shards(tmp_path, 2)
    record = json.loads((paths[1] / "run.json").read_text())
    part = record
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (paths[1] / "run.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=path[-1]):
        merge(paths, output_dir=tmp_path / "merged")


def test_missing_and_repeated_shards_are_named(tmp_path):
    paths = shards(tmp_path, 3)
    with pytest.raises(UsageError, match="of 3 shards there is no 2;"):
        merge([paths[0], paths[2]], output_dir=tmp_path / "merged")
    with pytest.raises(UsageError, match="twice there is 3 "):
        merge([*paths, paths[2]], output_dir=tmp_path / "merged", partial=True)
    with pytest.raises(UsageError, match="is not a shard of a run"):
        merge([*paths, run(tmp_path).path], output_dir=tmp_path / "merged")
    part = merge([paths[2], paths[0]], output_dir=tmp_path / "merged", partial=True)
    assert part.record["settings"]["shard"] == "1,3/3"
    assert "pubmedqa (shard 1,3/3)" in render(part.record["tasks"], "csv")
    assert part.record["tasks"]["pubmedqa"]["scored"] == 20


def test_failed_samples_are_never_hidden(tmp_path):
    flaky = Scripted(lambda p: Response(text="", finish_reason="error", error="x") if len(p) % 3 == 0 else "no")
    paths = shards(tmp_path, 2, model=flaky)
    with pytest.raises(UsageError, match=r"some samples failed: \d+ in .*tries them again"):
        merge(paths, output_dir=tmp_path / "merged")
    merged = merge(paths, output_dir=tmp_path / "merged", partial=True)
    assert merged.record["status"] == "incomplete" and merged.failed > 0
    assert "samples failed and are not scored" in render(merged.record["tasks"], "text")


def test_a_lost_or_foreign_sample_is_seen(tmp_path):
    paths = shards(tmp_path, 2)
    log = paths[1] / "samples" / "pubmedqa.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-1]))
    with pytest.raises(RunError, match="holds 14 samples of 15"):
        merge(paths, output_dir=tmp_path / "merged")
    log.write_text("".join(lines[:-1]) + (paths[0] / "samples" / "pubmedqa.jsonl").read_text().splitlines()[0] + "\n")
    with pytest.raises(RunError, match="stands in both"):
        merge(paths, output_dir=tmp_path / "merged")


def test_a_shard_that_is_still_running_is_refused(tmp_path):
    paths = shards(tmp_path, 2)
    record = json.loads((paths[1] / "run.json").read_text())
    (paths[1] / "run.json").write_text(json.dumps(record | {"status": "running"}))
    with pytest.raises(RunError, match="is not finished"):
        merge(paths, output_dir=tmp_path / "merged", partial=True)


def test_a_merge_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    paths = shards(tmp_path, 2)

    def fails(*_args, **_kwargs):
        raise RunError("the disk is full")

    monkeypatch.setattr(merging, "score_task", fails)
    with pytest.raises(RunError):
        merge(paths, output_dir=tmp_path / "merged")
    assert list((tmp_path / "merged").iterdir()) == []


def test_verdicts_are_kept(tmp_path):
    diagnoses = store.data_dir() / "nejm_cpc"
    diagnoses.mkdir(parents=True)
    lines = [{"id": str(n), "inputs": {"case": f"case {n} " * n}, "target": ["Sarcoidosis"]} for n in range(1, 9)]
    (diagnoses / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    model = Scripted(lambda prompt: "1. Sarcoidosis" if len(prompt) % 2 else "1. Lymphoma\n2. sarcoidosis")
    settings = {"tasks": "nejm_cpc", "limit": None, "model": model, "judge": "exact"}
    whole = run(tmp_path, **settings)
    merged = merge(shards(tmp_path, 2, **settings), output_dir=tmp_path / "merged")
    assert merged.record["tasks"]["nejm_cpc"]["figures"] == whole.record["tasks"]["nejm_cpc"]["figures"]
    assert merged.record["judge"]["name"] == "exact"
    assert all(row["verdicts"] for row in read_rows(merged.samples_path("nejm_cpc")))


def test_samples_of_credentialed_tasks_stay_private(tmp_path):
    folder = store.data_dir() / "mednli"
    folder.mkdir(parents=True)
    label = load_task("mednli").labels[0]
    inputs = [{"premise": f"note {n}", "hypothesis": "x"} for n in range(6)]
    lines = [{"id": str(n), "inputs": each, "target": label} for n, each in enumerate(inputs)]
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    paths = shards(tmp_path, 2, tasks="mednli", limit=None, model=Scripted(lambda _: label))
    merged = merge(paths, output_dir=tmp_path / "merged")
    assert stat.S_IMODE(merged.samples_path("mednli").stat().st_mode) == 0o600
    assert stat.S_IMODE(merged.samples_path("mednli").parent.stat().st_mode) == 0o700


def command(folder, name, text):
    """A stand-in for a program of the cluster."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
    (folder / name).chmod(0o755)


def test_the_slurm_script_makes_a_whole_run(tmp_path):
    tools = tmp_path / "bin"
    command(tools, "mibe", f'exec {sys.executable} -m mibe "$@"')
    command(tools, "sbatch", f'printf "%s\\n" "$@" > {tmp_path}/sbatch')
    env = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "MODEL": "dummy",
        "MODEL_ARGS": "answer=yes", "TASKS": "pubmedqa", "RUNS": f"{tmp_path}/my runs", "SLURM_ARRAY_JOB_ID": "77",
        "SLURM_ARRAY_TASK_COUNT": "2",
    }  # fmt: skip
    script = ["bash", str(ROOT / "examples/cluster/slurm-array.sh")]
    for number in (1, 2):
        subprocess.run(script, check=True, cwd=tmp_path, env=env | {"SLURM_ARRAY_TASK_ID": str(number)})
    asked = (tmp_path / "sbatch").read_text().splitlines()
    assert "--dependency=afterok:77" in asked
    [wrapped] = [line.removeprefix("--wrap=") for line in asked if line.startswith("--wrap=")]
    subprocess.run(["bash", "-c", wrapped], check=True, cwd=tmp_path, env=env)
    [merged] = (tmp_path / "my runs" / "merged").iterdir()
    assert mibe.load_run(merged).scores("pubmedqa")["accuracy"] == 276 / 500


def test_the_torchrun_script_gives_each_process_its_shard(tmp_path):
    tools = tmp_path / "bin"
    command(tools, "mibe", f'echo "$CUDA_VISIBLE_DEVICES ${{RANK-none}} $*" >> {tmp_path}/asked')
    env = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "RUNS": "out"}
    for rank in range(2):
        process = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        subprocess.run(["bash", str(ROOT / "examples/cluster/torchrun.sh")], check=True, env=env | process)
    lines = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [["0", "none"], ["1", "none"]]
    assert ["--shard 1/2" in lines[0], "--shard 2/2" in lines[1]] == [True, True]


@pytest.mark.parametrize("script", sorted((ROOT / "examples" / "cluster").glob("*.sh")), ids=lambda path: path.name)
def test_the_cluster_scripts_are_sound_bash(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "set -euo pipefail" in script.read_text() and os.access(script, os.X_OK)
