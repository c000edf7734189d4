"""DeepSpeed as one process that no launcher started; what it cannot do here, and settings that it does not know."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml
from launching import environment
from training_parts import losses, make_model, recipe_text

from mellama_train.cli import main

pytestmark = pytest.mark.skipif(not find_spec("deepspeed"), reason="DeepSpeed is not installed")

RUNS = """
import sys
from mellama_train.cli import main
for changes in sys.argv[2:]:
    print(main(["instruct", sys.argv[1], *(part for change in changes.split(" ") for part in ("--set", change))]))
"""
DEEPSPEED = "engine.name=deepspeed"


@pytest.mark.slow
def test_without_a_launcher_it_is_one_process(tmp_path):
    model = make_model(tmp_path / "model")
    lines = [{"prompt": f"What is {n}?", "response": f"It is {n}."} for n in range(12)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(recipe_text(tmp_path, model, data={"files": [str(tmp_path / "s.jsonl")]})))
    assert main(["instruct", str(recipe), "--set", "steps=3"]) == 0
    (tmp_path / "ds.json").write_text('{"zero_optimization": {"stag": 1, "reduce_bucket_size": "x"}}')
    runs = (
        f"{DEEPSPEED} precision=fp16 output={tmp_path / 'half'}",
        f"{DEEPSPEED} output={tmp_path / 'unknown'} engine.config={tmp_path / 'ds.json'}",
        f"{DEEPSPEED} engine.zero=3 steps=3 output={tmp_path / 'three'}",
    )
    told = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    alone = {name: value for name, value in environment().items() if name not in told}
    done = subprocess.run([sys.executable, "-c", RUNS, str(recipe), *runs], capture_output=True, text=True, env=alone)
    codes = [line for line in done.stdout.splitlines() if line in ("0", "2")]
    assert codes == ["2", "2", "0"], done.stderr[-3000:]
    refused = [line for line in done.stderr.splitlines() if line.startswith("mellama-train: ") and "DeepSpeed" in line]
    half, unknown = refused
    assert "DeepSpeed does not compute in fp16 on this machine (cpu); take bf16 or fp32, or engine.name: plain" in half
    assert f"engine.config: DeepSpeed refuses {tmp_path / 'ds.json'}: " in unknown
    assert "stag: Extra inputs are not permitted" in unknown and "reduce_bucket_size: Input should be" in unknown
    assert losses(tmp_path / "three") == pytest.approx(losses(tmp_path / "run"), rel=1e-5)
