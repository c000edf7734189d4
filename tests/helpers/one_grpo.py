"""`mellama-train train grpo RECIPE` with the test sets of one task looked through: those of all take half a minute."""

import sys
from functools import partial

from mellama_train.cli import main, run
from mellama_train.corpus.decontaminate import build_index
from mellama_train.rl import tasks

if __name__ == "__main__":
    tasks.build_index = partial(build_index, tasks=["pubmedqa"])
    run(lambda: main(["train", "grpo", sys.argv[1]]))
