"""Models in the Hugging Face format, run by transformers; what several prompts share is read once."""

from mibe.models.hf.opening import from_loaded, load, open_model

__all__ = ["from_loaded", "load", "open_model"]
