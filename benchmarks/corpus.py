"""Tokens a second a core beside datatrove's own tokenizer step, and the memory of a build as the corpus grows.

    python benchmarks/corpus.py --tokenizer MODEL_FOLDER            # both; about 15 minutes
    python benchmarks/corpus.py --tokenizer MODEL_FOLDER --megabytes 20

The two steps get the same documents in turn, each time in a process of its own on one thread; the medians of processor
time count. What they write is compared byte for byte. Memory is the peak of a process of its own that builds a whole
corpus (all stages, decontamination against the test sets of the package included) of half, once and twice the
megabytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ.setdefault("LOGURU_LEVEL", "ERROR")

from datatrove.data import Document as Item
from datatrove.pipeline.tokens import DocumentTokenizer as TheirStep
from loguru import logger

from mellama_train.corpus.config import CorpusConfig, Input, Source, TokenizerConfig
from mellama_train.corpus.steps import Work, WriteShards
from mellama_train.corpus.tokens import DocumentTokenizer

ABSTRACTS = Path(__file__).parents[2] / "shared" / "data" / "pretrain_medical" / "sumpubmed_abstracts.jsonl"
VOCABULARY = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = read_texts(Path(folder))
        compare_speed(texts, arguments.tokenizer, arguments.rounds, Path(folder))
        for share in (0.5, 1.0, 2.0):
            measure_memory(int(arguments.megabytes * share), arguments.tokenizer, Path(folder) / f"{share}")


def read_texts(folder: Path) -> list[str]:
    """The 10,000 abstracts where they are here, else text that is made up."""
    path = ABSTRACTS if ABSTRACTS.exists() else write_synthetic(folder / "speed", 20)[0]
    return [json.loads(line)["text"] for line in path.open(encoding="utf-8")]


def compare_speed(texts: list[str], model: Path, rounds: int, folder: Path) -> None:
    """Both steps over the same documents, in turn, each time in a process of its own, as tasks of a build are."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = {name: step(texts, model, folder) for name, step in STEPS.items()}
    assert shards["ours"].read_bytes() == shards["datatrove"].read_bytes(), "the two wrote different tokens"
    tokens = shards["ours"].stat().st_size // DocumentTokenizer.load(model).dtype.itemsize
    seconds: dict[str, list[float]] = {name: [] for name in STEPS}
    for _ in range(rounds):
        for name in STEPS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                seconds[name].append(process.submit(processor_seconds, name, texts, model, folder).result())
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:10} {tokens / median:12,.0f} tokens/s/core  ({tokens:,} tokens, {median:.2f} s)")
    ratios = sorted(theirs / ours for ours, theirs in zip(seconds["ours"], seconds["datatrove"], strict=True))
    print(f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})")


def our_step(texts: list[str], model: Path, folder: Path) -> Path:
    sources = {"s": Source(weight=1, inputs=(Input(format="jsonl", path=ABSTRACTS),))}
    config = CorpusConfig(output=folder / "ours", tokenizer=TokenizerConfig(path=model), sources=sources)
    WriteShards(config, Work(folder / "work"), config.output).run(items(texts))
    return config.output / "shards" / "s" / "train-00000.ds"


def their_step(texts: list[str], model: Path, folder: Path) -> Path:
    logger.remove()
    eos = DocumentTokenizer.load(model).eos
    step = TheirStep(str(folder / "theirs"), str(model / "tokenizer.json"), eos_token=eos, shuffle_documents=False)
    step.run(items(texts))
    return folder / "theirs" / "00000_unshuffled.ds"


STEPS: dict[str, Callable[[list[str], Path, Path], Path]] = {"ours": our_step, "datatrove": their_step}


def items(texts: list[str]) -> Iterator[Item]:
    return (Item(text=t, id=str(i), metadata={"source": "s", "input": 0}) for i, t in enumerate(texts))


def processor_seconds(name: str, texts: list[str], model: Path, folder: Path) -> float:
    """Processor time of a step, after one that is not counted: its first batch pays for the memory of all."""
    STEPS[name](texts, model, folder)
    begin = time.process_time()
    STEPS[name](texts, model, folder)
    return time.process_time() - begin


def measure_memory(megabytes: int, model: Path, folder: Path) -> None:
    """Build a corpus in a process of its own and print its peak."""
    files = write_synthetic(folder / "raw", megabytes)
    recipe = {
        "output": str(folder / "corpus"),
        "tokenizer": {"path": str(model)},
        "sources": {"s": {"weight": 1, "inputs": [{"format": "jsonl", "path": [str(f) for f in files]}]}},
    }
    (folder / "corpus.yaml").write_text(json.dumps(recipe))
    code = (
        "import re, sys; from mellama_train.cli import main; code = main(sys.argv[1:]);"
        # Not ru_maxrss, which a process inherits from the one that started it.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "corpus", "build", str(folder / "corpus.yaml")]
    begin = time.monotonic()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    wall = time.monotonic() - begin
    print(f"{megabytes:6,} MB of text: peak {int(output.split()[-1]):,} MiB, {wall:,.0f} s")
    shutil.rmtree(folder)


def write_synthetic(folder: Path, megabytes: int) -> list[Path]:
    """Documents of made-up words, as frequent as words are (Zipf), in four files."""
    import numpy as np

    random = np.random.default_rng(1)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = ["".join(random.choice(letters, size=random.integers(2, 12))) for _ in range(VOCABULARY)]
    likelihood = 1 / np.arange(1, VOCABULARY + 1)
    likelihood /= likelihood.sum()
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.jsonl" for number in range(4)]
    for path in paths:
        written = 0
        with path.open("w", encoding="utf-8") as file:
            while written < megabytes * 1e6 / len(paths):
                chosen = random.choice(VOCABULARY, size=300 * 100, p=likelihood).reshape(100, 300)
                for row in chosen:
                    written += file.write(json.dumps({"text": " ".join(words[i] for i in row)}) + "\n")
    return paths


if __name__ == "__main__":
    main()
