"""What training left, opened as a model in memory: a model folder, adapters, or a checkpoint of either engine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import torch
import torch.distributed.checkpoint as dcp

from mellama_train.engines import zero
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import CheckpointError, EngineError, ModelLoadError, one_line
from mellama_train.loop import checkpoints
from mellama_train.loop.layout import RECORD
from mellama_train.model import provenance
from mellama_train.model.adapters import ADAPTER_CONFIG, bare, is_adapter_folder
from mellama_train.model.loading import LOAD_ERRORS, load_model, load_tokenizer, loading, trainable
from mellama_train.model.provenance import Lineage, TestSets
from mellama_train.publish.fitting import adapters_misfit, vocabulary_misfit, weights_misfit
from mellama_train.publish.inputs import find
from mellama_train.recipe.config import ModelSource, Precision, Recipe
from mellama_train.recipe.yaml_schema import parse

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model in memory, with peft's adapters where it has any; `precision` is what its run writes.

    `ends` are the tokens that its answers end with.
    """

    model: Any
    tokenizer: Any
    lineage: Lineage
    precision: Precision | None
    ends: tuple[int, ...]


def open_trained(path: Path, base: str | None, ranks: Ranks) -> Trained:
    """Whatever training left at `path`. Raises `ExportError`, `CheckpointError` or `ModelLoadError`."""
    left = find(path)
    if left.kind in ("model", "adapters"):
        return _finished(left.folder, base)
    if left.kind == "checkpoint":
        return _checkpoint(checkpoints.opened(left.folder, ranks), base)
    found = checkpoints.newest(left.folder, ranks)
    if found is None:
        raise CheckpointError(f"there is no checkpoint in {left.folder} any more")
    return _checkpoint(found, base)


def _finished(folder: Path, base: str | None) -> Trained:
    """A model or adapter folder. A model's weights stay in their precision unless another is asked for."""
    found = provenance.lineage(str(folder))
    precision = _precision(found)
    tokenizer = _tokenizer(folder)
    kept = folder / RECORD
    ends = _ends(json.loads(kept.read_text()) if kept.is_file() else {}, tokenizer)
    if not is_adapter_folder(str(folder)):
        model = _pretrained(str(folder), "auto")
        return Trained(model=model, tokenizer=tokenizer, lineage=found, precision=None, ends=ends)
    import peft

    settings = json.loads((folder / ADAPTER_CONFIG).read_text())
    under = _base(base or settings["base_model_name_or_path"])
    # Adapters that were not trained here say at least what they belong to.
    found = found if found.stages else provenance.lineage(under)
    model = _pretrained(under, torch.float32)
    # Whoever trained them: layers of a kind all have adapters unless some were chosen by number or left out.
    alike = bool(found.stages) and not settings.get("layers_to_transform") and not settings.get("exclude_modules")
    misfit = adapters_misfit(folder, model, of_all_alike=alike) or vocabulary_misfit(model, tokenizer)
    _refuse_other_base(folder, under, misfit)
    try:
        adapted = peft.PeftModel.from_pretrained(model, folder)
    except LOAD_ERRORS as error:
        raise ModelLoadError(f"the adapters of {folder} do not go with {under}: {one_line(error)}") from error
    return Trained(model=adapted, tokenizer=tokenizer, lineage=found, precision=precision, ends=ends)


def _precision(found: Lineage) -> Precision | None:
    """That of the run which made a model; None where nothing of it is known. A plugin's recipe need not say it."""
    said = found.stages[-1].recipe.get("precision") if found.stages else None
    return next((precision for precision in get_args(Precision) if precision == said), None)


def _refuse_other_base(trained: Path, base: str, problem: str | None) -> None:
    """Raise `ModelLoadError` where there is a problem with the model that something is said to have been made of."""
    if problem:
        raise ModelLoadError(f"{trained} was not made of {base}: {problem}; --base names the model it began with")


