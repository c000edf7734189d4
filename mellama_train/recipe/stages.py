"""The recipes of the stages of training: what each says beside `Recipe`, its data before all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mellama_train.recipe.config import Form, Recipe, TooLong, TuningOptimizer
from mellama_train.recipe.problems import FieldError
from mellama_train.recipe.ranges import Count, Epochs, Positive

SMALL_SET, SMALL_SET_EPOCHS, LARGE_SET_EPOCHS = 10_000, 5, 3
"""Task fine-tuning takes 5 epochs below 10,000 samples, else 3 (paper, Supervised Fine-tuning)."""

MAY_CHANGE = (
    "output",
    "batch.micro_rows",
    "checkpoints",
    "reporting",
    "spikes",
    "held_out",
    "probe",
    "best",
    "data.folder",
    "data.files",
    "data.pairs",
    "data.held_out",
    "model.activation_checkpointing",
    "model.compile",
    "engine.offload_optimizer",
    "engine.offload_parameters",
    "engine.config",
    "engine.check_ranks",
)
"""Keys of these recipes that do not change what is learned. Data is known by its content, not its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusData:
    """A corpus that `mellama-train corpus build` has made. What is not given here is as the corpus file had it.

    `weights` is the mixture (source → weight), `max_epochs` the passes over each source that are allowed, `tokens`
    the length of the run.
    """

    folder: Path
    weights: dict[str, Positive] | None = None
    max_epochs: dict[str, Positive] | None = None
    tokens: Count | None = None

    def __post_init__(self) -> None:
        if self.weights == {}:
            raise FieldError("weights", "names no source; leave it out for those of the corpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRecipe(Recipe):
    """Continual pretraining of all parameters on packed rows of a corpus, one pass (paper, Training Details)."""

    data: CorpusData


@dataclass(frozen=True, slots=True, kw_only=True)
class HubDataset:
    """One split of a data set of the Hugging Face hub, or of a folder that its library `datasets` can read.

    `subset` is what the hub calls a configuration, `revision` a tag or commit, without which the newest is taken.
    """

    dataset: str
    split: str = "train"
    subset: str | None = None
    revision: str | None = None

    @property
    def stem(self) -> str:
        """Its name without owner or folder, as a file's."""
        return Path(self.dataset).name


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFiles:
    """Prompts with responses, in files (JSON lines, a JSON list, Parquet) and data sets, by their usual keys.

    A line may name its "source". `form` "chat" renders with the tokenizer's chat template, "plain" is the paper's:
    prompt, a blank, response, end token; "auto" takes the template where there is one. A sample longer than the
    context ends the run ("error") or is left out and counted ("skip"). `window` samples are packed together.
    """

    files: tuple[Path | HubDataset, ...]
    held_out: tuple[Path | HubDataset, ...] = ()
    form: Form = "auto"
    too_long: TooLong = "error"
    window: Count = 4096

    def __post_init__(self) -> None:
        if not self.files:
            raise FieldError("files", "names no file")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecipe(Recipe):
    """LoRA instruction tuning on the response alone: 3 epochs (paper, Training Details)."""

    data: SampleFiles
    optimizer: TuningOptimizer = field(default_factory=TuningOptimizer)
    epochs: Epochs = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """A task of `mibe`: its own prompts over its train split; its validation split, where there is one, is held out.

    `form`, `too_long` and `window` are as for files; fields that `mibe eval` would cut for a small window are cut
    before a sample counts as too long. Documents that also stand in a test set of `mibe` end the run ("error") or are
    left out ("skip"), and are named either way.
    """

    task: str
    form: Form = "auto"
    too_long: TooLong = "error"
    test_documents: Literal["error", "skip"] = "error"
    window: Count = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRecipe(Recipe):
    """Fine-tuning on one task. Without `epochs`: 5 below 10,000 samples, else 3 (paper, Supervised Fine-tuning)."""

    data: TaskData
    optimizer: TuningOptimizer = field(default_factory=TuningOptimizer)
    epochs: Epochs | None = None


def epochs_for(samples: int) -> int:
    """The paper's rule for task fine-tuning."""
    return SMALL_SET_EPOCHS if samples < SMALL_SET else LARGE_SET_EPOCHS
