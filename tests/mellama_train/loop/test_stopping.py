"""Runs that are told to stop, wherever they are, lose no step that was finished and go on as if nothing had been."""

import json
import os
import signal
import subprocess
import time
from importlib.util import find_spec

import pytest
from launching import TWO_RANKS, launch, rank_environment, torchrun, written
from training_parts import FormulaRows, losses, make_model, recipe, train_here

from mellama_train.engines.zero import configuration
from mellama_train.errors import RecipeError, StoppedError
from mellama_train.loop import checkpoints
from mellama_train.model.loss import CausalLoss

ROWS = FormulaRows(42)
MEASURED = 3
"""Passes before the first, by which it is known that documents in a row do not see each other."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"), positions=16384)


def weights(run):
    return (run / "final" / "model.safetensors").read_bytes()


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def signalled_at(monkeypatch, number):
    """A signal comes in the midst of forward pass `number`; returns the list that grows with each pass."""
    passes, forward = [], CausalLoss.forward

    def counted(self, batch):
        passes.append(len(passes))
        if len(passes) == number:
            os.kill(os.getpid(), signal.SIGUSR1)
        return forward(self, batch)

    monkeypatch.setattr(CausalLoss, "forward", counted)
    return passes


def test_a_step_is_given_up_between_its_micro_batches(model, tmp_path, monkeypatch):
    """Four micro-batches a step: the signal in the sixth ends the run there, with the state after the first step."""
    whole, part = recipe(tmp_path / "whole", model), recipe(tmp_path / "part", model)
    train_here(whole, ROWS)
    with monkeypatch.context() as patch:
        passes = signalled_at(patch, MEASURED + 6)
        with pytest.raises(StoppedError, match="stopped by a signal after step 1; the same command goes on"):
            train_here(part, ROWS)
    assert len(passes) == MEASURED + 6
    assert checkpoints.newest_folder(part.output / "checkpoints").name == "step-00000001"
    train_here(part, ROWS)
    assert losses(part.output) == losses(whole.output)
    assert weights(part.output) == weights(whole.output)


def test_held_out_text_is_no_obstacle_and_is_seen_to_afterwards(model, tmp_path, monkeypatch):
    """Five passes at step 0, eight in two steps; the signal comes in the second of the five after them."""
    held = {"held_out": {"every_steps": 2}}
    whole, part = recipe(tmp_path / "whole", model, **held), recipe(tmp_path / "part", model, **held)
    sets = {"held": FormulaRows(5, seed=9)}
    train_here(whole, ROWS, sets)
    with monkeypatch.context() as patch:
        passes = signalled_at(patch, MEASURED + 5 + 8 + 2)
        with pytest.raises(StoppedError, match="after step 2"):
            train_here(part, ROWS, sets)
    assert len(passes) == MEASURED + 15
    train_here(part, ROWS, sets)
    figures = [[line for line in metrics(one.output) if "perplexity/first" in line] for one in (whole, part)]
    assert figures[0] == figures[1] and [line["step"] for line in figures[0]] == [0, 2, 4, 6, 8, 10, 11]


@pytest.mark.slow
def test_a_probe_is_no_obstacle(model, tmp_path, monkeypatch):
    from transformers import LlamaForCausalLM

    probe = {"tasks": ["medqa"], "limit": 16, "scoring": "loglikelihood"}
    passes, forward = [], LlamaForCausalLM.forward

    def counted(self, *inputs, **keys):
        passes.append(len(passes))
        if len(passes) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, *inputs, **keys)

    monkeypatch.setattr(LlamaForCausalLM, "forward", counted)
    one = recipe(tmp_path, model, probe=probe)
    with pytest.raises(StoppedError, match="after step 0"):
        train_here(one, ROWS)
    assert len(passes) == 3 and not (one.output / "checkpoints").exists()


def test_checkpoints_by_the_clock(model, tmp_path):
    one = recipe(tmp_path, model, checkpoints={"every_minutes": 1e-6, "every_steps": 1000, "keep": 20})
    train_here(one, ROWS)
    assert len(list((one.output / "checkpoints").iterdir())) == 11


def test_what_a_kill_left_half_written_is_cleared_away(model, tmp_path):
    (tmp_path / "run" / "checkpoints" / "step-00000003.partial").mkdir(parents=True)
    one = recipe(tmp_path, model)
    train_here(one, ROWS)
    names = sorted(path.name for path in (one.output / "checkpoints").iterdir())
    assert names == ["step-00000008", "step-00000011"]


def test_deepspeeds_writer_behind_the_seal_is_refused(model, tmp_path):
    (tmp_path / "own.json").write_text(json.dumps({"checkpoint": {"writer": {"decoupled": True}}}))
    engine = {"name": "deepspeed", "config": str(tmp_path / "own.json")}
    with pytest.raises(RecipeError, match="own.json sets checkpoint.writer.decoupled"):
        configuration(recipe(tmp_path, model, engine=engine), 1, universal=False)


def test_a_finished_run_given_again_is_left_as_it_is(model, tmp_path):
    one = recipe(tmp_path, model)
    final = train_here(one, ROWS)
    before = {path: path.stat().st_mtime_ns for path in one.output.rglob("*") if path.is_file()}
    assert train_here(one, ROWS) == final
    assert {path: path.stat().st_mtime_ns for path in one.output.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_signals_and_kills_under_torchrun(model, tmp_path):
    """Slurm's signal to all, a rank's death, the launcher's end; then to the end, and the same command again.

    torchrun is started as `examples/cluster/train-torchrun.sh` starts it, deaf to SIGUSR1.
    """
    sharded = {"name": "deepspeed", "zero": 3} if find_spec("deepspeed") else {"name": "plain", "sharding": "fsdp"}
    ways = {
        "usr1": (
            {"name": "plain", "sharding": "fsdp"},
            lambda process, ranks: [os.kill(each, signal.SIGUSR1) for each in (process.pid, *ranks)],
        ),
        "kill": ({"name": "plain"}, lambda process, ranks: os.kill(ranks[1], signal.SIGKILL)),
        "term": (sharded, lambda process, ranks: process.terminate()),
    }
    often = {"checkpoints": {"every_steps": 5}}
    alone = recipe(tmp_path / "alone", model, **often)
    train_here(alone, FormulaRows(200))
    recipes = []
    for name, (engine, disturb) in ways.items():
        recipes.append(written(tmp_path / name, model, engine=engine, **often))
        process = subprocess.Popen(
            [*torchrun(2), str(TWO_RANKS), "200", str(recipes[-1])],
            env=rank_environment(),
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
        )
        run = tmp_path / name / "run"
        while process.poll() is None and checkpoints.newest_folder(run / "checkpoints") is None:
            time.sleep(0.02)
        disturb(process, children(process.pid))
        assert process.wait() != 0
        stopped_at = len(losses(run))
        assert not (run / "final").exists() and checkpoints.newest_folder(run / "checkpoints") is not None
        if name != "kill":
            # Not a step is lost.
            assert int(checkpoints.newest_folder(run / "checkpoints").name.removeprefix("step-")) == stopped_at
    launch(2, recipes * 2, 200)
    for name in ways:
        assert losses(tmp_path / name / "run") == pytest.approx(losses(alone.output), rel=1e-4), name


def children(parent):
    """The processes of the ranks, by rank."""
    found = subprocess.run(
        ["pgrep", "-P", str(parent), "-f", TWO_RANKS.name], capture_output=True, text=True, check=True
    )
    return sorted(map(int, found.stdout.split()))
