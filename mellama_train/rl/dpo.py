"""Direct preference optimisation by TRL's `DPOTrainer`, on pairs that are tokenised as this package's samples are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mellama_train.engines.ranks import Ranks
from mellama_train.errors import DataError, RecipeError
from mellama_train.rl import trl
from mellama_train.rl.dpo_recipe import DpoRecipe
from mellama_train.rl.running import opened
from mellama_train.rl.watching import Watch
from mellama_train.rows.pairs import EncodedPair, PairSet


def run_steps(recipe: DpoRecipe, pairs: int) -> int:
    """Optimizer steps of a run over so many pairs a pass: whole ones.

    Raises `DataError` where the pairs make no step, and `RecipeError` where fewer are made than asked for.
    """
    possible = pairs * recipe.epochs // recipe.batch.rows
    if not possible:
        raise DataError(f"{pairs} pairs make no step of {recipe.batch.rows} (batch.rows); lower it, or raise epochs")
    if recipe.steps is not None and recipe.steps > possible:
        raise RecipeError(
            f"the pairs make {possible:,} steps, and {recipe.steps:,} are asked for; lower steps, or raise epochs"
        )
    return recipe.steps or possible


def order(recipe: DpoRecipe, pairs: int) -> list[int]:
    """The numbers of the pairs in the order in which a run reads them, each pass in an order of its own.

    Which pairs a step takes depends on seed and step alone, and not on the number of ranks.
    """
    passes = (np.random.default_rng((recipe.seed, epoch)).permutation(pairs) for epoch in range(recipe.epochs))
    numbers: list[int] = np.concatenate(list(passes)).tolist()
    return numbers[: run_steps(recipe, pairs) * recipe.batch.rows]


def tokens_seen(recipe: DpoRecipe, pairs: PairSet, steps: int) -> Mapping[str, int]:
    """Source → tokens that were read in so many steps, each response with its prompt."""
    read = order(recipe, len(pairs))[: steps * recipe.batch.rows]
    return PairSet([pairs.pairs[number] for number in read], tokenizer_sha256="").tokens()


def tokens_by_step(recipe: DpoRecipe, pairs: PairSet) -> Sequence[int]:
    """The tokens of all sources that were read when each step was made, the first of them 0."""
    each = [pairs.pairs[number].tokens for number in order(recipe, len(pairs))]
    read: list[int] = np.cumsum([0, *each])[:: recipe.batch.rows].tolist()
    return read


def open_trainer(
    recipe: DpoRecipe, ranks: Ranks, pairs: PairSet, held_out: Mapping[str, PairSet], tokenizer: Any, watch: Watch
) -> Any:
    """TRL's trainer, ready to train. Raises `EngineError` and `ModelLoadError`."""
    package = trl.imported()
    steps = run_steps(recipe, len(pairs))
    looks = {name: table(found.pairs[: recipe.held_out.rows]) for name, found in held_out.items()}
    return opened(
        recipe,
        ranks,
        trl.as_ours(_of_tokens(package.DPOTrainer), recipe.optimizer),
        lambda: package.DPOConfig(**dpo_settings(recipe, ranks, steps=steps)),
        train_dataset=table([pairs.pairs[number] for number in order(recipe, len(pairs))]),
        eval_dataset=looks or None,
        processing_class=tokenizer,
        callbacks=[watch],
    )


def dpo_settings(recipe: DpoRecipe, ranks: Ranks, *, steps: int) -> dict[str, Any]:
    """The recipe as TRL's `DPOConfig`. The pairs lie in the order of the run, and none of them is cut."""
    looks: dict[str, Any] = {}
    if recipe.data.held_out:
        looks = {
            "eval_strategy": "steps",
            "eval_steps": recipe.held_out.every_steps,
            "eval_on_start": True,
            "per_device_eval_batch_size": recipe.batch.micro_rows,
            "prediction_loss_only": True,
        }
    return trl.settings(recipe, ranks, steps=steps) | {
        "beta": recipe.beta,
        "max_length": None,
        # TRL would set adapters' own to 0 as well.
        "disable_dropout": not (recipe.lora and recipe.lora.dropout),
        "precompute_ref_log_probs": recipe.precompute_reference,
        "train_sampling_strategy": "sequential",
        **looks,
    }


def table(pairs: Sequence[EncodedPair]) -> Any:
    """The pairs as the data set that TRL's collator reads."""
    from datasets import Dataset

    columns = {"prompt_ids": "prompt", "chosen_ids": "chosen", "rejected_ids": "rejected"}
    return Dataset.from_dict({column: [getattr(pair, name) for pair in pairs] for column, name in columns.items()})


def _of_tokens(trainer: type[Any]) -> type[Any]:
    """TRL's trainer for pairs that are tokens already: it would lay text out and tokenise it in its own way."""

    def prepared(_self: Any, dataset: Any, *_: Any) -> Any:
        return dataset

    return type(trainer.__name__, (trainer,), {"_prepare_dataset": prepared})
