"""Compiled layers: the run is the one without, by name and by loss."""

import pytest
import torch
from training_parts import FormulaRows, losses, make_model, recipe, train_here

from mellama_train.errors import RecipeError


@pytest.mark.slow
def test_compiled_layers_learn_the_same_and_leave_an_ordinary_model(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    base = make_model(tmp_path / "base")
    # All of torch.compile but the making of C++ kernels, which takes a minute.
    compiled, whole = [], torch.nn.Module.compile

    def compile_layer(layer):
        compiled.append(type(layer).__name__)
        whole(layer, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_layer)

    def run(name, **more):
        source = {"path": str(base), **more}
        one = recipe(tmp_path / name, base, model=source, steps=3)
        train_here(one, FormulaRows(12))
        return one.output

    plain, fast = run("plain"), run("fast", compile=True, activation_checkpointing=True)
    assert compiled == ["LlamaDecoderLayer"] * 2
    assert losses(fast) == pytest.approx(losses(plain), rel=1e-5)
    assert (
        load_file(fast / "final" / "model.safetensors").keys()
        == load_file(plain / "final" / "model.safetensors").keys()
    )


def test_deepspeed_compiles_in_its_own_way(tmp_path):
    with pytest.raises(RecipeError, match="compile goes with engine.name: plain"):
        recipe(tmp_path, tmp_path, model={"path": "m", "compile": True}, engine={"name": "deepspeed"})
