#!/usr/bin/env bash
# One run as a Slurm job array: each job scores one shard of the documents on one node, a last job merges them.
#
#   sbatch --array=1-16 examples/cluster/slurm-array.sh
#
# A job that is killed or requeued goes on where it stopped, by the same command. Job ids must run from 1 without gaps.
#SBATCH --job-name=mibe
#SBATCH --gpus-per-task=2
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A_%a.log
set -euo pipefail

# What is scored, and where to: all jobs see this folder.
MODEL=${MODEL:-hf}
MODEL_ARGS=${MODEL_ARGS:-pretrained=/models/me-llama-70b-chat,dtype=bfloat16}
TASKS=${TASKS:-mibe}
RUNS=${RUNS:-runs/$MODEL-${SLURM_ARRAY_JOB_ID:?start this with sbatch --array=1-N}}
PARTS=$SLURM_ARRAY_TASK_COUNT

# The first job puts the merge behind all of them; a requeued one must not do it again.
if [[ $SLURM_ARRAY_TASK_ID == 1 && ${SLURM_RESTART_COUNT:-0} == 0 ]]; then
    sbatch --job-name=mibe-merge --dependency="afterok:$SLURM_ARRAY_JOB_ID" --output=%x-%j.log --time=1:00:00 \
        --wrap="mibe merge '$RUNS'/*-shard-*-of-$PARTS-* --output-dir '$RUNS/merged'"
fi

# --no-cache: many nodes must not write one database on a network file system; the run folder is what resumes.
mibe eval --model "$MODEL" --model-args "$MODEL_ARGS" --tasks "$TASKS" --no-cache \
    --shard "$SLURM_ARRAY_TASK_ID/$PARTS" --output-dir "$RUNS"
