"""What four orders of the options cost `hf` beside one, on MMLU with five worked examples (`docs/robustness.md`).

    python benchmarks/versions_cost.py [--timed 6]

Tokens: what `hf` reads of the prompts, a beginning that several share once; and what an engine reads that keeps every
beginning in blocks of 16 tokens, as vLLM's prefix cache does where memory permits; by the demo model's tokenizer. First
of a few questions of each subject, then of all questions of every tenth subject, as in a run of all of MMLU. Timed: the
demo model itself on questions of one subject, likelihoods of the four letters and then two new tokens, in processor
seconds of this process, beside the tokens that went through it, padding among them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from typing import Any

from mibe.models import as_model
from mibe.models.base import ChoiceRequest, Request, Sampling
from mibe.models.hf.grouping import common_length, group_by_head
from mibe.models.local.counting import load_counter
from mibe.models.streaming import CHUNK, chunks
from mibe.registry import load_task
from mibe.run.plan import Plan, plan_task
from mibe.run.settings import Settings
from mibe.variation import Varied

BLOCK = 16
"""Tokens that vLLM keeps or drops together."""


def prompts(model: Any, plan: Plan, per_subject: int, subjects: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """The prompts of one order and of four of so many questions of each subject; what cannot be varied is left out."""
    builder, taken, wanted = plan.prompts(model), dict[str, set[str]](), set(subjects)
    one, four = [], []
    for example in plan.documents:
        if not isinstance(example, Varied) or (wanted and example.metadata["subject"] not in wanted):
            continue
        ids = taken.setdefault(str(example.metadata["subject"]), set())
        if example.document.id in ids or len(ids) < per_subject:
            ids.add(example.document.id)
            four.append(builder.build(example).text)
            if example.id == example.document.id:
                one.append(four[-1])
    return one, four


def read_by_hf(tokens: Sequence[Sequence[int]]) -> int:
    """Tokens of each group's head, but for what the head before it had of it, and of what is a prompt's own."""
    read, kept = 0, list[int]()
    for some in chunks(tokens, CHUNK):
        for group in group_by_head([each[:-1] for each in some]):
            head = list(some[group.members[0]][: group.head])
            read += group.head - common_length(kept, head) + sum(len(some[at]) - group.head for at in group.members)
            kept = head
    return read


def read_in_blocks(tokens: Sequence[Sequence[int]]) -> int:
    """Tokens read where every whole block is kept with what stands before it; the last token is always read."""
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    read = 0
    for prompt in tokens:
        before, kept = 0, 0
        for start in range(0, len(prompt) - BLOCK, BLOCK):
            block = tuple(prompt[start : start + BLOCK])
            kept += BLOCK * ((before, block) in known)
            before = known.setdefault((before, block), len(known) + 1)
        read += len(prompt) - kept
    return read


def counted(counter: Any, plan: Plan, per_subject: int, subjects: Sequence[str] = ()) -> None:
    """Print the tokens of both."""
    one, four = (
        [ids for some in chunks(texts, 256) for ids in counter._tokenizer(some, add_special_tokens=False).input_ids]
        for texts in prompts(counter, plan, per_subject, subjects)
    )
    which = f"all of {len(subjects)} subjects" if subjects else f"up to {per_subject} a subject"
    print(f"{len(one)} questions, {which}: {sum(map(len, one)) / len(one):.0f} tokens a prompt")
    for name, read in (
        ("hf", read_by_hf),
        ("blocks of 16", read_in_blocks),
        ("nothing shared", lambda t: sum(map(len, t))),
    ):
        a, b = read(one), read(four)
        print(f"  {name}: one order {a:,} tokens, four {b:,}: {b / a:.2f} times", flush=True)


def timed(plan: Plan, subject: str, questions: int) -> None:
    """The demo model on questions of one subject."""
    model: Any = as_model("demo", {})
    through = 0

    def count(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal through
        through += named["input_ids"].numel()

    model._model.register_forward_pre_hook(count, with_kwargs=True)
    both = prompts(model, plan, questions, [subject])
    for way in ("likelihoods", "two new tokens"):
        spent = []
        for texts in both:
            model._reader.forget()
            through, begun = 0, time.process_time()
            if way == "likelihoods":
                list(model.loglikelihood([ChoiceRequest(text, tuple("ABCD")) for text in texts]))
            else:
                list(model.generate([Request((), text, Sampling(max_new_tokens=2)) for text in texts]))
            spent.append((time.process_time() - begun, through))
            print(
                f"{way}, {len(texts)} samples: {spent[-1][0]:.1f} s, {through:,} tokens through the model", flush=True
            )
        (seconds, tokens), (seconds_of_four, tokens_of_four) = spent
        print(f"  {seconds_of_four / seconds:.2f} times the time, {tokens_of_four / tokens:.2f} times the tokens")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--timed", type=int, default=0, help="questions that the demo model itself is timed on")
    parser.add_argument("--subject", default="anatomy")
    a = parser.parse_args()
    plan = plan_task(load_task("mmlu"), Settings(num_fewshot=5, vary="options"))
    if a.timed:
        timed(plan, a.subject, a.timed)
        return
    counter = load_counter("demo", {}, characters_per_token=4.0)
    subjects = sorted({str(example.metadata["subject"]) for example in plan.chosen})
    for per_subject in (1, 8):
        counted(counter, plan, per_subject)
    counted(counter, plan, 10_000, subjects[::10])


if __name__ == "__main__":
    main()
