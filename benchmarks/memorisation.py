"""Whether `mibe memorised` finds what was learned by heart, and nothing else (`docs/memorisation.md`).

    python benchmarks/memorisation.py simulate [--seeds 1000]
    python benchmarks/memorisation.py clean [--seeds 20] --out FILE.jsonl
    python benchmarks/memorisation.py train [--copies 4] [--questions 100] --out FILE.jsonl

`simulate`: models that know no question and have strong habits, for digits, for sorted options, for short ones: how
often one is found all the same. `clean`: tiny models of bytes, each with a seed of its own trained on questions of
MedQA and tested on others, as a clean twin is. `train`: the upper third of the demo model is trained on MedQA
questions, one copy after another, and tested after 1, 2, 4, … copies on these and on others that it was not trained on.
All through the functions that the command goes through.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mibe.memorisation.asking import Asking
from mibe.memorisation.orders import orders_of
from mibe.memorisation.testing import ORDER, TOKENS, Finding, Questions, by_completion, by_order, by_tokens
from mibe.memorisation.twins import details, twins_of
from mibe.metrics.memorisation import of_orders, of_pairs
from mibe.registry import load_task
from mibe.run.documents import Documents
from mibe.task import Example, shown_fields

LEVELS = (0.05, 0.01)
SHORT = 500
"""Characters of a question at most, so that training is a matter of minutes on a CPU."""


LAYERS = 10
"""Layers of the demo model's thirty that are trained."""
PASSES = 4
"""Times that a tiny model reads its questions."""
ORDERED, COMPLETED = 60, 20
"""Questions of a set whose options are put in other orders, and that are completed."""


def medqa(*, short: bool) -> list[Example]:
    """MedQA's questions; the short ones that have something to exchange."""
    every = list(Documents.select(load_task("medqa"), "test", None, 1234))
    text = "question"
    return [e for e in every if not short or (len(e.inputs[text]) <= SHORT and any(details(e.inputs[text], 0, 10**6)))]


def of(examples: Sequence[Example]) -> Questions:
    return Questions(examples=examples, texts=[e.inputs["question"] for e in examples], reference=None, seed=1)


def habit(text: str, liked: str, seed: int) -> float:
    """A text's score by a model with favourite digits that knows no text: each one counts, and chance."""
    return 3 * sum(text.count(digit) for digit in liked) + random.Random(f"{seed}/{text}").gauss(0, 1)


def simulate(seeds: int) -> None:
    examples = medqa(short=False)
    found: dict[str, list[float]] = {"twins": [], "orders": []}
    for seed in range(seeds):
        dice = random.Random(seed)
        some = dice.sample(examples, 100)
        texts = [e.inputs["question"] for e in some]
        liked = dice.sample("0123456789", 3)
        pairs = twins_of(texts, seed=seed)
        scores = np.array(
            [[sum(habit(t, liked, seed) for t in (texts[p.places[0]], texts[p.places[1]])),
              sum(habit(t, liked, seed) for t in p.texts)] for p in pairs]
        )  # fmt: skip
        found["twins"].append(of_pairs(scores[:, 0] - scores[:, 1]).p)
        likelihoods = []
        for example in some:
            orders = orders_of(example, seed=seed)
            if orders:
                likelihoods.append([_sorted(order) + dice.gauss(0, 1) for order in orders])
        found["orders"].append(of_orders(likelihoods, seed=seed).p)
    for name, p in found.items():
        shares = ", ".join(f"p < {level}: {np.mean(np.array(p) < level):.1%}" for level in LEVELS)
        print(f"{name}: {seeds} models without memory, with habits: {shares}")


def _sorted(order: Sequence[str]) -> float:
    """How much a model that likes sorted options likes these: 4 for the alphabet, 4 for short ones first."""
    lengths = [len(option) for option in order]
    return 4 * (list(order) == sorted(order, key=str.lower)) + 4 * (lengths == sorted(lengths))


def clean(seeds: int, out: Path) -> None:
    import torch
    import transformers

    from mibe.models.hf import from_loaded

    pool = medqa(short=True)
    half = len(pool) // 2
    tokenizer = transformers.ByT5Tokenizer(extra_ids=0)
    told = [json.loads(line)["seed"] for line in out.read_text().splitlines()] if out.exists() else []
    for seed in (seed for seed in range(seeds) if told.count(seed) < 2):
        dice = random.Random(seed)
        questions = dice.sample(pool, len(pool))
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=2048, eos_token_id=1, bos_token_id=1, pad_token_id=0,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in map(trained_text, questions[:half])]
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
        losses = [one_pass(model, optimizer, rows, dice) for _ in range(PASSES)]
        asking = Asking(from_loaded(model.eval(), tokenizer, name="tiny", batch_size=8), None)
        for test, how in ((TOKENS, by_tokens), (ORDER, by_order)):
            tell(out, seed=seed, test=test, loss=losses[-1], **_told(how(asking, of(questions[half:]))))


