"""The scores of a text's tokens by a tiny Llama, against transformers and numpy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from tiny_llama import tiny_llama, tiny_tokenizer  # noqa: E402

from mibe.errors import ModelError  # noqa: E402
from mibe.metrics.memorisation import min_k_plus_plus  # noqa: E402
from mibe.models.base import ReadsTokens  # noqa: E402
from mibe.models.hf import from_loaded  # noqa: E402

TEXTS = ["A man of 54 has chest pain.", "Why so?", "Which drug was given, 5 mg of warfarin or aspirin? " * 3, "", ""]


def reference(model, tokenizer, text, ratio=0.2):
    """Min-K%++ by the ten lines of the authors' `run.py`, in float64 (a text's last token is only predicted)."""
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double().numpy()
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    probs = np.exp(log_probs)
    token_log_probs = log_probs[np.arange(len(ids) - 1), ids[1:]]
    mu = (probs * log_probs).sum(axis=-1)
    sigma = (probs * np.square(log_probs)).sum(axis=-1) - np.square(mu)
    mink_plus = np.sort((token_log_probs - mu) / np.sqrt(sigma))
    return token_log_probs, mu, np.sqrt(sigma), mink_plus[: max(1, int(len(mink_plus) * ratio))].mean()


@pytest.mark.parametrize("kind", [transformers.LlamaForCausalLM, transformers.MistralForCausalLM])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_tokens_are_scored_as_by_the_authors(kind, batch_size):
    tokenizer = tiny_tokenizer()
    if kind is transformers.LlamaForCausalLM:
        bare = tiny_llama()
    else:
        # A window shorter than the texts: no plain cache, so batches go through transformers' own pass.
        config = transformers.MistralConfig(**tiny_llama().config.to_diff_dict() | {"sliding_window": 8})
        torch.manual_seed(1)
        bare = kind(config).float().eval()
    model = from_loaded(bare, tokenizer, name="tiny", batch_size=batch_size)
    assert isinstance(model, ReadsTokens)
    found = dict(model.read_tokens(TEXTS))
    assert sorted(found) == list(range(len(TEXTS)))
    for index, text in enumerate(TEXTS[:3]):
        token_log_probs, mu, deviations, score = reference(bare, tokenizer, text)
        assert found[index].log_probs == pytest.approx(token_log_probs, abs=2e-4)
        assert found[index].means == pytest.approx(mu, abs=2e-4)
        assert found[index].deviations == pytest.approx(deviations, abs=2e-4)
        mine = min_k_plus_plus(found[index].log_probs, found[index].means, found[index].deviations)
        assert mine == pytest.approx(score, abs=2e-3)
    assert found[3].log_probs == found[4].log_probs == ()  # the token that begins a text, alone
    with pytest.raises(ModelError, match="do not fit the context window of 256"):
        list(model.read_tokens(["A man of 54 has chest pain. " * 40]))
