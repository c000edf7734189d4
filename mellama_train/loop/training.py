"""The one training loop, which the trainers pretrain, instruct and finetune configure.

What a step does is a function of its number: its rows, its learning rate, its random numbers. A run that was killed
therefore goes on exactly where its newest checkpoint is, on the same number of ranks or another.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mellama_train.engines.engine import Engine, StepOutcome
from mellama_train.engines.opening import open_engine
from mellama_train.engines.ranks import Ranks
from mellama_train.errors import DataError, DivergenceError, ModelLoadError, StoppedError
from mellama_train.loop import checkpoints, isolation, outputs, resuming
from mellama_train.loop.best import Best
from mellama_train.loop.held_out import held_out_losses
from mellama_train.loop.layout import BEST, CHECKPOINTS, FINAL
from mellama_train.loop.meter import Meter
from mellama_train.loop.probes import probe
from mellama_train.loop.profiling import traced
from mellama_train.loop.reporting import Mute, Reporter
from mellama_train.loop.schedule import learning_rate
from mellama_train.loop.spikes import SpikeWatch
from mellama_train.loop.stopping import Stop
from mellama_train.model.provenance import TestSets
from mellama_train.plan.fitting import refuse_hopeless
from mellama_train.plan.flops import cost, peak_flops
from mellama_train.plan.shapes import shape_of
from mellama_train.recipe.config import Recipe
from mellama_train.rows.batches import StepBatches, ahead
from mellama_train.rows.row import Rows
from mellama_train.rows.steps import accumulation, run_steps


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run reads: rows to learn from, held-out rows by the name of their set, the tokenizer of both.

    `apart` gives the same with one document in each row, where that can be had; `ends` are the tokens that answers
    were seen to end with. `test_sets` is what was looked for of test sets while it was read.
    """

    rows: Rows
    held_out: Mapping[str, Rows]
    tokenizer: Any
    apart: Callable[[], TrainingData] | None = None
    ends: tuple[int, ...] = ()
    test_sets: TestSets | None = None


