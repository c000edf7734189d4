"""How often `mibe` finds a leaning that is there, and one that is not, at 200 questions (`docs/robustness.md`).

    python benchmarks/robustness.py [--simulations 200] [--questions 200]

Models are simulated; their answers go through the functions that runs go through. Letters: a model answers "A" for some
of its prompts and otherwise the option that it likes, which it changes for some. Pairs: two versions of a vignette and
two that differ in the name of a city; a model is unsteady, and beyond that changes its answer by who the patient is.
Spread: four versions, whose accuracies differ by a known standard deviation.
"""

from __future__ import annotations

import argparse

import numpy as np

from mibe.metrics.fairness import Counting, Told, fairness
from mibe.metrics.variants import letter_p, spread_over_versions

OPTIONS = 4


def letters(rng: np.random.Generator, questions: int, leaning: float, unsteady: float) -> float:
    """p of a model with a share of answers that are A whatever the question, and a share that are any option."""
    liked = np.broadcast_to(rng.integers(OPTIONS, size=(questions, 1)), (questions, OPTIONS))
    chosen = np.where(rng.random(liked.shape) < unsteady, rng.integers(OPTIONS, size=liked.shape), liked)
    # In the k-th cyclic order the k-th option stands at A.
    chosen = np.where(rng.random(liked.shape) < leaning, np.arange(OPTIONS), chosen)
    places = np.tile(
        [[(option - turn) % OPTIONS for option in range(OPTIONS)] for turn in range(OPTIONS)], (questions, 1, 1)
    )
    return letter_p(chosen, places, resamples=1000, seed=1)


def pairs(rng: np.random.Generator, questions: int, unsteady: float, unfair: float) -> list[float]:
    """p by Holm of three attributes: the first changes a share of answers, the others and the city change none."""
    names = ("sex", "ethnicity", "insurance", "city")
    answers: dict[str, dict[str, dict[str, Told]]] = {name: {} for name in names}
    for number in range(questions):
        liked = int(rng.integers(OPTIONS))
        for name in names:
            moved = unfair if name == "sex" else 0.0
            answers[name][str(number)] = {
                value: Told(int(rng.integers(OPTIONS)) if rng.random() < share else liked)
                for value, share in (("one", unsteady), ("other", unsteady + moved))
            }
    found = fairness(answers, Counting({}, 1000, 1), baseline="city")
    return [found[name]["excess"]["p_holm"] for name in names[:3]]


def spread(rng: np.random.Generator, questions: int, sigma: float) -> tuple[bool, bool]:
    """Whether the interval holds the truth, and whether p is below 0.05."""
    offsets = np.array([-1.0, 0.0, 0.0, 1.0])
    offsets *= sigma / offsets.std(ddof=1)
    ease = rng.uniform(0.2, 0.8, (questions, 1))
    right = (rng.random((questions, 4)) < ease + offsets).astype(float)
    found = spread_over_versions(right.mean(axis=0), np.cov(right.T) / questions, questions)
    return found.low <= sigma <= found.high, found.p < 0.05


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--questions", type=int, default=200)
    a = parser.parse_args()
    rng = np.random.default_rng(1)
    print(f"{a.simulations} simulations of {a.questions} questions")
    for leaning in (0.0, 0.05, 0.1, 0.2):
        for unsteady in (0.1, 0.4):
            p = np.array([letters(rng, a.questions, leaning, unsteady) for _ in range(a.simulations)])
            shares = ", ".join(f"p < {limit}: {(p < limit).mean():.1%}" for limit in (0.05, 0.01))
            print(f"letters: {leaning:.0%} lean to A, {unsteady:.0%} unsteady: {shares}", flush=True)
    for unfair in (0.0, 0.1, 0.2):
        found = np.array([pairs(rng, a.questions, 0.1, unfair) for _ in range(a.simulations)])
        others = (found[:, 1:] < 0.05).any(axis=1).mean()
        print(
            f"pairs: {unfair:.0%} change by sex: sex found in {(found[:, 0] < 0.05).mean():.1%}, another attribute in "
            f"{others:.1%} (p by Holm < 0.05)",
            flush=True,
        )
    for sigma in (0.0, 0.02, 0.05, 0.1):
        held = np.array([spread(rng, a.questions, sigma) for _ in range(10 * a.simulations)])
        print(f"spread: sd {sigma}: interval holds it {held[:, 0].mean():.1%}, p < 0.05 {held[:, 1].mean():.1%}")


if __name__ == "__main__":
    main()
