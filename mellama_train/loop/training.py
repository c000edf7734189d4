"""The one training loop, which the commands pretrain, instruct and finetune configure.

What a step does is a function of its number: its rows, its learning rate, its random numbers. A run that was killed
therefore goes on exactly where its newest checkpoint is, on the same number of ranks or another.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mellama_train.engines.engine import Engine, StepOutcome
from mellama_train.engines.opening import open_engine
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import DataError, ModelLoadError, StoppedError, TrainError
from mellama_train.loop import checkpoints, outputs, resuming
from mellama_train.loop.held_out import held_out_losses
from mellama_train.loop.meter import Meter
from mellama_train.loop.probes import probe
from mellama_train.loop.reporting import Mute, Reporter
from mellama_train.loop.schedule import learning_rate
from mellama_train.loop.spikes import SpikeWatch
from mellama_train.plan.fitting import refuse_hopeless
from mellama_train.plan.flops import cost, peak_flops
from mellama_train.plan.shapes import shape_of
from mellama_train.recipe.config import Recipe
from mellama_train.rows.batches import StepBatches, ahead
from mellama_train.rows.row import Rows
from mellama_train.rows.steps import accumulation, steps_in


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run reads: rows to learn from, held-out rows by the name of their set, the tokenizer of both."""

    rows: Rows
    held_out: Mapping[str, Rows]
    tokenizer: Any


@dataclass(slots=True)
class Position:
    """Where the run stands: what a checkpoint keeps of the loop itself."""

    step: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def train(recipe: Recipe, data: TrainingData, ranks: Ranks) -> Path:
    """Train to the end, from the newest checkpoint in the output folder if there is one; returns the model's folder.

    Raises
    ------
    CheckpointError
        When the checkpoint belongs to another recipe or other data, or a checkpoint cannot be written.
    DivergenceError
        When the loss is not finite or jumps, as `recipe.spikes` says.
    ModelLoadError, EngineError, RecipeError, DataError
        When the run cannot begin.
    """
    accumulation(recipe.batch, ranks.size)
    if not len(data.rows):
        raise DataError("there is nothing to train on: no row was made of the data")
    if (recipe.output / outputs.FINAL).is_dir():
        raise TrainError(f"{recipe.output / outputs.FINAL} is there already; choose another output, or remove it")
    with outputs.locked(recipe.output, ranks), _stop_signal() as stopped:
        record = resuming.record(recipe, data.rows)
        found = checkpoints.newest(recipe.output / outputs.CHECKPOINTS, ranks)
        if found:
            resuming.check(found, record)
        # Adapters begin with random weights, the same on all ranks and each time.
        torch.manual_seed(recipe.seed)
        _check_room(recipe, ranks)
        engine = open_engine(recipe, ranks, resumed_from_ranks=found.state["ranks"] if found else None)
        return _Run(recipe, data, ranks, engine, record, found).to_end(stopped)


