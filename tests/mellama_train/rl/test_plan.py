"""The plan of `grpo` against arithmetic by hand, from published shapes and data sheets."""

from pathlib import Path

import pytest
import yaml

from mellama_train.cli import main
from mellama_train.errors import RecipeError
from mellama_train.plan.gpus import GPUS
from mellama_train.plan.memory import GIB
from mellama_train.plan.shapes import shape_of
from mellama_train.plan.work import Asked
from mellama_train.recipe.yaml_schema import load
from mellama_train.rl.plan import answers, at_once, cache_bytes, rollout_memory, rollout_time
from mellama_train.rl.recipe import GrpoRecipe
from mellama_train.trainers.reading import plan, read_recipe
from mellama_train.trainers.registry import find_trainer

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
EIGHT = {"gpus": 8, "gpu": "h100-80g"}


def recipe(tmp_path, **changes):
    keys = {
        "model": {"path": "llama3-8b"},
        "data": {"tasks": ["pubmedqa"]},
        "output": "run",
        "context": 2048,
        "batch": {"rows": 64},
        "rollouts": {"group": 8, "tokens": 512},
        "engine": {"name": "deepspeed", "zero": 3},
    }
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(keys | changes))
    return load(file, GrpoRecipe)


def planned(found, **asked):
    asked = Asked(**{**EIGHT, **asked})
    shape, gpu, drawn = shape_of(found.model.path), GPUS[asked.gpu], answers(found, asked)
    size = rollout_memory(found, shape, asked.gpus, gpu, drawn)
    together = at_once(found, shape, drawn, size)
    return drawn, size, together, rollout_time(found, shape, asked.cluster, drawn, together)


def test_memory_of_actor_reference_and_vllm(tmp_path):
    """Llama 3 8B has 8.03e9 weights, 32 layers, 8 key heads of 128; bf16 is 2 bytes."""
    drawn, size, together, _ = planned(recipe(tmp_path))
    weights = shape_of("llama3-8b").parameters
    assert weights == pytest.approx(8.03e9, rel=1e-3)
    assert (drawn.engine, drawn.engines, drawn.prompt, drawn.answer) == ("vllm", 8, 1536, 512)
    # ZeRO-3 on 8: weights in 16 bits, gradients in float32, and 12 bytes of optimizer, an eighth of each.
    assert size.actor.state.device == pytest.approx((2 + 4 + 12) * weights / 8)
    assert size.reference == pytest.approx(2 * weights / 8)
    assert size.share == pytest.approx(0.3 * 80 * GIB)
    assert size.weights == pytest.approx(2 * weights)
    # 2 × 32 layers × 8 heads × 128 × 2 bytes = 131,072 bytes a token.
    assert cache_bytes(recipe(tmp_path), shape_of("llama3-8b")) == 131_072
    assert together == 8 == 64 // 8
    assert size.cache / (2048 * 131_072) > 8
    activations = size.actor.activations + size.actor.logits + size.actor.buffers
    assert size.device == pytest.approx(size.actor.state.device + size.reference + size.share + activations)


def test_no_reference_without_divergence_or_with_adapters(tmp_path):
    assert planned(recipe(tmp_path, beta=0.0))[1].reference == 0
    assert planned(recipe(tmp_path, lora={"rank": 8}))[1].reference == 0
    # Without DeepSpeed the weights that are trained are float32, and so is their copy, whole on each rank.
    plain = planned(recipe(tmp_path, engine={}))[1].reference
    assert plain == pytest.approx(4 * shape_of("llama3-8b").parameters)


def test_transformers_gathers_the_weights_and_holds_all_its_answers(tmp_path):
    found = recipe(tmp_path, rollouts={"group": 8, "tokens": 512, "engine": "transformers"})
    drawn, size, together, _ = planned(found)
    assert (drawn.engine, together, size.share) == ("transformers", 8, 0.0)
    assert size.weights == pytest.approx(2 * shape_of("llama3-8b").parameters)
    assert size.cache == 8 * 2048 * 131_072
    # Answers are drawn when there are no activations: of the two the larger counts.
    state, generating = size.actor.state.device + size.reference, size.weights + size.cache
    training = size.actor.activations + size.actor.logits + size.actor.buffers
    assert size.device == pytest.approx(state + max(training, generating))


