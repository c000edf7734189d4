"""Reinforcement learning on two CPU cores: the demo model, a task, and a score before and after on held-out documents.

    python examples/demo_rl.py            # or: make demo-rl

Beside it the same model is tuned on the same train split by its answers, for as long as the reinforcement learning
took, its start included. Each step is a command that could be typed; it is printed, and skipped where its result is
there already. At the end come a table, the reward's curve as a picture, and `first-rl.md` in the output folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from demo_train import ROOT, SHOWN, TASK, Clock, Step, call, evaluate, score_line, trainer

import mibe
from mibe.models.local.demo import demo_path

TRY_AGAIN = 75
"""What a training that a signal ended exits with."""

LEARNED, TUNED = "reinforcement learning", "supervised tuning"
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 260, 46, 34
SMOOTHED = 5
"""Steps that a point of the bold curve is the mean of."""

CURVES = (
    (f"rewards/{TASK}/mean", "#0b6e99", "reward: right answers, and a fifth for the form"),
    (f"outcomes/{TASK}/parsed", "#b8561c", "share of answers that are one of the labels"),
)


def steps(model: Path, out: Path, recipe: Path, settings: Sequence[str]) -> tuple[Step, Step, Step]:
    """The two trainings, and what makes a model of the second, which a signal ends."""
    more = [part for pair in settings for part in ("--set", pair)]
    learned = trainer(
        LEARNED,
        out / "grpo" / "final",
        *("train", "grpo", str(recipe), "--set", f"model.path={model}", "--set", f"output={out / 'grpo'}", *more),
    )
    tuned = trainer(
        TUNED,
        out / "finetune" / "checkpoints",
        *("finetune", "--recipe", str(ROOT / "recipes" / "finetune-demo.yaml"), "--task", TASK, "--model", str(model)),
        *("--output", str(out / "finetune"), "--set", "context=128", "--set", "steps=null", "--set", "epochs=20"),
        *("--set", "optimizer.schedule=constant", "--set", "optimizer.warmup_ratio=0", "--set", "held_out.rows=4"),
        *("--set", "held_out.every_steps=100000", "--set", "checkpoints.every_steps=100000"),
    )
    exported = trainer("export", out / "tuned", "export", str(out / "finetune"), "--to", str(out / "tuned"))
    return learned, tuned, exported


def call_for(step: Step, seconds: float) -> None:
    """Run a training for so long; a signal ends it with a checkpoint. Raises `CalledProcessError` when it fails."""
    print(f"\n$ python {shlex.join(step.command)}   # for {seconds:.0f} seconds", flush=True)
    begun = subprocess.Popen([sys.executable, *step.command], cwd=ROOT, env=os.environ)
    try:
        code = begun.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        begun.send_signal(signal.SIGTERM)
        code = begun.wait()
    if code not in (0, TRY_AGAIN):
        raise subprocess.CalledProcessError(code, step.command)


def figures(run: Path) -> list[dict[str, float]]:
    """The figures of each step of a training."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def curve(lines: Sequence[dict[str, float]]) -> str:
    """The picture: each figure of a step as a point, and the mean of the last steps as a line. SVG."""
    across, up = WIDTH - LEFT - 14, HEIGHT - BOTTOM - 40
    last = max(line["step"] for line in lines)

    def at(step: float, value: float) -> tuple[float, float]:
        return LEFT + across * step / last, HEIGHT - BOTTOM - up * value

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = at(0, share)
        parts += [
            f'<line x1="{x:.0f}" y1="{y:.1f}" x2="{x + across:.0f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{x - 6:.0f}" y="{y + 4:.1f}" text-anchor="end" fill="#333">{share:g}</text>',
        ]
    for step in range(0, int(last) + 1, max(1, int(last) // 8)):
        x, y = at(step, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.0f}" text-anchor="middle" fill="#333">{step}</text>')
    parts.append(f'<text x="{LEFT + across / 2:.0f}" y="{HEIGHT - 3}" text-anchor="middle" fill="#333">step</text>')
    for number, (name, colour, title) in enumerate(CURVES):
        values = [line[name] for line in lines]
        points = [at(line["step"], value) for line, value in zip(lines, values, strict=True)]
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}" opacity="0.4"/>' for x, y in points]
        means = [values[max(0, end - SMOOTHED) : end] for end in range(1, len(values) + 1)]
        path = [at(line["step"], sum(part) / len(part)) for line, part in zip(lines, means, strict=True)]
        parts += [
            f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in path)}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>',
            f'<rect x="{LEFT + 300 * number}" y="8" width="10" height="10" fill="{colour}"/>',
            f'<text x="{LEFT + 15 + 300 * number}" y="17" fill="#333">{title}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def report(out: Path, runs: dict[str, mibe.Run], seconds: dict[str, float], recipe: Path) -> str:
    """The page, as Markdown."""
    start, learned, tuned = runs
    lines, supervised = figures(out / "grpo"), figures(out / "finetune")
    targets = Counter(runs[start].samples(TASK)["target"])
    (target, count), n = targets.most_common(1)[0], targets.total()
    changes = []
    for after, before in ((learned, start), (tuned, start), (learned, tuned)):
        for row in mibe.compare(runs[after], runs[before]).rows:
            if row.metric in SHOWN:
                interval = f"{row.low:+.3f} – {row.high:+.3f}"
                changes.append(
                    f"| {after} against {before} | {row.metric} | {row.difference:+.3f} ({interval}) | {row.p:.2g} |"
                )
    generated = sum(line["completions/mean_length"] for line in lines) / len(lines)
    return "\n".join(
        [
            "# First reinforcement learning: the demo model, as measured",
            "",
            f"`make demo-rl` makes this page by `{recipe.relative_to(ROOT)}`: a small model for some minutes.",
            "",
            f"## {TASK}, {n} held-out documents",
            "",
            f"| model | {' | '.join(SHOWN)} | most frequent answer |",
            f"|---|{'---|' * (len(SHOWN) + 1)}",
            *(score_line(name, run) for name, run in runs.items()),
            "",
            f"Always answering “{target}” would have an accuracy of {count / n:.3f}. Intervals are 95 % bootstrap",
            "intervals over documents; differences are paired by document, on the same draws:",
            "",
            "| difference | figure | value (95 % interval) | p |",
            "|---|---|---|---|",
            *changes,
            "",
            "## The reward",
            "",
            "![The reward and the share of answers that could be read, by step](images/first-rl.svg)",
            "",
            f"{len(lines)} steps, answers of {generated:.1f} tokens in the mean. Reward of the first {SMOOTHED} steps: "
            f"{_mean(lines[:SMOOTHED], CURVES[0][0]):.2f}, of the last: {_mean(lines[-SMOOTHED:], CURVES[0][0]):.2f}; "
            f"answers that could be read: {_mean(lines[:SMOOTHED], CURVES[1][0]):.2f} and "
            f"{_mean(lines[-SMOOTHED:], CURVES[1][0]):.2f}.",
            "",
            "## Time",
            "",
            "| step | learned from | seconds |",
            "|---|---|---|",
            f"| {LEARNED} | {lines[-1]['step']} steps, {lines[-1]['tokens']:,.0f} tokens | {seconds[LEARNED]:.0f} |",
            f"| {TUNED} | {supervised[-1]['step']} steps, {supervised[-1]['tokens']:,} tokens | {seconds[TUNED]:.0f} |",
            f"| evaluations | | {seconds['evaluations']:.0f} |",
            f"| all | | {sum(seconds.values()):.0f} |",
            "",
        ]
    )


