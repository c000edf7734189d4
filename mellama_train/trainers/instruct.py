"""Instruction tuning: files of prompts with responses."""

from __future__ import annotations

import sys

from mellama_train.loop.training import TrainingData
from mellama_train.model.loading import load_tokenizer
from mellama_train.recipe.stages import TuningRecipe
from mellama_train.rows.packed import file_samples
from mellama_train.trainers.samples import of_altered, sample_data, sample_rows


def tuning_data(recipe: TuningRecipe) -> TrainingData:
    """Packed samples for instruction tuning. Raises `DataError`."""
    tokenizer, data = load_tokenizer(recipe.model), recipe.data
    for line in of_altered(data.files):
        print(line, file=sys.stderr)
    train = sample_rows(recipe, tokenizer, file_samples(data.files), recipe.epochs)
    held_out = {file.stem: sample_rows(recipe, tokenizer, file_samples([file]), 1) for file in data.held_out}
    return sample_data(train, held_out, tokenizer)
