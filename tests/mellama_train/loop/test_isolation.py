"""A model that sees its neighbours in a row gets one document in each, or none: measured on real architectures."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
import yaml
from training_parts import FormulaRows, make_tokenizer, recipe, recipe_text, train_here
from transformers import AutoModelForCausalLM

from mellama_train.cli import main
from mellama_train.errors import CheckpointError, DataError
from mellama_train.loop import checkpoints, resuming
from mellama_train.model.loss import CausalLoss
from mellama_train.rows.batches import collate
from mellama_train.rows.packed import SampleRows, SampleSet
from mellama_train.rows.samples import Encoded

SHAPE = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
}
OLD = {"vocab_size": 128, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.1}
EXPERTS = {"head_dim": 16, "num_experts_per_tok": 2, "num_local_experts": 4}
LEAKS = {
    "mamba": transformers.MambaConfig(vocab_size=128, hidden_size=32, num_hidden_layers=2, initializer_range=0.1),
    "gpt-oss": transformers.GptOssConfig(**SHAPE, **EXPERTS),
    "lfm2": transformers.Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"]),
    "opt": transformers.OPTConfig(
        vocab_size=128, hidden_size=32, word_embed_proj_dim=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4
    ),
    "bloom": transformers.BloomConfig(vocab_size=128, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.1),
    "falcon": transformers.FalconConfig(
        vocab_size=128, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, initializer_range=0.1
    ),
    "mpt": transformers.MptConfig(vocab_size=128, d_model=32, n_layers=2, n_heads=4),
}
HOLDS = {
    "llama": transformers.LlamaConfig(**SHAPE),
    "qwen3": transformers.Qwen3Config(**SHAPE, head_dim=16),
    "gemma3": transformers.Gemma3TextConfig(**SHAPE, head_dim=16, sliding_window=16),
    "mixtral": transformers.MixtralConfig(**SHAPE, num_local_experts=4),
    "gpt2": transformers.GPT2Config(**OLD),
}


def saved(folder, config):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def instruct(folder, model):
    lines = [{"prompt": "abcdefgh"[: n % 7 + 1], "response": "no" if n % 2 else "yes"} for n in range(12)]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    keys = recipe_text(folder, model, data={"files": [str(folder / "samples.jsonl")]}, epochs=1)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(keys))
    return main(["instruct", str(folder / "recipe.yaml")])


def events(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["text"] for line in lines if line.get("event") == "apart"]


@pytest.mark.parametrize("name", HOLDS)
def test_models_that_keep_documents_apart_get_packed_rows(name, tmp_path):
    assert instruct(tmp_path, saved(tmp_path / "model", HOLDS[name])) == 0
    assert events(tmp_path / "run") == []


@pytest.mark.parametrize("name", LEAKS)
def test_models_that_do_not_get_one_in_a_row_and_learn_it_as_it_stands_alone(name, tmp_path):
    folder = saved(tmp_path / "model", LEAKS[name])
    assert instruct(tmp_path, folder) == 0
    (said,) = events(tmp_path / "run")
    assert "sees the documents before one in its row" in said and "makes 12 rows of" in said
    state = json.loads((checkpoints.newest_folder(tmp_path / "run" / "checkpoints") / "state.json").read_text())
    assert state["rows"]["apart"] and state["step"] == 3
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    chance = np.random.default_rng(1)
    samples = [chance.integers(3, 128, 11), chance.integers(3, 128, 17)]
    encoded = [Encoded([int(token) for token in tokens], [True] * len(tokens)) for tokens in samples]
    kept = SampleSet(encoded, ["x", "x"], tokenizer_sha256="")
    rows = SampleRows(kept, length=48, epochs=1, window=8, seed=0, padding=0).apart()
    loss, alone = CausalLoss(model, kernel="full", flatten=False), 0.0
    with torch.no_grad():
        found = sum(float(loss(collate([rows[number]]))) for number in range(len(rows)))
        for tokens in samples:
            ids = torch.tensor(tokens)
            alone += float(F.cross_entropy(model(input_ids=ids[None]).logits[0, :-1], ids[1:], reduction="sum"))
    assert len(rows) == 2 and found == pytest.approx(alone, rel=1e-5)


def test_rows_that_cannot_be_taken_apart_are_refused(tmp_path):
    folder = saved(tmp_path / "model", LEAKS["bloom"])
    with pytest.raises(DataError, match="sees the documents before one in its row .* keeps them apart"):
        train_here(recipe(tmp_path, folder), FormulaRows(8))


def test_a_run_does_not_change_between_packed_and_apart(tmp_path):
    found = checkpoints.Checkpoint(tmp_path, {"rows": {"apart": True}})
    resuming.check_packing(found, {"rows": {"apart": True}})
    with pytest.raises(CheckpointError, match="with one document in a row, and here the model keeps several apart"):
        resuming.check_packing(found, {"rows": {}})
