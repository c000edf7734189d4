"""The model to train.

`folders`: what a folder alone tells. `loading`: model and tokenizer as the recipe says. `adapters`: peft's, in a model
or in a folder. `loss`: summed cross entropy. `sizes`: what a plan must know of these. `endings`: what ends an answer.
`provenance`: what a model's folder says of its training.
"""
