"""Runs with several draws a document, in the form of their log: one run a draw, put together by hand."""

import json

import mibe
from mibe import protocols
from mibe.judge.verdicts import is_judged
from mibe.registry import load_task
from mibe.results.log import latest_rows
from mibe.run.scoring import score_task


def drawn_run(folder, models, **settings):
    """A run on whose log the k-th row of a document is the answer of the k-th model. `settings` are `evaluate`'s."""
    runs = [
        mibe.evaluate(model=model, output_dir=folder / f"draw{number}", use_cache=False, resamples=50, **settings)
        for number, model in enumerate(models)
    ]
    first, record = runs[0], runs[0].record
    record["settings"]["repeats"] = len(runs)
    for name, part in record["tasks"].items():
        rows = [row | {"draw": draw} for draw, run in enumerate(runs) for row in latest_rows(run.samples_path(name))]
        first.samples_path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        task = protocols.apply(record["protocol"], load_task(name))
        assert not is_judged(task) or all("verdicts" in row for row in rows)
        part |= score_task(task, rows, resamples=50, seed=record["settings"]["seed"])
    (first.path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return mibe.load_run(first.path)