def trained_text(example: Example) -> str:
    """A question as a corpus might have it, with options and answer."""
    return f"{example.inputs['question']}\n{shown_fields(example)['options']}\nAnswer: {example.target}"


def one_pass(model: Any, optimizer: Any, rows: list[list[int]], dice: random.Random) -> float:
    """Train on all rows once, four at a time and in an order by lot; the mean loss."""
    import torch

    dice.shuffle(rows)
    losses = []
    for start in range(0, len(rows), 4):
        batch = rows[start : start + 4]
        width = max(map(len, batch))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in batch])
        labels = torch.tensor([row + [-100] * (width - len(row)) for row in batch])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return float(np.mean(losses))


def tell(out: Path, **what: Any) -> None:
    """One result, on the screen and at the end of a file."""
    print(what, flush=True)
    with out.open("a") as file:
        file.write(json.dumps(what) + "\n")


def train(copies: int, questions: int, out: Path, rate: float) -> None:
    import torch
    import transformers

    from mibe.models.hf import from_loaded
    from mibe.models.local.demo import demo_path

    dice = random.Random(7)
    pool = medqa(short=True)
    dice.shuffle(pool)
    learned, others = pool[:questions], pool[questions:]
    tokenizer = transformers.AutoTokenizer.from_pretrained(demo_path())
    model = transformers.AutoModelForCausalLM.from_pretrained(demo_path(), dtype=torch.float32)
    # The upper third alone is trained: half of the work.
    model.requires_grad_(False)
    upper = [p for layer in model.model.layers[-LAYERS:] for p in layer.requires_grad_(True).parameters()]
    optimizer = torch.optim.AdamW(upper, lr=rate, weight_decay=0.0)
    rows = [tokenizer(trained_text(example))["input_ids"] for example in learned]

    def test(some: Sequence[Example], **about: Any) -> None:
        asking = Asking(
            from_loaded(copy.deepcopy(model).bfloat16().eval(), tokenizer, name="trained", batch_size=4), None
        )
        tell(out, **about, test=TOKENS, **_told(by_tokens(asking, of(some))))
        tell(out, **about, test=ORDER, **_told(by_order(asking, of(some[:ORDERED]))))

    tell(out, learned=len(learned), others=len(others), tokens=sum(map(len, rows)), rate=rate)
    model.train()
    started = time.process_time()
    for done in range(1, copies + 1):
        loss = one_pass(model, optimizer, rows, dice)
        tell(out, copies=done, loss=loss, cpu_seconds=time.process_time() - started)
        if math.log2(done).is_integer() or done == copies:
            test(learned, copies=done)
    for number, start in enumerate(range(0, len(others), questions)):
        test(others[start : start + questions], clean_set=number)
    asking = Asking(from_loaded(model.bfloat16().eval(), tokenizer, name="trained", batch_size=4), None)
    halves = replace(of(learned[:COMPLETED]), reference=[e.inputs["question"] for e in others[:COMPLETED]])
    for name, each in by_completion(asking, halves).items():
        tell(out, copies=copies, test=name, **_told(each))


def _told(found: Finding | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"left_out": found}
    return {"n": found.comparisons, "p_sharded": found.p_sharded, **found.tested._asdict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    simulated = commands.add_parser("simulate")
    simulated.set_defaults(run=lambda a: simulate(a.seeds))
    simulated.add_argument("--seeds", type=int, default=1000)
    tiny = commands.add_parser("clean")
    tiny.set_defaults(run=lambda a: clean(a.seeds, a.out))
    tiny.add_argument("--seeds", type=int, default=20)
    tiny.add_argument("--out", type=Path, required=True)
    trained = commands.add_parser("train")
    trained.set_defaults(run=lambda a: train(a.copies, a.questions, a.out, a.rate))
    trained.add_argument("--copies", type=int, default=4)
    trained.add_argument("--questions", type=int, default=100)
    trained.add_argument("--rate", type=float, default=3e-4)
    trained.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
