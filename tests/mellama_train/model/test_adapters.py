"""The variants of LoRA, against their papers' formulas on one layer."""

import pytest
import torch
from training_parts import make_model
from transformers import AutoModelForCausalLM

pytest.importorskip("peft", reason="peft comes with the extra train")

from mellama_train.model.adapters import add_adapters
from mellama_train.recipe.config import Lora

LAYER = "model.layers.0.self_attn.q_proj"


def adapted(tmp_path, variant):
    """(base weight, adapted layer, A, B) with a B that is not zero."""
    model = AutoModelForCausalLM.from_pretrained(make_model(tmp_path / "model"), dtype=torch.float32)
    weight = model.get_submodule(LAYER).weight.detach().clone()
    torch.manual_seed(1)
    changed = add_adapters(model, Lora(rank=4, alpha=8, layers=("q_proj",), variant=variant), torch.float32)
    layer = changed.get_base_model().get_submodule(LAYER)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.nn.init.normal_(b)
    return weight, layer, a, b


@pytest.mark.parametrize(("variant", "scale"), [(None, 8 / 4), ("rslora", 8 / 4**0.5)])
def test_the_scale_of_an_adapter(tmp_path, variant, scale):
    weight, layer, a, b = adapted(tmp_path, variant)
    x = torch.randn(5, weight.shape[1])
    torch.testing.assert_close(layer(x), x @ (weight + scale * b @ a).T)


def test_dora_learns_length_and_direction_apart(tmp_path):
    weight, layer, a, b = adapted(tmp_path, "dora")
    x = torch.randn(5, weight.shape[1])
    # Liu et al. 2024, equation 5: the magnitude is the length of each row of the base weight at the start.
    direction = weight + 2.0 * b @ a
    expected = weight.norm(dim=1, keepdim=True) * direction / direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer(x), x @ expected.T)
    assert any("magnitude" in name and p.requires_grad for name, p in layer.named_parameters())
