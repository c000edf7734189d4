"""The files that `mibe env` writes, one for each trainer: at most sixty lines, with nothing in them that mibe has.

A `$$name` is filled in. Whoever has a file may change it: each is an ordinary program of its trainer's users.
"""

HEAD = '''
${terms}import mibe

TASK, SPLIT = "$task", "$split"
${include}
REWARD = mibe.reward(TASK)  # prompt_end="<think>\\n" where the model's chat template opens a reasoning
EXAMPLES = {example.id: example for example in mibe.examples(REWARD.task, SPLIT)}


def samples():
    """Prompts with their ids, without those that also stand in a test set."""
    left_out = $left_out
    return [sample for sample in mibe.training_samples(REWARD.task, SPLIT) if sample.id not in left_out]
'''

VERIFIERS = '''"""$title, for verifiers 0.4 and later: prompts of the $split split, scored by mibe.

    vf-validate $module --runtime.type subprocess
    vf-eval $module -m MODEL -n 20

run it where this file can be imported (PYTHONPATH), and mibe with the task's data.
"""

import verifiers.v1 as vf
$head

class MibeTask(vf.Task[vf.TaskData]):
    """One document. Its gold answer stays in mibe's data, so that no trace holds it."""

    def score_of(self, response: str) -> mibe.Rewarded:
        return REWARD.judge([response], [EXAMPLES[self.data.id]], prompts=[self.data.prompt])[0]

    @vf.reward(weight=1.0)
    async def correct(self, trace: vf.Trace) -> float:
        return self.score_of(trace.last_reply).score

    @vf.metric
    async def answered(self, trace: vf.Trace) -> float:
        return float(self.score_of(trace.last_reply).prediction is not None)

    async def validate(self, runtime: vf.Runtime) -> bool:
        return self.score_of(REWARD.task.prompt.answer(EXAMPLES[self.data.id])).score > 1 - 1e-9


class MibeTaskset(vf.Taskset[MibeTask, vf.TasksetConfig]):
    def load(self) -> list[MibeTask]:
        return [
            MibeTask(
                vf.TaskData(
                    id=one.id,
                    name=one.id,
                    system_prompt=REWARD.task.prompt.system or None,
                    prompt=one.messages[-1]["content"],
                ),
                self.config.task,
            )
            for one in samples()
        ]


__all__ = ["MibeTaskset"]
'''

TRL = '''"""$title, for TRL's GRPOTrainer: prompts of the $split split, scored by mibe.

    from $module import correct, dataset
    GRPOTrainer(model=MODEL, reward_funcs=correct, train_dataset=dataset(), args=GRPOConfig(…)).train()

or, as it stands:

    accelerate launch $module.py MODEL FOLDER
"""

import sys

from datasets import Dataset
$head

def dataset():
    """Columns prompt (turns of a chat) and id."""
    return Dataset.from_list([{"prompt": [dict(turn) for turn in one.messages], "id": one.id} for one in samples()])


def correct(prompts, completions, id, log_metric=None, **_):
    """The reward of each completion, from 0 to 1; `id` is the column of the dataset."""
    given = REWARD.judge(completions, [EXAMPLES[each] for each in id], prompts=prompts)
    if log_metric is not None:
        log_metric("answered", sum(one.prediction is not None for one in given) / len(given))
    return [one.score for one in given]


if __name__ == "__main__":
    from trl import GRPOConfig, GRPOTrainer

    model, folder = sys.argv[1:]
    room = REWARD.task.max_new_tokens  # what a run gives an answer; a model that reasons wants more
    args = GRPOConfig(output_dir=folder, max_completion_length=room, mask_truncated_completions=True)
    trainer = GRPOTrainer(model=model, reward_funcs=correct, train_dataset=dataset(), args=args)
    trainer.train()
    trainer.save_model(folder)
'''

OPENRLHF = '''"""$title, for OpenRLHF: prompts of the $split split, scored by mibe.

    python $module.py prompts.jsonl
    python -m openrlhf.cli.train_ppo_ray --data.prompt_dataset prompts.jsonl --data.input_key prompt \\\\
        --data.label_key id --data.apply_chat_template --reward.remote_url $module.py …

(before its dotted options: --prompt_data, --input_key, --label_key, --apply_chat_template, --remote_rm_url)
"""

import json
import os
import sys

import torch
$head

def response(query, prompt):
    """What follows the prompt in a query, whose first tokens may have been cut off or decoded otherwise."""
    end = prompt[-64:]
    return query[query.index(end) + len(end) :] if end in query else query


def reward_func(queries, prompts, labels, **_):
    """Rewards from 0 to 1; `labels` are the ids of the documents."""
    responses = [response(query, prompt) for query, prompt in zip(queries, prompts)]
    given = REWARD.judge(responses, [EXAMPLES[label] for label in labels], prompts=prompts)
    scores = torch.tensor([one.score for one in given])
    answered = torch.tensor([float(one.prediction is not None) for one in given])
    return {"rewards": scores, "scores": scores, "extra_logs": {"answered": answered}}


if __name__ == "__main__":
    mode = $mode  # of the file with the prompts
    with open(sys.argv[1], "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, mode)) as file:
        for one in samples():
            file.write(json.dumps({"prompt": [dict(turn) for turn in one.messages], "id": one.id}) + "\\n")
'''
