"""Two real processes learn what one learns, by every engine; and runs go on with another number of ranks."""

import json
import shutil
from importlib.util import find_spec

import pytest
import yaml
from launching import back_to, launch, written
from safetensors.torch import load_file
from training_parts import FormulaRows, losses, make_model, recipe, recipe_text, train_here

pytestmark = pytest.mark.slow

ENGINES = {
    "ddp": {"name": "plain"},
    "fsdp": {"name": "plain", "sharding": "fsdp"},
    "zero1": {"name": "deepspeed", "zero": 1},
    "zero2": {"name": "deepspeed", "zero": 2, "offload_optimizer": True},
    "zero3": {"name": "deepspeed", "zero": 3},
}
HERE = [name for name in ENGINES if find_spec("deepspeed") or not name.startswith("zero")]
STRICT = {"action": "skip", "factor": 1.01, "window": 2}
"""Leaves out every step whose loss is a little above the last two."""
EVERY = {"checkpoints": {"every_steps": 4, "keep": 5}}


def needs(name):
    if name not in HERE:
        pytest.skip("DeepSpeed is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory, model):
    one = recipe(tmp_path_factory.mktemp("alone"), model)
    train_here(one, FormulaRows(42))
    return one.output


@pytest.fixture(scope="module")
def on_two(tmp_path_factory, model):
    """Every engine on two ranks, and adapters where weights are sharded."""
    folder = tmp_path_factory.mktemp("two")
    recipes = [written(folder / name, model, engine=ENGINES[name], **EVERY) for name in HERE]
    sharded = "zero3" if "zero3" in HERE else "fsdp"
    recipes.append(written(folder / "lora", model, engine=ENGINES[sharded], lora={"rank": 4}))
    recipes += [written(folder / f"spikes-{name}", model, engine=ENGINES[name], spikes=STRICT) for name in HERE]
    launch(2, recipes)
    return folder


@pytest.mark.parametrize("name", ENGINES)
def test_two_ranks_learn_what_one_does(name, on_two, alone):
    needs(name)
    assert losses(on_two / name / "run") == pytest.approx(losses(alone), rel=1e-5)
    ours, theirs = (load_file(run / "final" / "model.safetensors") for run in (on_two / name / "run", alone))
    assert ours.keys() == theirs.keys()
    for weight, value in theirs.items():
        assert float((ours[weight] - value).abs().max()) < 1e-4, weight


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_leaves_out_the_same_steps(name, on_two, model, tmp_path):
    needs(name)
    one = recipe(tmp_path, model, spikes=STRICT)
    train_here(one, FormulaRows(42))
    events = [
        [line["step"] for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "event" in line]
        for run in (one.output, on_two / f"spikes-{name}" / "run")
    ]
    assert events[0] and events[0] == events[1]
    assert losses(on_two / f"spikes-{name}" / "run") == pytest.approx(losses(one.output), rel=1e-5)


def test_sharded_adapters_are_written_whole(on_two, model, tmp_path):
    one = recipe(tmp_path, model, lora={"rank": 4})
    train_here(one, FormulaRows(42))
    ours = load_file(on_two / "lora" / "run" / "final" / "adapter_model.safetensors")
    theirs = load_file(one.output / "final" / "adapter_model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(float((ours[name] - value).abs().max()) < 1e-4 for name, value in theirs.items())
    assert any("lora_B" in name and float(value.abs().max()) > 0 for name, value in ours.items())


def test_a_run_goes_on_with_another_number_of_ranks(on_two, model, alone):
    """2 → 1 → 2: stopped after step 4 and after step 8; every row is read once, and the curve is that of one rank."""
    names = [name for name in ("ddp", "fsdp", "zero2", "zero3") if name in HERE]
    folder = on_two.parent / "changing"
    recipes = [written(folder / name, model, engine=ENGINES[name], **EVERY) for name in names]
    for name in names:
        shutil.copytree(on_two / name / "run", folder / name / "run")
    for ranks, step in ((1, 4), (2, 8)):
        for name in names:
            back_to(folder / name / "run", step)
        launch(ranks, recipes)
    for name in names:
        assert losses(folder / name / "run") == pytest.approx(losses(alone), rel=1e-5), name


def test_the_rows_of_a_step_must_divide_by_the_ranks(model, tmp_path):
    from mellama_train.cli import main

    (tmp_path / "samples.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    keys = recipe_text(
        tmp_path, model, data={"files": [str(tmp_path / "samples.jsonl")]}, batch={"rows": 3, "micro_rows": 2}
    )
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys))
    assert main(["instruct", str(tmp_path / "r.yaml")]) == 2
    assert not (tmp_path / "run" / "final").exists()
