"""What the makers of a checkpoint say of how it wants to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_SAMPLING = frozenset(
    {"do_sample", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "max_length"}
    | {"max_new_tokens", "cache_implementation", "use_cache", "return_dict_in_generate", "_from_model_config"}
)
"""Entries of a `generation_config` that do not bear on which token is chosen."""


def recommended_by(generation_config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The sampling in a checkpoint's `generation_config`; None where it says nothing, or says greedy.

    Entries that are not set cut nothing, as in vLLM. A configuration that does not ask for sampling is greedy in
    transformers, whatever temperature stands in it.
    """
    if not generation_config.get("do_sample"):
        return None
    said = {k: v for k, v in generation_config.items() if v is not None and k not in NO_SAMPLING}
    return {"temperature": 1.0, **said}
