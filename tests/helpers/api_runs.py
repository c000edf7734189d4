"""`mibe eval` with the openai model, as a process, against a server of the test."""

import json
import os
import subprocess
import sys


def run(*arguments, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "mibe", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "250", **env},
        timeout=60,
    )


def command(server, *more, tasks="pubmedqa", limit=12, **args):
    own = {"model": "m", "base_url": server.url, "max_wait": "0.05", **args}
    text = ",".join(f"{name}={value}" for name, value in own.items())
    return ["eval", "--model", "openai", "--model-args", text, "--tasks", tasks, "--limit", str(limit), *more]


def price_file(folder, prompt=1000.0, completion=1000.0):
    path = folder / "own-prices.json"
    entry = {"prompt": prompt, "completion": completion}
    path.write_text(json.dumps({"date": "2026-01-31", "prices": {"127.0.0.1": {"m": entry}}}))
    return str(path)


def record_of(folder):
    [path] = (folder / "runs").iterdir()
    return json.loads((path / "run.json").read_text())
