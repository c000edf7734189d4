"""The Python API in one go, on questions that come with the package and models that need no weights.

    python examples/library_tour.py [FOLDER]

Put "demo" or "hf" with model_args={"pretrained": PATH} where "dummy" stands to have a real model.
"""

import sys
from dataclasses import replace

import mibe
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.tables import render
from mibe.task import Prompt

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "runs"

# Score a model. Every answer is on disk before the next question; the same call again goes on where it stopped.
first = mibe.evaluate(model="dummy", model_args={"mode": "first"}, tasks="medqa,mmlu", limit=40, output_dir=FOLDER)
print(first.path, first.scores("medqa")["accuracy"])

# A pandas table of every figure with its interval, and one of the samples.
print(first.table().query("metric == 'accuracy'")[["task", "value", "low", "high", "n"]].to_string(index=False))
print(first.samples("medqa")[["id", "output", "prediction", "target", "outcome"]].head(3).to_string(index=False))


# A model is also any function from a list of prompts to a list of texts. Under a name and a version its answers are
# kept and its runs go on as others do; a function without a name is asked anew in every run.
def longest_option(prompts: list[str]) -> list[str]:
    """Answers with the letter of the longest option, a habit of many writers of questions."""
    options = [[line for line in prompt.splitlines() if line[1:3] == ". "] for prompt in prompts]
    return [max(lines, key=len)[0] if lines else "" for lines in options]


longest = {"model": longest_option, "name": "longest option", "version": 1}
second = mibe.evaluate(**longest, tasks="medqa,mmlu", limit=40, output_dir=FOLDER)

# Two runs on the same samples: differences with paired intervals, and where the two disagree.
comparison = mibe.compare(second, first)
print(comparison.table()[["task", "metric", "a", "b", "difference", "low", "high", "p"]].to_string(index=False))
print(len(comparison.differing("medqa")), "predictions differ")

# A task of one's own: here other words for an old data set; docs/add-a-dataset.md brings in a new one.
task = replace(
    mibe.load_task("medqa"),
    name="medqa_brief",
    dataset="medqa",
    prompt=Prompt(instruction="Answer with one letter.", input="{question}\n{options}", cue="Letter:"),
)
mibe.register_task(task)
brief = mibe.evaluate(**longest, tasks="medqa_brief", limit=40, output_dir=FOLDER)
print(brief.record["tasks"]["medqa_brief"]["first_prompt"])

# A suite is a setting of the paper; its runs stand beside the published figures.
whole = mibe.evaluate(
    model="dummy", suite="zero_shot", tasks="pubmedqa,medqa", protocol="paper", limit=40, output_dir=FOLDER
)
print(render(leaderboard([whole.path], metrics=["accuracy"]), "text"))
