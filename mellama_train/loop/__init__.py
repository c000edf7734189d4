"""The one training loop and what it minds.

`training`: the loop. `schedule`: the learning rate. `spikes`: losses too bad to learn from. `checkpoints`, `stopping`
and `resuming`: ending early and going on. `held_out` and `probes`: how good the model is by now. `isolation`: whether
documents in a row see each other. `meter`: how fast it goes. `reporting`: what is seen of a run. `layout` and
`outputs`: its folder.
"""
