"""OpenAI and every server that speaks its API."""

from mibe.models.openai.opening import load

__all__ = ["load"]
