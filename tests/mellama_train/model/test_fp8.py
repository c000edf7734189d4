"""Products in FP8: torchao's own layers, checked on a CPU by its emulation. A GPU's are in test_gpu.py."""

from dataclasses import replace

import pytest
import torch
from training_parts import FormulaRows, losses, make_model, recipe, train_here
from transformers import AutoModelForCausalLM

from mellama_train.errors import ModelLoadError, RecipeError
from mellama_train.model import loading
from mellama_train.model.loading import FP8_SCALES, load_model, multiply_in_fp8

CPU = torch.device("cpu")


def emulated():
    float8 = pytest.importorskip("torchao.float8", reason="torchao comes with the extra fp8")
    return replace(float8.Float8LinearConfig.from_recipe_name(FP8_SCALES), emulate=True)


HALF_STEP = 2**-4
"""What a number of e4m3, with 3 bits of mantissa, is off by at most, relative to it."""


def of_a_layer(model):
    """A product of one layer, and the gradient of its weights."""
    layer, generator = model.model.layers[0].mlp.up_proj, torch.Generator().manual_seed(0)
    inputs = torch.randn(32, layer.in_features, generator=generator).bfloat16().requires_grad_()
    product = layer(inputs)
    (gradient,) = torch.autograd.grad(product.float().square().sum(), layer.weight)
    return product.detach().float(), gradient.float()


def test_layers_multiply_in_fp8_and_documents_stay_apart(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(make_model(tmp_path), dtype=torch.bfloat16)
    names, exact = set(model.state_dict()), of_a_layer(model)
    multiply_in_fp8(model, emulated())
    kinds = {name: type(layer).__name__ for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    assert kinds.pop("lm_head") == "Linear" and set(kinds.values()) == {"Float8Linear"} and len(kinds) == 14
    assert set(model.state_dict()) == names
    for rounded, whole in zip(of_a_layer(model), exact, strict=True):
        assert 0 < float((rounded - whole).norm() / whole.norm()) < 2 * HALF_STEP

    # A document of far larger inputs before it does not change how the second one is rounded.
    asked = {
        "input_ids": torch.arange(2, 34)[None],
        "position_ids": torch.cat([torch.arange(16), torch.arange(16)])[None],
        "use_cache": False,
    }
    with torch.no_grad():
        found = model(**asked).logits
        model.model.embed_tokens.weight[2:18] *= 100
        again = model(**asked).logits
    assert not torch.equal(again[:, :16], found[:, :16]) and torch.equal(again[:, 16:], found[:, 16:])


def test_a_run_in_fp8_learns_and_leaves_an_ordinary_model(tmp_path, monkeypatch):
    config, base = emulated(), make_model(tmp_path / "model")
    monkeypatch.setattr(loading, "_fp8", lambda device: config)
    source = {"path": str(base), "fp8": True}
    one = recipe(tmp_path / "run", base, model=source, precision="bf16", steps=3)
    final = train_here(one, FormulaRows(12))
    other = recipe(tmp_path / "whole", base, model={"path": str(base)}, precision="bf16", steps=3)
    train_here(other, FormulaRows(12))
    assert losses(one.output) == pytest.approx(losses(other.output), rel=0.05)
    assert losses(one.output) != losses(other.output)
    kept = AutoModelForCausalLM.from_pretrained(final).state_dict()
    assert kept.keys() == AutoModelForCausalLM.from_pretrained(base).state_dict().keys()


def test_what_fp8_does_not_go_with_is_refused(tmp_path):
    base = make_model(tmp_path / "model")
    source = {"path": str(base), "fp8": True}
    with pytest.raises(RecipeError, match="fp8 goes with engine.name: plain, precision: bf16 and without lora"):
        recipe(tmp_path, base, model=source, precision="fp32")
    with pytest.raises(RecipeError, match="must be a multiple of 16 for model.fp8"):
        recipe(tmp_path, base, model=source, precision="bf16", context=40)
    with pytest.raises(ModelLoadError, match="model.fp8 needs a GPU of Hopper's generation"):
        load_model(recipe(tmp_path, base, model=source, precision="bf16"), CPU, torch.float32)
