"""What becomes of a trained model.

`export`: one folder to use, with its `card`. `forgetting`: what it no longer knows.
"""
