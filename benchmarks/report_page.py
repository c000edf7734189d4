"""How fast the report of a run with 14,042 samples opens and filters in headless Chromium, from disk.

Scores a model that answers at once on all of MMLU, writes the report and opens it in a new browser a few times. Prints
medians, the slowest, and the targets. Opening is over when rows and the first sample, prompt included, are shown; a
filter is over with the frame after its rows are.

    python benchmarks/report_page.py [--runs 5] [--shots 5]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time

from playwright.sync_api import Page, sync_playwright

import mibe
from mibe.report.page import write_report

OPENED = """() => document.querySelectorAll(".row").length > 5 && document.querySelectorAll(".passage").length === 2
    && performance.now()"""
FILTER = """async ([id, value]) => {
    const [field, status] = [document.getElementById(id), document.getElementById("found")];
    status.textContent = "";
    const start = performance.now();
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    while (status.textContent === "" || status.textContent === "reading…") await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""
FILTERS = (
    ("outcome", "filter-outcome", "1"),
    ("wrong", "filter-right", "0"),
    ("label", "filter-gold", "2"),
    ("text in outputs", "find", "tumour"),
    ("no filter", "find", ""),
)
TARGETS = {"open": 2000.0, "filter": 200.0}
WORDS = ["patient", "has", "a", "tumor", "mass", "fever", "pain", "renal", "because", "therefore", "likely", "dose"]


def answers(prompts: list[str]) -> list[str]:
    """A letter and eighty words, the same for every equal prompt."""
    made = []
    for prompt in prompts:
        draw = random.Random(prompt)
        made.append(f"{draw.choice('ABCD')}. " + " ".join(draw.choices([*WORDS, "tumour"], k=80)))
    return made


def measure(page: Page, address: str) -> dict[str, float]:
    """Milliseconds: to open, until outputs can be searched, and of each filter."""
    page.goto(address, wait_until="commit")
    times = {"open": float(page.wait_for_function(OPENED).json_value())}
    page.evaluate(FILTER, ["find", "tumour"])
    times["open and search"] = float(page.evaluate("performance.now()"))
    page.evaluate(FILTER, ["find", ""])
    for name, field, value in FILTERS:
        times[name] = float(page.evaluate(FILTER, [field, value]))
        page.evaluate(FILTER, [field, ""])
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--shots", type=int, default=5, help="worked examples, which make the prompts long")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = mibe.evaluate(
            model=answers, tasks="mmlu", num_fewshot=a.shots, output_dir=folder, use_cache=False, resamples=50
        )
        start = time.perf_counter()
        page_path = write_report(run)
        written = time.perf_counter() - start
        size = sum(file.stat().st_size for file in page_path.parent.rglob("*") if file.is_file())
        samples = run.record["tasks"]["mmlu"]["samples"]
        print(f"{samples:,} samples, {size / 1e6:.1f} MB, written in {written:.1f} s")
        found: list[dict[str, float]] = []
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        with sync_playwright() as playwright:
            for _ in range(a.runs):
                browser = playwright.chromium.launch(executable_path=a.chromium, args=arguments)
                found.append(measure(browser.new_page(), page_path.as_uri()))
                browser.close()
    print(f"{'':18}{'median ms':>10}{'slowest':>10}{'target':>10}")
    for name in found[0]:
        times = [times[name] for times in found]
        target = {"open": TARGETS["open"], "open and search": None}.get(name, TARGETS["filter"])
        print(f"{name:18}{statistics.median(times):10.0f}{max(times):10.0f}{'' if target is None else target:>10}")
    print(json.dumps({"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
