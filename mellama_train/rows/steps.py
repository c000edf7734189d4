"""Which rows belong to which step, rank and micro-batch: arithmetic alone.

Row numbers count over the whole run: step s takes the rows from s × rows_per_step on. Which rank reads which of
them depends on the number of ranks; which step they belong to does not, so a run goes on with any number of ranks.
"""

from __future__ import annotations

from mellama_train.errors import RecipeError
from mellama_train.recipe.config import Batch, Recipe


def steps_in(rows: int, per_step: int) -> int:
    """Optimizer steps that `rows` rows make; the last one may be short."""
    return -(-rows // per_step)


def run_steps(recipe: Recipe, rows: int) -> int:
    """Optimizer steps of a run over so many rows. Raises `RecipeError` where more are asked for than they make."""
    possible = steps_in(rows, recipe.batch.rows)
    if recipe.steps is not None and recipe.steps > possible:
        raise RecipeError(
            f"the data makes {possible:,} steps ({rows:,} rows, {recipe.batch.rows:,} a step), and {recipe.steps:,} "
            "are asked for; lower steps, leave them out, or let the data be passed more often"
        )
    return recipe.steps or possible


def accumulation(batch: Batch, ranks: int) -> int:
    """Micro-batches of one rank in one step. Raises `RecipeError` where the rows do not divide evenly."""
    if batch.rows % (batch.micro_rows * ranks):
        raise RecipeError(
            f"batch.rows {batch.rows} is no multiple of {ranks} ranks × micro_rows {batch.micro_rows}; "
            "change micro_rows or the number of ranks (batch.rows is part of what the run is)"
        )
    return batch.rows // (batch.micro_rows * ranks)


def own_indices(step: int, batch: Batch, rank: int, ranks: int) -> list[list[int]]:
    """Numbers of the rows that one rank reads in one step, by micro-batch."""
    first, width = step * batch.rows, batch.micro_rows
    starts = (first + (micro * ranks + rank) * width for micro in range(accumulation(batch, ranks)))
    return [list(range(start, start + width)) for start in starts]
