"""From the newest checkpoint to the model: what all runs by TRL have in common."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from mellama_train.corpus.writing import write_whole
from mellama_train.engines.opening import deepspeed_module
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import CheckpointError, DivergenceError, EngineError, StoppedError, TrainError, one_line
from mellama_train.loop import outputs, resuming
from mellama_train.loop.checkpoints import WRITE_ERRORS
from mellama_train.loop.layout import (
    CHECKPOINTS,
    FINAL,
    RECORD,
    hf_checkpoints,
    hf_damage,
    hf_record,
    hf_sizes,
    hf_step,
)
from mellama_train.loop.reporting import Mute, Reporter
from mellama_train.loop.stopping import Stop
from mellama_train.model.adapters import adapter_settings
from mellama_train.model.loading import DTYPE, LOAD_ERRORS, read_model
from mellama_train.recipe.config import Recipe
from mellama_train.recipe.yaml_schema import as_json
from mellama_train.rl.trl import unwritten
from mellama_train.rl.watching import ADVICE, Watch

NO_PROBABILITIES = "probability tensor contains either"
"""What torch says where it is to draw from what are no probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run by TRL.

    Parameters
    ----------
    rows
        What the data is known again by.
    steps
        Optimizer steps of the whole run.
    open
        Makes TRL's trainer, which the callback is given to.
    tokens
        Source → tokens seen by this rank, counted on by whatever `open` made.
    hand_over
        (folder, steps, tokens of all ranks) → writes beside weights how they came to be; the first rank calls it.
    tokens_at
        Tokens read by all ranks up to a step, where the data says so and TRL forgets them with each start.
    ends
        Tokens that answers were seen to end with, which end those of the finished model.
    """

    rows: Mapping[str, Any]
    steps: int
    open: Callable[[Watch], Any]
    tokens: Counter[str]
    hand_over: Callable[[Path, int, Mapping[str, int]], object]
    tokens_at: Callable[[int], int] | None = None
    ends: tuple[int, ...] = ()


def to_end(recipe: Recipe, ranks: Ranks, job: Job) -> Path:
    """All steps that are left, then the model folder. A run that has come to its end already is left as it is.

    Raises
    ------
    StoppedError
        When a signal came; a checkpoint is written.
    CheckpointError, TrainError
        When what is in the output folder is of another recipe or other data, or nothing can be written there.
    EngineError, ModelLoadError
        When the run cannot begin.
    """
    transformers.utils.logging.set_verbosity_error()
    final, stop = recipe.output / FINAL, Stop(ranks)
    record: dict[str, Any] = json.loads(json.dumps({"recipe": as_json(recipe), "rows": job.rows}))
    if resuming.is_finished(final, record):
        if ranks.is_first:
            print(f"finished before: {final}", file=sys.stderr)
        return final

    def seal(folder: Path, step: int) -> None:
        """Make a checkpoint whole: how its weights came to be, then the record by which the run goes on."""
        tokens = _together(job.tokens, ranks)
        if ranks.is_first:
            job.hand_over(folder, step, tokens)
            _seal(folder, {**record, "tokens": tokens, "files": hf_sizes(folder)})
        ranks.wait()

    with outputs.locked(recipe.output, ranks), stop.heard():
        found, passed_over = ranks.from_first(_newest(recipe.output / CHECKPOINTS))
        if found:
            kept = hf_record(found)
            resuming.check_record(found, kept, record)
            job.tokens.update(kept["tokens"] if ranks.is_first else {})
        report = (
            Reporter(recipe.reporting, recipe.output, step=hf_step(found) if found else 0, steps=job.steps)
            if ranks.is_first
            else Mute()
        )
        watch = Watch(recipe, ranks, stop, report, seal, job.tokens_at)
        try:
            trainer = job.open(watch)
            # It would print every line of figures.
            trainer.remove_callback(transformers.PrinterCallback)
            for problem in passed_over:
                report.message(f"passed over {problem}")
            if found:
                report.message(f"going on from {found}")
            _train(trainer, found)
            if watch.stopped:
                raise StoppedError(
                    f"{watch.stopped} after step {trainer.state.global_step}; the same command goes on from there"
                )
            _write(recipe, ranks, trainer, job, record)
            report.message(f"finished: {final}")
        finally:
            report.close()
    return final


def _seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Put the record into a checkpoint, whole or not at all. Raises `CheckpointError` where it cannot be written."""
    try:
        write_whole(folder / RECORD, json.dumps(record, indent=1).encode())
    except OSError as error:
        raise CheckpointError(unwritten(folder, error)) from error


