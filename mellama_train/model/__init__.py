"""The model to train.

`loading`: model and tokenizer as the recipe says. `loss`: its summed cross entropy. `provenance`: what a model's folder
says of its training.
"""
