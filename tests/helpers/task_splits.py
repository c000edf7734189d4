"""A few examples of every task: shipped, of the official form, or one for each label."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from format_true import MAKERS

from mibe.data import store
from mibe.data.raw import RawFiles
from mibe.registry import load_task
from mibe.task import Example


@cache
def splits_of(name: str, scratch: Path) -> Mapping[str, list[Example]]:
    """A few examples in each split of a task's data: shipped, of the official form, or one for each label."""
    task = load_task(name)
    if task.data_name in MAKERS:
        folder = scratch / task.data_name
        folder.mkdir()
        return task.source.read(RawFiles(MAKERS[task.data_name](folder)), variant=task.source.variants[0])
    found = store.find(task.data_name)
    if found is not None and found.bundled:
        everything = {split: store.load_examples(task.data_name, split) for split in found.files}
        splits = {split: examples[:: len(examples) // 250 or 1] for split, examples in everything.items()}
        return splits if "train" in splits else {"train": splits["test"][:20], "test": splits["test"][20:]}
    asked = "is {} a label of it" if name == "hoc" else "@DRUG$ and @DRUG$ {}"
    several = isinstance(task.parser(task.labels[0]), list)
    made = [
        Example(f"{n}/{label}", {"text": asked.format(f"{label} {n}")}, [label] if several else label)
        for n in range(2)
        for label in task.labels
    ]
    return {"train": made[len(task.labels) :], "test": made[: len(task.labels)]}
