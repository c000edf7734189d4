"""Protocols: ways to ask and score a task. `default` is the task as it is; `paper` is what the released code did."""

from mibe.protocols.applying import PROTOCOLS, apply, for_model

__all__ = ["PROTOCOLS", "apply", "for_model"]
