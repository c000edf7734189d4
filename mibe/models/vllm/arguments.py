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

ELSEWHERE: Mapping[str, str] = {
    "device": "it takes the GPUs that CUDA_VISIBLE_DEVICES names, from 0 on",
    "load_in_4bit": "its quantization=NAME says how weights are quantised",
    "load_in_8bit": "its quantization=NAME says how weights are quantised",
    "peft": "an adapter goes into lora=FOLDER",
    "batch_size": "it fills its batches itself, up to max_num_seqs requests",
}
"""Arguments of `hf` that vLLM has another way for."""

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Set where the user has not: vLLM otherwise logs to standard output, and reports each start to its makers."""
