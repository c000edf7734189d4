"""Adapters on the vocabulary that they were trained with.

lm-eval cuts or widens the base model's vocabulary to the tokenizer's before it loads an adapter. A base whose
vocabulary has spare rows then loses them, with the probability that they had, and an adapter that holds a whole head or
whole embeddings does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM


class AdaptedHFLM(HFLM):  # type: ignore[misc]
    """`HFLM` that puts an adapter on the base model as it is, or with as many rows as the adapter's weights have."""

    _model: Any

    def _create_model(
        self,
        pretrained: str,
        revision: str | None = "main",
        *,
        peft: str | None = None,
        delta: str | None = None,
        **options: Any,
    ) -> None:
        if peft and delta:
            raise ValueError("peft and delta do not go together")
        super()._create_model(pretrained, revision, delta=delta, **options)
        if peft:
            self._model = with_adapter(self._model, peft, revision)


def with_adapter(model: Any, source: str, revision: str | None) -> Any:
    """The base model with the adapter in the folder or hub repository `source`. Raises what peft raises."""
    from peft import PeftModel, load_peft_weights

    rows = vocabulary_rows(load_peft_weights(source, device="cpu", revision=revision), model)
    if rows is not None and rows != model.get_input_embeddings().weight.shape[0]:
        # All of the new rows are the adapter's: what stands in them meanwhile does not count.
        model.resize_token_embeddings(rows, mean_resizing=False)
    return PeftModel.from_pretrained(model, source, revision=revision)


def vocabulary_rows(weights: Mapping[str, torch.Tensor], model: Any) -> int | None:
    """Rows of the embeddings or the head that an adapter brings whole; None where it brings neither.

    Raises `ValueError` for an adapter that has more rows than the model and does not bring both: they would be random.
    """
    ends = [layer for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None]
    names = [name.rpartition(".")[2] for name, layer in model.named_modules() if any(layer is end for end in ends)]
    whole = re.compile(rf"(?:^|\.)({'|'.join(map(re.escape, names))})(?:\.base_layer)?\.weight$")
    found = {match[1]: len(weight) for key, weight in weights.items() if (match := whole.search(key))}
    if not found:
        return None
    rows, have = max(found.values()), len(ends[0].weight)
    tied = len({id(end.weight) for end in ends}) == 1
    if rows > have and not tied and len(found) < len(names):
        missing = ", ".join(name for name in names if name not in found)
        raise ValueError(f"the adapter has {rows} rows in its vocabulary, the base {have}, and it brings no {missing}")
    return rows