def _newest(checkpoints: Path) -> tuple[Path | None, list[str]]:
    """(the newest checkpoint that is whole, newer ones that are damaged, with what is wrong).

    Raises `CheckpointError` where there are some and none is whole.
    """
    problems: list[str] = []
    for candidate in hf_checkpoints(checkpoints):
        problem = hf_damage(candidate)
        if problem is None:
            return candidate, problems
        problems.append(f"{candidate}: {problem}")
    if problems:
        raise CheckpointError(f"no checkpoint is whole ({'; '.join(problems)}); remove them to begin anew")
    return None, []


def _train(trainer: Any, found: Path | None) -> None:
    """All steps that are left. Raises `DivergenceError` where answers can no longer be drawn, before a loss tells."""
    try:
        trainer.train(resume_from_checkpoint=str(found) if found else None)
    except RuntimeError as error:
        if NO_PROBABILITIES not in str(error):
            raise
        raise DivergenceError(
            f"step {trainer.state.global_step + 1}: the model's probabilities are no numbers any more; {ADVICE}"
        ) from error


def opened(recipe: Recipe, ranks: Ranks, trainer: type[Any], config: Callable[[], Any], **more: Any) -> Any:
    """TRL's trainer on the recipe's model, with its adapters. Raises `ModelLoadError` and `EngineError`.

    `config` makes the trainer's settings before the model is loaded: DeepSpeed shards it while it is.
    """
    # Adapters begin with random weights, the same on all ranks and each time.
    torch.manual_seed(recipe.seed)
    by_deepspeed = recipe.engine.name == "deepspeed"
    if by_deepspeed:
        deepspeed_module()
        os.environ.setdefault("LOCAL_RANK", "0")  # which DeepSpeed asks for where no launcher set it
    try:
        settings = config()
    except LOAD_ERRORS as error:
        raise EngineError(f"TRL takes no such settings: {one_line(error)}") from error
    # DeepSpeed keeps float32 masters of weights in the precision; without it the weights are the masters.
    model = read_model(recipe, ranks.device, DTYPE[recipe.precision] if by_deepspeed else torch.float32)
    adapters = adapter_settings(recipe.lora) if recipe.lora else None
    try:
        return trainer(model=model, args=settings, peft_config=adapters, **more)
    except LOAD_ERRORS as error:
        raise EngineError(f"TRL cannot begin: {one_line(error)}") from error


def _together(tokens: Counter[str], ranks: Ranks) -> dict[str, int]:
    """Tokens of all ranks."""
    total: Counter[str] = Counter()
    for part in ranks.gather(tokens):
        total.update(part)
    return dict(sorted(total.items()))


def _write(recipe: Recipe, ranks: Ranks, trainer: Any, job: Job, record: Mapping[str, Any]) -> None:
    """The final folder, written aside and renamed when it is whole. Raises `TrainError` on all ranks."""
    final, problem = recipe.output / FINAL, None
    tokens, weights = _together(job.tokens, ranks), _trained(trainer)
    # TRL looks at no weight, and the loss of the last step is that of the weights before it.
    wrong = next((name for name, weight in weights.items() if not torch.isfinite(weight).all()), None)
    if wrong := ranks.from_first(wrong):
        raise DivergenceError(f"after step {trainer.state.global_step} {wrong} is no number; {ADVICE}")
    if ranks.is_first:
        try:
            model = trainer.accelerator.unwrap_model(trainer.model)
            with outputs.replaced(final) as aside:
                outputs.save(recipe, model, trainer.processing_class, weights, aside, ends=job.ends)
                job.hand_over(aside, trainer.state.global_step, tokens)
                (aside / RECORD).write_text(json.dumps(record, indent=1))
        except WRITE_ERRORS as error:
            problem = f"cannot write {final}: {error}; make room, and the same command writes it again"
    if problem := ranks.from_first(problem):
        raise TrainError(problem)


def _trained(trainer: Any) -> dict[str, torch.Tensor]:
    """Name → weight of what was trained, gathered from the ranks that share it."""
    whole = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    model = trainer.accelerator.unwrap_model(trainer.model)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: weight for name, weight in (whole or {}).items() if name in names}
