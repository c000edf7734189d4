"""OpenAI and every server that speaks its API: the arguments, checked before anything is loaded or sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from mibe.errors import ModelError, UsageError
from mibe.models.arguments import convert
from mibe.models.base import Model
from mibe.models.openai.endpoint import (
    ARGUMENTS,
    KEY,
    RELEASED_KEY,
    Endpoint,
    limit_parameter_of,
    server_address,
)
from mibe.models.pricing import find_price
from mibe.terminal.news import say

OPENAI = "https://api.openai.com/v1"


def load(args: Mapping[str, str]) -> Model:
    """The model `model` behind `base_url`; `docs/api-models.md` lists all arguments.

    Nothing is sent before the first prompt, and a missing key is an error only then, so that prompts can be shown and
    costs estimated without one.
    """
    refuse_keys(args)
    values = convert("openai", args, ARGUMENTS)
    if not values.get("model"):
        raise UsageError("the model 'openai' needs model=NAME, such as gpt-4o or the name that your server gives it")
    key_name = values.pop("api_key_env", None) or _variable_of_key()
    base_url = values.pop("base_url", None) or server_address(os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI)
    prices: Path | None = values.pop("prices", None)
    endpoint = Endpoint(
        base_url=base_url,
        key=os.environ.get(key_name, "").strip() or None,
        key_name=key_name,
        trusted=values.pop("trusted_endpoint", False),
        batch=values.pop("batch_api", False),
        max_tokens_parameter=values.pop("max_tokens_parameter", limit_parameter_of(base_url)),
        **values,
    )
    if endpoint.batch and endpoint.api != "chat":
        raise UsageError("batch_api goes with api=chat")
    if endpoint.batch and endpoint.stream:
        raise UsageError("stream=yes does nothing to Batch jobs; leave it out")
    kind = (
        ("mibe.models.openai.batch", "OpenAIBatchModel")
        if endpoint.batch
        else ("mibe.models.openai.model", "OpenAIModel")
    )
    try:
        module = import_module(kind[0])
    except ImportError as error:
        raise ModelError(f'API models need `pip install "mibe[openai]"` ({error})') from error
    opened: Model = getattr(module, kind[1])(endpoint, find_price(endpoint.host, endpoint.model, prices))
    return opened


def _variable_of_key() -> str:
    """The environment variable that holds the key, where no argument names one."""
    if os.environ.get(KEY, "").strip() or not os.environ.get(RELEASED_KEY, "").strip():
        return KEY
    say(f"the key comes from {RELEASED_KEY}; its name here is {KEY}")
    return RELEASED_KEY


def refuse_keys(args: Mapping[str, str]) -> None:
    """Raise `UsageError` for a key given as an argument; the message does not repeat it."""
    for name in args:
        if name.lower().replace("-", "_") in ("api_key", "key", "token", "organization_key"):
            raise UsageError(
                f"{name}= is not taken: arguments end in shell histories, process lists and run records. Put the key "
                f"into the environment ({KEY}, or another variable named by api_key_env=NAME)"
            )
