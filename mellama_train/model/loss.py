"""Summed cross entropy of the next token, without ever holding the logits of a whole batch where that can be avoided.

A sum, not a mean: the mean is over all targets of a step, on all ranks and in all micro-batches, and is taken where
that number is known. Means of means weigh short micro-batches too much.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from mellama_train.errors import ModelLoadError
from mellama_train.model import varlen
from mellama_train.model.adapters import bare
from mellama_train.model.loading import FLASH
from mellama_train.model.sizes import CHUNK
from mellama_train.recipe.config import Precision, Recipe
from mellama_train.rows.batches import MicroBatch
from mellama_train.rows.row import IGNORED

Kernel = Literal["fused", "chunked", "full"]

SCALED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Configuration keys of models whose logits are more than the output layer's product."""


class CausalLoss(nn.Module):  # type: ignore[misc]
    """A causal language model whose output is its summed loss: the one module that engines wrap."""

    def __init__(self, model: Any, *, kernel: Kernel, flatten: bool) -> None:
        """`model` is a Hugging Face model, with or without peft's adapters in it.

        `flatten` lays the rows of a micro-batch one behind the other and says where documents begin, as FlashAttention
        reads them.
        """
        super().__init__()
        self.model = model
        self.kernel = kernel
        self._flatten = flatten

    def forward(self, batch: MicroBatch) -> torch.Tensor:
        """The sum over the batch's targets, a float32 scalar in nats."""
        inner = bare(self.model)
        # Without a mask, the positions tell transformers where documents begin; any 2-D mask would switch that off.
        asked: dict[str, Any] = {"input_ids": batch.tokens, "position_ids": batch.positions, "use_cache": False}
        if self._flatten:
            asked |= {key: asked[key].reshape(1, -1) for key in ("input_ids", "position_ids")}
            asked |= {"cu_seq_lens_q": batch.bounds, "cu_seq_lens_k": batch.bounds}
            asked |= {"max_length_q": batch.longest, "max_length_k": batch.longest}
        if self.kernel == "full":
            logits = inner(**asked).logits
            return _summed(logits.reshape(-1, logits.shape[-1])[batch.predictors], batch.targets)
        hidden = getattr(inner, inner.base_model_prefix)(**asked).last_hidden_state
        hidden = hidden.reshape(-1, hidden.shape[-1])[batch.predictors]
        head = inner.get_output_embeddings()
        if self.kernel == "fused":
            return fused_loss(hidden, head.weight, batch.targets)
        return chunked_loss(hidden, head, batch.targets, head_calls(batch))


def open_loss(model: Any, recipe: Recipe) -> CausalLoss:
    """The loss of a loaded model as the recipe asks for it. Raises `ModelLoadError` for a form that is not exact."""
    source = recipe.model
    return CausalLoss(
        model,
        kernel=choose_kernel(model, source.loss, recipe.precision),
        flatten=bare(model).config._attn_implementation in (*FLASH, varlen.NAME),
    )


def head_calls(batch: MicroBatch) -> int:
    """How often the chunked loss calls the output layer: by the shape of a micro-batch, which all ranks share.

    Under ZeRO-3 each call gathers the layer from all ranks. A number that followed the targets would leave a rank
    waiting for one that has fewer.
    """
    tokens: int = batch.tokens.numel()
    return -(-tokens // CHUNK)


def choose_kernel(model: Any, wanted: str, precision: Precision) -> Kernel:
    """The form of the loss for this model.

    PyTorch's fused kernel sums in the precision of its input: in bfloat16 a loss of 3,541 nats comes out as 3,504.
    It is therefore for float32 alone, and `auto` takes our chunks otherwise. Raises `ModelLoadError` where a form
    that was asked for would compute something else than the model's own loss.
    """
    inner = bare(model)
    plain = type(inner.get_output_embeddings()) is nn.Linear and inner.get_output_embeddings().bias is None
    scaled = [key for key in SCALED_LOGITS if getattr(inner.config, key, None)]
    exact: list[Kernel] = ["full"]
    if not scaled:
        exact.insert(0, "chunked")
        if plain and precision == "fp32" and hasattr(F, "linear_cross_entropy"):
            exact.insert(0, "fused")
    if wanted == "auto":
        return exact[0]
    for kernel in exact:
        if kernel == wanted:
            return kernel
    raise ModelLoadError(
        f"model.loss: {wanted} would not be exact for this model, precision and PyTorch; "
        f"{' and '.join(exact)} would ({'its logits are scaled: ' + scaled[0] if scaled else 'auto chooses'})"
    )


def fused_loss(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed cross entropy of `hidden` (n, h) @ `weight` (v, h).T by PyTorch's kernel, which chunks over n."""
    options = torch.nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(hidden, weight, targets, reduction="sum", ignore_index=IGNORED, options=options)


def chunked_loss(hidden: torch.Tensor, head: nn.Module, targets: torch.Tensor, calls: int) -> torch.Tensor:
    """The same by so many calls of `head`, whose logits are computed again in the backward pass.

    The targets are shared evenly among the calls; a call may have none.
    """
    parts = [
        checkpoint(_head_loss, head, part, wanted, use_reentrant=False)
        for part, wanted in zip(hidden.tensor_split(calls), targets.tensor_split(calls), strict=True)
    ]
    return torch.stack(parts).sum()


def _head_loss(head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return _summed(head(hidden), targets)


def _summed(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="sum", ignore_index=IGNORED)
