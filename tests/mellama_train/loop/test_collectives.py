"""Ranks whose rows differ in their targets make the same collectives, and all engines learn what one rank does."""

import json
from importlib.util import find_spec

import pytest
from launching import TWO_OUT_OF_STEP, failed, launch, written
from training_parts import CountedRows, losses, make_model, recipe, train_here

pytestmark = pytest.mark.slow

CHUNK = 2048
"""Targets in one call of the output layer at most."""

STEPS = [
    # Targets of the two rows of the first rank, and of the second's: below, at and above each boundary, and none.
    [(2047, 0), (2048, 1)],
    [(2048, 0), (2048, 2048)],
    [(2049, 2048), (1, 0)],
    [(0, 0), (2098, 2098)],
]
LAST = [5]
"""A short step: the second row of the first rank and both of the second are blank."""

TARGETS = [count for step in STEPS for rank in step for count in rank] + LAST

MODEL = {"loss": "chunked"}
ENGINES = {
    "ddp": {"name": "plain"},
    "fsdp": {"name": "plain", "sharding": "fsdp"},
    "zero1": {"name": "deepspeed", "zero": 1},
    "zero2": {"name": "deepspeed", "zero": 2},
    "zero3": {"name": "deepspeed", "zero": 3, "check_ranks": True},
}
HERE = [name for name in ENGINES if find_spec("deepspeed") or not name.startswith("zero")]
SHARDED = [name for name in ("fsdp", "zero3") if name in HERE]


def keys(model, **more):
    return {
        "model": {"path": str(model), **MODEL, **more},
        "context": CountedRows.length,
        "batch": {"rows": 4, "micro_rows": 2},
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Its output layer has 2,048 × 64 weights, more than ZeRO-3 keeps whole on every rank."""
    return make_model(tmp_path_factory.mktemp("model"), vocabulary=2048, positions=4096)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, model):
    one = recipe(tmp_path_factory.mktemp("alone"), model, **keys(model))
    train_here(one, CountedRows(TARGETS), {"held": CountedRows([2050, 3, 0])})
    return one.output


@pytest.fixture(scope="module")
def on_two(tmp_path_factory, model):
    """Every engine in float32; those that shard weights in bf16 too, as it is trained with, and with probes."""
    folder = tmp_path_factory.mktemp("two")
    recipes = [written(folder / name, model, engine=ENGINES[name], **keys(model)) for name in HERE]
    in_bf16 = keys(model, loss="auto", activation_checkpointing=True) | {"precision": "bf16"}
    recipes += [
        written(folder / f"{name}-bf16", model, engine=ENGINES[name], probe=probe, **in_bf16)
        for name, probe in zip(SHARDED, PROBES, strict=False)
    ]
    launch(2, recipes, ",".join(map(str, TARGETS)))
    return folder


PROBES = [
    {"tasks": ["medqa"], "limit": 3, "scoring": "loglikelihood"},
    {"tasks": ["pubmedqa"], "limit": 3},
]
"""Three documents, which two ranks cannot share evenly."""


def held_out(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["held_out_loss/counted"] for line in lines if "held_out_loss/counted" in line]


@pytest.mark.parametrize("name", ENGINES)
def test_targets_on_both_sides_of_every_boundary(name, on_two, alone):
    if name not in HERE:
        pytest.skip("DeepSpeed is not installed")
    assert len(losses(alone)) == len(STEPS) + 1
    assert losses(on_two / name / "run") == pytest.approx(losses(alone), rel=1e-5)
    assert held_out(on_two / name / "run") == pytest.approx(held_out(alone), rel=1e-5)


@pytest.mark.parametrize("name", SHARDED)
def test_the_same_in_bf16_with_probes(name, on_two, alone):
    run = on_two / f"{name}-bf16" / "run"
    assert losses(run) == pytest.approx(losses(alone), rel=0.02)
    assert sum("probe/" in line for line in (run / "metrics.jsonl").read_text().splitlines()) == 2


def test_ranks_out_of_step_are_told_instead_of_hanging():
    said = failed(2, TWO_OUT_OF_STEP)
    assert "ranks are out of step: rank 0 is at the end of the pass, rank 1 at head" in said
