"""`python -m mellama_train`: the command line."""

from mellama_train.cli import run

run()
