"""What a run will take, before it starts, and what it may reach.

`shapes`: sizes of models. `flops`: operations and peaks. `gpus`: the kinds there are. `memory`: bytes of a rank.
`fitting`: the nearest recipe that fits. `time`: tokens a second. `work`: tokens to train on.
`stopping`: when a job must be warned. `text`: all that as lines.
"""
