"""What a recipe of `grpo` refuses, each with the line and the key that is wrong."""

import pytest
from rl_parts import recipe

from mellama_train.errors import RecipeError
from mellama_train.rl.recipe import Rollouts


def test_defaults_are_those_of_trl_and_the_papers(tmp_path):
    found = recipe(tmp_path, tmp_path / "run")
    assert (found.beta, found.epsilon, found.iterations, found.scale, found.loss) == (0.04, 0.2, 1, "group", "dapo")
    assert Rollouts().group == 8
    assert found.data.weights is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rollouts": {"group": 1}}, "group: 1 answer of a prompt has no other to be better than; take at least 2"),
        ({"batch": {"rows": 6, "micro_rows": 2}}, "batch: rows 6 are no whole groups of 4 answers (rollouts.group)"),
        (
            {"rollouts": {"group": 4, "tokens": 128}},
            "rollouts: tokens 128 leave no room for a prompt in a context of 128",
        ),
        ({"data": {"tasks": []}}, "tasks: names no task (mibe tasks lists them)"),
        ({"data": {"tasks": ["ddi", "ddi"]}}, "tasks: names a task twice; give it a weight: {task: 2}"),
        ({"data": {"tasks": {"ddi": 0}}}, "must be above 0"),
        ({"reward": {"format": 0.6, "length": 0.5}}, "format: and length leave nothing for the answer"),
        ({"epsilon_high": 0.1}, "epsilon_high: 0.1 is below epsilon 0.2"),
        ({"probe": {"tasks": ["mmlu"]}}, "probe: is of the stages that this package's own loop trains; leave it out"),
        ({"spikes": {"action": "skip"}}, "spikes: is of the stages that this package's own loop trains"),
        ({"model": {"path": "m", "compile": True}}, "model: compile is of this package's own loop; leave it out"),
        ({"model": {"path": "m", "attention": "varlen"}}, "model: attention varlen wants packed rows"),
        ({"engine": {"sharding": "fsdp"}}, "engine: sharding and check_ranks are of this package's own engine"),
        (
            {"reporting": {"profile_steps": 2}},
            "reporting: peak_tflops and profile_steps are of this package's own loop",
        ),
    ],
)
def test_what_contradicts_is_said_with_its_line(tmp_path, changes, said):
    with pytest.raises(RecipeError) as refused:
        recipe(tmp_path, tmp_path / "run", **changes)
    assert said in str(refused.value)
    assert str(refused.value).startswith("the recipe:")


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    with pytest.raises(RecipeError) as refused:
        recipe(tmp_path, tmp_path / "run", batch={"rows": 5}, engine={"check_ranks": True}, epsilon_high=0.1)
    assert len(str(refused.value).splitlines()) == 3


def test_each_pass_has_every_prompt_in_an_order_of_its_own(tmp_path):
    """Two prompts a step, five of them, three passes: 15 prompts make 7 steps, whatever lies on the ends of passes."""
    pytest.importorskip("transformers", reason="transformers comes with the extra train")
    from mellama_train.rl.grpo import order, run_steps

    made = recipe(tmp_path, tmp_path / "run", batch={"rows": 8}, steps=None, epochs=3)
    assert run_steps(made, 5) == 7
    found = order(made, 5)
    assert len(found) == 14
    assert sorted(found[:5]) == sorted(found[5:10]) == [0, 1, 2, 3, 4]
    assert found[:5] != found[5:10]
    assert order(recipe(tmp_path, tmp_path / "run", batch={"rows": 8}, steps=3, epochs=3), 5) == found[:6]
    # Two steps of the same answers: the same prompts last twice as long.
    twice = recipe(tmp_path, tmp_path / "run", batch={"rows": 8}, steps=3, epochs=3, iterations=2)
    assert run_steps(recipe(tmp_path, tmp_path, batch={"rows": 8}, steps=None, epochs=3, iterations=2), 5) == 14
    assert order(twice, 5) == found[:4]


def test_steps_that_the_prompts_do_not_make_are_refused(tmp_path):
    pytest.importorskip("transformers", reason="transformers comes with the extra train")
    from mellama_train.errors import DataError
    from mellama_train.rl.grpo import run_steps

    with pytest.raises(DataError, match="1 prompts make no step of 2"):
        run_steps(recipe(tmp_path, tmp_path, batch={"rows": 8}), 1)
    with pytest.raises(RecipeError, match="the prompts make 3 steps, and 4 are asked for"):
        run_steps(recipe(tmp_path, tmp_path), 3)