def _checkpoint(found: checkpoints.Checkpoint, base: str | None) -> Trained:
    """The model of a recipe with the weights of a checkpoint of either engine."""
    state = found.state
    recipe = _on_cpu(state["recipe"], base)
    model = load_model(recipe, CPU, torch.float32)
    weights = {name: parameter.detach() for name, parameter in trainable(model).items()}
    is_deepspeed = recipe.engine.name == "deepspeed"
    kept = _deepspeed_weights(found.engine, adapters=recipe.lora is not None) if is_deepspeed else None
    shapes = _shapes(found.engine) if kept is None else {name: tuple(weight.shape) for name, weight in kept.items()}
    tokenizer = load_tokenizer(recipe.model)
    misfit = weights_misfit(shapes, weights, set(model.state_dict())) or vocabulary_misfit(bare(model), tokenizer)
    _refuse_other_base(found.folder, recipe.model.path, misfit)
    if kept is None:
        dcp.load({"weights": weights}, checkpoint_id=found.engine)
    else:
        for name, weight in weights.items():
            weight.copy_(kept[name])
    # As the training left it for speed; who uses the model generates.
    bare(model).config.use_cache = True
    return Trained(
        model=model,
        tokenizer=tokenizer,
        lineage=provenance.grown(
            state["recipe"],
            steps=state["step"],
            tokens=state["tokens"],
            test_sets=TestSets.of(state.get("test_sets")),
        ),
        precision=state["recipe"]["precision"],
        ends=_ends(state, tokenizer),
    )


def _ends(record: Mapping[str, Any], tokenizer: Any) -> tuple[int, ...]:
    """The tokens that answers end with: those of a run's record, and the tokenizer's end token."""
    end = tokenizer.eos_token_id
    return (*record.get("rows", {}).get("ends", ()), *(() if end is None else (end,)))


def _on_cpu(recorded: Mapping[str, Any], base: str | None) -> Recipe:
    """The recipe of a checkpoint, changed so that its model is loaded in float32 and without a GPU's kernels."""
    known = {field.name for field in fields(Recipe)}
    content = {name: value for name, value in recorded.items() if name in known}
    recipe = parse(json.dumps(content), Recipe, "the recipe of the checkpoint")
    source = ModelSource(
        path=_base(base or recipe.model.path), attention="auto", trust_remote_code=recipe.model.trust_remote_code
    )
    lora = replace(recipe.lora, four_bit=False) if recipe.lora else None
    return replace(recipe, model=source, lora=lora, precision="fp32")


def _shapes(engine: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape of the weights in a checkpoint of the plain engine."""
    entries = dcp.FileSystemReader(engine).read_metadata().state_dict_metadata
    prefix = "weights."
    return {name.removeprefix(prefix): tuple(entry.size) for name, entry in entries.items() if name.startswith(prefix)}


def _deepspeed_weights(engine: Path, *, adapters: bool) -> dict[str, torch.Tensor]:
    """Name → weight by DeepSpeed's own consolidation of a ZeRO checkpoint, of any stage and number of ranks."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    except ImportError as error:
        raise EngineError(
            'the checkpoint is DeepSpeed\'s, which is not installed: DS_BUILD_OPS=0 pip install "mibe[train]"'
        ) from error
    whole = get_fp32_state_dict_from_zero_checkpoint(str(engine), tag=zero.TAG, exclude_frozen_parameters=adapters)
    # The engine's model is the loss, which holds the language model as `model`.
    return {name.removeprefix("model."): weight for name, weight in whole.items()}


def _pretrained(path: str, dtype: Any) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    with loading(path, advice="; --base says where a model lies"):
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


def _tokenizer(folder: Path) -> Any:
    return load_tokenizer(ModelSource(path=str(folder)))


def _base(path: str) -> str:
    """The model that adapters go on. Raises `ModelLoadError` for adapters."""
    if is_adapter_folder(path):
        raise ModelLoadError(
            f"{path} is itself an adapter; merge it first: mellama-train export {path} --merge-lora --to FOLDER, then "
            "give --base FOLDER"
        )
    return path
