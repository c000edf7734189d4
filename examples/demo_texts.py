"""Writes the texts that the training demo learns from, out of the data sets that the package carries.

    python examples/demo_texts.py demo/texts

Train and validation splits alone: abstracts of PubMedQA (MIT), reports of MTSamples (CC0), and questions of MMLU with
their right answers (MIT), which stand for general text. Nothing is downloaded.

    medical.jsonl, general.jsonl   {"id", "text"}, for examples/corpus-demo.yaml
    abstracts.jsonl                {"id", "title", "abstract"}, for examples/instructions-demo.yaml
    questions.jsonl                {"instruction", "input", "output"}: question, options, answer, for the same
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase

import mibe
from mibe.task import Example

SPLITS = ("train", "valid")


def texts() -> dict[str, list[dict[str, str]]]:
    """File name → its records."""
    abstracts = [
        {"id": e.id, "title": e.inputs["question"], "abstract": e.inputs["context"]} for e in known("pubmedqa")
    ]
    questions = list(known("mmlu"))
    return {
        "medical.jsonl": [
            *({"id": f"pubmedqa/{a['id']}", "text": f"{a['title']}\n{a['abstract']}"} for a in abstracts),
            *({"id": f"mtsample/{e.id}", "text": e.inputs["text"]} for e in known("mtsample")),
        ],
        "general.jsonl": [{"id": f"mmlu/{e.id}", "text": f"{e.inputs['question']}\n{right(e)}"} for e in questions],
        "abstracts.jsonl": abstracts,
        "questions.jsonl": [
            {"instruction": e.inputs["question"], "input": options(e), "output": f"{e.target}. {right(e)}"}
            for e in questions
        ],
    }


def known(task: str) -> Iterator[Example]:
    """What a model may learn from a task's data."""
    for split in SPLITS:
        yield from mibe.examples(mibe.load_task(task), split)


def options(example: Example) -> str:
    """The options of a question, a line each."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, example.choices, strict=False))


def right(example: Example) -> str:
    """The text of the right option."""
    return example.choices[ascii_uppercase.index(example.target)]


def write(folder: Path, files: Mapping[str, list[dict[str, str]]]) -> None:
    """Write the files; the folder is there once it is whole."""
    part = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, records in files.items():
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (part / name).write_text("".join(lines), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def main() -> int:
    """Write them to the folder named on the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    folder = p.parse_args().folder
    files = texts()
    write(folder, files)
    for name, records in files.items():
        print(f"{folder / name}: {len(records):,} records, {(folder / name).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
