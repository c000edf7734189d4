"""`mellama-train train grpo RECIPE` with the test sets of one task looked through: those of all take half a minute."""

import sys
from functools import partial

from mellama_train.cli import main, run
from mellama_train.corpus import decontaminate

if __name__ == "__main__":
    decontaminate.build_index = partial(decontaminate.build_index, tasks=["pubmedqa"])
    run(lambda: main(["train", "grpo", sys.argv[1]]))