class _Run:
    """One run in progress on one rank."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        ranks: Ranks,
        engine: Engine,
        record: Mapping[str, Any],
        found: checkpoints.Checkpoint | None,
    ) -> None:
        self._recipe, self._data, self._ranks, self._engine, self._record = recipe, data, ranks, engine, record
        rows_steps = steps_in(len(data.rows), recipe.batch.rows)
        self._steps = min(rows_steps, recipe.steps or rows_steps)
        self._position, self._watch = Position(), SpikeWatch(recipe.spikes)
        if found:
            engine.load(found.engine)
            seen = Counter(found.state["tokens"]) if ranks.is_first else Counter[str]()
            self._position = Position(found.state["step"], seen, found.state["seconds"])
            self._watch = SpikeWatch(recipe.spikes, **found.state["spikes"])
        self._report = (
            Reporter(recipe.reporting, recipe.output, step=self._position.step, steps=self._steps)
            if ranks.is_first
            else Mute()
        )
        self._meter = Meter(cost(engine.model), peak_flops(ranks.device, recipe.reporting.peak_tflops), ranks)
        for problem in found.passed_over if found else ():
            self._report.message(f"passed over a damaged checkpoint, {problem}")
        if found:
            self._report.message(f"going on from {found.folder}")

    def to_end(self, stopped: list[int]) -> Path:
        """All steps that are left, then the model folder. `stopped` holds a signal once one has come."""
        recipe, first = self._recipe, self._position.step
        if first == 0:
            self._look(0)
        parts = ahead(self._data.rows, first, self._steps, recipe.batch, self._ranks.rank, self._ranks.size)
        try:
            for part in parts:
                interrupted = self._step(part, bool(stopped))
                step = self._position.step
                last = step == self._steps
                if step % recipe.reporting.every_steps == 0 or last:
                    self._show()
                self._look(step)
                if step % recipe.checkpoints.every_steps == 0 or last or interrupted:
                    self._save()
                if interrupted and not last:
                    raise StoppedError(f"stopped by a signal after step {step}; the same command goes on from there")
            return self._finish()
        finally:
            self._report.close()

    def _step(self, part: StepBatches, stop: bool) -> bool:
        """One optimizer step; returns whether any rank was told to stop."""
        recipe, step = self._recipe, self._position.step
        torch.manual_seed(_step_seed(recipe.seed, step, self._ranks.rank))
        targets, tokens, attended, stops = self._ranks.sum(
            [part.targets, sum(part.tokens.values()), part.attended, float(stop)]
        )
        rate = learning_rate(step, self._steps, recipe.optimizer)
        outcome = self._engine.step(part.micro, max(1, int(targets)), rate, self._accept)
        self._position.step += 1
        self._position.tokens.update(part.tokens)
        self._meter.add(outcome, rate, tokens, attended)
        self._judge(outcome)
        return stops > 0

    def _accept(self, loss: float) -> bool:
        return self._watch.problem(loss) is None

    def _judge(self, outcome: StepOutcome) -> None:
        """Remember a step that was taken, record one that was not."""
        if outcome.applied:
            self._watch.taken(outcome.loss)
            return
        problem = self._watch.problem(outcome.loss)
        if problem is None and self._recipe.precision == "fp16":
            # The loss scale is found by trying: an overflow lowers it, and is no spike.
            self._report.event(
                self._position.step, "loss_scale", "the gradient overflowed fp16; the loss scale is lower"
            )
            return
        problem = problem or f"the gradient's norm is {outcome.gradient_norm}"
        self._report.event(self._position.step, "left_out", f"left out: {problem}")
        self._watch.left_out(self._position.step, problem)

    def _show(self) -> None:
        by_source = self._tokens()
        figures = self._meter.read(self._steps - self._position.step)
        self._position.seconds += figures["seconds"]
        figures |= {f"tokens/{source}": count for source, count in sorted(by_source.items())}
        self._report.figures(self._position.step, figures | {"tokens": sum(by_source.values())})

    def _tokens(self) -> Counter[str]:
        """Tokens seen per source on all ranks. The first rank alone keeps what a checkpoint brought."""
        total: Counter[str] = Counter()
        for part in self._ranks.gather(self._position.tokens):
            total.update(part)
        self._position.tokens = total if self._ranks.is_first else Counter()
        return total

    def _look(self, step: int) -> None:
        """Held-out perplexity and probes where they are due; also before the first step and after the last."""
        recipe = self._recipe
        figures: dict[str, float] = {}
        ends = step in (0, self._steps)
        if self._data.held_out and (ends or step % recipe.held_out.every_steps == 0):
            figures |= held_out_losses(self._engine, self._data.held_out, recipe.held_out.rows, self._ranks)
        if recipe.probe and (ends or step % recipe.probe.every_steps == 0):
            figures |= probe(self._engine, self._data.tokenizer, recipe.probe, self._ranks)
        if figures:
            self._report.figures(step, figures)
            self._report.message("  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
            self._meter.pause()

    def _save(self) -> None:
        state = {
            **self._record,
            "step": self._position.step,
            "tokens": self._tokens(),
            "seconds": self._position.seconds,
            "spikes": self._watch.state(),
            "ranks": self._ranks.size,
        }
        folder, plan = self._recipe.output / outputs.CHECKPOINTS, self._recipe.checkpoints
        checkpoints.write(folder, self._position.step, state, self._engine.save, keep=plan.keep, ranks=self._ranks)
        self._meter.pause()

    def _finish(self) -> Path:
        weights = self._engine.weights()
        final = outputs.write_model(
            self._recipe,
            self._engine.model,
            self._data.tokenizer,
            weights,
            self._ranks,
            steps=self._position.step,
            tokens=self._tokens(),
        )
        self._report.message(f"finished: {final}")
        return final


def _check_room(recipe: Recipe, ranks: Ranks) -> None:
    """Refuse, before anything is loaded, what no GPU like this one can hold. Models of other shapes find out later."""
    if ranks.device.type != "cuda":
        return
    try:
        shape = shape_of(recipe.model.path)
    except ModelLoadError:
        return
    refuse_hopeless(recipe, shape, ranks.size, torch.cuda.get_device_properties(ranks.device).total_memory)


def _step_seed(seed: int, step: int, rank: int) -> int:
    """The random numbers of a step (dropout) depend on its number alone, so none of their state needs keeping."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """SIGTERM and SIGUSR1 (Slurm's warning before the end) let the step end and a checkpoint be written."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
