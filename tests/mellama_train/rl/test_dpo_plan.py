"""The plan of a preference run: what the reference takes, against the published size of the model."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mellama_train.cli import main
from mellama_train.plan.gpus import GPUS
from mellama_train.plan.memory import GIB, memory
from mellama_train.plan.shapes import SHAPES
from mellama_train.plan.time import Machines
from mellama_train.recipe.config import Batch, EngineChoice, Lora
from mellama_train.recipe.yaml_schema import parse
from mellama_train.rl.dpo_plan import pair_memory, pair_time
from mellama_train.rl.dpo_recipe import DpoRecipe

RECIPE = Path(__file__).resolve().parents[3] / "recipes" / "dpo-8b.yaml"
SHAPE = SHAPES["llama3-8b"]
PARAMETERS = 8.03e9
"""As its makers publish it."""


@pytest.fixture
def recipe():
    keys = yaml.safe_load(RECIPE.read_text())
    assert keys.pop("trainer") == "dpo"
    return parse(yaml.safe_dump(keys), DpoRecipe, RECIPE.name)


def test_the_reference_is_the_weights_once_more(recipe):
    """In bf16 and shared by ZeRO-3; in float32 and whole on each rank of the plain engine; nothing after LoRA."""
    assert pair_memory(recipe, SHAPE, 8).reference == pytest.approx(2 * PARAMETERS / 8, rel=0.001)
    second = replace(recipe, engine=EngineChoice(name="deepspeed", zero=2))
    assert pair_memory(second, SHAPE, 8).reference == pytest.approx(2 * PARAMETERS, rel=0.001)
    plain = replace(recipe, engine=EngineChoice())
    assert pair_memory(plain, SHAPE, 8).reference == pytest.approx(4 * PARAMETERS, rel=0.001)
    assert pair_memory(replace(recipe, lora=Lora()), SHAPE, 8).reference == 0
    assert pair_memory(replace(recipe, precompute_reference=True), SHAPE, 8).reference == 0


def test_a_pair_is_two_sequences(recipe):
    found = pair_memory(recipe, SHAPE, 8).trained
    twice = replace(recipe, batch=Batch(rows=256, micro_rows=4))
    assert found == memory(twice, SHAPE, 8)
    assert found.activations == 2 * memory(recipe, SHAPE, 8).activations


def test_the_reference_takes_a_fourth_of_what_all_weights_take_to_train(recipe):
    """Eight operations a weight with activations computed again, and two for the reference (PaLM, appendix B)."""
    machines = Machines(gpus=8, gpu=GPUS["h100-80g"])
    plain = replace(recipe, engine=EngineChoice(name="deepspeed", zero=1))
    found = pair_time(plain, SHAPE, machines)
    assert found.reference / found.training == pytest.approx(1 / 4, rel=0.03)
    # 2 × 128 sequences of 2,048 tokens, 2 operations a weight (without the input embeddings) and token.
    operations = 2 * 128 * 2048 * 2 * (PARAMETERS - 128256 * 4096)
    assert found.reference == pytest.approx(operations / (8 * 989e12 * 0.4), rel=0.1)
    before = pair_time(replace(plain, precompute_reference=True), SHAPE, machines)
    assert (before.reference, before.before) == (0, found.reference)


def test_the_recipe_fits_eight_gpus_and_says_how_it_is_started(capsys):
    assert main(["plan", str(RECIPE), "--gpus", "8", "--gpu", "h100-80g", "--samples", "20000"]) == 0
    said = capsys.readouterr().out
    lines = {line.rsplit(maxsplit=1)[0].strip(): line.rsplit(maxsplit=1)[-1] for line in said.splitlines() if line}
    assert lines["reference"] == f"{2 * SHAPE.parameters / 8 / GIB:.2f}"
    assert "fits: h100-80g" in said and "steps: 156 of 128 pairs" in said
    assert f"launch: accelerate launch --num_processes 8 -m mellama_train train dpo {RECIPE}" in said
    assert main(["plan", str(RECIPE), "--gpus", "2", "--gpu", "a100-40g"]) == 2
    said = capsys.readouterr().out
    assert "DOES NOT FIT" in said and "steps: not known, since the data is not here" in said
