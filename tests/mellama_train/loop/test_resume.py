"""A run that was killed goes on exactly where it was; nothing of a checkpoint is lost or mixed up."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from launching import TWO_RANKS, back_to, environment
from training_parts import FormulaRows, losses, make_model, recipe, recipe_text, train_here

from mellama_train.errors import CheckpointError, StoppedError, TrainError
from mellama_train.loop import checkpoints

ROWS = FormulaRows(42)
"""Eleven steps of four rows, the last one short."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"), tied=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, model):
    """A run with dropout, to its end."""
    one = recipe(tmp_path_factory.mktemp("whole"), model, lora={"rank": 4, "dropout": 0.1})
    train_here(one, ROWS)
    return one.output


def weights(run: Path) -> bytes:
    return next((run / "final").glob("*.safetensors")).read_bytes()


def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(undisturbed, model, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    back_to(tmp_path / "run", 8)
    again = recipe(tmp_path, model, lora={"rank": 4, "dropout": 0.1})
    train_here(again, ROWS)
    assert losses(again.output) == losses(undisturbed)
    assert weights(again.output) == weights(undisturbed)
    lines = [(again.output / "metrics.jsonl"), (undisturbed / "metrics.jsonl")]
    ours, theirs = ([json.loads(line) for line in file.read_text().splitlines()] for file in lines)
    assert [line["tokens"] for line in ours] == [line["tokens"] for line in theirs]


def test_full_training_resumes_exactly_too(model, tmp_path):
    whole, part = recipe(tmp_path / "a", model), recipe(tmp_path / "b", model)
    train_here(whole, ROWS)
    shutil.copytree(whole.output, part.output)
    back_to(part.output, 8)
    train_here(part, ROWS)
    assert losses(part.output) == losses(whole.output)
    assert weights(part.output) == weights(whole.output)


@pytest.mark.slow
def test_kill_9_of_a_real_process(model, tmp_path):
    """Killed wherever it happens to be, twice; then to the end. The loss curve is that of a run left alone."""
    changes = {"checkpoints": {"every_steps": 1, "keep": 2}, "spikes": {"window": 3, "factor": 50}}
    alone = recipe(tmp_path / "alone", model, **changes)
    train_here(alone, FormulaRows(80))
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_text(folder, model, **changes)))
    command = [
        sys.executable,
        str(TWO_RANKS),
        "80",
        str(folder / "recipe.yaml"),
    ]
    for kill in range(2):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment())
        before = checkpoints.newest_folder(folder / "run" / "checkpoints")
        while process.poll() is None and checkpoints.newest_folder(folder / "run" / "checkpoints") == before:
            time.sleep(0.01)
        time.sleep(0.02 * kill)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert subprocess.run(command, env=environment(), capture_output=True).returncode == 0
    assert losses(folder / "run") == losses(alone.output)
    assert weights(folder / "run") == weights(alone.output)


def test_a_signal_ends_the_run_with_a_checkpoint(undisturbed, model, tmp_path):
    one = recipe(tmp_path, model, lora={"rank": 4, "dropout": 0.1})

    class Interrupting(FormulaRows):
        def __getitem__(self, index):
            if index == 10:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(index)

    with pytest.raises(StoppedError, match="stopped by a signal after step"):
        train_here(one, Interrupting(42))
    assert checkpoints.newest_folder(one.output / "checkpoints").name in ("step-00000001", "step-00000002")
    train_here(one, ROWS)
    assert weights(one.output) == weights(undisturbed)


def test_a_damaged_checkpoint_is_passed_over(undisturbed, model, tmp_path, capsys):
    shutil.copytree(undisturbed, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "final")
    newest = checkpoints.newest_folder(tmp_path / "run" / "checkpoints")
    file = next((newest / "engine").glob("*.distcp"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again = recipe(tmp_path, model, lora={"rank": 4, "dropout": 0.1})
    train_here(again, ROWS)
    assert f"{newest.name}: engine/{file.name} is missing, cut short or altered" in capsys.readouterr().err
    assert weights(again.output) == weights(undisturbed)


def test_without_any_whole_checkpoint_nothing_is_begun_anew(undisturbed, model, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "final")
    for folder in (tmp_path / "run" / "checkpoints").iterdir():
        (folder / checkpoints.SEAL).unlink()
    with pytest.raises(CheckpointError, match="step-00000011: it was never finished.*remove them"):
        train_here(recipe(tmp_path, model, lora={"rank": 4, "dropout": 0.1}), ROWS)


def test_another_recipe_or_other_data_is_refused_by_its_keys(undisturbed, model, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "final")
    lora = {"rank": 4, "dropout": 0.1}
    other = recipe(tmp_path, model, lora=lora, optimizer={"learning_rate": 2e-3}, seed=5)
    with pytest.raises(CheckpointError, match=r"optimizer.learning_rate \(0.001 → 0.002\), seed \(0 → 5\)"):
        train_here(other, ROWS)
    with pytest.raises(CheckpointError, match=r"another data set: seed \(0 → 1\)"):
        train_here(recipe(tmp_path, model, lora=lora), FormulaRows(42, seed=1))
    # How often something is written or shown does not change what is learned.
    allowed = {"checkpoints": {"every_steps": 3}, "reporting": {"tensorboard": False, "every_steps": 2}}
    train_here(recipe(tmp_path, model, lora=lora, **allowed), ROWS)


def test_old_checkpoints_are_rotated(undisturbed):
    kept = sorted(folder.name for folder in (undisturbed / "checkpoints").iterdir())
    assert kept == ["step-00000008", "step-00000011"]


def test_a_full_disk_leaves_the_last_good_checkpoint(undisturbed, model, tmp_path):
    """The file-size limit of the process stands for the disk's end: the kernel refuses the write either way."""
    import resource

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    shutil.copytree(undisturbed, tmp_path / "run")
    back_to(tmp_path / "run", 8)
    again = recipe(tmp_path, model, lora={"rank": 4, "dropout": 0.1})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(CheckpointError, match="cannot write the checkpoint of step 11: .*step-00000008"):
            train_here(again, ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000008"]
    train_here(again, ROWS)
    assert weights(again.output) == weights(undisturbed)


def test_two_runs_do_not_share_an_output(undisturbed, model, tmp_path):
    import fcntl

    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TrainError, match="another run is writing"):
            train_here(recipe(tmp_path, model), ROWS)
    with pytest.raises(TrainError, match="final is there already"):
        train_here(recipe(undisturbed.parent, model), ROWS)
