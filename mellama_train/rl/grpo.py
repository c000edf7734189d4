"""Group-relative policy optimisation by TRL's `GRPOTrainer`, with mibe's tasks as prompts and as rewards."""

from __future__ import annotations

import importlib.util
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mellama_train.engines.ranks import Ranks
from mellama_train.errors import DataError, EngineError, RecipeError
from mellama_train.rl import trl
from mellama_train.rl.recipe import GrpoRecipe
from mellama_train.rl.rewards import task_rewards
from mellama_train.rl.running import opened
from mellama_train.rl.tasks import Prompt, Prompts, answer_tokens
from mellama_train.rl.watching import Watch


def run_steps(recipe: GrpoRecipe, prompts: int) -> int:
    """Optimizer steps of a run over so many prompts a pass.

    A step takes whole groups, and each group's answers are used for `iterations` steps. Raises `DataError` where the
    prompts make no step, and `RecipeError` where fewer are made than asked for.
    """
    each = recipe.batch.rows // recipe.rollouts.group
    possible = prompts * recipe.epochs // each * recipe.iterations
    if not possible:
        raise DataError(
            f"{prompts * recipe.epochs} prompts make no step of {each} (batch.rows / rollouts.group); lower batch.rows"
        )
    if recipe.steps is not None and recipe.steps > possible:
        raise RecipeError(
            f"the prompts make {possible:,} steps, and {recipe.steps:,} are asked for; lower steps, or raise epochs"
        )
    return recipe.steps or possible


def open_trainer(
    recipe: GrpoRecipe, ranks: Ranks, prompts: Prompts, tokenizer: Any, tokens: Counter[str], watch: Watch
) -> Any:
    """TRL's trainer, ready to train. Raises `EngineError` and `ModelLoadError`."""
    package = trl.imported()
    from datasets import Dataset

    steps = run_steps(recipe, len(prompts.rows))
    rewards = task_rewards(prompts.rows, recipe.reward, tokenizer, ends_of(recipe, tokenizer), tokens)
    return opened(
        recipe,
        ranks,
        trl.as_ours(package.GRPOTrainer, recipe.optimizer),
        lambda: package.GRPOConfig(**grpo_settings(recipe, ranks, steps=steps)),
        reward_funcs=rewards,
        train_dataset=Dataset.from_list(rows_of(prompts.rows)).select(order(recipe, len(prompts.rows))),
        processing_class=tokenizer,
        callbacks=[watch],
    )


def grpo_settings(recipe: GrpoRecipe, ranks: Ranks, *, steps: int) -> dict[str, Any]:
    """The recipe as TRL's `GRPOConfig`. Raises `EngineError` for vLLM where it cannot be."""
    rollouts = recipe.rollouts
    return trl.settings(recipe, ranks, steps=steps) | {
        "num_generations": rollouts.group,
        "max_completion_length": answer_tokens(recipe),
        "temperature": rollouts.temperature,
        "top_p": rollouts.top_p,
        "use_vllm": uses_vllm(recipe, ranks),
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": rollouts.vllm_memory,
        "vllm_tensor_parallel_size": rollouts.vllm_ranks,
        "vllm_max_model_length": recipe.context,
        "beta": recipe.beta,
        "epsilon": recipe.epsilon,
        "epsilon_high": recipe.epsilon_high,
        "loss_type": recipe.loss,
        "scale_rewards": recipe.scale,
        "num_iterations": recipe.iterations,
        "shuffle_dataset": False,
    }


def uses_vllm(recipe: GrpoRecipe, ranks: Ranks) -> bool:
    """Whether vLLM draws the answers. Raises `EngineError` where it is asked for and cannot."""
    there = ranks.device.type == "cuda" and importlib.util.find_spec("vllm") is not None
    if recipe.rollouts.engine == "vllm" and not there:
        raise EngineError(
            'rollouts.engine: vllm needs a GPU and vLLM (pip install "mibe[vllm]"); auto takes transformers\' where '
            "one is missing"
        )
    return there and recipe.rollouts.engine != "transformers"


def ends_of(recipe: GrpoRecipe, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: those that the model declares, the tokenizer's, and padding."""
    from transformers import GenerationConfig

    try:
        declared = GenerationConfig.from_pretrained(recipe.model.path).eos_token_id
    except OSError:
        # A model without settings of its own for generation.
        declared = None
    several = declared if isinstance(declared, list) else [declared]
    return frozenset({*several, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None})


def order(recipe: GrpoRecipe, prompts: int) -> list[int]:
    """Which prompt comes when, over the whole run: in each pass all of them, in an order of its own.

    TRL's own sampler goes on with its random numbers from pass to pass, and would begin anew where a run goes on.
    """
    steps = run_steps(recipe, prompts)
    needed = -(-steps // recipe.iterations) * (recipe.batch.rows // recipe.rollouts.group)
    passes = (
        random.Random(f"{recipe.seed}/{number}").sample(range(prompts), prompts) for number in range(recipe.epochs)
    )
    return list(itertools.islice(itertools.chain.from_iterable(passes), needed))


def rows_of(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """The rows of TRL's data set: the prompt, and by what its document is found again."""
    return [
        {
            "prompt": prompt.asked if isinstance(prompt.asked, str) else [dict(turn) for turn in prompt.asked],
            "task": prompt.task,
            "document": prompt.example.id,
        }
        for prompt in prompts
    ]
