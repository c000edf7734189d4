"""Pairs of a better and a worse response to one prompt, as tokens of which the responses alone are compared."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mellama_train.errors import DataError
from mellama_train.recipe.config import Form, TooLong
from mellama_train.recipe.stages import HubDataset
from mellama_train.rows.formats import KNOWN_PAIRS, compared
from mellama_train.rows.packed import choose_form
from mellama_train.rows.samples import Encoded, Sample, encode, read_records, sample_of


@dataclass(frozen=True, slots=True)
class Pair:
    """Two conversations that differ in their last turn, which is the assistant's: the better one, and the worse."""

    chosen: Sample
    rejected: Sample

    @property
    def place(self) -> str:
        """Where it stands, as "file:line"."""
        return self.chosen.place

    def texts(self) -> list[str]:
        """The texts of all turns: the prompt's, then both responses."""
        return [*(str(turn["content"]) for turn in self.chosen.messages), str(self.rejected.messages[-1]["content"])]


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """Token ids of a prompt and of the two responses to it, each with the token that ends it."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    source: str

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longer response."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def tokens(self) -> int:
        """Tokens that are read of it: each response with its prompt."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)


class PairSet:
    """Encoded pairs in memory."""

    def __init__(self, pairs: Sequence[EncodedPair], *, tokenizer_sha256: str) -> None:
        self.pairs = tuple(pairs)
        self.ends = tuple(sorted({response[-1] for pair in pairs for response in (pair.chosen, pair.rejected)}))
        """Tokens that responses were seen to end with."""
        self._tokenizer = tokenizer_sha256

    @classmethod
    def of(
        cls,
        pairs: Iterable[Pair],
        tokenizer: Any,
        *,
        tokenizer_sha256: str,
        context: int,
        form: Form,
        too_long: TooLong,
    ) -> tuple[PairSet, list[str]]:
        """The pairs as tokens, and the places of those left out because they are longer than `context`.

        Raises `DataError` for a form that the tokenizer cannot give, and, with `too_long` "error", for the first pair
        that does not fit.
        """
        chosen_form = choose_form(form, tokenizer)
        kept: list[EncodedPair] = []
        left_out: list[str] = []
        for pair in pairs:
            one = encode_pair(pair, tokenizer, chosen_form)
            if one.length <= context:
                kept.append(one)
            elif too_long == "skip":
                left_out.append(pair.place)
            else:
                raise DataError(
                    f"{pair.place}: the pair has {one.length} tokens with its longer response and the context is "
                    f"{context}; raise context, shorten it, or set data.too_long: skip"
                )
        return cls(kept, tokenizer_sha256=tokenizer_sha256), left_out

    def __len__(self) -> int:
        return len(self.pairs)

    def tokens(self) -> Counter[str]:
        """Source → tokens that one pass reads: each response with its prompt."""
        counted: Counter[str] = Counter()
        for pair in self.pairs:
            counted[pair.source] += pair.tokens
        return counted

    def describe(self) -> dict[str, Any]:
        """JSON: hash, counts and tokenizer."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(json.dumps([pair.prompt, pair.chosen, pair.rejected]).encode())
        return {
            "pairs_sha256": digest.hexdigest(),
            "pairs": len(self),
            "tokens": self.tokens().total(),
            "sources": dict(sorted(Counter(pair.source for pair in self.pairs).items())),
            "tokenizer_sha256": self._tokenizer,
            "ends": list(self.ends),
        }


def doubtful(pairs: Sequence[EncodedPair]) -> list[str]:
    """A line on pairs that stand there more than once, and one on those that prefer what another turns down."""
    seen = Counter((tuple(pair.prompt), tuple(pair.chosen), tuple(pair.rejected)) for pair in pairs)
    again = sum(times - 1 for times in seen.values())
    against = sum(times for (prompt, chosen, rejected), times in seen.items() if (prompt, rejected, chosen) in seen)
    return [
        *([f"{again} pairs stand there again; each is learned from as often as it stands there"] if again else []),
        *([f"{against} pairs contradict others, which prefer what these reject"] if against else []),
    ]


def read_pairs(source: Path | HubDataset) -> Iterator[Pair]:
    """The pairs of one file (JSON lines, a JSON list, Parquet) or data set, in order.

    Raises `DataError` as "file:line: what is wrong".
    """
    for place, record in read_records(source):
        yield _pair(record, place, source.stem)


def file_pairs(files: Iterable[Path | HubDataset]) -> Iterator[Pair]:
    """The pairs of all files and data sets, in order. Raises `DataError` for a malformed or empty one."""
    for file in files:
        pair = None
        for pair in read_pairs(file):
            yield pair
        if pair is None:
            raise DataError(f"{file if isinstance(file, Path) else file.dataset} holds no pair")


def _pair(record: Any, place: str, source: str) -> Pair:
    if not isinstance(record, dict):
        raise DataError(f'{place}: not an object; a line is {{"prompt": …, "chosen": …, "rejected": …}}')
    both = compared(record)
    if both is None:
        have = ", ".join(record) or "nothing"
        raise DataError(f"{place}: no pair of responses; it has {have}, and may have {KNOWN_PAIRS}")
    chosen, rejected = (sample_of(record, turns, place, source) for turns in both)
    if problem := _problem(chosen, rejected):
        raise DataError(f"{place}: {problem}")
    return Pair(chosen, rejected)


def _problem(chosen: Sample, rejected: Sample) -> str | None:
    """Why two conversations are no pair."""
    *prompt, better = chosen.messages
    *other, worse = rejected.messages
    if prompt != other:
        return "chosen and rejected answer different prompts"
    if prompt[-1]["role"] == "assistant":
        return "a response is one turn of the assistant, behind a turn of another speaker"
    if better["content"].strip() == worse["content"].strip() and better.get("tool_calls") == worse.get("tool_calls"):
        return "chosen and rejected are the same, so there is nothing to prefer; take the line out"
    return None


def encode_pair(pair: Pair, tokenizer: Any, form: Literal["chat", "plain"]) -> EncodedPair:
    """The pair as the model will meet it: each response tokenised behind the prompt as a sample's is.

    Raises `DataError` as `encode` does.
    """
    prompt, chosen = _parted(encode(pair.chosen, tokenizer, form))
    other, rejected = _parted(encode(pair.rejected, tokenizer, form))
    if prompt != other:
        raise DataError(
            f"{pair.place}: the chat template renders the prompt otherwise before one response than before the other; "
            "use form: plain"
        )
    return EncodedPair(prompt, chosen, rejected, pair.chosen.source)


def _parted(encoded: Encoded) -> tuple[list[int], list[int]]:
    """(what stands before the last response, the response). Earlier turns of the assistant are part of the prompt."""
    end = len(encoded.learned)
    begin = end - encoded.learned[::-1].index(False) if False in encoded.learned else 0
    return encoded.tokens[:begin], encoded.tokens[begin:]
