"""Export: out of what training left, one ordinary model folder with its tokenizer and card; adapters merged if asked.

All is done in float32 on the CPU and rounded once, at the end. Merged weights are tried on a few tokens against the
unmerged model before anything is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import mibe
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import ExportError, one_line
from mellama_train.loop.checkpoints import WRITE_ERRORS
from mellama_train.model import provenance
from mellama_train.model.adapters import bare, has_adapters
from mellama_train.model.endings import add_ends, save_settings_of_adapters
from mellama_train.model.loading import DTYPE
from mellama_train.publish.card import Facts, card
from mellama_train.publish.inputs import check
from mellama_train.publish.push import Destination, open_repository, upload
from mellama_train.publish.trained import open_trained
from mellama_train.recipe.config import Precision

MERGED_TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest one, that the order of float32 sums explains in a merge."""

PROBE_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Exported:
    """The folder written, sentences on what merging and rounding did, and the address on a hub, if it went there."""

    folder: Path
    notes: tuple[str, ...]
    address: str | None = None


def export(
    checkpoint: Path,
    to: Path,
    *,
    ranks: Ranks,
    merge_lora: bool = False,
    base: str | None = None,
    precision: Precision | None = None,
    mibe_runs: Sequence[Path] = (),
    push: Destination | None = None,
) -> Exported:
    """Write the model of `checkpoint` (a run's folder, its `final/` or a checkpoint) into the new folder `to`.

    `base` is where the model lies that adapters belong to, or whose shape a checkpoint has, if it has moved. Without
    `precision` the weights are written in the run's. `push` sends the folder to a hub as well. Raises `ExportError`,
    `CheckpointError` or `ModelLoadError`.
    """
    check(checkpoint, to, merge_lora=merge_lora, base=base, mibe_runs=mibe_runs)
    runs = [mibe.load_run(path) for path in mibe_runs]
    trained = open_trained(checkpoint, base, ranks)
    if push:
        open_repository(push, trained.lineage)
    notes: list[str] = []
    if has_adapters(trained.model) and merge_lora:
        model, difference = merged(trained.model)
        notes.append(f"Adapters are merged: no logit differs from the unmerged model's by more than {difference:.1g}.")
    else:
        model = trained.model
    wanted = precision or trained.precision
    if wanted and wanted != "fp32":
        notes.append(_round(model, wanted))
    if push and push.permission:
        notes.append(f"Handed on to {push.repository} by this permission: {push.permission}")
    add_ends(model, trained.ends)
    facts = Facts(
        name=to.name,
        lineage=trained.lineage,
        library="peft" if has_adapters(model) else "transformers",
        notes=tuple(notes),
        runs=runs,
    )
    with _aside(to, _bytes(model)) as folder:
        model.save_pretrained(folder)
        save_settings_of_adapters(model, folder)
        trained.tokenizer.save_pretrained(folder)
        provenance.write(folder, trained.lineage)
        (folder / "README.md").write_text(card(facts), encoding="utf-8")
    return Exported(to, tuple(notes), upload(to, push) if push else None)


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


def _bytes(model: Any) -> int:
    """Bytes that are saved: of adapters alone, where they are not merged."""
    saved = [parameter for parameter in model.parameters() if parameter.requires_grad or not has_adapters(model)]
    return sum(parameter.numel() * parameter.element_size() for parameter in saved)


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
        raise ExportError(f"cannot write {to}: {one_line(error)}; make room, or choose another folder") from error
