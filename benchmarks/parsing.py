"""The measured error of each parser, and its time on text made to be slow.

    python benchmarks/parsing.py [--cases FILE ...] [--no-time]

Errors are counted on composed outputs (`tests/helpers/composed_outputs.py`) and on labelled ones (JSON lines with task,
output, choices and expected; by default those of `tests/cases`): read as a person reads it, read as something else
(misread), and not read although a person reads an answer (missed); of 10,000 outputs, with a 95 % Wilson interval for
the misread. Times are the slowest of several repeated fragments, 1 MB each.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from mibe.registry import load_task
from mibe.task import Parser

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from composed_outputs import Composed, composed  # noqa: E402

FRAGMENTS = ("answer is ", "A ", "wait, ", "<", "[", '{"a":', "not ", "if ", "Option A ", "1. ", "\\boxed{", "la ")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", nargs="*", type=Path, default=[ROOT / "tests" / "cases" / "parsing_extra.jsonl"])
    options.add_argument("--no-time", action="store_true")
    given = options.parse_args()
    sources = {"composed": composed(), **{path.stem: labelled(path) for path in given.cases}}
    for name, cases in sources.items():
        print(f"\n{name}\n\n| task | outputs | read | misread (95 % interval) | missed |\n|---|---:|---:|---:|---:|")
        for task, counts in measured(cases).items():
            print(row(task, counts))
    if not given.no_time:
        print("\n| task | slowest fragment | seconds for 1 MB |\n|---|---|---:|")
        for task in ("medqa", "pubmedqa", "ddi", "hoc", "i2b2", "emrqa", "nejm_cpc", "pubmedsum"):
            seconds, fragment = slowest(load_task(task).parser)
            print(f"| {task} | `{fragment}` | {seconds:.1f} |")


def labelled(path: Path) -> Iterator[Composed]:
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        yield Composed(case["task"], case["why"], case["output"], case["expected"], tuple(case.get("choices") or ()))


def measured(cases: Iterator[Composed]) -> dict[str, Counter[str]]:
    """Task → how many outputs were read, misread and missed; the last row counts all."""
    parsers: dict[str, Parser] = {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        parser = parsers.setdefault(case.task, load_task(case.task).parser)
        value, expected = parser(case.output, choices=case.choices), case.expected
        if case.task == "hoc" and value is not None and expected is not None:
            value, expected = sorted(value), sorted(expected)
        became = "read" if value == expected else "missed" if value is None else "misread"
        counts[case.task][became] += 1
    return {**counts, "all": sum(counts.values(), Counter())}


def row(task: str, counts: Counter[str]) -> str:
    total = counts.total()
    low, high = wilson(counts["misread"], total)
    read, misread, missed = (round(10_000 * counts[name] / total) for name in ("read", "misread", "missed"))
    return f"| {task} | {total} | {read} | {misread} ({10_000 * low:.0f}-{10_000 * high:.0f}) | {missed} |"


def wilson(count: int, total: int, z: float = 1.96) -> tuple[float, float]:
    middle, wide = count + z * z / 2, z * math.sqrt(count * (total - count) / total + z * z / 4)
    return max(0.0, (middle - wide) / (total + z * z)), (middle + wide) / (total + z * z)


def slowest(parser: Parser) -> tuple[float, str]:
    times = []
    for fragment in FRAGMENTS:
        text = fragment * (1_000_000 // len(fragment))
        start = time.process_time()
        parser(text, choices=("Aspirin", "Vitamin D", "E. coli", "None of the above"), inputs={"text": "Aspirin."})
        times.append((time.process_time() - start, fragment))
    return max(times)


if __name__ == "__main__":
    main()
