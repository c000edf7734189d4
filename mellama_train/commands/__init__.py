"""What can be asked for, and what each command does. Imports wait until a command needs them, so `--help` is quick.

`corpus`, `instructions` and `draws`: the data. `training`: pretrain, instruct, finetune, train, trainers. `publish`:
forgetting, export. `plan`. `options`: what several commands take.
"""
