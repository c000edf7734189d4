"""Responses a second of processor time that a task's reward scores, beside a plain loop of its parser and metric.

    OMP_NUM_THREADS=1 python benchmarks/reward.py [--tasks pubmedqa,medqa] [--prompts 512] [--draws 16] [--repeats 5]

A batch is what a trainer asks for at a time: half of `--prompts` documents, each answered twice `--draws` times by a
mix of short responses: the bare answer, the answer in a sentence, one behind a reasoning, one that cannot be read.
`first` is the first batch of a reward, `next` one of other things about other documents, `again` the same once more, as
the draws of a policy that has settled are. The loop reads each response with `mibe.parsers.outcome.read` and scores it
with the task's metric one at a time, as a reward function is usually written. Medians of `--repeats` runs.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import mibe
from mibe.metrics.base import is_sample_mean
from mibe.parsers.outcome import read
from mibe.parsers.reasoning import split
from mibe.task import Example, Task

FORMS = (
    ("{answer}", 8),
    ("The answer is {answer}.", 3),
    ("<think>\nThe findings of case {number} speak for it.\n</think>\n\n{answer}", 3),
    ("Based on the {number} patients that were seen, the answer is {answer}.", 1),
    ("This needs more data than the {number} cases given.", 1),
)
"""Form of a response → how often of sixteen times."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="pubmedqa,medqa,medmcqa,mtsample")
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print("| task | responses | first | next | again | loop |\n|---|---:|---:|---:|---:|---:|")
    for name in args.tasks.split(","):
        task = mibe.load_task(name)
        documents = list(islice(mibe.examples(task, "test"), args.prompts))
        rates = [measured(task, documents, args.draws, seed) for seed in range(args.repeats)]
        columns = [f"{statistics.median(column):,.0f}" for column in zip(*rates, strict=True)]
        print(f"| {name} | {len(documents) * args.draws:,} | {' | '.join(columns)} |", flush=True)


def measured(task: Task, documents: Sequence[Example], draws: int, seed: int) -> list[float]:
    """Responses a second: first, next and again of a new reward, then the loop."""
    half = len(documents) // 2
    one, two = (batch(task, part, 2 * draws, seed) for part in (documents[:half], documents[half:]))
    reward = mibe.reward(task)
    batches = [(reward, (None, *one)), (reward, (None, *two)), (reward, (None, *two)), (partial(loop, task), two)]
    rates, scores = zip(*(timed(scorer, given) for scorer, given in batches), strict=True)
    assert scores[1] == scores[3]
    return list(rates)


def batch(task: Task, documents: Sequence[Example], draws: int, seed: int) -> tuple[list[str], list[Example]]:
    """Responses to the documents, and the document of each."""
    dice = random.Random(seed)
    forms, weights = zip(*FORMS, strict=True)
    examples = [example for example in documents for _ in range(draws)]
    responses = [
        dice.choices(forms, weights)[0].format(answer=dice.choice(task.answers(example)), number=dice.randrange(10_000))
        for example in examples
    ]
    return responses, examples


def loop(task: Task, responses: Sequence[str], examples: Sequence[Example]) -> list[float]:
    """The same scores, one after the other."""
    metric = next(metric for metric in task.metrics if is_sample_mean(metric) and "accuracy" in metric.names)
    scores = []
    for response, example in zip(responses, examples, strict=True):
        at = split(response)
        answer = None if at is None else response[at:]
        found = read(answer, "stop", task.parser, choices=example.choices, inputs=example.inputs)
        scores.append(float(metric.values([task.counts_as(example, found.value)], [example.target])[0, 0]))
    return scores


def timed(scorer: Callable[..., list[float]], given: Sequence[Any]) -> tuple[float, list[float]]:
    """Responses a second of this process's time, which other work on the machine has no part in; and their scores."""
    start = time.process_time()
    scores = scorer(*given)
    return len(scores) / (time.process_time() - start), scores


if __name__ == "__main__":
    main()
