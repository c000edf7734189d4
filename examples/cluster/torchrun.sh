#!/usr/bin/env bash
# All GPUs of one machine, or of several, without a scheduler: each process scores its own shard on its own GPU.
#
#   torchrun --no-python --standalone --nproc-per-node=8 examples/cluster/torchrun.sh                  # one machine
#   torchrun --no-python --nnodes=4 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=HOST:29500 \
#       examples/cluster/torchrun.sh                                                                  # each of four
#   accelerate launch --no_python --multi_gpu --num_processes=8 examples/cluster/torchrun.sh          # the same by accelerate
#   mibe merge runs/many/*-shard-*-of-8-* --output-dir runs                                           # when all are done
#
# The processes never speak to each other: torchrun and accelerate only start and number them.
set -euo pipefail

MODEL=${MODEL:-hf}
MODEL_ARGS=${MODEL_ARGS:-pretrained=/models/me-llama-13b-chat,dtype=bfloat16}
TASKS=${TASKS:-mibe}
RUNS=${RUNS:-runs/many}

export CUDA_VISIBLE_DEVICES=${LOCAL_RANK:?start this with torchrun or accelerate launch}
shard=$((RANK + 1))/$WORLD_SIZE
# Whatever else would take part in a process group must not find one.
unset RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT

mibe eval --model "$MODEL" --model-args "$MODEL_ARGS" --tasks "$TASKS" --no-cache --shard "$shard" --output-dir "$RUNS"
