"""Why an answer ended, in the words of every engine and server, and what it means here: one table for all of them."""

from __future__ import annotations

from collections.abc import Mapping

from mibe.models.base import FinishReason

FINISH_REASONS: Mapping[str, FinishReason] = {
    # The model ended, or a stop string was met: OpenAI, vLLM, SGLang, llama.cpp, TGI, Cohere, Anthropic, Google.
    "stop": "stop",
    "stop_sequence": "stop",
    "stop_token": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "complete": "stop",
    "completed": "stop",
    # The model called a tool that nobody offered: its turn is over, and its text is all the answer that there is.
    "tool_calls": "stop",
    "tool_use": "stop",
    "function_call": "stop",
    # The limit on new tokens, or the end of the model's window.
    "length": "length",
    "max_tokens": "length",
    "max_length": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    # vLLM cut an output that went round in circles: it would have gone on so up to the limit.
    "repetition": "length",
    # A filter, or the model itself, declined.
    "content_filter": "filter",
    "content_filtered": "filter",
    "content-filter": "filter",
    "refusal": "filter",
    "safety": "filter",
    "image_safety": "filter",
    "recitation": "filter",
    "blocklist": "filter",
    "prohibited_content": "filter",
    "spii": "filter",
    "guardrail_intervened": "filter",
}
"""Reason, in lower case → ours. What is not in it ("error", "abort", a word that nobody knows) is no end of an answer:
what was written till then is of no use, and the request has failed."""


def finish_of(reason: str) -> FinishReason | None:
    """What a reason means here, whatever its case; None for one that does not end an answer."""
    return FINISH_REASONS.get(reason.lower())


def not_an_end(reason: str) -> str:
    """What to say of a request that ended for a reason that is not in the table."""
    return f"the answer was broken off (finish_reason {reason!r})"
