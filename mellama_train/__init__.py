"""Continual pretraining, instruction tuning and task fine-tuning of medical language models."""
