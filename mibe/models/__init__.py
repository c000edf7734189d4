"""Language models: the contract (`base`), how a name becomes a model (`loading`), and one folder an engine.

`hf`, `vllm`, `openai` and `lm_eval` hold an engine each, `local` what runs without one: the demo model, a dummy for
tests, a function of one's own, and models that only count tokens.
"""

from mibe.models.arguments import parse_model_args
from mibe.models.loading import BUILTIN, as_model, check_known, list_models, load_model, parse_model

__all__ = ["BUILTIN", "as_model", "check_known", "list_models", "load_model", "parse_model", "parse_model_args"]
