"""Export: out of what training left, one ordinary model folder with its tokenizer and card; adapters merged if asked.

All is done in float32 on the CPU and rounded once, at the end. Merged weights are tried on a few tokens against the
unmerged model before anything is written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

import mibe
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import CheckpointError, EngineError, ExportError, ModelLoadError
from mellama_train.loop import checkpoints
from mellama_train.loop.checkpoints import WRITE_ERRORS
from mellama_train.loop.outputs import CHECKPOINTS, FINAL
from mellama_train.model import provenance
from mellama_train.model.loading import DTYPE, LOAD_ERRORS, is_adapter_folder, load_model, load_tokenizer, trainable
from mellama_train.model.loss import bare
from mellama_train.model.provenance import Lineage
from mellama_train.publish.card import Facts, card
from mellama_train.recipe.config import ModelSource, Precision, Recipe
from mellama_train.recipe.yaml_schema import parse
from mibe.errors import RunError

CPU = torch.device("cpu")

MERGED_TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest one, that the order of float32 sums explains in a merge."""

PROBE_TOKENS = 32

ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Exported:
    """The folder written, and sentences on what merging and rounding did."""

    folder: Path
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    """A trained model in memory, with peft's adapters where it has any; `precision` is what its run writes."""

    model: Any
    tokenizer: Any
    lineage: Lineage
    precision: Precision | None

    @property
    def has_adapters(self) -> bool:
        return hasattr(self.model, "merge_and_unload")


def export(
    checkpoint: Path,
    to: Path,
    *,
    ranks: Ranks,
    merge_lora: bool = False,
    base: str | None = None,
    precision: Precision | None = None,
    mibe_runs: Sequence[Path] = (),
) -> Exported:
    """Write the model of `checkpoint` (a run's folder, its `final/` or a checkpoint) into the new folder `to`.

    `base` is where the model lies that adapters belong to, or whose shape a checkpoint has, if it has moved. Without
    `precision` the weights are written in the run's. Raises `ExportError`, `CheckpointError` or `ModelLoadError`.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ExportError(f"{to} is there already and not empty; choose another folder for --to")
    try:
        runs = [mibe.load_run(path) for path in mibe_runs]
    except RunError as error:
        raise ExportError(f"--mibe-run: {error}") from error
    trained = _open(checkpoint, base, ranks)
    notes: list[str] = []
    if trained.has_adapters and merge_lora:
        model, difference = merged(trained.model)
        notes.append(f"Adapters are merged: no logit differs from the unmerged model's by more than {difference:.1g}.")
    else:
        model = trained.model
    wanted = precision or trained.precision
    if wanted and wanted != "fp32":
        notes.append(_round(model, wanted))
    _let_it_stop(bare(model), trained.tokenizer)
    facts = Facts(
        name=to.name,
        lineage=trained.lineage,
        library="peft" if hasattr(model, "merge_and_unload") else "transformers",
        notes=tuple(notes),
        runs=runs,
    )
    with _aside(to, _bytes(model)) as folder:
        model.save_pretrained(folder)
        trained.tokenizer.save_pretrained(folder)
        provenance.write(folder, trained.lineage)
        (folder / "README.md").write_text(card(facts), encoding="utf-8")
    return Exported(to, tuple(notes))


def merged(model: Any) -> tuple[Any, float]:
    """peft's model with its adapters added to the weights, and the largest difference of a logit.

    Raises `ExportError` where the merged weights give other logits, as adapters on one of two tied weights do.
    """
    before = probe_logits(model)
    try:
        plain = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise ExportError(f"the adapters cannot be merged: {error}") from error
    after = probe_logits(plain)
    difference = float((after - before).abs().max())
    if not difference <= MERGED_TOLERANCE * max(1.0, float(before.abs().max())):
        raise ExportError(
            f"merged weights would give other logits than the adapters do (by {difference:.2g}), as with adapters on "
            "tied weights; export without --merge-lora, which writes the adapters themselves"
        )
    return plain, difference


def probe_logits(model: Any) -> torch.Tensor:
    """Float32 logits (tokens, vocabulary) of fixed arbitrary tokens."""
    inner = bare(model)
    vocabulary = inner.get_input_embeddings().num_embeddings
    tokens = torch.randint(vocabulary, (1, PROBE_TOKENS), generator=torch.Generator().manual_seed(0))
    model.eval()
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits[0].float()
    return logits


def _open(path: Path, base: str | None, ranks: Ranks) -> _Trained:
    """Whatever training left at `path`."""
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


def _finished(folder: Path, base: str | None) -> _Trained:
    """A model or adapter folder. A model's weights stay in their precision unless another is asked for."""
    found = provenance.lineage(str(folder))
    precision: Precision | None = found.stages[-1].recipe["precision"] if found.stages else None
    if not is_adapter_folder(str(folder)):
        model = _pretrained(str(folder), "auto")
        return _Trained(model=model, tokenizer=_tokenizer(folder), lineage=found, precision=None)
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
    return _Trained(model=adapted, tokenizer=_tokenizer(folder), lineage=found, precision=precision)


