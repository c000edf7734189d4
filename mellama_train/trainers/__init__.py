"""The stages of training: what data each reads.

`stages`: pretraining, instruction tuning, task fine-tuning. `finetuning`: a task of mibe as samples.
"""
