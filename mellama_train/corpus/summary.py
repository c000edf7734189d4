"""A corpus as a table for people."""

from __future__ import annotations

from tabulate import tabulate

from mellama_train.corpus.mixture import Mixture
from mellama_train.corpus.shards import Corpus
from mellama_train.errors import CorpusError

HEADERS = ("source", "weight", "documents", "tokens", "held out", "contaminated", "duplicates", "passes", "access")


def text(corpus: Corpus) -> str:
    """One line a source, and below it what a run over the mixture is."""
    try:
        mixture = Mixture.open(corpus.folder)
    except CorpusError as error:
        epochs: dict[str, float] = {}
        last = str(error)
    else:
        epochs = mixture.epochs()
        last = f"one run: {len(mixture):,} rows of {mixture.length:,} tokens, {len(mixture) * mixture.length:,} in all"
    lines = []
    for name, entry in corpus.manifest["sources"].items():
        counts = [i["counts"] for i in entry["inputs"]]
        lines.append(
            (
                name,
                f"{entry['weight']:g}",
                f"{entry['train']['documents']:,}",
                f"{entry['train']['tokens']:,}",
                f"{entry['held_out']['documents']:,}",
                f"{sum(c.get('contaminated', 0) for c in counts):,}",
                f"{sum(c.get('duplicates', 0) for c in counts):,}",
                f"{epochs[name]:.2f}" if name in epochs else "",
                entry["access"],
            )
        )
    return tabulate(lines, HEADERS, colalign=("left", *["right"] * 7, "left"), disable_numparse=True) + f"\n{last}"
