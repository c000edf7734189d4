"""What models and their arguments are called elsewhere, lm-eval 0.4 and the released code, and what that is here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from mibe.models.arguments import switch, write_model_args
from mibe.models.lm_eval import LM_EVAL
from mibe.models.loading import INSTEAD, list_models, parse_model
from mibe.models.locality import CLIENTS, IN_PROCESS

NAMES: Mapping[str, str] = {
    "hf-causal": "hf",
    "hf-causal-experimental": "hf",
    "hf-auto": "hf",
    "huggingface": "hf",
    "hf-causal-vllm": "vllm",
}
"""Name of a class elsewhere → name of a model here."""

SERVED: Mapping[str, str] = {
    "local-completions": "completions",
    "openai-completions": "completions",
    "local-chat-completions": "chat",
    "openai-chat-completions": "chat",
}
"""lm-eval's class for a server → the `api` of `openai`."""

CLASSES = (
    IN_PROCESS
    | CLIENTS
    | {
        "anthropic-chat",
        "anthropic-chat-completions",
        "anthropic-completions",
        "azure-openai-chat-completions",
        "litellm",
        "litellm-chat",
        "litellm-chat-completions",
        "textsynth",
        "watsonx_llm",
    }
)
"""Names of lm-eval's classes. Those that are no other model here are `lm_eval:NAME`."""

_OF_OPENAI = re.compile(r"(?:gpt-|chatgpt-|o\d)")
_ON_A_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """What one argument elsewhere is here: arguments, options of the command, and what is said of it.

    With none of them it is left out, and `left_out` says why nothing is lost.
    """

    args: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    left_out: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelHere:
    """A model under its name here, the options that became of its arguments, and a line for each change."""

    name: str
    args: Mapping[str, str]
    words: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


Reader: TypeAlias = Callable[[str], Argument]


def renamed(name: str) -> Reader:
    """An argument of another name."""
    return lambda value: Argument(args={name: value})


def unneeded(why: str) -> Reader:
    """An argument that changes nothing here."""
    return lambda value: Argument(left_out=why)


def _answer_limit(value: str) -> Argument:
    return Argument(words=("--max-new-tokens", value))


def _accelerate(value: str) -> Argument:
    return Argument(args={"device_map": "auto"}) if switch(value) else Argument(left_out="one device is the default")


def _slow_tokenizer(value: str) -> Argument:
    return Argument(left_out="it is the default") if switch(value) else Argument(args={"tokenizer_mode": "slow"})


def _base_url(value: str) -> Argument:
    return Argument(args={"base_url": re.sub(r"/(?:chat/)?completions/?$", "", value)})


_BATCHES = unneeded("vLLM makes its batches itself")
_AS_TEXT = unneeded("prompts are sent as text")

ARGUMENTS: Mapping[str, Mapping[str, Reader]] = {
    "hf": {
        "use_accelerate": _accelerate,
        "use_fast": renamed("use_fast_tokenizer"),
        "torch_dtype": renamed("dtype"),
        "device_map_option": renamed("device_map"),
        "low_cpu_mem_usage": unneeded("weights are always read as they are needed"),
        "max_batch_size": unneeded("the largest batch that fits is found as the run goes"),
        "max_gen_toks": _answer_limit,
    },
    "vllm": {
        "use_accelerate": unneeded("vLLM places a model itself, on several GPUs by tensor_parallel_size=N"),
        "use_fast": _slow_tokenizer,
        "torch_dtype": renamed("dtype"),
        "lora_local_path": renamed("lora"),
        "max_length": renamed("max_model_len"),
        "batch_size": _BATCHES,
        "max_batch_size": _BATCHES,
        "device": unneeded("vLLM chooses the device itself"),
        "max_gen_toks": _answer_limit,
    },
    "dummy": {
        "batch_size": unneeded("it answers without a model"),
        "device": unneeded("it answers without a model"),
    },
    "openai": {
        "engine": renamed("model"),
        "pretrained": renamed("model"),
        "base_url": _base_url,
        "num_concurrent": renamed("concurrency"),
        "max_length": renamed("context_window"),
        "batch_size": unneeded("concurrency=N says how many requests are under way"),
        "max_retries": unneeded("a request is tried until deadline=SECONDS have passed"),
        "tokenized_requests": _AS_TEXT,
        "tokenizer": _AS_TEXT,
        "tokenizer_backend": _AS_TEXT,
        "max_gen_toks": _answer_limit,
    },
}
"""Model here → argument elsewhere → what it is. Arguments that are not listed have one name everywhere."""


def model_here(name: str, args: Mapping[str, str]) -> ModelHere:
    """What `name` with these arguments is called here; both as they are where they are known here.

    Raises `ValueError` for an argument that is neither true nor false where it should be.
    """
    here, own = _name_here(name)
    said = [] if here == name else [_named(name, here, own)]
    found: dict[str, str] = dict(own)
    words: list[str] = []
    for argument, value in args.items():
        reader = ARGUMENTS.get(here, {}).get(argument)
        if reader is None:
            found[argument] = value
            continue
        meaning = reader(value)
        if meaning.args != {argument: value}:
            said.append(_said(argument, meaning))
        found |= meaning.args
        words += meaning.words
    return ModelHere(name=here, args=found, words=tuple(words), said=tuple(said))


def _name_here(name: str) -> tuple[str, dict[str, str]]:
    """The name of a model here, and the arguments that stood in the name."""
    known = list_models()
    if name in known or name.startswith("lm_eval:"):
        return name, {}
    if name in NAMES:
        return NAMES[name], {}
    if name in SERVED:
        api = SERVED[name]
        return "openai", {} if api == "chat" else {"api": api}
    prefix = name.partition(":")[0]
    if ":" in name and prefix in known:
        return parse_model(name)
    if name in CLASSES and name not in INSTEAD:
        return f"{LM_EVAL}{name}", {}
    if _OF_OPENAI.match(name):
        return "openai", {"model": name}
    if _ON_A_HUB.fullmatch(name) or name.startswith(("/", "./", "../", "~")) or Path(name).is_dir():
        return "hf", {"pretrained": name}
    return name, {}


def _named(name: str, here: str, own: Mapping[str, str]) -> str:
    args = ",".join(f"{argument}={value}" for argument, value in own.items())
    return f"--model {name} is --model {here}" + (f" --model-args {args}" if args else "")


def _said(argument: str, meaning: Argument) -> str:
    if meaning.left_out:
        return f"{argument} is left out: {meaning.left_out}"
    if meaning.words:
        return f"{argument} is {meaning.words[0]}"
    return f"{argument} is {write_model_args(meaning.args)}"
