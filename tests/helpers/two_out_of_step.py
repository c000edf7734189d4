"""Two ranks of which the second calls a layer once more: `torchrun … two_out_of_step.py`."""

import torch
from torch import nn

from mellama_train.engines.lockstep import Lockstep
from mellama_train.engines.ranks import Ranks

if __name__ == "__main__":
    ranks = Ranks.join()
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    lockstep = Lockstep(model, ranks)
    hidden = model["body"](torch.zeros(1, 2))
    for _ in range(2 + ranks.rank):
        model["head"](hidden)
    lockstep.end_pass()
