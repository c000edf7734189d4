"""What becomes of a trained model.

`trained`: what training left, opened. `export`: one folder to use, with its `card`. `forgetting`: what the model no
longer knows.
"""
