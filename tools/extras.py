"""What each extra of setup.cfg would install without the constraints file; fails where one cannot be resolved.

    python tools/extras.py [EXTRA …]

pip resolves each in an environment of its own that has nothing in it, and installs nothing (`pip install --dry-run`).
"""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def extras() -> dict[str, list[str]]:
    """Name of each extra → the names of the packages that it asks for."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = config["options.extras_require"]
    return {name: [line.split("[")[0].split(">")[0] for line in wanted[name].split()] for name in wanted}


def resolved(python: Path, extra: str) -> dict[str, str]:
    """Package → version, as pip would install them."""
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--dry-run", "--report", "-"]
    done = subprocess.run([*command, f"{ROOT}[{extra}]"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{extra}: cannot be installed without constraints.txt\n{done.stderr[-4000:]}")
    return {each["metadata"]["name"]: each["metadata"]["version"] for each in json.loads(done.stdout)["install"]}


def main(names: list[str]) -> None:
    """Print a line for each extra."""
    known = extras()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        # pip of before 23.3 fetches whole wheels, torch's and CUDA's too, to learn what they need.
        subprocess.run([python, "-m", "pip", "--quiet", "install", "--upgrade", "pip"], check=True)
        for name in names or known:
            begun = time.monotonic()
            found = {package.lower().replace("_", "-"): version for package, version in resolved(python, name).items()}
            asked = ", ".join(
                f"{each} {found[key]}" for each in known[name] if (key := each.lower().replace("_", "-")) in found
            )
            print(f"{name}: {len(found)} packages in {time.monotonic() - begun:.0f} s: {asked}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
