"""Trainers: what the command line runs, of this package and of others.

`contract`: what a trainer is. `registry`: names to trainers, plugins too. `reading`: recipes, and whose they are.
`handover`: what training hands over, and what is looked at in it. `inputs`: what a recipe names, looked at before
anything is loaded.

`stages`: the trainers of the one loop, whose data is all that tells them apart. `pretrain`: a corpus. `instruct`: files
of samples. `finetune`: a task of mibe. `samples`: the rows of the last two. `preview`: what would be done.
"""
