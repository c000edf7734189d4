"""BARTScore (Yuan et al. 2021): how likely a sequence-to-sequence model finds the reference after the summary.

The paper's code takes the summary as source and the reference as target ("recall" in the BARTScore paper), with
bart-large-cnn fine-tuned on ParaBank2, whose weights BARTScore's authors publish as `bart_score.pth`.
Needs `pip install "mibe[hf]"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mibe.errors import ModelError
from mibe.metrics.arrays import FloatArray, np
from mibe.metrics.base import Mean
from mibe.task import Value

DEFAULT_MODEL = "facebook/bart-large-cnn"
WEIGHTS = (".pth", ".pt", ".bin")
LONGEST = 1024


@dataclass(frozen=True)
class BartScore(Mean):
    """Mean over the samples of the mean log-probability of the reference's tokens after the summary. None is "".

    `model` is a hub name or a folder; `weights` a file of weights to load over it, such as `bart_score.pth`. The score
    is below 0, and nearer to 0 is better. Texts are cut to 1,024 tokens. Like `BertScore` it is no `SampleMean`.
    """

    model: str = DEFAULT_MODEL
    weights: str | None = None
    batch_size: int = 8

    def check(self) -> None:
        """Look at the model's configuration and for the file of weights, without reading either's weights."""
        try:
            from transformers import AutoConfig
        except ImportError as error:
            raise ModelError(f'BARTScore needs `pip install "mibe[hf]"` ({error})') from error
        if self.weights is not None and not Path(self.weights).expanduser().is_file():
            raise ModelError(f"BARTScore cannot load {self.weights}: there is no such file")
        try:
            AutoConfig.from_pretrained(_place(self.model))
        except (OSError, ValueError) as error:
            raise ModelError(f"BARTScore cannot load {self.model}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """One figure."""
        return ("bartscore",)

    def values(self, predictions: Sequence[Value | None], targets: Sequence[Value]) -> FloatArray:
        """Shape (samples, 1): the score."""
        values = np.zeros((len(targets), 1))
        pairs = [(p or "", t) for p, t in zip(predictions, targets, strict=True)]
        order = sorted(range(len(pairs)), key=lambda row: len(pairs[row][0]) + len(pairs[row][1]), reverse=True)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            sources, references = zip(*(pairs[row] for row in rows), strict=True)
            values[rows, 0] = _mean_log_probabilities(*_loaded(self.model, self.weights), sources, references)
        return values


def from_text(text: str) -> BartScore:
    """The metric from MODEL, WEIGHTS or MODEL:WEIGHTS, where WEIGHTS is a file that ends in .pth, .pt or .bin."""
    model, _, weights = text.rpartition(":")
    if not weights.endswith(WEIGHTS):
        return BartScore(text)
    return BartScore(model or DEFAULT_MODEL, weights)


def _place(text: str) -> str:
    return str(Path(text).expanduser()) if text.startswith("~") else text


@lru_cache(maxsize=1)
def _loaded(model: str, weights: str | None) -> tuple[Any, Any]:
    """Model and tokenizer, on the GPU if there is one. Raises `ModelError` when they cannot be loaded."""
    try:
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    except ImportError as error:
        raise ModelError(f'BARTScore needs `pip install "mibe[hf]"` ({error})') from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(_place(model))
        network = AutoModelForSeq2SeqLM.from_pretrained(_place(model))
        if weights is not None:
            network.load_state_dict(torch.load(_place(weights), map_location="cpu", weights_only=True))
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"BARTScore cannot load {weights or model}: {error}") from error
    return network.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _mean_log_probabilities(
    network: Any, tokenizer: Any, sources: Sequence[str], references: Sequence[str]
) -> list[float]:
    """Of each pair, the mean over all tokens of the reference, those that begin and end it included."""
    import torch

    def encode(texts: Sequence[str]) -> Any:
        encoded = tokenizer(list(texts), max_length=LONGEST, truncation=True, padding=True, return_tensors="pt")
        return encoded.to(network.device)

    source, reference = encode(sources), encode(references)
    with torch.inference_mode():
        logits = network(
            input_ids=source.input_ids, attention_mask=source.attention_mask, labels=reference.input_ids
        ).logits
        chosen = logits.log_softmax(dim=-1).gather(2, reference.input_ids.unsqueeze(2)).squeeze(2)
        means: list[float] = ((chosen * reference.attention_mask).sum(1) / reference.attention_mask.sum(1)).tolist()
    return means
