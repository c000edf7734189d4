"""Names to models. Built-ins load by module when named; others come from the entry-point group `mibe.models`.

A loader is a function of the model's arguments, all of them text as the command line gives them, that returns a
`Model`. A plugin names such a function (or a class) in its entry point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias, cast

from mibe.errors import UsageError, unknown
from mibe.models.arguments import parse_model_args
from mibe.models.base import Model
from mibe.models.lm_eval import LM_EVAL
from mibe.registry import opened

Loader: TypeAlias = Callable[[Mapping[str, str]], Model]

BUILTIN: Mapping[str, str] = {
    "hf": "mibe.models.hf:load",
    "vllm": "mibe.models.vllm:load",
    "demo": "mibe.models.local.demo:load",
    "dummy": "mibe.models.local.dummy:load",
    "openai": "mibe.models.openai:load",
}
"""Name → "module:function" of the loader; the module is imported when the model is asked for, not before."""


INSTEAD: Mapping[str, str] = {
    "sglang": (
        "start its server (python -m sglang.launch_server --model-path PATH) and give --model openai "
        "--model-args base_url=http://127.0.0.1:30000/v1,model=PATH; or take lm-eval's class, --model lm_eval:sglang"
    ),
    **dict.fromkeys(
        ("gguf", "ggml", "llama.cpp", "llamacpp", "llama-cpp"),
        "a GGUF file is read by --model hf --model-args pretrained=FOLDER,gguf_file=FILE; llama.cpp's server "
        "(llama-server -m FILE) by --model openai --model-args base_url=http://127.0.0.1:8080/v1,model=NAME",
    ),
    "ollama": "its server is asked by --model openai --model-args base_url=http://127.0.0.1:11434/v1,model=NAME",
    "tgi": "its server is asked by --model openai --model-args base_url=http://127.0.0.1:8080/v1,model=NAME",
    "transformers": "that is --model hf",
}
"""What others call a loader, and what does the same here."""


def list_models() -> list[str]:
    """Names that `load_model` knows: the built-in ones, any of lm-eval's, then those of installed plugins."""
    return [*BUILTIN, f"{LM_EVAL}NAME", *(name for name in _plugins() if name not in BUILTIN)]


def parse_model(text: str) -> tuple[str, dict[str, str]]:
    """Name and arguments of a model from "NAME:ARGUMENTS", such as "openai:gpt-4o" or "hf:pretrained=PATH".

    What follows the colon without "=" is the argument `model`, or `pretrained` for the loaders of model folders. Raises
    `UsageError` for a text without a name, and as `parse_model_args` does.
    """
    prefix = LM_EVAL if text.startswith(LM_EVAL) else ""
    name, _, arguments = text.removeprefix(prefix).partition(":")
    if not name:
        raise UsageError(f"{text!r} names no model; give MODEL:ARGUMENTS, such as openai:gpt-4o")
    if arguments and "=" not in arguments.split(",")[0]:
        arguments = f"{'pretrained' if name in ('hf', 'vllm') else 'model'}={arguments}"
    return prefix + name, parse_model_args(arguments)


def check_known(name: str) -> None:
    """Raise `UsageError`, with what does the same or the nearest names, for a name that `load_model` does not know."""
    if name not in BUILTIN and not name.startswith(LM_EVAL) and name not in _plugins():
        if name.lower() in INSTEAD:
            raise UsageError(f"no model is called {name!r} here: {INSTEAD[name.lower()]}")
        raise unknown("model", name, list_models())


def load_model(name: str, args: Mapping[str, str] | None = None) -> Model:
    """The model of this name, loaded and ready.

    Raises `UsageError` for an unknown name or argument, with the nearest known ones, and `ModelError` when the
    model cannot be loaded.
    """
    return _loader(name)(dict(args or {}))


def as_model(
    model: str | Model | Callable[[list[str]], list[str]],
    args: Mapping[str, str] | None = None,
    *,
    name: str | None = None,
    version: str | int | None = None,
) -> Model:
    """A model from its name, from a function that answers a list of prompts, or a `Model` as it is.

    `args` belong to a model given by name, `name` and `version` to a function (`FunctionModel`); with anything else
    they raise `UsageError`.
    """
    is_function = callable(model) and not (hasattr(model, "generate") and hasattr(model, "render"))
    if not is_function and (name is not None or version is not None):
        raise UsageError("name and version are what a function is known by; other models have an identity of their own")
    if isinstance(model, str):
        return load_model(model, args)
    if args:
        raise UsageError("model arguments go with a model given by name, not with an object")
    if is_function:
        from mibe.models.local.function import FunctionModel

        return FunctionModel(cast(Callable[[list[str]], list[str]], model), name, version)
    if hasattr(model, "generate") and hasattr(model, "render"):
        return cast(Model, model)
    raise UsageError(f"a model is a name, a mibe Model or a function of a list of prompts, not {type(model).__name__}")


def _loader(name: str) -> Loader:
    check_known(name)
    if name in BUILTIN:
        module, _, function = BUILTIN[name].partition(":")
        return cast(Loader, getattr(import_module(module), function))
    if name.startswith(LM_EVAL):
        return partial(import_module("mibe.models.lm_eval.model").load, name.removeprefix(LM_EVAL))
    return cast(Loader, opened(_plugins()[name]))


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="mibe.models")}
