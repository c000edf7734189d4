#!/usr/bin/env bash
# One machine, all of its GPUs: train-torchrun.sh pretrain recipes/pretrain-13b.yaml
# The same command goes on after a crash; another number of GPUs does, too.
set -euo pipefail
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}
exec torchrun --standalone --nproc_per_node "$gpus" -m mellama_train "$@"
