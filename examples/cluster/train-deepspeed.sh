#!/usr/bin/env bash
# Several machines by DeepSpeed's launcher over ssh: HOSTFILE=hosts train-deepspeed.sh pretrain recipes/pretrain-70b.yaml
# HOSTFILE has a line "machine slots=8" for each. All of them must see the corpus and the output folder.
set -euo pipefail
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}
exec deepspeed --hostfile "${HOSTFILE:?name the file of machines in HOSTFILE}" --module mellama_train "$@"
