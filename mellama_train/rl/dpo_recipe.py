"""The recipe of `dpo`: preference tuning on a better and a worse response to each prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mellama_train.recipe.config import Form, Optimizer, Recipe, TooLong
from mellama_train.recipe.problems import FieldError, refuse
from mellama_train.recipe.ranges import Epochs, Positive, Share
from mellama_train.recipe.stages import HubDataset
from mellama_train.rl.recipe import OF_THE_LOOP, of_the_loop

UNREAD = tuple(key for key in OF_THE_LOOP if key != "held_out")
"""Keys of a recipe that this trainer does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFiles:
    """Pairs of responses to a prompt, in files (JSON lines, a JSON list, Parquet) and data sets, by their usual keys.

    A line may name its "source". `form` and `too_long` are as for samples of instructions, of each of the two
    responses with its prompt. Pairs that hold a passage of a prepared test set of `mibe` end the run ("error") or are
    left out ("skip"), and are named either way.
    """

    pairs: tuple[Path | HubDataset, ...]
    held_out: tuple[Path | HubDataset, ...] = ()
    form: Form = "auto"
    too_long: TooLong = "error"
    test_documents: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        if not self.pairs:
            raise FieldError("pairs", "names no file")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceOptimizer(Optimizer):
    """For all weights, as Zephyr (Tunstall et al. 2023) and Tülu 3 (Lambert et al. 2024) have them.

    LoRA takes ten times the learning rate and more.
    """

    learning_rate: Positive = 5e-7
    warmup_ratio: Share = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoRecipe(Recipe):
    """Direct preference optimisation (Rafailov et al. 2023) against the model of the start.

    `batch.rows` are pairs of a step and `batch.micro_rows` those of one forward pass, two sequences each; `context` is
    the longest prompt with a response. `beta` is how dear it is to leave the model of the start. Its probabilities of
    the responses are computed beside those of the trained model, by that without its adapters after LoRA and else by a
    second copy; with `precompute_reference` all of them before the first step, so that no copy is kept.
    """

    data: PairFiles
    optimizer: PreferenceOptimizer = field(default_factory=PreferenceOptimizer)
    beta: Positive = 0.1
    epochs: Epochs = 1
    precompute_reference: bool = False

    def __post_init__(self) -> None:
        refuse([*self._contradictions(), *of_the_loop(self, UNREAD)])
