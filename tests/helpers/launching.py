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


def launch(ranks: int, recipes: list[Path], rows: int = 42) -> None:
    """Run the recipes one after the other in one group of processes; to start one takes most of the time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = str(TWO_RANKS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}", f"--master_port={port}"]
    done = subprocess.run(
        [*torchrun, script, str(rows), *map(str, recipes)],
        env={**environment(), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def written(folder: Path, model: Path, **changes) -> Path:
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
