"""The protocol of engines, which is all that the training loop knows of what runs the model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from mellama_train.rows.batches import MicroBatch


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One optimizer step: mean loss over its targets on all ranks (nats), norm of the gradient before clipping.

    `applied` is False where the weights stayed as they were: the loss was not accepted, or the gradient not finite.
    """

    loss: float
    gradient_norm: float
    applied: bool


class Engine(Protocol):
    """A model with its optimizer on the ranks of a run. Every method is called by all ranks at the same time."""

    model: Any
    """The Hugging Face model, with adapters where the recipe asks for them."""

    def step(
        self,
        micro: tuple[MicroBatch, ...],
        targets: int,
        learning_rate: float,
        accept: Callable[[float], bool],
        before: Callable[[], None],
    ) -> StepOutcome:
        """Forward and backward over the rank's micro-batches, then one update.

        `targets` is their number over all ranks, by which the summed loss is divided. `accept` sees the mean loss
        and says whether the update may be made; it must give the same answer on all ranks. `before` is called ahead
        of each micro-batch; where it raises, weights and optimizer are those before the step, and `save` alone may
        follow.
        """
        ...

    def summed_loss(self, batch: MicroBatch) -> float:
        """The rank's own summed loss of one micro-batch, without gradients."""
        ...

    def live(self) -> AbstractContextManager[Any]:
        """The model as it is now, for generation; all ranks must ask it the same."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """Name → whole trained weight on the CPU, on the first rank; empty on the others."""
        ...

    def save(self, folder: Path) -> Future[Any]:
        """Write weights and optimizer state of all ranks into `folder`, which all of them see.

        What is written is the state at the call. It may go on being written while steps are made; the future says
        when it is there, or has the error.
        """
        ...

    def load(self, folder: Path) -> None:
        """Go on from what `save` has written, by as many ranks or another number."""
        ...
