"""Training in processes of their own."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import yaml
from training_parts import recipe_text

TWO_RANKS = Path(__file__).with_name("two_ranks.py")
TWO_OUT_OF_STEP = Path(__file__).with_name("two_out_of_step.py")


def launch(ranks: int, recipes: list[Path], rows: int | str = 42) -> None:
    """Run the recipes one after the other in one group of processes; to start one takes most of the time."""
    done = subprocess.run(
        [*torchrun(ranks), str(TWO_RANKS), str(rows), *map(str, recipes)],
        env=rank_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def failed(ranks: int, script: Path) -> str:
    """What a group of processes that must fail says on stderr."""
    done = subprocess.run([*torchrun(ranks), str(script)], env=rank_environment(), capture_output=True, text=True)
    assert done.returncode != 0
    return done.stderr


def torchrun(ranks: int) -> list[str]:
    """The command that starts so many processes of the script behind it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}", f"--master_port={port}"]


def written(folder: Path, model: Path, /, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_text(folder, model, **changes)))
    return path


def back_to(run: Path, step: int) -> None:
    """The output folder as a kill after `step` would have left it: later checkpoints and the model are not there."""
    shutil.rmtree(run / "final")
    for folder in (run / "checkpoints").iterdir():
        if folder.name > f"step-{step:08d}":
            shutil.rmtree(folder)


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), *sys.path]))}


def rank_environment():
    return {**environment(), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
