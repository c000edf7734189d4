#!/usr/bin/env bash
# A model that is larger than one machine: vLLM over Ray, tensor parallel within a machine, pipeline parallel across.
#
#   sbatch --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 examples/cluster/ray-vllm.sh
#
# To have several copies of such a model, start it as an array with shards, as in slurm-array.sh.
#SBATCH --job-name=mibe-ray
#SBATCH --time=12:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

MODEL_ARGS=${MODEL_ARGS:-pretrained=/models/me-llama-70b-chat,dtype=bfloat16}
TASKS=${TASKS:-mibe}
GPUS=${GPUS:-8}
PORT=${PORT:-6379}

mapfile -t nodes < <(scontrol show hostnames "${SLURM_JOB_NODELIST:?start this with sbatch}")
head=${nodes[0]}

# Ray's own processes, one on each node; they end with the job.
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port="$PORT" --num-gpus="$GPUS" --block &
for node in "${nodes[@]:1}"; do
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start --address="$head:$PORT" --num-gpus="$GPUS" --block &
done
until ray status --address="$head:$PORT" 2> /dev/null | grep -q "/$((GPUS * ${#nodes[@]})).0 GPU"; do sleep 5; done

export RAY_ADDRESS=$head:$PORT
mibe eval --model vllm --tasks "$TASKS" --output-dir runs \
    --model-args "$MODEL_ARGS,tensor_parallel_size=$GPUS,pipeline_parallel_size=${#nodes[@]},distributed_executor_backend=ray"
