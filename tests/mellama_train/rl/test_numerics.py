"""TRL's advantages and loss, with the settings of a recipe, against a reference of the papers' formulas."""

from collections import Counter

import numpy as np
import pytest
import torch

pytest.importorskip("trl", reason="TRL comes with the extra rl")

from rl_parts import recipe, small_pubmedqa
from training_parts import save_chat_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from mellama_train.engines.ranks import Ranks
from mellama_train.loop.reporting import Mute
from mellama_train.loop.stopping import Stop
from mellama_train.rl.grpo import open_trainer
from mellama_train.rl.tasks import read_prompts
from mellama_train.rl.watching import Watch

GROUP, ROWS, PROMPT, ANSWER = 4, 8, 5, 6
LOSSES = ("grpo", "dapo", "bnpo", "dr_grpo")


def reference_advantages(rewards, group, scale):
    """Shao et al. 2024 (arXiv:2402.03300), section 4.1: each reward against its group's mean, by a deviation."""
    table = np.asarray(rewards, dtype=np.float64).reshape(-1, group)
    away = table - table.mean(axis=1, keepdims=True)
    by = {"group": table.std(axis=1, ddof=1, keepdims=True), "batch": table.std(ddof=1), "none": None}[scale]
    return (away if by is None else away / (by + 1e-4)).ravel()


def reference_loss(logits, answers, mask, old, start, advantages, *, beta, epsilon, epsilon_high, kind, temperature):
    """Equation 3 there with the estimator of the divergence of equation 4, and its sums as DAPO and Dr. GRPO have them.

    `logits`: (rows, tokens, vocabulary) of the answers' places; `old` and `start`: log-probabilities of the answers'
    tokens under the model that drew them and that of the start. The divergence is weighted by the ratio, as
    DeepSeek-V3.2 (arXiv:2512.02556) does, so that its gradient is that of the reverse divergence.
    """
    logps = torch.log_softmax(logits.double() / temperature, -1).gather(-1, answers[..., None])[..., 0]
    ratio = torch.exp(logps - old)
    clipped = ratio.clamp(1 - epsilon, 1 + (epsilon if epsilon_high is None else epsilon_high))
    gain = torch.minimum(ratio * advantages[:, None], clipped * advantages[:, None])
    divergence = torch.exp(start - logps) - (start - logps) - 1
    each = (beta * divergence * ratio - gain) * mask
    if kind == "grpo":
        return (each.sum(1) / mask.sum(1)).mean()
    return each.sum() / (mask.sum() if kind in ("dapo", "bnpo") else mask.shape[0] * ANSWER)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_chat_model(folder)
    return folder


@pytest.fixture
def opened(model, own_folders, monkeypatch, tmp_path):
    """TRL's trainer of a recipe, as a run has it before its first step."""
    small_pubmedqa(own_folders / "data", monkeypatch)
    ranks = Ranks.join()

    def open_it(**changes):
        wanted = recipe(model, tmp_path / "run", batch={"rows": ROWS, "micro_rows": ROWS}, steps=1, **changes)
        tokenizer = AutoTokenizer.from_pretrained(model)
        watch = Watch(wanted, ranks, Stop(ranks), Mute(), lambda folder, step: None)
        made = open_trainer(wanted, ranks, read_prompts(wanted, tokenizer), tokenizer, Counter(), watch)
        made.current_gradient_accumulation_steps = 1
        made.model.train()
        return wanted, made

    yield open_it
    ranks.leave()


