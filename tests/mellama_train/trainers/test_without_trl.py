"""What a machine without TRL says of the trainers that run on it."""

import subprocess
import sys

import pytest
from launching import environment

pytest.importorskip("yaml", reason="pyyaml comes with the extra train")

CODE = """
import sys
lacking = sys.argv[1]
sys.modules[lacking] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == lacking else found(name, *more)
from mellama_train.cli import main
code = main(sys.argv[2:])
print(code, *[name for name in ("torch", "transformers", "datasets") if sys.modules.get(name)])
"""


@pytest.mark.parametrize(
    ("lacking", "line"),
    [
        ("trl", 'trainer: this trainer runs on TRL, which is not here: pip install "mibe[rl]"'),
        ("torch", 'trainer: this trainer runs on PyTorch, which is not here: pip install "mibe[rl]"'),
        ("accelerate", 'trainer: this trainer runs on accelerate, which is not here: pip install "mibe[rl]"'),
        ("yaml", 'yaml is not installed: pip install "mibe[train]"'),
    ],
)
def test_a_preference_run_wants_it_in_one_line(tmp_path, lacking, line):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").touch()
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    recipe = "model: {path: model}\noutput: run\nbatch: {rows: 4}\ndata: {pairs: [p.jsonl]}\n"
    (tmp_path / "r.yaml").write_text(recipe)
    done = subprocess.run(
        [sys.executable, "-c", CODE, lacking, "train", "dpo", "r.yaml"],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
    )
    # Before anything heavy is loaded.
    assert done.stdout.split() == ["2"], (done.stdout, done.stderr)
    assert done.stderr.startswith("mellama-train: ") and done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"{line}\n")
