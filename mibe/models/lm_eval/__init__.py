"""Any other model class that lm-eval knows."""

LM_EVAL = "lm_eval:"
"""What comes before the name of one of lm-eval's model classes: `lm_eval:anthropic-chat`."""
