"""What a task takes: tokens read and written, time at a throughput that was given or measured, bytes of disk."""

from __future__ import annotations

from dataclasses import dataclass

from mibe.errors import UsageError

ROW_BYTES = 315
"""A line of the sample log beside its texts: keys, hash, numbers, outcome, scores."""
CACHED_BYTES = 210
"""A cached answer beside its text: key, its entry in the index, keys and numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Tokens a second of one copy of the model, many requests at once: of prompts read and of text written."""

    prefill: float
    decode: float

    def seconds(self, prompt_tokens: float, new_tokens: float) -> float:
        """Time to read and write so many tokens."""
        return prompt_tokens / self.prefill + new_tokens / self.decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a short real run of one task measured: documents, wall seconds, tokens written, all draws of each."""

    documents: int
    seconds: float
    new_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The tokens of one task, over all `draws` of each document.

    `shared_tokens` are those of a prompt's head (instruction and worked examples; the whole prompt in a further draw of
    a document) that an earlier prompt had too, over all prompts: what prefix caching need not read again. `longest` is
    the longest prompt and its answer. `row_bytes` is the size of the sample log without the outputs.
    """

    task: str
    documents: int
    prompt_tokens: int
    shared_tokens: int
    max_new_tokens: int
    longest: int
    row_bytes: int
    draws: int

    @property
    def samples(self) -> int:
        """Answers that are asked for."""
        return self.documents * self.draws

    @property
    def most_new_tokens(self) -> int:
        """Tokens written where every answer is as long as it may be."""
        return self.samples * self.max_new_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A task whose data is not here: its documents as its authors count them (None: not counted)."""

    task: str
    documents: int | None
    max_new_tokens: int
    draws: int

    @property
    def most_new_tokens(self) -> int | None:
        """Tokens written where every answer is as long as it may be."""
        return None if self.documents is None else self.documents * self.draws * self.max_new_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one task will take: tokens written, seconds on one copy of the model (None: not known), bytes of disk."""

    new_tokens: float
    seconds: float | None
    sample_bytes: float
    cache_bytes: float


def cost(
    tally: Tally,
    *,
    output_share: float,
    characters_per_token: float,
    throughput: Throughput | None = None,
    probe: Probe | None = None,
) -> Cost:
    """The cost of a task whose answers are `output_share` of their limit on average, prefixes cached.

    A probe of the task counts before the throughput and the share.
    """
    new = tally.most_new_tokens * output_share
    seconds = None if throughput is None else throughput.seconds(tally.prompt_tokens - tally.shared_tokens, new)
    if probe is not None:
        seconds = probe.seconds / probe.documents * tally.documents
        new = probe.new_tokens / probe.documents * tally.documents
    text = new * characters_per_token
    return Cost(
        new_tokens=new,
        seconds=seconds,
        sample_bytes=tally.row_bytes + text,
        cache_bytes=tally.samples * CACHED_BYTES + text,
    )


def parse_throughput(*, both: float | None, prefill: float | None, decode: float | None) -> Throughput | None:
    """The throughput from one number or from two; None from none. Raises `UsageError` for other ways to give it."""
    if (both is not None and (prefill or decode) is not None) or (prefill is None) != (decode is None):
        raise UsageError("give --throughput, or both --prefill-throughput and --decode-throughput")
    rates = (both, both) if both is not None else (prefill, decode)
    if rates[0] is None or rates[1] is None:
        return None
    if min(rates[0], rates[1]) <= 0:
        raise UsageError("a throughput is a number of tokens a second, above 0")
    return Throughput(prefill=rates[0], decode=rates[1])
