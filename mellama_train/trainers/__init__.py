"""The stages of training: what data each reads. All else is the same loop.

`pretrain`: a corpus. `instruct`: files of samples. `finetune`: a task of mibe. `samples`: the rows of the last two.
`inputs`: what a recipe names, looked at before anything is loaded. `preview`: what would be done.
"""
