"""What one rank does in the tests on several: `torchrun … two_ranks.py ROWS RECIPE…`, one run after the other."""

import sys
from pathlib import Path

from training_parts import FormulaRows, make_tokenizer

from mellama_train.cli import run
from mellama_train.engines.ranks import Ranks
from mellama_train.loop.training import TrainingData, train
from mellama_train.recipe.config import Recipe
from mellama_train.recipe.yaml_schema import load


def main() -> int:
    ranks = Ranks.join()
    for recipe in sys.argv[2:]:
        data = TrainingData(FormulaRows(int(sys.argv[1])), {"held": FormulaRows(5, seed=9)}, make_tokenizer())
        train(load(Path(recipe), Recipe), data, ranks)
    ranks.wait()
    ranks.leave()
    return 0


if __name__ == "__main__":
    run(main)
