"""A tiny model, a small tokenizer and rows by formula, for the tests of training."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import mibe
from mellama_train.rows.row import Row

VOCABULARY = 128
LENGTH = 48
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_model(
    folder: Path, *, tied: bool = False, seed: int = 0, vocabulary: int = VOCABULARY, positions: int = 256
) -> Path:
    """A Llama of two layers with weights large enough that attention matters, and a tokenizer of bytes."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=positions,
            initializer_range=0.2,
            tie_word_embeddings=tied,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character of printable ASCII."""
    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2} | {chr(code): code - 20 for code in range(32, 127)}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def save_chat_model(folder: Path) -> Path:
    """A tiny chat model that knows 2,048 positions; its tokenizer (bytes in pairs) was trained on real prompts."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = [sample.messages[0]["content"] for sample in mibe.training_samples(mibe.load_task("pubmedqa"), "valid")]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<|end|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="<|end|>")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=2048, **shape)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def documents(row: Row) -> list[tuple[Any, Any]]:
    """The documents of a row, each as tokens and labels of its own."""
    starts = [*np.flatnonzero(row.positions == 0), len(row.tokens)]
    return [(row.tokens[a:b], row.labels[a:b]) for a, b in itertools.pairwise(starts)]


class FormulaRows:
    """Rows that hold two to four documents each, and some masked tokens; two sources."""

    length = LENGTH

    def __init__(self, count: int, *, seed: int = 0) -> None:
        self._count, self._seed = count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Row:
        chance = np.random.default_rng((self._seed, index))
        cuts = np.sort(chance.choice(np.arange(4, LENGTH - 4), size=int(chance.integers(1, 4)), replace=False))
        tokens = chance.integers(3, VOCABULARY, LENGTH)
        # Something to learn: every other token repeats the one before it.
        tokens[1::2] = tokens[::2]
        lengths = np.diff([0, *cuts, LENGTH])
        positions = np.concatenate([np.arange(n) for n in lengths])
        labels = np.where((positions == 0) | (chance.random(LENGTH) < 0.2), -100, tokens)
        return Row(tokens, positions, labels, ("first", "second")[index % 2])

    def describe(self) -> dict[str, Any]:
        return {"rows": self._count, "seed": self._seed}


class CountedRows:
    """Rows of 2,100 tokens in two documents, with just so many targets each."""

    length = 2100

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets = tuple(targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> Row:
        chance = np.random.default_rng(index)
        tokens = chance.integers(3, VOCABULARY, self.length)
        positions = np.concatenate([np.arange(900), np.arange(self.length - 900)])
        places = chance.permutation(np.flatnonzero(positions))[: self._targets[index]]
        labels = np.full(self.length, -100)
        labels[places] = tokens[places]
        return Row(tokens, positions, labels, "counted")

    def describe(self) -> dict[str, Any]:
        return {"targets": list(self._targets)}


def recipe_text(folder: Path, base: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a small recipe in float32."""
    keys: dict[str, Any] = {
        "model": {"path": str(base)},
        "output": str(folder / "run"),
        "context": LENGTH,
        "precision": "fp32",
        "batch": {"rows": 4, "micro_rows": 1},
        "optimizer": {"learning_rate": 1e-3},
        "reporting": {"tensorboard": False},
        "checkpoints": {"every_steps": 4},
    }
    return keys | changes


def recipe(folder: Path, base: Path, **changes: Any) -> Any:
    """The same as a `Recipe`."""
    from mellama_train.recipe.config import Recipe
    from mellama_train.recipe.yaml_schema import parse

    return parse(yaml.safe_dump(recipe_text(folder, base, **changes)), Recipe, "recipe.yaml")


def losses(run: Path) -> list[float]:
    """The loss of every step from a run's metrics."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def train_here(recipe: Any, rows: Any, held_out: dict[str, Any] | None = None) -> Path:
    """Train in this process, alone."""
    from mellama_train.engines.ranks import Ranks
    from mellama_train.loop.training import TrainingData, train

    return train(recipe, TrainingData(rows, held_out or {}, make_tokenizer()), Ranks.join())
