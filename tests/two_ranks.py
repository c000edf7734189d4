"""What one rank does in the tests on several: `torchrun … two_ranks.py RECIPE ROWS`."""

import sys
from pathlib import Path

from training_parts import FormulaRows, make_tokenizer

from mellama_train.config import Recipe
from mellama_train.ranks import Ranks
from mellama_train.training import TrainingData, train
from mellama_train.yaml_schema import load

if __name__ == "__main__":
    ranks = Ranks.join()
    data = TrainingData(FormulaRows(int(sys.argv[2])), {"held": FormulaRows(5, seed=9)}, make_tokenizer())
    train(load(Path(sys.argv[1]), Recipe), data, ranks)
    ranks.leave()
