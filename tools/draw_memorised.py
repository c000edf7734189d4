"""Draw how often a trained model prefers the questions as given: results of the benchmark → an SVG picture.

    python tools/draw_memorised.py RESULTS.jsonl docs/images/memorisation.svg

A dot is the share of comparisons that the question as given wins, a line its 95 % interval; half is chance.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from draw_versions import svg

TITLES = {
    "min_k_plus_plus": "Min-K%++, twins",
    "option_order": "order of options",
    "completion_rougeL": "completion, ROUGE-L",
    "completion_ngrams": "completion, runs of five",
}


def rows_of(results: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, float]]:
    """Label → share with its interval, test by test, clean questions first."""
    rows: dict[str, Mapping[str, float]] = {}
    for test, title in TITLES.items():
        for result in sorted(results, key=lambda each: each.get("copies", 0)):
            if result.get("test") == test and "wins" in result:
                copies = result.get("copies", 0)
                label = f"{copies} cop{'y' if copies == 1 else 'ies'}" if copies else "not trained on"
                rows[f"{title}: {label}"] = {"value": result["wins"], "low": result["low"], "high": result["high"]}
    return rows


def main() -> None:
    """Draw the results of one training."""
    source, target = sys.argv[1:]
    results = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    title = "Share of comparisons that the question as given wins (chance: 0.5)"
    Path(target).write_text(svg(title, rows_of(results)), encoding="utf-8")


if __name__ == "__main__":
    main()
