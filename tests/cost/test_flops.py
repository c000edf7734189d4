"""Operations of a document beside those that torch counts as it runs a real, tiny model."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tiny_llama import tiny_llama  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from mibe.cost.flops import flops  # noqa: E402
from mibe.models.size import size_of_config, size_of_module  # noqa: E402
from mibe.results.record import tokens_read  # noqa: E402


def counted(model, prompt, new):
    """Operations of reading a prompt token by token and writing so many, as torch counts them.

    One token at a time it looks back at what there is and no further; a prompt read at once is counted with the half of
    the attention that is masked.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        past = None
        for position in range(prompt + new - 1):
            # Logits are wanted where a token is to be written after.
            keep = 1 if position >= prompt - 1 else 0
            body = model.model(input_ids=torch.tensor([[5]]), past_key_values=past, use_cache=True)
            past = body.past_key_values
            if keep:
                model.lm_head(body.last_hidden_state)
    return counter.get_total_flops()


@pytest.mark.parametrize(("prompt", "new"), [(1, 1), (7, 1), (5, 9)])
def test_a_document_is_what_torch_counts(prompt, new):
    model = tiny_llama(attn_implementation="eager")
    size = size_of_module(model)
    read = tokens_read(prompt, new)
    ours = flops(size, positions=read, attended=read * (read + 1) // 2, new_tokens=new)
    assert counted(model, prompt, new) == ours


def test_a_prompt_read_at_once_is_counted_with_the_masked_half_by_torch():
    model = tiny_llama(attn_implementation="eager")
    size, prompt = size_of_module(model), 12
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.full((1, prompt), 5), logits_to_keep=1)
    square = flops(size, positions=prompt, attended=prompt * prompt, new_tokens=1)
    assert counter.get_total_flops() == square


def test_the_size_is_that_of_the_weights_tied_or_not():
    for tied in (False, True):
        model = tiny_llama(tie_word_embeddings=tied)
        size = size_of_module(model)
        layers = sum(p.numel() for name, p in model.model.layers.named_parameters() if p.dim() == 2)
        assert (size.layer_params, size.head_params) == (layers, 320 * 32)
        assert size.params == sum(p.numel() for p in model.parameters()) and size.layers == 2
        assert size.bytes >= 4 * size.params and size.attention_width == 32
        assert size_of_config(model.config, itemsize=2) == type(size)(
            params=size.params,
            bytes=2 * size.params,
            layer_params=size.layer_params,
            head_params=size.head_params,
            layers=2,
            attention_width=32,
        )


def test_of_experts_those_that_a_token_goes_through_count():
    config = transformers.MixtralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=2,
        attn_implementation="eager",
    )
    size = size_of_config(config, itemsize=None)
    expert, attention, router = 3 * 32 * 48, 32 * 32 * 2 + 32 * 16 * 2, 32 * 8
    assert size.layer_params == 2 * expert + attention + router and size.bytes is None
    assert size.params > 8 * expert


def test_packed_weights_and_unknown_architectures_have_no_size():
    model = tiny_llama()
    weight = model.model.layers[0].mlp.up_proj
    weight.weight = torch.nn.Parameter(torch.zeros(16, 1, dtype=torch.uint8), requires_grad=False)
    assert size_of_module(model) is None
    assert size_of_config(transformers.PretrainedConfig(), itemsize=2) is None