def _checkpoint(found: checkpoints.Checkpoint, base: str | None) -> _Trained:
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
    return _Trained(
        model=model,
        tokenizer=load_tokenizer(recipe.model),
        lineage=provenance.grown(state["recipe"], steps=state["step"], tokens=state["tokens"]),
        precision=state["recipe"]["precision"],
    )


def _on_cpu(recorded: Mapping[str, Any], base: str | None) -> Recipe:
    """The recipe of a checkpoint, changed so that its model is loaded in float32 and without a GPU's kernels."""
    known = {field.name for field in fields(Recipe)}
    content = {name: value for name, value in recorded.items() if name in known}
    recipe = parse(json.dumps(content), Recipe, "the recipe of the checkpoint")
    source = ModelSource(
        path=_base(base or recipe.model.path), attention="sdpa", trust_remote_code=recipe.model.trust_remote_code
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
    whole = get_fp32_state_dict_from_zero_checkpoint(str(engine), tag="deepspeed", exclude_frozen_parameters=adapters)
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
        text = str(error).strip() or type(error).__name__
        raise ModelLoadError(f"cannot load {path}: {text.splitlines()[0]}; --base says where a model lies") from error


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


def _round(model: Any, precision: Precision) -> str:
    """Round the weights in place (tied ones stay tied); returns what that does to logits."""
    before = probe_logits(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(DTYPE[precision])
    difference = float((probe_logits(model) - before).abs().max())
    return (
        f"Weights are rounded to {precision}: computing in it changes logits by up to {difference:.2g}, "
        f"the largest being {float(before.abs().max()):.2g}."
    )


def _let_it_stop(model: Any, tokenizer: Any) -> None:
    """Samples were learned with the tokenizer's end token behind them, so generation must end there too."""
    settings, end = getattr(model, "generation_config", None), tokenizer.eos_token_id
    if settings is None or end is None:
        return
    ends = settings.eos_token_id
    known = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if end not in known:
        settings.eos_token_id = [*known, end] if known else end


def _bytes(model: Any) -> int:
    saved: Callable[[Any], bool] = (
        (lambda parameter: parameter.requires_grad) if hasattr(model, "merge_and_unload") else (lambda _: True)
    )
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters() if saved(parameter))


@contextmanager
def _aside(to: Path, size: int) -> Iterator[Path]:
    """A folder beside `to` that takes its place when all is written. Raises `ExportError`; then `to` is as it was."""
    aside = to.with_name(f"{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        free = shutil.disk_usage(to.parent).free
        if size > free:
            raise ExportError(f"{to} needs {size / 2**30:.1f} GiB and {free / 2**30:.1f} are free there; make room")
        aside.mkdir()
        yield aside
        aside.rename(to)
    except WRITE_ERRORS as error:
        shutil.rmtree(aside, ignore_errors=True)
        text = str(error).strip() or type(error).__name__
        raise ExportError(f"cannot write {to}: {text.splitlines()[0]}; make room, or choose another folder") from error
