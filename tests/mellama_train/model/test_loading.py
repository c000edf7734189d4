"""Models that are not whole: one line, and never weights that are random."""

import json

import pytest
import torch
from training_parts import make_model, recipe

from mellama_train.errors import ModelLoadError
from mellama_train.model.loading import load_model

CPU = torch.device("cpu")


@pytest.fixture
def base(tmp_path):
    return make_model(tmp_path / "base")


def configure(base, **changes):
    known = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(known | changes))


def refused(tmp_path, base):
    with pytest.raises(ModelLoadError) as error:
        load_model(recipe(tmp_path, base), CPU, torch.float32)
    message = str(error.value)
    assert message.startswith(f"cannot load {base}: ") and "\n" not in message
    return message


def test_weights_that_no_file_has_are_refused(tmp_path, base):
    load_model(recipe(tmp_path, base), CPU, torch.float32)
    configure(base, num_hidden_layers=3)
    assert "lack model.layers.2.input_layernorm.weight and 8 more, which LlamaForCausalLM has" in refused(
        tmp_path, base
    )


def test_tied_weights_are_not_lacking(tmp_path):
    base = make_model(tmp_path / "tied", tied=True)
    assert load_model(recipe(tmp_path, base), CPU, torch.float32).lm_head.weight.shape == (128, 64)


@pytest.mark.parametrize(
    "key", [{"num_attention_heads": 3}, {"num_key_value_heads": 0}, {"max_position_embeddings": "256"}]
)
def test_a_configuration_with_a_wrong_value_is_one_line(tmp_path, base, key):
    configure(base, **key)
    refused(tmp_path, base)


@pytest.mark.parametrize("bytes_kept", [0, 500])
def test_weights_that_are_cut_short_are_one_line(tmp_path, base, bytes_kept):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:bytes_kept])
    refused(tmp_path, base)
