"""What settings ask of a model, against what it can do: the switches of its chat template, its way to the next token.

All of it is settled after the model is loaded and before it is given any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mibe.errors import ModelError, UsageError, unknown
from mibe.models.base import Message, Renderer
from mibe.models.reasoning import THINKING_SWITCHES, reasoning_of
from mibe.run.settings import Settings

SAMPLING = ("temperature", "top_p", "top_k", "min_p")

_PROBE = "What the system says."


def prepare(model: Renderer, settings: Settings) -> Settings:
    """Set the model's template switches, and return the settings with the numbers that it will be sampled with.

    Raises `UsageError`, in one line, for what this model cannot do.
    """
    use_template(model, settings)
    if settings.scoring == "loglikelihood":
        _check_answered_at_once(model)
    resolved = replace(settings, **_sampling(model, settings)) if settings.generation == "model" else settings
    wanted = {f"--{name.replace('_', '-')}": name for name in (*SAMPLING, "constrain") if getattr(resolved, name)}
    if resolved.at_budget == "close":
        wanted["--at-budget close"] = "close"
    for option, ability in wanted.items():
        if ability not in abilities(model):
            raise UsageError(f"{model.name} cannot do {option}{_does(model)}; leave it out, or take a model that can")
    return resolved


def use_template(model: Renderer, settings: Settings) -> None:
    """The part of `prepare` that prompts depend on: template switches, and whether there is a system turn."""
    args = template_args(model, settings)
    use = getattr(model, "use_template_args", None)
    if use is not None:
        # Without any, too: a model that was handed over may have those of the run before.
        use(args)
    elif args:
        raise UsageError(f"{model.name} has no chat template with switches; leave out {', '.join(_flags(settings))}")
    if settings.system_prompt is not None and not has_system_turn(model):
        raise UsageError(
            f"the chat template of {model.name} has no place for a system prompt; put its text before the question by "
            "--model-args chat_template=off, or leave out --system-prompt"
        )


def abilities(model: object) -> frozenset[str]:
    """What a model can do beyond greedy text; nothing where it does not say."""
    can: frozenset[str] = getattr(model, "can", frozenset())
    return can


def template_args(model: Renderer, settings: Settings) -> dict[str, Any]:
    """The switches asked for, by the names that the model's template has for them.

    `template_switches` of a model are the names that its template reads; a model without them that can do
    `chat_template_args` hands them to a server, which knows.
    """
    can = abilities(model)
    known: frozenset[str] | None = getattr(model, "template_switches", None)
    args = dict(settings.chat_template_args)
    if args and "chat_template_args" not in can:
        raise UsageError(
            f"{model.name} has no chat template whose switches could be set; leave out --chat-template-args"
        )
    if known is not None and (strange := next((name for name in args if name not in known), None)) is not None:
        raise unknown(f"switch of the chat template of {model.name}:", strange, known or {"none"})
    if settings.thinking != "auto":
        args[_thinking_switch(model, known, can)] = settings.thinking == "on"
    if settings.reasoning_effort is not None:
        if "reasoning_effort" not in can or (known is not None and "reasoning_effort" not in known):
            raise UsageError(f"{model.name} has no switch for --reasoning-effort; leave it out")
        args["reasoning_effort"] = settings.reasoning_effort
    return args


def has_system_turn(model: Renderer) -> bool:
    """Whether a system prompt stands in what the model reads: some templates refuse one, others drop it in silence."""
    turns = [Message(role="system", content=_PROBE), Message(role="user", content="?")]
    try:
        return _PROBE in model.render(turns)
    except ModelError:
        return False


def news_of(model: Renderer, settings: Settings) -> list[str]:
    """What a user should hear of how text is generated, before it is; `settings` as `prepare` returned them."""
    recommended: Mapping[str, Any] | None = getattr(model, "recommended", None)
    told = []
    if settings.generation == "model" and recommended is not None:
        told.append(f"{model.name} is sampled as its checkpoint says: {_listed(settings.decoding())}")
        if others := {key: value for key, value in recommended.items() if key not in SAMPLING}:
            told.append(f"the checkpoint's {_listed(others)} is not taken over")
    elif recommended is not None and reasoning_of(model) is not None and settings.generation == "auto":
        asked = "greedy" if not settings.temperature else _listed(settings.decoding())
        told.append(
            f"{model.name} reasons, and its makers recommend {_listed(recommended)}; this run is {asked} "
            "(--generation model takes theirs)"
        )
    if settings.repeats > 1 and not settings.temperature:
        told.append(f"--repeats {settings.repeats} of greedy text are the same text; give a --temperature with it")
    return told


def _check_answered_at_once(model: Renderer) -> None:
    """Raise `UsageError` where a prompt opens reasoning: how likely an answer is inside of it says nothing."""
    reasoning = reasoning_of(model)
    if reasoning is None or not reasoning.opened:
        return
    switches = [name for name in THINKING_SWITCHES if name in reasoning.switches]
    way = "add --thinking off" if switches else "take chat_template=off for plain prompts"
    raise UsageError(
        f"{model.name} would be scored inside its reasoning ({reasoning.how}), where no answer is likely; {way}, or "
        "leave out --scoring loglikelihood"
    )


def _thinking_switch(model: Renderer, known: frozenset[str] | None, can: frozenset[str]) -> str:
    # A server's template cannot be read: it gets the commonest name.
    names = THINKING_SWITCHES if known is None and "chat_template_args" in can else known or frozenset()
    found = next((name for name in THINKING_SWITCHES if name in names), None)
    if found is None:
        raise UsageError(f"the chat template of {model.name} has no switch for thinking; leave out --thinking")
    return found


def _sampling(model: Renderer, settings: Settings) -> dict[str, Any]:
    """The checkpoint's numbers, but for those that the user gave."""
    if not hasattr(model, "recommended"):
        raise UsageError(f"{model.name} has no generation settings that can be read here; leave out --generation model")
    recommended: Mapping[str, Any] | None = getattr(model, "recommended", None)
    if recommended is None:
        raise UsageError(
            f"the checkpoint of {model.name} recommends no sampling; give a --temperature in place of --generation"
        )
    theirs = {name: recommended[name] for name in SAMPLING if name in recommended}
    return theirs | {name: value for name in SAMPLING if (value := getattr(settings, name)) is not None}


def _does(model: object) -> str:
    can = sorted(abilities(model) - {"seed", "close"})
    return f" (it can do {', '.join(can)})" if can else ""


def _flags(settings: Settings) -> list[str]:
    asked = {
        "--thinking": settings.thinking != "auto",
        "--reasoning-effort": settings.reasoning_effort is not None,
        "--chat-template-args": bool(settings.chat_template_args),
    }
    return [flag for flag, given in asked.items() if given]


def _listed(values: Mapping[str, Any]) -> str:
    off = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value != off.get(name))
