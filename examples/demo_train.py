"""The whole way of a model on two CPU cores: corpus, pretraining, instruction tuning, a task, and a score after each.

    python examples/demo_train.py            # or: make demo-train

It learns from what the package carries (`demo_texts.py`), so a clone is all that it needs; `--corpus` and
`--instructions` take other files, which find the output folder in DEMO_DIR and the model in DEMO_MODEL.

Each step is a command that could be typed; it is printed, and skipped where its result is there already, so that a run
which was stopped goes on where it was. At the end come a table and `first-training.md` in the output folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mibe
from mibe.models.local.demo import demo_path

ROOT = Path(__file__).resolve().parents[1]
TASK = "pubmedqa"
SHOWN = ("accuracy", "macro_f1")
NOTE = "A small model on small data for some minutes: this shows that the way works, not what the method can do."


@dataclass(frozen=True, slots=True)
class Step:
    """One command of Python, and the file or folder that is there once it is done."""

    title: str
    result: Path
    command: list[str]


def trainer(title: str, result: Path, *command: str) -> Step:
    """A command of mellama-train."""
    return Step(title, result, ["-m", "mellama_train", *command])


def steps(model: Path, out: Path, recipes: dict[str, Path], settings: Sequence[str]) -> list[Step]:
    """What is done, in its order. `settings` (KEY=VALUE) go over the recipes of the three trainings."""

    def put(*pairs: str) -> list[str]:
        return [part for pair in pairs for part in ("--set", pair)]

    more = put(*settings)
    return [
        Step("texts", out / "texts", ["examples/demo_texts.py", str(out / "texts")]),
        trainer(
            "corpus",
            out / "corpus" / "manifest.json",
            *("corpus", "build", str(recipes["corpus"])),
            *put(f"tokenizer.path={model}", f"output={out / 'corpus'}"),
        ),
        trainer(
            "pretraining",
            out / "pretrain" / "final",
            *("pretrain", str(recipes["pretrain"])),
            *put(f"model.path={model}", f"data.folder={out / 'corpus'}", f"output={out / 'pretrain'}"),
            *more,
        ),
        trainer(
            "instructions",
            out / "instructions" / "manifest.json",
            *("instructions", "build", str(recipes["instructions"]), *put(f"output={out / 'instructions'}")),
        ),
        trainer(
            "instruction tuning",
            out / "instruct" / "final",
            *("instruct", str(recipes["instruct"])),
            *put(
                f"model.path={out / 'pretrain' / 'final'}",
                f"data.files=[{out / 'instructions' / 'train.jsonl'}]",
                f"data.held_out=[{out / 'instructions' / 'held_out.jsonl'}]",
                f"output={out / 'instruct'}",
            ),
            *more,
        ),
        trainer(
            "merging the adapters",
            out / "merged",
            *("export", str(out / "instruct" / "final"), "--merge-lora", "--to", str(out / "merged")),
        ),
        trainer(
            "fine-tuning",
            out / "finetune" / "final",
            *("finetune", "--recipe", str(recipes["finetune"]), "--task", TASK),
            *("--model", str(out / "merged"), "--output", str(out / "finetune")),
            *more,
        ),
    ]


class Clock:
    """Seconds of each step, kept in a file, so that those of a run in two parts add up."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.seconds: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    def time(self, title: str, do: Callable[[], object]) -> None:
        """Do it; the time counts also where it fails."""
        begun = time.monotonic()
        try:
            do()
        finally:
            self.seconds[title] = self.seconds.get(title, 0.0) + time.monotonic() - begun
            self._file.write_text(json.dumps(self.seconds, indent=1))


def call(step: Step, variables: Mapping[str, str]) -> None:
    """Run the command, with `variables` in its environment. Raises `CalledProcessError` when it fails."""
    print(f"\n$ python {shlex.join(step.command)}", flush=True)
    subprocess.run([sys.executable, *step.command], check=True, cwd=ROOT, env={**os.environ, **variables})


def evaluate(folder: Path, out: Path, limit: int) -> mibe.Run:
    """`mibe eval` of one model; what was answered already is not asked again."""
    return mibe.evaluate(
        model="hf",
        model_args={"pretrained": str(folder), "dtype": "float32"},
        tasks=[TASK],
        limit=limit,
        output_dir=out,
    )


def perplexities(run: Path) -> list[str]:
    """Lines of a table: source, perplexity on its held-out text before and after."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    looks = [line for line in lines if any(key.startswith("perplexity/") for key in line)]
    keys = [key for key in looks[0] if key.startswith("perplexity/")]
    return [f"| {key.removeprefix('perplexity/')} | {looks[0][key]:.2f} | {looks[-1][key]:.2f} |" for key in keys]


def learned(run: Path) -> str:
    """Steps and tokens of a training."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "loss" in line][-1]
    return f"{last['step']} steps, {last['tokens']:,} tokens"


