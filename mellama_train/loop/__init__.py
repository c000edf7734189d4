"""The one training loop and what it minds.

`training`: the loop. `schedule`: the learning rate. `spikes`: losses too bad to learn from. `checkpoints` and
`resuming`: stopping and going on. `held_out` and `probes`: how good the model is by now. `meter`: how fast it goes.
`reporting`: what is seen of a run. `outputs`: its folder.
"""
