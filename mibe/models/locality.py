"""What is this machine, and what may send text away: decided here for every engine and for both doors to lm-eval."""

from __future__ import annotations

from importlib import import_module
from ipaddress import ip_address
from urllib.parse import urlsplit

IN_PROCESS = frozenset(
    {
        "dummy",
        "habana",
        "hf",
        "hf-audiolm-qwen",
        "hf-auto",
        "hf-mistral3",
        "hf-multimodal",
        "huggingface",
        "ipex",
        "mamba_ssm",
        "megatron_lm",
        "nemo_lm",
        "neuronx",
        "onnxruntime",
        "onnxruntime-genai",
        "openvino",
        "sglang",
        "steered",
        "trtllm",
        "vllm",
        "vllm-vlm",
        "winml",
    }
)
"""Names of lm-eval whose classes run the model in this process or its children. Every other one may send text away."""


SERVERS = frozenset({"gguf", "ggml"})
"""Names whose classes send text to their `base_url` and nowhere else; lm-eval's classes for HTTP APIs do the same."""

CLIENTS = SERVERS | {"local-chat-completions", "local-completions", "sglang-generate"}
"""Names that are known, without an object of theirs, to ask their `base_url` alone."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own: localhost, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def asks_this_machine(url: str) -> bool:
    """Whether a client of lm-eval that asks `url` asks this machine, with no proxy of the environment between."""
    if not is_loopback(urlsplit(url).hostname or ""):
        return False
    return not import_module("requests.utils").get_environ_proxies(url)
