"""What a run by TRL writes while it goes on, as this package's own runs do: figures, checkpoints with their provenance.

A checkpoint is one of transformers (`checkpoints/checkpoint-40`: weights or adapters, optimizer, random numbers); the
record of the run and `training.json` are put into it last, and one without them counts for nothing.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from mellama_train.engines.ranks import Ranks
from mellama_train.errors import DivergenceError, StoppedError
from mellama_train.loop.layout import HF_PREFIX
from mellama_train.loop.reporting import Mute, Reporter
from mellama_train.loop.stopping import Stop
from mellama_train.recipe.config import Recipe

RENAMED = {"grad_norm": "gradient_norm", "num_tokens": "tokens"}
"""Figures that this package's other runs have, by their names there; all others are called as TRL calls them."""

ALIKE = "frac_reward_zero_std"
"""TRL's share of groups whose answers were all rewarded alike."""


ADVICE = "lower optimizer.learning_rate in another output (this one's checkpoints stay)"
"""To whom a run became no number."""

HELD_OUT_LOSS = re.compile(r"eval_(.+)_loss")
HELD_OUT = {"margin": "eval_rewards/margins", "accuracy": "eval_rewards/accuracies"}
"""Figures of a held-out set by their names here, and TRL's."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports, stops at a signal with a checkpoint, and ends a run whose loss is no number.

    `seal` is called with the folder of each new checkpoint and its step, on all ranks. `tokens_at` gives the tokens
    read up to a step where TRL counts from the last start alone.
    """

    def __init__(
        self,
        recipe: Recipe,
        ranks: Ranks,
        stop: Stop,
        report: Reporter | Mute,
        seal: Callable[[Path, int], None],
        tokens_at: Callable[[int], int] | None = None,
    ) -> None:
        self._recipe, self._ranks, self._stop, self._report, self._seal = recipe, ranks, stop, report, seal
        self._tokens_at = tokens_at
        self._saved_at = time.monotonic()
        self._alike = 0
        self.stopped: StoppedError | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any) -> None:
        """Figures of the steps since the last time, or of a look at held-out data; TRL's own, numbers alone."""
        if "loss" not in logs:
            self._show_held_out(state.global_step, logs)
            return
        figures = {RENAMED.get(name, name): value for name, value in logs.items() if isinstance(value, int | float)}
        figures.pop("epoch", None)
        if self._tokens_at is not None:
            figures["tokens"] = self._tokens_at(state.global_step)
        self._report.figures(state.global_step, figures)
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(figures.get(name, 0.0)):
                raise DivergenceError(f"step {state.global_step}: {name} is {figures[name]}; {ADVICE}")
        self._say_alike(state.global_step, figures)

    def _show_held_out(self, step: int, logs: Mapping[str, Any]) -> None:
        """TRL's figures of one held-out set, which it names in that of the loss alone."""
        name = next((match[1] for key in logs if (match := HELD_OUT_LOSS.fullmatch(key))), None)
        if name is None:
            return
        figures = {f"held_out_loss/{name}": logs[f"eval_{name}_loss"]}
        figures |= {f"held_out_{what}/{name}": logs[key] for what, key in HELD_OUT.items() if key in logs}
        self._report.figures(step, figures)
        self._report.message("  ".join(f"{figure} {value:.4g}" for figure, value in figures.items()))

    def _say_alike(self, step: int, figures: Mapping[str, float]) -> None:
        """Rewards that are all equal tell no answer from another: their advantages are 0, and so is what is learned."""
        if figures.get(ALIKE) != 1.0:
            self._alike = 0
            return
        self._alike += 1
        # Once for each time that it begins; how long it lasts is in the figures.
        if self._alike == 1:
            self._report.event(
                step,
                "equal_rewards",
                f"all answers to each prompt were rewarded alike ({figures.get('reward', math.nan):.3g} in the mean), "
                "so nothing was learned from them; where this stays so, take tasks that the model does sometimes, "
                "neither always nor never",
            )

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Save where the clock asks for it, save and stop where a signal does, look at held-out data at the end too.

        Raises `DivergenceError` for weights that are no numbers, which a loss tells of one step later.
        """
        is_last = state.global_step == state.max_steps
        control.should_log |= is_last
        control.should_evaluate |= is_last and args.eval_strategy != "no"
        minutes = self._recipe.checkpoints.every_minutes
        if minutes is not None:
            is_due = self._ranks.is_first and time.monotonic() - self._saved_at >= 60 * minutes
            control.should_save |= self._ranks.sum([is_due])[0] > 0
        try:
            self._stop.look()
        except StoppedError as error:
            if state.global_step < state.max_steps:
                self.stopped = error
                control.should_log = control.should_save = control.should_training_stop = True
        self._check_weights(model, state.global_step, whole=control.should_save)

    def _check_weights(self, model: Any, step: int, *, whole: bool) -> None:
        """All that are trained, or the first of them: a gradient's norm that is no number makes all weights so."""
        weights = [weight.detach() for weight in model.parameters() if weight.requires_grad]
        broken = not all(bool(weight.isfinite().all()) for weight in weights[: None if whole else 1])
        if self._ranks.sum([broken])[0]:
            raise DivergenceError(f"step {step}: the weights are no numbers any more; {ADVICE}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put beside transformers' files what makes a checkpoint whole."""
        self._saved_at = time.monotonic()
        self._seal(Path(args.output_dir) / f"{HF_PREFIX}{state.global_step}", state.global_step)
