"""Whether a text was learned by heart: how its tokens and its continuation score, and tests of such scores
(`docs/memorisation.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.intervals import of_means
from mibe.metrics.summarization import tokenise_lines

LEAST_PROBABLE = 0.2
"""The share of a text's tokens that Min-K%++ looks at: the K of 20 % that its authors use throughout."""

NGRAM = 5
"""Words of the runs by which a continuation is found again word by word."""

SHARDS = 50
"""Shards of the sharded test, as its authors take them."""

DEALS = 9999
"""Ways to deal questions their given order anew; no p of theirs is below 1 / (1 + DEALS)."""

ROUNDING = 1e-9
"""Statistics that differ by less are the same."""


class Tested(NamedTuple):
    """What a test says: the share of comparisons that the real text wins (ties half; 0.5 by chance) with its 95 %
    interval, and p of chance alone, one-sided."""

    wins: float
    low: float
    high: float
    p: float


def min_k_plus_plus(
    log_probs: Sequence[float] | FloatArray,
    means: Sequence[float] | FloatArray,
    deviations: Sequence[float] | FloatArray,
    *,
    share: float = LEAST_PROBABLE,
) -> float:
    """Min-K%++ of a text (Zhang et al. 2024, "Min-K%++: Improved baseline for detecting pre-training data from LLMs").

    All three have shape (tokens,): log p of each token after those before it, and mean and standard deviation of log p
    over the vocabulary there, weighted by p. The score is the mean of (log p − mean) / deviation over the `share` of
    tokens where it is least, int(share · tokens) of them as in the authors' script, and one at least. Where all
    probability is on one token nothing deviates: 0.
    """
    spread = np.asarray(deviations, dtype=np.float64)
    distance = np.asarray(log_probs, dtype=np.float64) - np.asarray(means, dtype=np.float64)
    standing = np.divide(distance, spread, out=np.zeros_like(distance), where=spread > 0)
    count = max(1, int(len(standing) * share))
    return float(np.sort(standing)[:count].mean())


def ngram_recall(output: str, reference: str, n: int = NGRAM) -> float:
    """Share of the reference's runs of `n` words, all where they stand, that the output holds word by word."""
    (said, true) = (_runs(text, n) for text in (output, reference))
    held = set(said)
    return sum(run in held for run in true) / len(true) if true else 0.0


def _runs(text: str, n: int) -> list[tuple[str, ...]]:
    words = [word for line in tokenise_lines(text) for word in line]
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]


def of_pairs(differences: FloatArray) -> Tested:
    """Test of paired differences, shape (pairs,), that are as likely turned round where nothing was learned.

    Wilcoxon's signed ranks (1945), which single huge differences cannot decide; pairs without one tell nothing.
    """
    from scipy.stats import wilcoxon

    told = differences[np.abs(differences) > ROUNDING]
    p = float(wilcoxon(told, alternative="greater").pvalue) if len(told) else 1.0
    return _tested(np.where(np.abs(differences) > ROUNDING, differences > 0, 0.5), p)


def of_groups(real: FloatArray, reference: FloatArray) -> Tested:
    """Test of scores, shape (texts,), against those of other texts: the rank sum (Mann & Whitney 1947).

    The share that wins is the area under the curve by which membership tests are known.
    """
    from scipy.stats import mannwhitneyu

    p = float(mannwhitneyu(real, reference, alternative="greater").pvalue)
    above = (real[:, None] > reference).mean(axis=1) + (real[:, None] == reference).mean(axis=1) / 2
    return _tested(above, p)


def of_orders(likelihoods: Sequence[Sequence[float]], *, deals: int = DEALS, seed: int = 0) -> Tested:
    """Test of the order in which each question has its options, among orders that it might as well have.

    `likelihoods` holds, for each question, the log-likelihood of the given order and then those of others, as in Oren
    et al. 2024, "Proving test set contamination in black-box language models", with options in the place of examples.
    Were the given order one like the others, any of a question's orders could be the given one: so it is dealt anew,
    question by question, `deals` times. The statistic is the sum of the given orders' distances from the mean of their
    question, in standard deviations of it.
    """
    standing = [_standing(np.asarray(values, dtype=np.float64)) for values in likelihoods]
    dice = np.random.default_rng(seed)
    given = sum(values[0] for values in standing)
    dealt = np.zeros(deals)
    for values in standing:
        dealt += values[dice.integers(len(values), size=deals)]
    p = (1 + int((dealt >= given - ROUNDING).sum())) / (1 + deals)
    wins = [(values[1:] < values[0]).mean() + (values[1:] == values[0]).mean() / 2 for values in standing]
    return _tested(np.array(wins), p)


def sharded_p(likelihoods: Sequence[Sequence[float]], *, shards: int = SHARDS) -> float:
    """p of the same by the authors' test: Student's, over shards of neighbours, of the sum by which the likelihoods of
    given orders lie above the mean of the others."""
    from scipy.stats import ttest_1samp

    above = np.array([values[0] - np.mean(values[1:]) for values in likelihoods])
    sums = [part.sum() for part in np.array_split(above, min(shards, len(above)))]
    return float(ttest_1samp(sums, 0, alternative="greater").pvalue) if np.ptp(sums) > 0 else 1.0


def _standing(values: FloatArray) -> FloatArray:
    """Distances from the mean in standard deviations, shape as given; 0 where all are alike."""
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > ROUNDING else np.zeros_like(values)


def _tested(wins: FloatArray, p: float) -> Tested:
    column = np.asarray(wins, dtype=np.float64)[:, None]
    interval = of_means(column)
    return Tested(float(column.mean()), float(interval.low[0]), float(interval.high[0]), p)
