"""Samples as the rows of a recipe, for every stage that learns from samples."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mellama_train.loop.training import TrainingData
from mellama_train.model.loading import tokenizer_sha256
from mellama_train.model.provenance import TestSets, altered
from mellama_train.recipe.stages import FinetuneRecipe, HubDataset, TuningRecipe, epochs_for
from mellama_train.rows.packed import SampleRows, SampleSet, padding_token
from mellama_train.rows.samples import Sample


def sample_rows(
    recipe: TuningRecipe | FinetuneRecipe, tokenizer: Any, samples: Iterable[Sample], epochs: int | None
) -> SampleRows:
    """Samples packed into rows for so many passes (None: by the paper's rule)."""
    kept, left_out = SampleSet.of(
        samples,
        tokenizer,
        tokenizer_sha256=tokenizer_sha256(tokenizer),
        context=recipe.context,
        form=recipe.data.form,
        too_long=recipe.data.too_long,
    )
    if left_out:
        what = f"{len(left_out)} samples are longer than {recipe.context} tokens and were left out"
        print(f"{what}: {', '.join(left_out[:3])}{', …' if len(left_out) > 3 else ''}", file=sys.stderr)
    return SampleRows(
        kept,
        length=recipe.context,
        epochs=epochs_for(len(kept)) if epochs is None else epochs,
        window=recipe.data.window,
        seed=recipe.seed,
        padding=padding_token(tokenizer),
    )


def sample_data(
    train: SampleRows, held_out: Mapping[str, SampleRows], tokenizer: Any, test_sets: TestSets | None = None
) -> TrainingData:
    """What a run over packed samples reads; for a model that would see neighbours, one sample in each row."""

    def apart() -> TrainingData:
        alone = {name: rows.apart() for name, rows in held_out.items()}
        return TrainingData(train.apart(), alone, tokenizer, ends=train.ends, test_sets=test_sets)

    return TrainingData(train, held_out, tokenizer, apart, train.ends, test_sets)


def of_altered(files: Iterable[Path | HubDataset]) -> list[str]:
    """A line for each file that its manifest does not tell of as it is."""
    return [
        f"{line}; its data counts as of unknown access, and as never compared with test sets (build it again)"
        for line in altered(file for file in files if isinstance(file, Path))
    ]
