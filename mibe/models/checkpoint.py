"""What a checkpoint says of how it wants to be asked: the switches of its chat template, its makers' sampling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GIVEN = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token"}
    | {"pad_token", "unk_token", "sep_token", "cls_token", "mask_token", "additional_special_tokens"}
    | {"raise_exception", "strftime_now", "tojson", "range", "dict", "namespace", "lipsum", "cycler", "joiner"}
)
"""What a template reads that is no switch: what transformers or jinja put there themselves."""

_GENERATION_TAG = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")

NO_SAMPLING = frozenset(
    {"do_sample", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "max_length"}
    | {"max_new_tokens", "cache_implementation", "use_cache", "return_dict_in_generate", "_from_model_config"}
)
"""Entries of a `generation_config` that do not bear on which token is chosen."""


def template_switches(template: str | None) -> frozenset[str]:
    """Names that a chat template reads and that its user may set, such as `enable_thinking`; none without a template.

    A template that jinja cannot read has none either: it fails for itself when a prompt is laid out.
    """
    if template is None:
        return frozenset()
    from jinja2 import Environment, TemplateError, meta

    # The tag is transformers' own, and marks for training what the assistant said.
    text = _GENERATION_TAG.sub("", template)
    try:
        read = meta.find_undeclared_variables(Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text))
    except TemplateError:
        return frozenset()
    return frozenset(read - GIVEN)


def recommended_by(generation_config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The sampling in a checkpoint's `generation_config`; None where it says nothing, or says greedy.

    Entries that are not set cut nothing, as in vLLM. A configuration that does not ask for sampling is greedy in
    transformers, whatever temperature stands in it.
    """
    if not generation_config.get("do_sample"):
        return None
    said = {k: v for k, v in generation_config.items() if v is not None and k not in NO_SAMPLING}
    return {"temperature": 1.0, **said}
