#!/usr/bin/env bash
# Several machines by DeepSpeed's launcher over ssh: HOSTFILE=hosts train-deepspeed.sh pretrain recipes/pretrain-70b.yaml
# HOSTFILE has a line "machine slots=8" for each. All of them must see the corpus and the output folder.
# To end a run with a checkpoint send SIGUSR1 to one of the ranks, any of them. The launcher itself, sent SIGTERM, kills the
# ranks after 30 seconds, which no setting changes and which is too little for a large checkpoint.
set -euo pipefail
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}
exec deepspeed --hostfile "${HOSTFILE:?name the file of machines in HOSTFILE}" --module mellama_train "$@"
