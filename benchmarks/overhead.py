"""What a run costs beside its model: 1,000 local documents and a model that answers at once, whole command.

Runs `mibe eval --model dummy` and `lm_eval run --model dummy` on the same documents in turn, and prints wall time and
peak memory, medians of all runs. Also the start of the commands that need no model.

    python benchmarks/overhead.py [--runs 5] [--documents 1000]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
YAML = """\
task: overhead
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_text: "{{{{instruction}}}}\\nINPUT: {{{{question}}}}\\nCONTEXT: {{{{context}}}}\\nOUTPUT:"
doc_to_target: "{{{{target}}}}"
generation_kwargs:
  max_gen_toks: 64
  until: ["\\n\\nINPUT:"]
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


@dataclass(frozen=True)
class Cost:
    """Wall seconds and peak resident MB of one command."""

    seconds: float
    megabytes: float


def run(command: Sequence[str], env: Mapping[str, str]) -> Cost:
    """Run a command to its end. Raises when it fails."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        pid = os.posix_spawn(
            command[0],
            command,
            {**os.environ, **env},
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)],
        )
        _, status, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status) != 0:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read().decode()[-2000:]}")
    return Cost(seconds, usage.ru_maxrss / 1024)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--documents", type=int, default=1000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        documents = write_documents(base, given.documents)
        ours = [str(BIN / "mibe"), "eval", "--model", "dummy", "--tasks", "pubmedqa", "--no-cache"]
        peer = [
            str(BIN / "lm_eval"),
            "run",
            "--model",
            "dummy",
            "--tasks",
            "overhead",
            "--include_path",
            str(base / "peer"),
        ]
        peer += ["--output_path", str(base / "peer-out"), "--log_samples"]
        costs: dict[str, list[Cost]] = {}
        for number in range(given.runs):
            env = {
                "MIBE_DATA_DIR": str(base / "data"),
                "MIBE_CACHE_DIR": str(base / "cache"),
                "HF_HOME": str(base / "hf"),
            }
            env |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
            commands = {
                "mibe eval": [*ours, "--output-dir", str(base / f"runs{number}")],
                "lm_eval run": peer,
                "mibe --help": [str(BIN / "mibe"), "--help"],
                "mibe tasks": [str(BIN / "mibe"), "tasks"],
                "lm_eval --help": [str(BIN / "lm_eval"), "--help"],
            }
            for name, command in commands.items():
                costs.setdefault(name, []).append(run(command, env))
                print(f"  run {number + 1} {name}: {costs[name][-1]}", file=sys.stderr)
    print(f"{documents} documents, {given.runs} runs, medians; {platform.machine()}, {os.cpu_count()} cores")
    print("| command | seconds | peak MB |\n|---|---:|---:|")
    for name, each in costs.items():
        seconds = statistics.median(cost.seconds for cost in each)
        print(f"| `{name}` | {seconds:.2f} | {statistics.median(cost.megabytes for cost in each):.0f} |")
    ratio = statistics.median(c.seconds for c in costs["lm_eval run"]) / statistics.median(
        c.seconds for c in costs["mibe eval"]
    )
    print(f"\nlm_eval run / mibe eval = {ratio:.0f}")


def write_documents(base: Path, count: int) -> int:
    """The same documents in both forms: PubMedQA's own, repeated under new ids up to `count`."""
    from mibe.data import store
    from mibe.registry import load_task

    examples = store.load_examples("pubmedqa", "test") + store.load_examples("pubmedqa", "train")
    (base / "data" / "pubmedqa").mkdir(parents=True)
    (base / "peer").mkdir()
    instruction = load_task("pubmedqa").prompt.instruction
    with (
        (base / "data" / "pubmedqa" / "test.jsonl").open("w", encoding="utf-8") as ours,
        (base / "peer" / "documents.jsonl").open("w", encoding="utf-8") as theirs,
    ):
        for number in range(count):
            example = examples[number % len(examples)]
            row = {"id": f"{number}", "inputs": dict(example.inputs), "target": example.target}
            ours.write(json.dumps(row) + "\n")
            theirs.write(json.dumps({**example.inputs, "instruction": instruction, "target": example.target}) + "\n")
    (base / "peer" / "overhead.yaml").write_text(YAML.format(data=base / "peer" / "documents.jsonl"), encoding="utf-8")
    return count


if __name__ == "__main__":
    main()
