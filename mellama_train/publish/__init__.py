"""What becomes of a trained model.

`inputs`: what is asked for, looked at before anything is loaded. `trained`: what training left, opened. `fitting`:
whether it goes with a model. `export`: one folder to use, with its `card`. `forgetting`: what the model no longer
knows.
"""
