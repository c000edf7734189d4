"""A row: one packed training sequence of fixed length, and whatever yields rows by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IGNORED = -100
"""The label of a token that is not in the loss."""


@dataclass(frozen=True, slots=True)
class Row:
    """One packed sequence of `length` tokens.

    `tokens`: (length,) int64 token ids. `positions`: (length,) int64, restarts at 0 with each document. `labels`:
    (length,) int64, the token to predict AT this position's own index (the convention of Hugging Face: equal to
    `tokens`, shifted inside the loss), -100 where not in the loss (padding, prompts, the first token of each
    document). `source`: the name of the source that the row was drawn from.
    """

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    source: str


class Rows(Protocol):
    """Rows by number. A row is a pure function of its number: independent of ranks and workers, found in O(1)."""

    length: int
    """Tokens a row."""

    def __len__(self) -> int:
        """Rows of one run: all epochs of the recipe."""
        ...

    def __getitem__(self, index: int) -> Row:
        """The row at `index`, from 0."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON of hashes, counts and weights: it goes into checkpoints and is compared on resume."""
        ...
