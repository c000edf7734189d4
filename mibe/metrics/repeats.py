"""What several draws of one document tell beside their mean: spread, majority vote and pass@k (`docs/repeats.md`)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

from mibe.metrics.arrays import FloatArray, IntArray, np
from mibe.metrics.intervals import EDGE, wilson
from mibe.metrics.qa import said
from mibe.task import Category, Task, Value


class Spread(NamedTuple):
    """Standard deviations between draws with bounds and standard errors, four arrays of shape (figures,)."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    stderr: FloatArray


def spread(figures: FloatArray, documents: int, *, level: float = 0.95) -> Spread:
    """Standard deviation of each figure over the draws, divisor draws − 1; `figures` has shape (draws, figures).

    A draw's figure is over all `documents`, and the draws of a document are independent, so the figures are as many
    independent observations, about normal. The interval is therefore that of a normal standard deviation,
    s √((K − 1) / χ²) with the quantiles of χ² for K − 1 degrees of freedom (Snedecor & Cochran 1989, section 5.11), and
    the standard error s / √(2 (K − 1)). Resampling documents would not do: each resample adds to the spread once more
    what the documents' draws differ by.

    That draws tie does not say that others would. The upper bound of a figure from 0 to 1 is then what a proportion of
    as many documents can vary at most, √(p (1 − p) / n) for p within its Wilson interval. No bound is above `widest`.
    """
    freedom = len(figures) - 1
    value = figures.std(axis=0, ddof=1)
    low, high = (
        value * math.sqrt(freedom / chi_square_quantile(p, freedom)) for p in ((1 + level) / 2, (1 - level) / 2)
    )
    level_of_all = figures.mean(axis=0)
    share = np.clip(level_of_all, 0, 1)
    around = wilson(share, documents, NormalDist().inv_cdf((1 + level) / 2))
    nearest = np.clip(0.5, *around)
    tied = (value <= EDGE) & (level_of_all >= -EDGE) & (level_of_all <= 1 + EDGE)
    high = np.where(tied, np.sqrt(nearest * (1 - nearest) / documents), high)
    return Spread(value, low, np.minimum(high, widest(figures)), value / math.sqrt(2 * freedom))


def widest(figures: FloatArray) -> FloatArray:
    """The largest standard deviation, divisor K − 1, of K figures from 0 to 1: half of them 0 and half 1.

    `figures` has shape (K, …); infinite where one of them is not from 0 to 1.
    """
    count = len(figures)
    half = count // 2
    most = math.sqrt(half * (count - half) / (count * (count - 1)))
    inside = (figures.min(axis=0) >= -EDGE) & (figures.max(axis=0) <= 1 + EDGE)
    return np.where(inside, most, np.inf)


def chi_square_quantile(p: float, freedom: int) -> float:
    """Where the distribution function of χ² with so many degrees of freedom is `p`, between 0 and 1."""
    from scipy.special import chdtri

    return float(chdtri(freedom, 1 - p))


def pass_at_k(draws: int, right: int, k: int) -> float:
    """Probability that one of k of the draws is right, the k drawn without putting back: 1 − C(n − c, k) / C(n, k).

    The unbiased estimator of Chen et al. 2021, "Evaluating large language models trained on code", equation 1, for n
    `draws` of which c are `right`; k is at most n.
    """
    return 1 - math.comb(draws - right, k) / math.comb(draws, k)


def pass_sizes(draws: int) -> list[int]:
    """The k of pass@k: the powers of two up to the number of draws, and that number."""
    powers = [1 << power for power in range(draws.bit_length())]
    return powers if powers[-1] == draws else [*powers, draws]


def majority(answers: Sequence[Value | None], same: Callable[[Value], Hashable]) -> Value | None:
    """The answer that most draws gave (Wang et al. 2023, "Self-consistency"), as the first of these draws wrote it.

    Answers are one where `same` of them is equal. Draws without an answer (None) have no vote; of answers with as many
    votes the one that was drawn first wins. None where no draw has an answer.
    """
    written: dict[Hashable, Value] = {}
    votes: Counter[Hashable] = Counter()
    for answer in answers:
        if answer is not None:
            key = same(answer)
            written.setdefault(key, answer)
            votes[key] += 1
    return written[max(votes, key=votes.__getitem__)] if votes else None


def as_answer(value: Value) -> Hashable:
    """What is equal for two answers that say the same: a short text by what it says (`mibe.metrics.qa.said`), a set."""
    if isinstance(value, str):
        return said(value)
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return frozenset(value)
    return as_written(value)


def same_answer(task: Task) -> Callable[[Value], Hashable]:
    """What is equal for two answers to a task that are one: labels and ranked diagnoses as they are written.

    A label may differ from another by a sign alone (T1, T-1), and so may what a text says.
    """
    if task.category is Category.DIAGNOSIS:
        return as_written
    return as_label if task.labels else as_answer


def as_label(value: Value) -> Hashable:
    """A label as it is, and several as a set."""
    return value if isinstance(value, str) else as_answer(value)


def as_written(value: Value) -> Hashable:
    """What is equal for two values that are: their JSON, so that order counts."""
    return json.dumps(value, sort_keys=True)


def is_changing(answers: Sequence[Value | None], same: Callable[[Value], Hashable]) -> bool:
    """Whether the draws have not all the same answer; having none differs from every answer."""
    return len({None if answer is None else same(answer) for answer in answers}) > 1


def figures_by_draw(
    figures: Callable[[FloatArray], FloatArray], statistics: FloatArray, numbers: IntArray
) -> FloatArray:
    """Shape (draws, figures): the figures of each draw by itself; `numbers` says which draw a sample is of."""
    return np.array(
        [figures(statistics[numbers == number].sum(axis=0, dtype=np.float64)) for number in np.unique(numbers)]
    )
