"""The plan against figures from elsewhere: the paper's hours, published model sizes, and a model that was counted."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mellama_train.cli import main
from mellama_train.errors import EngineError
from mellama_train.plan.fitting import differences, nearest_fit, refuse_hopeless
from mellama_train.plan.gpus import GPUS
from mellama_train.plan.memory import memory, saved_bytes, state, zero_state
from mellama_train.plan.shapes import SHAPES, shape_of
from mellama_train.plan.text import plan
from mellama_train.plan.work import Asked
from mellama_train.recipe.config import EngineChoice, Lora, Recipe
from mellama_train.recipe.yaml_schema import parse

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def recipe(**changes):
    keys = {"model": {"path": "llama2-13b"}, "output": "run", "batch": {"rows": 160}}
    return parse(yaml.safe_dump(keys | changes), Recipe, "r.yaml")


@pytest.mark.parametrize(("name", "billions"), [("llama2-7b", 6.738), ("llama2-13b", 13.016), ("llama2-70b", 68.977)])
def test_parameters_are_the_published_ones(name, billions):
    assert SHAPES[name].parameters / 1e9 == pytest.approx(billions, abs=0.001)


@pytest.mark.parametrize(("name", "gigabytes"), [("llama2-13b", (53, 27, 1.3)), ("llama2-70b", (281, 144, 6.9))])
def test_state_of_the_paper_s_run_by_stage(name, gigabytes):
    """Sixteen bytes a parameter, gradients in bf16, over 160 ranks."""
    found = [
        zero_state(SHAPES[name].parameters, zero=zero, ranks=160, gradient_bytes=2).device / 1e9 for zero in (1, 2, 3)
    ]
    assert found == pytest.approx(gigabytes, rel=0.015)


def test_the_paper_s_hours_within_15_percent():
    pretraining = plan(RECIPES / "pretrain-70b.yaml", Asked(gpus=160, gpu="a100-80g", tokens=129e9, price=2.0))
    assert pretraining.fits and pretraining.hours == pytest.approx(700, rel=0.15)
    assert f"{pretraining.hours * 160 * 2:,.0f} USD" in pretraining.text
    tuning = plan(RECIPES / "instruct-70b.yaml", Asked(gpus=8, gpu="a100-80g", samples=214_595, model="llama2-70b"))
    assert tuning.fits and tuning.hours / 3 == pytest.approx(70, rel=0.15)
    assert "padded without packing" in tuning.text and "Llama 2's own GPU-hours" in tuning.text


@pytest.mark.parametrize(
    ("name", "tokens_of_all", "hours"), [("llama2-70b", 2e12, 1_720_320), ("llama2-13b", 2e12, 368_640)]
)
def test_llama_2_s_own_hours_within_15_percent(tmp_path, name, tokens_of_all, hours):
    keys = yaml.safe_load((RECIPES / "pretrain-70b.yaml").read_text()) | {"model": {"path": name}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys))
    found = plan(tmp_path / "r.yaml", Asked(gpus=160, gpu="a100-80g", tokens=2e12))
    assert found.hours * 160 == pytest.approx(hours, rel=0.15)


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("*-[17]*b.yaml")))
def test_every_recipe_of_the_paper_fits_its_machines(name):
    gpus, model = (160, None) if name.startswith("pretrain") else (8, "llama2-70b" if "70b" in name else "llama2-13b")
    assert plan(RECIPES / name, Asked(gpus=gpus, gpu="a100-80g", model=model)).fits


def test_the_warning_before_the_end_of_the_paper_s_run():
    """A step of 207 s has 16 micro-batches; 14 bytes a weight are written and read at 5 GB/s; 30 s are for the rest."""
    found = plan(RECIPES / "pretrain-70b.yaml", Asked(gpus=160, gpu="a100-80g", throughput=2560 * 4096 / 207))
    size = 14 * 68_976_648_192
    assert f"a checkpoint: {size / 1e9:.1f} GB" in found.text
    seconds = 2 * 207 / 16 + 2 * size / 5e9 + 30
    assert f"sbatch --nodes 20 --signal=USR1@{math.ceil(seconds / 10) * 10} examples" in found.text
    assert f"train.sbatch pretrain {RECIPES}" in found.text


def test_what_does_not_fit_is_named_with_what_does(tmp_path, capsys):
    keys = yaml.safe_load((RECIPES / "pretrain-70b.yaml").read_text())
    keys["engine"]["zero"] = 2
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys))
    assert main(["plan", str(tmp_path / "r.yaml"), "--gpus", "160", "--gpu", "a100-80g"]) == 2
    out = capsys.readouterr().out
    assert "DOES NOT FIT" in out and "nearest that fits: engine.zero: 3" in out


def test_the_nearest_strategy_is_the_cheapest():
    shape, gpu = SHAPES["llama2-13b"], GPUS["a100-80g"]
    big = recipe(engine={"name": "deepspeed", "zero": 3}, batch={"rows": 640, "micro_rows": 4})
    found = nearest_fit(big, shape, 160, gpu)
    assert found and differences(big, found) == "model.activation_checkpointing: true"
    on_eight = recipe(engine={"name": "deepspeed", "zero": 1}, model={"path": "m", "activation_checkpointing": True})
    found = nearest_fit(on_eight, shape, 8, gpu)
    assert found and differences(on_eight, found) == "engine.zero: 2"
    alone = nearest_fit(on_eight, SHAPES["llama2-70b"], 8, gpu)
    assert alone and alone.engine.zero == 3 and alone.engine.offload_optimizer
    plain = recipe(model={"path": "m", "activation_checkpointing": True})
    found = nearest_fit(plain, shape, 16, gpu)
    assert found and differences(plain, found) == "engine.sharding: fsdp"


def test_the_trainer_refuses_what_cannot_fit():
    one = recipe(engine={"name": "deepspeed", "zero": 1})
    with pytest.raises(EngineError, match=r"does not fit: each rank would keep .* GiB .*engine.zero: 3"):
        refuse_hopeless(one, SHAPES["llama2-70b"], 160, 80 * 2**30)
    refuse_hopeless(replace(one, engine=replace(one.engine, zero=3)), SHAPES["llama2-70b"], 160, 80 * 2**30)


def test_lora_four_bit_and_offload():
    shape = SHAPES["llama2-13b"]
    lora = replace(recipe(), lora=Lora(rank=16))
    # 16 × (in + out) over seven layers of 40 blocks: peft counts 62,586,880 for Llama-2-13b.
    assert shape.adapters(16, ("all-linear",)) == 62_586_880
    assert state(lora, shape, 8).device < 28e9 < state(replace(lora, lora=None), shape, 8).device
    assert state(replace(lora, lora=Lora(four_bit=True)), shape, 8).weights < 8.5e9
    zero3 = EngineChoice(name="deepspeed", zero=3)
    kept = state(replace(recipe(), engine=zero3), shape, 8)
    moved = state(replace(recipe(), engine=replace(zero3, offload_optimizer=True)), shape, 8)
    assert moved.host == pytest.approx(12 * shape.parameters / 8) and moved.device == kept.device - moved.host


def test_the_state_of_a_real_model_and_optimizer(tmp_path):
    """The bytes that PyTorch holds after a step of the plain engine."""
    torch = pytest.importorskip("torch")
    from training_parts import make_model
    from transformers import AutoModelForCausalLM

    folder = make_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.arange(8)[None]).logits.sum().backward()
    optimizer.step()
    moments = sum(v.nbytes for entry in optimizer.state.values() for k, v in entry.items() if k != "step")
    held = moments + sum(p.nbytes + p.grad.nbytes for p in model.parameters())
    assert state(recipe(precision="fp32"), shape_of(str(folder)), 1).device == held
    assert shape_of(str(make_model(tmp_path / "tied", tied=True))).parameters == sum(
        p.numel() for p in AutoModelForCausalLM.from_pretrained(tmp_path / "tied").parameters()
    )


@pytest.mark.parametrize("autocast", [False, True])
def test_activations_are_what_pytorch_saves(autocast):
    """Bytes that the layers of a Llama save for their backward pass, in bf16 or under autocast to it."""
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    tokens, shape = 300, SHAPES["llama2-7b"]
    small = replace(shape, hidden=256, feed_forward=688, heads=4, head_dim=64, kv=256)

    def saved(layers):
        sizes = {"hidden_size": 256, "intermediate_size": 688, "num_attention_heads": 4, "vocab_size": 64}
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **sizes))
        model = model if autocast else model.bfloat16()
        own, found = {p.data_ptr() for p in model.parameters()}, {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            # The copies of weights that autocast makes are counted with the weights; views keep a storage alive.
            if storage.data_ptr() not in own and tensor.numel() not in {p.numel() for p in model.parameters()}:
                found[storage.data_ptr()] = (storage.nbytes(), tensor)
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            model.model(input_ids=torch.arange(tokens)[None] % 64)
        return sum(size for size, _ in found.values())

    one_block = (saved(5) - saved(1)) / 4
    assert saved_bytes(small, 2, autocast=autocast) * tokens == pytest.approx(one_block, rel=0.1)


def test_checkpointing_and_rows_change_activations_alone():
    shape = SHAPES["llama2-7b"]
    plain = recipe(batch={"rows": 160, "micro_rows": 2})
    saved = replace(plain, model=replace(plain.model, activation_checkpointing=True))
    half = replace(plain, batch=replace(plain.batch, micro_rows=1))
    assert memory(saved, shape, 8).activations < memory(plain, shape, 8).activations / 8
    assert memory(half, shape, 8).activations == memory(plain, shape, 8).activations / 2
    assert memory(saved, shape, 8).state == memory(plain, shape, 8).state


def test_a_plan_on_cpus(tmp_path, capsys):
    from training_parts import make_model

    model = str(make_model(tmp_path / "model"))
    asked = ["plan", str(RECIPES / "pretrain-demo.yaml"), "--gpus", "1", "--gpu", "cpu", "--model", model]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "throughput: not known for cpu" in out and "tokens: 32,000 an epoch" in out
    assert main([*asked, "--throughput", "100"]) == 0
    assert "time: 0.1 hours" in capsys.readouterr().out


def test_samples_in_files_are_counted(tmp_path):
    (tmp_path / "s.jsonl").write_text('{"prompt": "aaaa", "response": "b"}\n' * 20)
    keys = {"model": {"path": "llama2-7b"}, "output": "o", "batch": {"rows": 8}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys | {"data": {"files": [str(tmp_path / "s.jsonl")]}}))
    found = plan(tmp_path / "r.yaml", Asked(gpus=8, gpu="h100-80g"))
    # 20 lines of 36 characters at 4 a token; instruction tuning takes three epochs.
    assert "tokens: 180 an epoch, 3 epochs (20 samples" in found.text


def test_samples_of_a_task_are_counted(tmp_path):
    keys = {"model": {"path": "llama2-7b"}, "output": "o", "context": 512, "data": {"task": "pubmedqa"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys | {"batch": {"rows": 8}}))
    found = plan(tmp_path / "r.yaml", Asked(gpus=8, gpu="h100-80g"))
    # PubMedQA's train split has 450 documents; below 10,000 samples there are five epochs.
    assert "tokens: 230,400 an epoch, 5 epochs (450 samples of pubmedqa" in found.text


def test_bad_questions_get_one_line(tmp_path, capsys):
    def refused(*arguments):
        assert main(["plan", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    asked = [RECIPES / "pretrain-13b.yaml", "--gpu", "a100-80g"]
    assert "cannot be divided among 7 GPUs" in refused(*asked, "--gpus", 7)
    assert "--gpus: 0 is out of range" in refused(*asked, "--gpus", 0)
    assert "not the same number on each" in refused(*asked, "--gpus", 160, "--nodes", 3)
    assert "the shape of gpt5 is not known" in refused(*asked, "--gpus", 160, "--model", "gpt5")
    assert "cannot read" in refused(tmp_path / "none.yaml", "--gpus", 8, "--gpu", "h200")
    (tmp_path / "config.json").write_text('{"n_embd": 768}')
    assert "not of a Llama-like model" in refused(*asked, "--gpus", 160, "--model", tmp_path)


def test_a_plan_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from mellama_train.cli import main\n"
        f"sys.exit(main(['plan', {str(RECIPES / 'pretrain-70b.yaml')!r}, '--gpus', '160', '--gpu', 'a100-80g']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "together on the device" in done.stdout
