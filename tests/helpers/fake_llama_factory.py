"""A program of LLaMA-Factory's command form: `train CONFIG.yaml`. Its model is a copy with one norm doubled.

FAKE_FACTORY may ask it to fail: "error" ends it as LLaMA-Factory ends for a wrong argument, "kill" as the kernel does
when memory runs out, "nothing" as a program that succeeds without a word.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import yaml
from safetensors.numpy import load_file, save_file

command, file = sys.argv[1:]
config = yaml.safe_load(Path(file).read_text())
wish = os.environ.get("FAKE_FACTORY")
print(f"[INFO] {command}: {config['stage']} of {config['model_name_or_path']}")
if wish == "nothing":
    sys.exit(0)
if wish == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if wish == "error":
    print("Traceback (most recent call last):\n  File …", file=sys.stderr)
    print(f"ValueError: Template {config['template']} does not exist.", file=sys.stderr)
    sys.exit(1)

about = json.loads(Path(config["dataset_dir"], "dataset_info.json").read_text())[config["dataset"]]
lines = Path(config["dataset_dir"], about["file_name"]).read_text().splitlines()
roles = {about["tags"][tag]: tag for tag in about["tags"] if tag.endswith(("user_tag", "assistant_tag", "system_tag"))}
for line in lines:
    turns = json.loads(line)[about["columns"]["messages"]]
    assert {turn[about["tags"]["role_tag"]] for turn in turns} <= roles.keys(), turns

base, made = Path(config["model_name_or_path"]), Path(config["output_dir"])
(made / "checkpoint-1").mkdir(parents=True)
(made / "checkpoint-1" / "optimizer.pt").write_bytes(b"of no use to others")
for path in base.iterdir():
    shutil.copy(path, made)
weights = load_file(base / "model.safetensors")
weights["model.norm.weight"] = 2 * weights["model.norm.weight"]
save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
(made / "trainer_state.json").write_text(json.dumps({"global_step": len(lines)}))
