"""The arguments of vLLM models that mibe handles itself, and vLLM's surroundings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mibe.models.hf.arguments import ARGUMENTS

OWN: Mapping[str, Callable[[str], Any]] = {
    "pretrained": ARGUMENTS["pretrained"],
    "lora": ARGUMENTS["peft"],
    "chat_template": ARGUMENTS["chat_template"],
}
"""Arguments that mibe handles itself; every other one is an argument of vLLM's engine, by vLLM's name."""

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Set where the user has not: vLLM otherwise logs to standard output, and reports each start to its makers."""
