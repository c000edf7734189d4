"""What one rank does in the tests on several: `torchrun … two_ranks.py ROWS RECIPE…`, one run after the other.

ROWS is a number of rows by formula, or "2047,0,…": the targets of each row of 2,100 tokens.
"""

import sys
from pathlib import Path

from training_parts import CountedRows, FormulaRows, make_tokenizer

from mellama_train.engines.ranks import Ranks
from mellama_train.loop.training import TrainingData, train
from mellama_train.recipe.config import Recipe
from mellama_train.recipe.yaml_schema import load

if __name__ == "__main__":
    ranks = Ranks.join()
    counts = [int(count) for count in sys.argv[1].split(",")]
    rows = CountedRows(counts) if len(counts) > 1 else FormulaRows(counts[0])
    held = CountedRows([2050, 3, 0]) if len(counts) > 1 else FormulaRows(5, seed=9)
    for recipe in sys.argv[2:]:
        train(load(Path(recipe), Recipe), TrainingData(rows, {"held": held}, make_tokenizer()), ranks)
    ranks.wait()
    ranks.leave()