def score_line(name: str, run: mibe.Run) -> str:
    """Line of a table: each figure with its interval, and the most frequent answer."""
    table = run.table().set_index("metric")
    figures = [f"{row.value:.3f} ({row.low:.3f} – {row.high:.3f})" for row in (table.loc[key] for key in SHOWN)]
    samples = run.samples(TASK)
    answer, count = Counter(samples["prediction"].fillna("none read")).most_common(1)[0]
    return f"| {name} | {' | '.join(figures)} | {answer}, {count / len(samples):.0%} |"


def report(out: Path, runs: dict[str, mibe.Run], seconds: dict[str, float]) -> str:
    """The page, as Markdown."""
    first, *_, last = runs
    trainings = {"pretraining": "pretrain", "instruction tuning": "instruct", "fine-tuning": "finetune"}
    target, count = Counter(runs[first].samples(TASK)["target"]).most_common(1)[0]
    n = len(runs[first].samples(TASK))
    gains = {row.metric: row for row in mibe.compare(runs[last], runs[first]).rows if row.metric in SHOWN}
    times = [
        f"| {title} | {learned(out / trainings[title]) if title in trainings else ''} | {took:.0f} |"
        for title, took in seconds.items()
    ]
    changes = [
        f"{name}: {row.difference:+.3f} (95 % interval {row.low:+.3f} – {row.high:+.3f}, p = {row.p:.2g})"
        for name, row in gains.items()
    ]
    return "\n".join(
        [
            "# First training: the demo model, as measured",
            "",
            f"{NOTE} `make demo-train` makes this page.",
            "",
            f"## {TASK}, {n} test documents, before and after each stage",
            "",
            f"| model | {' | '.join(SHOWN)} | most frequent answer |",
            f"|---|{'---|' * (len(SHOWN) + 1)}",
            *(score_line(name, run) for name, run in runs.items()),
            "",
            f"Always answering “{target}” would have an accuracy of {count / n:.3f}. "
            f"From “{first}” to “{last}”, on the same documents: {'; '.join(changes)}.",
            "",
            "## Perplexity on held-out text, before and after pretraining",
            "",
            "| source | before | after |",
            "|---|---|---|",
            *perplexities(out / "pretrain"),
            "",
            "## Time",
            "",
            "| step | learned from | seconds |",
            "|---|---|---|",
            *times,
            f"| all | | {sum(seconds.values()):.0f} |",
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is not done yet, then print the page."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    p.add_argument("--model", type=Path, metavar="DIR", help="the model to start from (default: the demo model)")
    p.add_argument("--limit", type=int, default=100, help="test documents of each evaluation (default 100)")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all three trainings")
    names = {"corpus": "examples/corpus-demo.yaml", "instructions": "examples/instructions-demo.yaml"}
    names |= {stage: f"recipes/{stage}-demo.yaml" for stage in ("pretrain", "instruct", "finetune")}
    for name, default in names.items():
        p.add_argument(f"--{name}", type=Path, default=ROOT / default, metavar="YAML", help=f"default: {default}")
    a = p.parse_args(argv)
    # The command in hand is ended with this one, and goes on with it from its newest checkpoint.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    out, recipes = a.output.resolve(), {name: getattr(a, name) for name in names}
    out.mkdir(parents=True, exist_ok=True)
    model = (a.model or demo_path()).resolve()
    variables = {"DEMO_DIR": str(out), "DEMO_MODEL": str(model)}
    clock = Clock(out / "seconds.json")
    for step in steps(model, out, recipes, a.set):
        if step.result.exists():
            print(f"{step.title}: done already, {step.result}")
            continue
        try:
            clock.time(step.title, lambda step=step: call(step, variables))
        except subprocess.CalledProcessError as error:
            print(f"{step.title} failed ({error.returncode}); the same command goes on from there", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\ninterrupted; the same command goes on from there", file=sys.stderr)
            return 130
    stages = {
        "the model as it came": model,
        "after pretraining": out / "pretrain" / "final",
        "after instruction tuning": out / "merged",
        f"after fine-tuning on {TASK}": out / "finetune" / "final",
    }
    runs: dict[str, mibe.Run] = {}
    for number, (name, folder) in enumerate(stages.items()):
        place = out / "runs" / str(number)
        clock.time("evaluations", lambda n=name, f=folder, to=place: runs.update({n: evaluate(f, to, a.limit)}))
    page = report(out, runs, clock.seconds)
    (out / "first-training.md").write_text(page)
    print(f"\n{page}\nwritten to {out / 'first-training.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
