"""What training left, opened as a model in memory: a model folder, adapters, or a checkpoint of either engine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from mellama_train.engines import zero
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import CheckpointError, EngineError, ExportError, ModelLoadError, one_line
from mellama_train.loop import checkpoints
from mellama_train.loop.outputs import CHECKPOINTS, FINAL
from mellama_train.loop.resuming import RECORD
from mellama_train.model import provenance
from mellama_train.model.adapters import ADAPTER_CONFIG, bare, is_adapter_folder
from mellama_train.model.loading import LOAD_ERRORS, load_model, load_tokenizer, trainable
from mellama_train.model.provenance import Lineage
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
    if not path.is_dir():
        raise ExportError(f"{path} is no folder; give a run's output folder, its {FINAL}/ or one of its checkpoints")
    if (path / "config.json").is_file() or is_adapter_folder(str(path)):
        return _finished(path, base)
    if (path / checkpoints.STATE).is_file():
        return _checkpoint(checkpoints.opened(path, ranks), base)
    if (path / FINAL).is_dir():
        return _finished(path / FINAL, base)
    if found := checkpoints.newest(path / CHECKPOINTS, ranks):
        return _checkpoint(found, base)
    if (path.parent / checkpoints.STATE).is_file():
        raise ExportError(f"{path} is the inside of a checkpoint; give the folder around it: {path.parent}")
    if (path / "latest").is_file() or any(path.glob("*_model_states.pt")):
        raise ExportError(
            f"{path} is DeepSpeed's own checkpoint and tells nothing of its model; make weights of it by "
            f"`python -m deepspeed.utils.zero_to_fp32 {path} FOLDER --safe_serialization`, and put the model's "
            "config.json beside them"
        )
    raise ExportError(f"{path} holds neither a model nor a checkpoint of mellama-train")


def _finished(folder: Path, base: str | None) -> Trained:
    """A model or adapter folder. A model's weights stay in their precision unless another is asked for."""
    found = provenance.lineage(str(folder))
    precision: Precision | None = found.stages[-1].recipe["precision"] if found.stages else None
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
    try:
        adapted = peft.PeftModel.from_pretrained(model, folder)
    except LOAD_ERRORS as error:
        raise ModelLoadError(f"the adapters of {folder} do not go with their model: {error}") from error
    return Trained(model=adapted, tokenizer=tokenizer, lineage=found, precision=precision, ends=ends)


def _checkpoint(found: checkpoints.Checkpoint, base: str | None) -> Trained:
    """The model of a recipe with the weights of a checkpoint of either engine."""
    state = found.state
    recipe = _on_cpu(state["recipe"], base)
    model = load_model(recipe, CPU, torch.float32)
    weights = {name: parameter.detach() for name, parameter in trainable(model).items()}
    if recipe.engine.name == "deepspeed":
        _fill_from_deepspeed(found.engine, weights, adapters=recipe.lora is not None)
    else:
        import torch.distributed.checkpoint as dcp

        dcp.load({"weights": weights}, checkpoint_id=found.engine)
    # As the training left it for speed; who uses the model generates.
    bare(model).config.use_cache = True
    tokenizer = load_tokenizer(recipe.model)
    return Trained(
        model=model,
        tokenizer=tokenizer,
        lineage=provenance.grown(state["recipe"], steps=state["step"], tokens=state["tokens"]),
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


def _fill_from_deepspeed(engine: Path, weights: Mapping[str, torch.Tensor], *, adapters: bool) -> None:
    """Copy DeepSpeed's own consolidation of a ZeRO checkpoint, of any stage and number of ranks, into `weights`."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    except ImportError as error:
        raise EngineError(
            'the checkpoint is DeepSpeed\'s, which is not installed: DS_BUILD_OPS=0 pip install "mibe[train]"'
        ) from error
    whole = get_fp32_state_dict_from_zero_checkpoint(str(engine), tag=zero.TAG, exclude_frozen_parameters=adapters)
    for name, weight in weights.items():
        # The engine's model is the loss, which holds the language model as `model`.
        found = whole.get(f"model.{name}")
        if found is None or found.shape != weight.shape:
            raise CheckpointError(f"{engine} has no weight {name} of the shape {tuple(weight.shape)}")
        weight.copy_(found)


def _pretrained(path: str, dtype: Any) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    except LOAD_ERRORS as error:
        raise ModelLoadError(f"cannot load {path}: {one_line(error)}; --base says where a model lies") from error


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
