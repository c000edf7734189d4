"""Models run by vLLM's asynchronous engine."""

from mibe.models.vllm.opening import load

__all__ = ["load"]
