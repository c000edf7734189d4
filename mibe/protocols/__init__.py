"""Protocols: ways to ask and score a task. `default` is the task as it is; `paper` is what the released code did."""

from mibe.protocols.applying import OWN_PROMPTS, PROMPTS, PROTOCOLS, apply, for_model, recorded
from mibe.protocols.styles import STYLES, in_style

__all__ = ["OWN_PROMPTS", "PROMPTS", "PROTOCOLS", "STYLES", "apply", "for_model", "in_style", "recorded"]