@dataclass(slots=True)
class Position:
    """Where the run stands: what a checkpoint keeps of the loop itself."""

    step: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def train(recipe: Recipe, data: TrainingData, ranks: Ranks) -> Path:
    """Train to the end, from the newest checkpoint in the output folder if there is one; returns the model's folder.

    A run that has come to its end already is left as it is.

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
    record, stop = resuming.record(recipe, data.rows), Stop(ranks)
    final = recipe.output / FINAL
    if resuming.is_finished(final, record):
        if ranks.is_first:
            print(f"finished before: {final}", file=sys.stderr)
        return final
    run_steps(recipe, len(data.rows))
    with outputs.locked(recipe.output, ranks), stop.heard():
        found = checkpoints.newest(recipe.output / CHECKPOINTS, ranks)
        if found:
            resuming.check(found, record)
        # Adapters begin with random weights, the same on all ranks and each time.
        torch.manual_seed(recipe.seed)
        _check_room(recipe, ranks)
        engine = open_engine(recipe, ranks, resumed_from_ranks=found.state["ranks"] if found else None)
        data, said = _kept_apart(engine, recipe, data, ranks)
        record = resuming.record(recipe, data.rows)
        if found:
            resuming.check_packing(found, record)
        return _Run(recipe, data, ranks, engine, record, found, stop, said).to_end()


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
        stop: Stop,
        said: str | None,
    ) -> None:
        self._recipe, self._data, self._ranks, self._engine, self._record = recipe, data, ranks, engine, record
        self._stop = stop
        self._steps = run_steps(recipe, len(data.rows))
        self._position, self._watch = Position(), SpikeWatch(recipe.spikes)
        self._best = Best(recipe.best) if recipe.best else None
        if found:
            engine.load(found.engine)
            seen = Counter(found.state["tokens"]) if ranks.is_first else Counter[str]()
            self._position = Position(found.state["step"], seen, found.state["seconds"])
            self._watch = SpikeWatch(recipe.spikes, **found.state["spikes"])
            known = found.state["recipe"].get("best") or {}
            # What is known of another figure says nothing of this one.
            if recipe.best and known.get("figure") == recipe.best.figure:
                self._best = Best(recipe.best, **(found.state.get("best") or {}))
        self._report = (
            Reporter(recipe.reporting, recipe.output, step=self._position.step, steps=self._steps)
            if ranks.is_first
            else Mute()
        )
        # Whether held-out text and probes of this step are seen to: a signal may have come in their midst.
        self._looked: bool = found is not None and found.state.get("looked", True)
        # A step that is saved: none, that of the checkpoint, or that of `_writing`, which may not be whole yet.
        self._saved, self._saved_at = self._position.step, time.monotonic()
        self._writing: checkpoints.Writing | None = None
        self._meter = Meter(cost(engine.model), peak_flops(ranks.device, recipe.reporting.peak_tflops), ranks)
        if said:
            self._report.event(self._position.step, "apart", said)
        for problem in found.passed_over if found else ():
            self._report.message(f"passed over a damaged checkpoint, {problem}")
        if found:
            self._report.message(f"going on from {found.folder}")

    def to_end(self) -> Path:
        """All steps that are left, then the model folder. Raises `StoppedError` with a checkpoint written."""
        try:
            self._steps_left()
            self._save()
            return self._finish()
        except DivergenceError:
            self._settle()
            raise
        except StoppedError as error:
            self._save()
            raise StoppedError(
                f"{error} after step {self._position.step}; the same command goes on from there"
            ) from None
        finally:
            self._report.close()

    def _steps_left(self) -> None:
        recipe, first = self._recipe, self._position.step
        if not self._looked:
            self._look(first)
        parts = ahead(self._data.rows, first, self._steps, recipe.batch, self._ranks.rank, self._ranks.size)
        with traced(recipe.reporting.profile_steps, recipe.output, self._ranks.rank) as traced_step:
            # Looked at before each step, for a run that had given up and was ended before its model was written.
            while not (self._best and self._best.given_up) and (part := next(parts, None)) is not None:
                is_time = self._step(part)
                traced_step()
                step = self._position.step
                last = step == self._steps
                if step % recipe.reporting.every_steps == 0 or last:
                    self._show()
                self._look(step)
                if step % recipe.checkpoints.every_steps == 0 or is_time:
                    self._begin_saving()

    def _step(self, part: StepBatches) -> bool:
        """One optimizer step; returns whether it is time for a checkpoint by the clock."""
        recipe, step = self._recipe, self._position.step
        torch.manual_seed(_step_seed(recipe.seed, step, self._ranks.rank))
        ready = self._writing is not None and self._writing.is_ready
        targets, tokens, attended, are_ready, is_time = self._ranks.sum(
            [part.targets, sum(part.tokens.values()), part.attended, ready, self._is_time()]
        )
        if self._writing and are_ready == self._ranks.size and self._writing.advance():
            self._writing = None
        rate = learning_rate(step, self._steps, recipe.optimizer)
        outcome = self._engine.step(part.micro, max(1, int(targets)), rate, self._accept, self._stop.look)
        self._position.step += 1
        self._looked = False
        self._position.tokens.update(part.tokens)
        self._meter.add(outcome, rate, tokens, attended)
        self._judge(outcome)
        return is_time > 0

    def _is_time(self) -> bool:
        """Whether the first rank's clock asks for a checkpoint."""
        minutes = self._recipe.checkpoints.every_minutes
        return self._ranks.is_first and minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes

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
            figures |= held_out_losses(self._engine, self._data.held_out, recipe.held_out.rows, self._ranks, self._stop)
        if recipe.probe and (ends or step % recipe.probe.every_steps == 0):
            figures |= probe(self._engine, self._data.tokenizer, recipe.probe, self._ranks, self._stop)
        if figures:
            self._report.figures(step, figures)
            self._report.message("  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
            self._meter.pause()
            self._compare(step, figures)
        self._looked = True

    def _compare(self, step: int, figures: Mapping[str, float]) -> None:
        """Keep the model as it is where it is the best so far."""
        if self._best is None:
            return
        shown = self._ranks.from_first(dict(figures))
        is_new = step > 0 and self._best.value is None
        if is_new and self._best.plan.figure not in shown:
            # A run that went on with this figure: it is looked at some other time.
            return
        if self._best.improves(shown) or is_new:
            self._write(BEST)
            self._report.message(f"step {step}: the best so far, {self._best.plan.figure} {self._best.value:.4g}")
        if self._best.given_up:
            self._report.event(step, "given_up", f"no better {self._best.plan.figure} in {self._best.worse} looks")

    def _save(self) -> None:
        """The state as it is, whole on the disk when this returns."""
        self._begin_saving()
        self._settle()
        self._meter.pause()

    def _settle(self) -> None:
        """Wait for the checkpoint that is on its way."""
        if self._writing:
            self._writing.to_end()
            self._writing = None

    def _begin_saving(self) -> None:
        """Begin a checkpoint of the state as it is, if there is none of it."""
        if self._saved == self._position.step:
            return
        self._settle()
        state = {
            **self._record,
            "step": self._position.step,
            "tokens": self._tokens(),
            "seconds": self._position.seconds,
            "spikes": self._watch.state(),
            "ranks": self._ranks.size,
            "looked": self._looked,
            "best": self._best.state() if self._best else None,
            "test_sets": asdict(self._data.test_sets) if self._data.test_sets else None,
        }
        folder, keep = self._recipe.output / CHECKPOINTS, self._recipe.checkpoints.keep
        self._writing = checkpoints.Writing(
            folder, self._position.step, state, self._engine.save, keep=keep, ranks=self._ranks
        )
        self._saved, self._saved_at = self._position.step, time.monotonic()
        self._meter.pause()

    def _finish(self) -> Path:
        final = self._write(FINAL)
        self._report.message(f"finished: {final}")
        return final

    def _write(self, name: str) -> Path:
        """The model as it is, in a folder of the output."""
        weights = self._engine.weights()
        return outputs.write_model(
            self._recipe,
            self._engine.model,
            self._data.tokenizer,
            weights,
            self._ranks,
            steps=self._position.step,
            tokens=self._tokens(),
            record=self._record,
            ends=self._data.ends,
            test_sets=self._data.test_sets,
            name=name,
        )


def _kept_apart(engine: Engine, recipe: Recipe, data: TrainingData, ranks: Ranks) -> tuple[TrainingData, str | None]:
    """The data as this model can learn from it, and what there is to say of that.

    A model that would see other documents of a row gets one in each. Raises `DataError` where that cannot be had.
    """
    seen = ranks.from_first(isolation.seen(engine, recipe))
    if seen is None:
        return data, None
    said = (
        f"{recipe.model.path} sees the documents before one in its row (its loss changes by {seen:.2g} nats a target)"
    )
    if data.apart is None:
        raise DataError(f"{said}, and these rows hold several; take a model or a model.attention that keeps them apart")
    alone = data.apart()
    return alone, f"{said}: each row holds one, which makes {len(alone.rows):,} rows of {len(data.rows):,}"


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
