"""The data sets in the package: whole, licensed, small, and what the official files give."""

import importlib.util
import json
from pathlib import Path

import pytest

from mibe.data import store

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = {
    "pubmedqa": ("MIT", {"train": 450, "valid": 50, "test": 500}),
    "medqa": ("MIT", {"test": 1273}),
    "medqa_4": ("MIT", {"test": 1273}),
    "medmcqa": ("MIT", {"test": 4183}),
    "mmlu": ("MIT", {"train": 285, "valid": 1542, "test": 14042}),
    "mtsample": ("CC0-1.0", {"train": 281, "valid": 40, "test": 80}),
}


def test_only_these_are_bundled_and_they_are_small():
    assert {p.name for p in store.BUNDLED.iterdir()} == set(BUNDLED)
    assert sum(p.stat().st_size for p in store.BUNDLED.rglob("*") if p.is_file()) < 8e6


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_set_is_whole(name):
    licence, counts = BUNDLED[name]
    assert store.verify(name) == []
    manifest = store.load_manifest(name)
    assert manifest["licence"] == licence and manifest["counts"] == counts
    assert {split: len(store.load_examples(name, split)) for split in store.splits(name)} == counts
    text = (store.BUNDLED / name / "LICENSE").read_text()
    assert ("Permission is hereby granted" if licence == "MIT" else "CC0 1.0 Universal") in text
    assert manifest["created"] is None
    assert not any("/" in source["file"].removesuffix("/") for source in manifest["sources"])


def test_the_excerpt_says_that_it_is_one():
    assert store.load_manifest("mtsample")["variant"] == "excerpt"


def test_the_fingerprint_is_that_of_data_prepared_by_hand(own_folders):
    fingerprint = store.data_fingerprint("pubmedqa", "test")
    folder = own_folders / "data" / "pubmedqa"
    folder.mkdir(parents=True)
    lines = [
        json.dumps(
            {"id": e.id, "inputs": dict(e.inputs), "target": e.target},
            ensure_ascii=False,
        )
        for e in store.load_examples("pubmedqa", "test")
    ]
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert store.find("pubmedqa").path == folder
    assert store.data_fingerprint("pubmedqa", "test") == fingerprint


def test_the_tool_gives_the_same_bytes_again(shared, tmp_path):
    spec = importlib.util.spec_from_file_location("bundle_data", ROOT / "tools" / "bundle_data.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.bundle(shared / "data", tmp_path)
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    there = {p.relative_to(store.BUNDLED): p.read_bytes() for p in store.BUNDLED.rglob("*") if p.is_file()}
    assert made.keys() == there.keys()
    # zlib may pack differently from one build to the next: manifests hold the sha256 of what is inside.
    assert [p for p in made if made[p] != there[p] and p.suffix != ".gz"] == []
    tool.bundle(shared / "data", tmp_path / "again")
    assert [p for p in made if (tmp_path / "again" / p).read_bytes() != made[p]] == []
