"""The plan against figures from elsewhere: the paper's hours, published model sizes, and a model that was counted."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mellama_train.cli import main
from mellama_train.errors import EngineError, ModelLoadError, RecipeError
from mellama_train.plan.fitting import differences, faster, nearest_fit, refuse_hopeless
from mellama_train.plan.gpus import GPUS
from mellama_train.plan.memory import memory, saved_bytes, state, zero_state
from mellama_train.plan.shapes import SHAPES, shape_of
from mellama_train.plan.time import Machines, communicated, step_time
from mellama_train.plan.work import Asked
from mellama_train.recipe.config import EngineChoice, Lora, Recipe
from mellama_train.recipe.yaml_schema import parse
from mellama_train.trainers.reading import plan

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
    keys = yaml.safe_load((RECIPES / "pretrain-70b.yaml").read_text())
    keys["model"]["path"] = name
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys))
    found = plan(tmp_path / "r.yaml", Asked(gpus=160, gpu="a100-80g", tokens=2e12))
    assert found.hours * 160 == pytest.approx(hours, rel=0.15)


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("[fip]*-[17]*b.yaml")))
def test_every_recipe_of_the_paper_fits_its_machines(name):
    gpus = 160 if name.startswith("pretrain") else 8
    found = plan(RECIPES / name, Asked(gpus=gpus, gpu="a100-80g"))
    # The shape of a model that is not there yet is that of the one it is made from.
    assert found.fits and f"model: {'68.98' if '70b' in name else '13.02'}B parameters" in found.text


# torchtitan's tokens a second and GPU with FSDP2 at 8,192 tokens: docs/performance.md (2024; 64 A100) and
# benchmarks/llama3_h100_202412_torchtitan.md (8 and 128 H100). 8B runs compute some activations again, 70B all.
@pytest.mark.parametrize(
    ("model", "gpu", "gpus", "rows", "published", "again"),
    [
        ("llama3-8b", "a100-80g", 64, 1, 2904, None),
        ("llama3-70b", "a100-80g", 64, 1, 331, True),
        ("llama3-8b", "h100-80g", 8, 2, 5762, None),
        ("llama3-8b", "h100-80g", 128, 2, 6514, None),
    ],
)
def test_torchtitans_tokens_a_second(model, gpu, gpus, rows, published, again):
    def speed(checkpointing):
        run = recipe(
            model={"path": model, "activation_checkpointing": checkpointing},
            batch={"rows": gpus * rows, "micro_rows": rows},
            engine={"sharding": "fsdp"},
            context=8192,
        )
        return rows * 8192 / step_time(run, SHAPES[model], Machines(gpus=gpus, gpu=GPUS[gpu])).total

    if again:
        assert speed(True) == pytest.approx(published, rel=0.15)
    else:
        assert speed(True) < published < speed(False)


def seconds(run, model="llama2-13b", **machines):
    return step_time(run, SHAPES[model], Machines(**{"gpus": 160, "gpu": GPUS["a100-80g"]} | machines))


def test_recomputation_costs_a_third_of_training_and_half_of_what_is_frozen():
    kept = recipe(batch={"rows": 2560})
    again = replace(kept, model=replace(kept.model, activation_checkpointing=True))
    assert seconds(kept).recompute == 0
    assert seconds(again).recompute / seconds(again).compute == pytest.approx(1 / 3)
    frozen = seconds(replace(again, lora=Lora(rank=1), context=1))
    assert frozen.recompute / frozen.compute == pytest.approx(1 / 2, rel=0.01)


def test_what_ranks_send_by_stage():
    """Bytes by hand for 13,015,864,320 weights on 160 ranks: gradients in float32, weights in bf16."""
    part = SHAPES["llama2-13b"].parameters * 159 / 160

    def sent(**engine):
        return communicated(recipe(engine=engine), SHAPES["llama2-13b"], 160)

    assert sent(name="deepspeed", zero=1) == pytest.approx((0, 6 * part))
    assert sent(name="deepspeed", zero=2) == pytest.approx((4 * part, 2 * part))
    assert sent(name="deepspeed", zero=3) == pytest.approx((8 * part, 0))
    assert sent(sharding="fsdp") == pytest.approx((8 * part, 0)) and sent() == pytest.approx((0, 8 * part))
    assert communicated(recipe(), SHAPES["llama2-13b"], 1) == (0, 0)


def test_a_slow_network_costs_time_and_a_fast_one_none():
    run = recipe(batch={"rows": 2560}, engine={"name": "deepspeed", "zero": 3})
    fast, slow = seconds(run), seconds(run, interconnect=12.0)
    assert fast.communication == 0 and fast.hidden > 0
    # 16 micro-steps of eight bytes a weight over 80 % of 12 GB/s, less what computation hides.
    assert slow.communication + slow.hidden == pytest.approx(16 * 8 * 13.016e9 * 159 / 160 / 9.6e9, rel=0.001)
    assert slow.hidden == pytest.approx(slow.compute)
    # Within a machine the network is not used.
    inside = replace(run, batch=replace(run.batch, rows=8))
    assert seconds(inside, gpus=8, interconnect=0.001) == seconds(inside, gpus=8)


def test_offload_and_checkpoints_cost_time():
    zero3 = recipe(engine={"name": "deepspeed", "zero": 3})
    moved = replace(zero3, engine=replace(zero3.engine, offload_optimizer=True))
    all_moved = replace(moved, engine=replace(moved.engine, offload_parameters=True))
    assert seconds(zero3).offload == 0 < seconds(moved).offload < seconds(all_moved).offload

    # A checkpoint of 14 bytes a weight every 250 steps, written and read at 1 or 5 GB a second.
    def hours(disk):
        asked = Asked(gpus=160, gpu="a100-80g", tokens=129e9, storage=disk)
        return plan(RECIPES / "pretrain-13b.yaml", asked).hours

    steps = 129e9 / 2560 / 4096
    slower = 2 * 14 * SHAPES["llama2-13b"].parameters / 250 * steps / 3600 * (1 / 1e9 - 1 / 5e9)
    assert hours(1.0) - hours(None) == pytest.approx(slower)


def test_what_would_be_faster_is_named(tmp_path, capsys):
    asked = [str(RECIPES / "pretrain-13b.yaml"), "--gpus", "160", "--gpu", "a100-80g", "--tokens", "129e9"]
    assert main(["plan", *asked, "--interconnect", "12", "--set", "engine.zero=3"]) == 0
    slow = capsys.readouterr().out
    assert "fits as well: batch.micro_rows: 16" in slow and "less time" in slow
    assert main(["plan", *asked, "--set", "engine.zero=3", "--set", "engine.offload_optimizer=true"]) == 0
    assert "engine.offload_optimizer: false" in capsys.readouterr().out
    shape, machines = SHAPES["llama2-13b"], Machines(gpus=160, gpu=GPUS["a100-80g"])
    saved = recipe(model={"path": "m", "activation_checkpointing": True}, engine={"name": "deepspeed", "zero": 3})
    found = faster(saved, shape, machines)
    assert found and not found.model.activation_checkpointing and memory(found, shape, 160).fits(machines.gpu)
    assert faster(found, shape, machines) is None


def test_the_launch_line_of_one_machine():
    text = plan(RECIPES / "finetune-13b.yaml", Asked(gpus=8, gpu="a100-80g"), [("batch.micro_rows", "2")]).text
    assert "launch: torchrun --standalone --nproc_per_node 8 -m mellama_train finetune --recipe " in text
    assert "finetune-13b.yaml --set batch.micro_rows=2\n" in text


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
    assert "--utilisation: 1.2 is out of range" in refused(*asked, "--gpus", 160, "--utilisation", 1.2)
    assert "--sample-tokens: 90,000 is longer than context" in refused(*asked, "--gpus", 160, "--sample-tokens", 90_000)
    assert "--tokens: nan is out of range" in refused(*asked, "--gpus", 160, "--tokens", "nan")
    assert "--set optimiser" in refused(*asked, "--gpus", 160, "--set", "optimiser=1")
    assert "not the same number on each" in refused(*asked, "--gpus", 160, "--nodes", 3)
    assert "the shape of gpt5 is not known" in refused(*asked, "--gpus", 160, "--model", "gpt5")
    assert "cannot read" in refused(tmp_path / "none.yaml", "--gpus", 8, "--gpu", "h200")
    (tmp_path / "config.json").write_text('{"n_embd": 768}')
    assert "not of a Llama-like model" in refused(*asked, "--gpus", 160, "--model", tmp_path)


def test_several_wrong_answers_are_told_at_once():
    with pytest.raises(RecipeError) as caught:
        Asked(gpus=9, gpu="h200", nodes=2, tokens=float("inf"), utilisation=1.5)
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == ["--tokens:", "--utilisation:", "9"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot read"),
        ("[]", "is no JSON object"),
        ('{"hidden_size": 64}', "it has no num_attention_heads, intermediate_size, num_hidden_layers, vocab_size"),
        ("heads 0", "num_attention_heads is 0, and should be a whole number above 0"),
        ("layers x", "num_hidden_layers is 'x', and should be a whole number above 0"),
    ],
)
def test_a_configuration_that_gives_no_shape_is_one_line(tmp_path, content, problem):
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2}
    wrong = {"heads 0": {"num_attention_heads": 0}, "layers x": {"num_hidden_layers": "x"}}
    text = json.dumps(sizes | {"vocab_size": 64} | wrong[content]) if content in wrong else content
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelLoadError, match=re.escape(problem)):
        shape_of(str(tmp_path))


def test_the_stage_follows_from_what_is_set(tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    text = "model: {path: llama2-7b}\noutput: o\nbatch: {rows: 8}\nengine: {sharding: fsdp}\ndata: {files: [gone]}\n"
    recipe.write_text(text)
    asked = ["plan", str(recipe), "--gpus", "8", "--gpu", "h100-80g", "--set"]
    assert main([*asked, "data={task: pubmedqa}"]) == 0
    assert "-m mellama_train finetune --recipe" in capsys.readouterr().out
    assert main([*asked, f"data={{folder: {tmp_path}}}"]) == 0
    assert "-m mellama_train pretrain" in capsys.readouterr().out
    for damaged in ("{", "[]", '{"mixture": {}}'):
        (tmp_path / "manifest.json").write_text(damaged)
        assert main([*asked, f"data={{folder: {tmp_path}}}"]) == 2
        assert "manifest.json is damaged" in capsys.readouterr().err
    (tmp_path / "s.jsonl").write_bytes(b"\xff\xfe")
    assert main([*asked, f"data.files=[{tmp_path / 's.jsonl'}]"]) == 2
    assert f"cannot read {tmp_path / 's.jsonl'}: " in capsys.readouterr().err


def test_a_plan_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from mellama_train.cli import main\n"
        f"sys.exit(main(['plan', {str(RECIPES / 'pretrain-70b.yaml')!r}, '--gpus', '160', '--gpu', 'a100-80g']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "together on the device" in done.stdout
