#!/usr/bin/env bash
# One machine, all of its GPUs: train-torchrun.sh pretrain recipes/pretrain-13b.yaml
# The same command goes on after a crash; another number of GPUs does, too.
set -euo pipefail
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
# torchrun hands SIGTERM on to the ranks, which write a checkpoint and end; it would kill them after 30 seconds.
# `mellama-train plan` says how long they need. Slurm's SIGUSR1 is for the ranks alone: torchrun would die of it.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-600}
trap '' USR1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}
exec torchrun --standalone --nproc_per_node "$gpus" -m mellama_train "$@"
