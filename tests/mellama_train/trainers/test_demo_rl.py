"""`make demo-rl` with a tiny model and two steps, and the picture of its page."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("peft", reason="peft comes with the extra train")

from training_parts import save_chat_model

ROOT = Path(__file__).resolve().parents[3]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def demo_rl(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import demo_rl

    return demo_rl


def line(step, right, parsed):
    return {"step": step, "loss": 0.0, "rewards/pubmedqa/mean": right, "outcomes/pubmedqa/parsed": parsed}


def test_the_curve_shows_each_step_and_the_mean_of_the_last_ones(demo_rl):
    """A share of 0 lies on the lowest line, 1 on the highest; the line at step 3 is the mean of three steps."""
    drawn = ET.fromstring(demo_rl.curve([line(1, 0.0, 1.0), line(2, 0.5, 1.0), line(3, 1.0, 1.0)]))
    lines = [float(found.get("y1")) for found in drawn.iter(f"{SVG}line")]
    lowest, highest = max(lines), min(lines)
    points = [float(found.get("cy")) for found in drawn.iter(f"{SVG}circle")]
    assert points == pytest.approx([lowest, (lowest + highest) / 2, highest, *[highest] * 3], abs=0.1)
    first, second = drawn.iter(f"{SVG}polyline")
    heights = [float(pair.split(",")[1]) for pair in first.get("points").split()]
    assert heights == pytest.approx([lowest, 0.75 * lowest + 0.25 * highest, (lowest + highest) / 2], abs=0.1)
    assert len(second.get("points").split()) == 3
    titles = [found.text for found in drawn.iter(f"{SVG}text")]
    assert "reward: right answers, and a fifth for the form" in titles and "step" in titles


@pytest.mark.slow
def test_both_trainings_are_scored_on_the_same_held_out_documents(tmp_path):
    pytest.importorskip("trl", reason="TRL comes with the extra rl")
    save_chat_model(tmp_path / "model")
    out = tmp_path / "demo"
    asked = [
        *("--model", str(tmp_path / "model"), "--output", str(out), "--limit", "4"),
        *("--set", "steps=2", "--set", "context=400", "--set", "reporting.tensorboard=false"),
    ]
    run = [sys.executable, str(ROOT / "examples" / "demo_rl.py"), *asked]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (out / "first-rl.md").read_text()
    assert page in done.stdout
    for name in ("the model as it came", "after reinforcement learning", "after supervised tuning"):
        assert any(row.startswith(f"| {name} |") for row in page.splitlines())
    assert "pubmedqa, 4 held-out documents" in page and "| reinforcement learning | 2 steps, " in page
    assert (out / "images" / "first-rl.svg").read_text().startswith("<svg")
    # The second training ended by a signal, about when the first would have.
    assert (out / "finetune" / "checkpoints").is_dir() and not (out / "finetune" / "final").exists()
    again = subprocess.run(run, capture_output=True, text=True)
    assert again.returncode == 0 and "$ python" not in again.stdout
