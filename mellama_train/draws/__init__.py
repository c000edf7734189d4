"""Training data made of what a model answered on a task's train split, as the task judges it.

`judged`: the draws of a run, each with its reward, without what stands in a test set. `pairs`: a right and a wrong draw
of one document, for preference tuning. `traces`: the right draws, for instruction tuning. `files`: what is written, and
the manifest that says where it comes from.
"""