def test_generation_s_share_of_the_time(tmp_path):
    """An H100 has 989 TFLOP/s, of which 40 % are counted on, and 3,350 GB/s, of which vLLM's decoding reaches 60 %."""
    _, _, _together, time = planned(recipe(tmp_path))
    weights, hidden, layers = shape_of("llama3-8b").parameters, 4096, 32
    used = weights - 128_256 * hidden
    speed = 8 * 989e12 * 0.4
    forward = 2 * used + 4 * layers * hidden * 2048
    assert time.reference == pytest.approx(64 * 2048 * forward / speed)
    assert time.old == time.reference
    # Eight prompts, each read once for its eight answers.
    assert time.prefill == pytest.approx(8 * 1536 * (2 * used + 4 * layers * hidden * 1536) / speed)
    read = 2 * weights + 8 * (1536 + 256) * 131_072
    assert time.decoding == pytest.approx(512 * read / (3350e9 * 0.6))
    assert time.share == pytest.approx((time.prefill + time.decoding) / time.total)
    assert time.total == pytest.approx(time.training + 2 * time.reference + time.prefill + time.decoding)


def test_answers_that_do_not_fit_at_once_wait_for_another_wave(tmp_path):
    found = recipe(tmp_path, batch={"rows": 1024}, rollouts={"group": 8, "tokens": 512})
    drawn, size, together, time = planned(found)
    assert together == int(size.cache / (2048 * 131_072)) < 128 == drawn.of_an_engine(found)
    read = 2 * shape_of("llama3-8b").parameters + together * (1536 + 256) * 131_072
    waves = -(-128 // together)
    assert time.decoding == pytest.approx(waves * 512 * read / (3350e9 * 0.6))


def test_answers_that_are_used_for_several_steps_are_drawn_once(tmp_path):
    once, twice = (planned(recipe(tmp_path, iterations=n))[3] for n in (1, 2))
    assert twice.generation == pytest.approx(once.generation / 2)
    assert twice.training == once.training


@pytest.mark.parametrize(("file", "gpus", "billions"), [("grpo-8b.yaml", 8, "8.03B"), ("grpo-70b.yaml", 16, "70.55B")])
def test_the_recipes_fit_the_machines_they_name(file, gpus, billions, capsys):
    assert main(["plan", str(RECIPES / file), "--gpus", str(gpus), "--gpu", "h100-80g"]) == 0
    said = capsys.readouterr().out
    assert f"model: {billions} parameters; {gpus} × h100-80g" in said
    assert "generation: " in said and "% of the time" in said
    assert f"--num_processes {gpus} -m mellama_train train grpo {RECIPES / file}" in said
    assert "steps: 500 of 32 prompts" in said


def test_a_share_that_holds_no_answer_is_told_with_the_least_that_does(tmp_path, capsys):
    recipe(tmp_path, rollouts={"group": 8, "tokens": 512, "vllm_memory": 0.18})
    assert main(["plan", str(tmp_path / "r.yaml"), "--trainer", "grpo", "--gpus", "8", "--gpu", "h100-80g"]) == 2
    said = capsys.readouterr().out
    assert "DOES NOT FIT: vLLM's share of the GPUs holds the weights and no answer; take rollouts.vllm_memory" in said
    # 16.06 GB of weights and 0.27 GB of one answer's cache, of 85.9 GB.
    assert "of 0.20 at least" in said
    better = recipe(tmp_path, rollouts={"group": 8, "tokens": 512, "vllm_memory": 0.20})
    assert planned(better)[2] >= 1


def test_steps_follow_from_the_documents_where_they_are_not_said(tmp_path):
    recipe(tmp_path)
    (tmp_path / "r.yaml").write_text((tmp_path / "r.yaml").read_text())
    found = plan(tmp_path / "r.yaml", Asked(**EIGHT, samples=1000, price=2.0), (), "grpo")
    assert "steps: 125 of 8 prompts" in found.text
    assert f"{found.hours * 8 * 2:,.0f} USD" in found.text


def test_what_cannot_be_planned_is_one_line(tmp_path):
    found = recipe(tmp_path, rollouts={"group": 8, "tokens": 512, "vllm_ranks": 3})
    with pytest.raises(RecipeError, match="vllm_ranks 3 do not divide the 8 GPUs"):
        answers(found, Asked(**EIGHT))
    with pytest.raises(RecipeError, match="400 tokens of a prompt with its answer are no more than the 512"):
        answers(recipe(tmp_path), Asked(**EIGHT, sample_tokens=400))


def test_the_recipes_that_come_with_the_package_are_right():
    for file in RECIPES.glob("grpo-*.yaml"):
        assert read_recipe(find_trainer("grpo"), file).value.rollouts.group == 8
