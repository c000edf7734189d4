"""What runs the model on the ranks.

`engine`: the protocol. `opening`: the engine of a recipe. `plain` and `deepspeed`: the two there are, `zero` being the
configurations of the second. `optimizers`: AdamW as both set it up. `ranks`: the processes of a run.
`lockstep`: a debug mode that compares what they are about to do.
"""