def _mean(lines: Sequence[dict[str, float]], name: str) -> float:
    return sum(line[name] for line in lines) / len(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is not done yet, then print the page."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=Path, default=Path("demo-rl"), metavar="DIR", help="default: demo-rl")
    p.add_argument("--model", type=Path, metavar="DIR", help="the model to start from (default: the demo model)")
    p.add_argument("--limit", type=int, default=200, help="test documents of each evaluation (default 200)")
    p.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "grpo-demo.yaml", metavar="YAML")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for the reinforcement learning")
    a = p.parse_args(argv)
    # The command in hand is ended with this one, and goes on with it from its newest checkpoint.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    out, model = a.output.resolve(), (a.model or demo_path()).resolve()
    out.mkdir(parents=True, exist_ok=True)
    clock = Clock(out / "seconds.json")
    learned, tuned, exported = steps(model, out, a.recipe.resolve(), a.set)
    try:
        if not learned.result.exists():
            clock.time(LEARNED, lambda: call(learned, {}))
        left = clock.seconds[LEARNED] - clock.seconds.get(TUNED, 0.0)
        if not exported.result.exists() and left > 1:
            clock.time(TUNED, lambda: call_for(tuned, left))
        if not exported.result.exists():
            call(exported, {})
    except subprocess.CalledProcessError as error:
        print(f"a command failed ({error.returncode}); the same command goes on from there", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from there", file=sys.stderr)
        return 130
    models = {
        "the model as it came": model,
        f"after {LEARNED}": learned.result,
        f"after {TUNED}": exported.result,
    }
    runs: dict[str, mibe.Run] = {}
    for number, (name, folder) in enumerate(models.items()):
        place = out / "runs" / str(number)
        clock.time("evaluations", lambda n=name, f=folder, to=place: runs.update({n: evaluate(f, to, a.limit)}))
    page = report(out, runs, clock.seconds, a.recipe.resolve())
    (out / "images").mkdir(exist_ok=True)
    (out / "images" / "first-rl.svg").write_text(curve(figures(out / "grpo")))
    (out / "first-rl.md").write_text(page)
    print(f"\n{page}\nwritten to {out / 'first-rl.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
