"""Floating-point operations of a document, by arithmetic from a model's size.

A token that is read is multiplied by each matrix of the layers (two operations a weight: a product and a sum), its
query by the keys of all tokens up to itself, and what comes of that by their values (four operations for each of these
tokens, each layer and each number of a query). Each new token takes one product with the matrix that makes logits. This
is the forward pass of Kaplan et al. 2020 (arXiv 2001.08361, table 1: 2N + 2·n_layer·n_ctx·d_attn a token, the mean over
n_ctx tokens), with the sum over a document's tokens in place of the mean, and with the logits, which they leave out.
Norms, activations and the softmax are not in it, as in theirs.
"""

from __future__ import annotations

from mibe.models.size import Size

FORMULA = (
    "2 × weights of the layers × tokens read + 2 × weights of the head × tokens written + 4 × layers × width of the "
    "queries × pairs of a token and one up to itself (Kaplan et al. 2020, with the logits)"
)


def flops(size: Size, *, positions: float, attended: float, new_tokens: float) -> float:
    """Operations of one document, or of several by their sums.

    `positions` are the tokens that were read, those of the prompt and all new ones but the last; `attended` the pairs
    of such a token and one up to itself, n (n + 1) / 2 for a document of n; `new_tokens` those that were written. What
    documents share is counted for each of them, as if nothing had been kept.
    """
    layers = 2 * size.layer_params * positions
    attention = 4 * size.layers * size.attention_width * attended
    return float(layers + attention + 2 * size.head_params * new_tokens)