@pytest.fixture(scope="module")
def batch():
    """Prompts and answers of several lengths, padded as TRL pads them, and by how much other models' tokens differ."""
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 500, (ROWS, PROMPT + ANSWER), generator=draw)
    prompt_mask = torch.tensor([[0] * (row % 3) + [1] * (PROMPT - row % 3) for row in range(ROWS)])
    answer_mask = torch.tensor([[1] * (ANSWER - row % 4) + [0] * (row % 4) for row in range(ROWS)])
    return {
        "prompt_ids": ids[:, :PROMPT],
        "prompt_mask": prompt_mask,
        "completion_ids": ids[:, PROMPT:],
        "completion_mask": answer_mask,
        "advantages": torch.tensor([1.2, -0.4, 0.0, -0.8, 0.5, 0.5, -1.5, 0.5]),
        "num_items_in_batch": answer_mask.sum(),
        "noise": torch.randn(2, ROWS, ANSWER, generator=draw),
    }


def logits_of(model, batch):
    """Of the places that an answer's tokens were drawn at."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    return model(input_ids=ids, attention_mask=mask).logits[:, PROMPT - 1 : -1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_and_its_gradient_are_those_of_the_papers(opened, batch, kind):
    """With ratios on both sides of the clip, advantages of both signs, answers of several lengths, and a divergence."""
    wanted, trainer = opened(loss=kind, beta=0.3, epsilon=0.1, epsilon_high=0.25, rollouts=drawn(temperature=0.7))
    here = logits_of(trainer.model, batch)
    own = torch.log_softmax(here / 0.7, -1).gather(-1, batch["completion_ids"][..., None])[..., 0].detach()
    # A fifth of a nat and a half away: some ratios are clipped, others are not.
    old, start = own + 0.2 * batch["noise"][0], own + 0.5 * batch["noise"][1]
    ratio = torch.exp(own - old)
    assert ((ratio < 0.9) | (ratio > 1.25)).any()
    assert ((ratio > 0.9) & (ratio < 1.25)).any()
    theirs = trainer.compute_loss(trainer.model, {**batch, "old_per_token_logps": old, "ref_per_token_logps": start})
    settings = {"beta": wanted.beta, "epsilon": wanted.epsilon, "epsilon_high": wanted.epsilon_high}
    ours = reference_loss(
        logits_of(trainer.model, batch),
        batch["completion_ids"],
        batch["completion_mask"],
        old,
        start,
        batch["advantages"],
        **settings,
        kind=kind,
        temperature=0.7,
    )
    assert theirs.item() == pytest.approx(ours.item(), rel=1e-4)
    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    for found, expected in zip(torch.autograd.grad(theirs, weights), torch.autograd.grad(ours, weights), strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_those_of_the_papers(opened, monkeypatch, scale):
    """Rewards of one group differ, those of the other are all equal: its advantages are 0, divided by no deviation."""
    _wanted, trainer = opened(scale=scale)
    given = [0.0, 1.0, 0.25, 1.0, 0.5, 0.5, 0.5, 0.5]
    monkeypatch.setattr(
        trainer.reward_funcs[0]._reward.__class__,
        "judge",
        lambda self, answers, *_, **__: judged(given[: len(answers)]),
    )
    rows = [trainer.train_dataset[place] for place in (0, 1) for _ in range(GROUP)]
    found = trainer._generate_and_score_completions(rows)["advantages"]
    np.testing.assert_allclose(found, reference_advantages(given, GROUP, scale), rtol=1e-5, atol=1e-7)
    assert found[GROUP:].abs().max() == 0
    assert trainer._metrics["train"]["frac_reward_zero_std"] == ([0.0] if scale == "batch" else [0.5])


@pytest.mark.slow
def test_the_reference_is_the_model_of_the_start(opened, model):
    """Full weights keep a second model; before the first step the divergence from it is 0."""
    _, trainer = opened(beta=0.1)
    start = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    for name, weight in trainer.ref_model.named_parameters():
        torch.testing.assert_close(weight, start.get_parameter(name))
    assert opened(beta=0.0)[1].ref_model is None


def drawn(**more):
    return {"group": GROUP, "tokens": ANSWER, **more}


def judged(scores):
    from mibe.rewards.reward import Rewarded
    from mibe.task import Outcome

    return [Rewarded(score, Outcome.PARSED, "yes", score, 0.0, 0.0) for score in scores]
