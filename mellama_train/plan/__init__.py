"""What a run will take, before it starts, and what it may reach.

`shapes`: sizes of models. `flops`: operations and peaks. `memory`: bytes and time of a recipe. `text`: all that as
lines.
"""
