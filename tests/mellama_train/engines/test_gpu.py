"""What needs a GPU: kernels that keep documents apart, Liger, QLoRA, FP8, and the engines' own paths there."""

import importlib.util
import subprocess

import pytest
import torch
import torch.nn.functional as F
from launching import TWO_RANKS, environment, torchrun, written
from safetensors.torch import load_file
from training_parts import FormulaRows, documents, losses, make_model, make_tokenizer, recipe, train_here
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

from mellama_train.errors import ModelLoadError
from mellama_train.model.loading import load_model
from mellama_train.model.loss import open_loss
from mellama_train.recipe.config import FP8_MULTIPLE
from mellama_train.rows.batches import collate

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

GPU = torch.device("cuda", 0)
KERNELS = ("varlen", "flash_attention_2", "flash_attention_3", "flex_attention", "sdpa")
SHAPE = {
    "vocab_size": 128, "hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.1,
}  # fmt: skip
OFF_BY = 0.03
"""By what share of their length gradients in bf16 may differ from those in float32."""


def saved(folder, kind):
    torch.manual_seed(0)
    if kind == "llama":
        return make_model(folder)
    if kind == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=64))
    else:
        model = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8))
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def learned(loss, model, *batches):
    """The summed loss and the gradients, as one vector in float32."""
    model.zero_grad()
    with torch.autocast("cuda", torch.bfloat16):
        total = sum(loss(batch.to(GPU)) for batch in batches)
    total.backward()
    parts = [p.grad.float().flatten() for p in model.parameters() if p.grad is not None]
    return float(total.detach()), torch.cat(parts)


def exact(folder, rows):
    """The same in float32 of every document alone, by the model's own logits."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    total = torch.zeros(())
    for row in rows:
        for tokens, labels in documents(row):
            logits = model(input_ids=torch.tensor(tokens)[None]).logits[0]
            total = total + F.cross_entropy(logits[:-1], torch.tensor(labels)[1:], reduction="sum", ignore_index=-100)
    total.backward()
    return float(total.detach()), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def off(found, expected):
    return float((found.cpu() - expected.cpu()).norm() / expected.norm().cpu())


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_packed_rows_train_as_separate_documents_do(tmp_path, kernel, kind):
    folder = saved(tmp_path / "model", kind)
    one = recipe(tmp_path, folder, model={"path": str(folder), "attention": kernel}, precision="bf16")
    try:
        model = load_model(one, GPU, torch.float32)
    except ModelLoadError as error:
        pytest.skip(str(error))
    loss, rows = open_loss(model, one).to(GPU), [FormulaRows(9)[index] for index in range(3)]
    expected, gradient = exact(folder, rows)
    value, found = learned(loss, model, collate(rows))
    assert value == pytest.approx(expected, rel=1e-2)
    assert off(found, gradient) < OFF_BY
    # Read as one document a row, the same rows give another gradient: the measure would show it.
    for row in rows:
        row.positions[:] = range(len(row.positions))
    assert off(learned(loss, model, collate(rows))[1], gradient) > 3 * OFF_BY


def ran(tmp_path, name, base, rows=24, **changes):
    one = recipe(tmp_path / name, base, **({"precision": "bf16", "steps": 6} | changes))
    return one, train_here(one, FormulaRows(rows))


def test_auto_is_flash_attention_in_bf16_and_sdpa_in_fp32(tmp_path):
    base = make_model(tmp_path / "model")
    chosen = {}
    for precision in ("bf16", "fp32"):
        model = load_model(recipe(tmp_path, base, precision=precision), GPU, torch.float32)
        chosen[precision] = model.config._attn_implementation
    assert chosen["fp32"] == "sdpa"
    package = importlib.util.find_spec("flash_attn")
    assert chosen["bf16"] == ("flash_attention_2" if package else "varlen")


# Not FlexAttention: without gradients, PyTorch 2.11's kernel for rows below 128 tokens mixes documents, and a run of
# such rows is refused before step 1.
@pytest.mark.parametrize("kernel", KERNELS[:3])
def test_a_run_learns_the_same_with_every_kernel(tmp_path, kernel):
    base = make_model(tmp_path / "model")
    one, _ = ran(tmp_path, "sdpa", base, model={"path": str(base), "attention": "sdpa"})
    try:
        other, _ = ran(tmp_path, kernel, base, model={"path": str(base), "attention": kernel})
    except ModelLoadError as error:
        pytest.skip(str(error))
    assert losses(other.output) == pytest.approx(losses(one.output), rel=1e-2)


@pytest.mark.parametrize("what", ["activation_checkpointing", "compile", "liger"])
def test_a_run_learns_the_same_with(tmp_path, what):
    if what == "liger":
        pytest.importorskip("liger_kernel")
    base = make_model(tmp_path / "model")
    one, _ = ran(tmp_path, "as it is", base)
    other, _ = ran(tmp_path, what, base, model={"path": str(base), what: True})
    assert losses(other.output) == pytest.approx(losses(one.output), rel=1e-2)


def test_a_run_in_fp8_learns(tmp_path):
    pytest.importorskip("torchao.float8")
    base = saved(tmp_path / "model", "qwen3")
    assert FormulaRows.length % FP8_MULTIPLE == 0
    one, _ = ran(tmp_path, "bf16", base)
    other, _ = ran(tmp_path, "fp8", base, model={"path": str(base), "fp8": True})
    assert losses(other.output) == pytest.approx(losses(one.output), rel=0.05)
    assert losses(other.output) != losses(one.output)


def test_qlora_learns_over_four_bit_weights(tmp_path):
    pytest.importorskip("bitsandbytes")
    base = saved(tmp_path / "model", "qwen3")
    lora = {"rank": 8, "alpha": 16, "layers": ["q_proj", "v_proj", "down_proj"]}
    one, _ = ran(tmp_path, "lora", base, lora=lora, optimizer={"learning_rate": 1e-2})
    other, final = ran(tmp_path, "qlora", base, lora=lora | {"four_bit": True}, optimizer={"learning_rate": 1e-2})
    assert losses(other.output)[0] == pytest.approx(losses(one.output)[0], rel=0.1)
    assert losses(other.output)[0] != losses(one.output)[0]
    assert losses(other.output)[-1] < losses(other.output)[0]
    kept = load_file(next(final.glob("adapter_model.safetensors")))
    assert len(kept) == 2 * 3 * 2 and all(torch.isfinite(value).all() for value in kept.values())


ENGINES = {
    "fsdp": {"sharding": "fsdp"},
    "fsdp, offloaded": {"sharding": "fsdp", "offload_optimizer": True, "offload_parameters": True},
    "zero1": {"name": "deepspeed", "zero": 1},
    "zero2": {"name": "deepspeed", "zero": 2},
    "zero2, offloaded": {"name": "deepspeed", "zero": 2, "offload_optimizer": True},
    "zero3": {"name": "deepspeed", "zero": 3},
    "zero3, offloaded": {"name": "deepspeed", "zero": 3, "offload_optimizer": True, "offload_parameters": True},
}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_learns_what_one_process_does(tmp_path, engine):
    if "zero" in engine and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed")
    base = make_model(tmp_path / "model")
    one, _ = ran(tmp_path, "plain", base)
    path = written(tmp_path / "other", base, engine=ENGINES[engine], precision="bf16", steps=6)
    command = [*torchrun(1), str(TWO_RANKS), "24", str(path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    # DeepSpeed's forward pass has weights in bf16, ours in float32 under autocast.
    assert losses(tmp_path / "other" / "run") == pytest.approx(losses(one.output), rel=2e-2)
