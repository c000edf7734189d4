"""Five-shot MMLU prompts built, ours beside lm-eval's: no model, plain text, the same documents and worked examples.

    python benchmarks/prompts.py [--repeats 5] [--peer-documents 1000]

Ours builds the prompts of all 14,042 documents. lm-eval builds those of the first `--peer-documents` of one subject
after another, with a task for each subject as its own MMLU has, and the time is set in proportion.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mibe.data.documents import examples
from mibe.models import load_model
from mibe.prompting import PromptBuilder
from mibe.registry import load_task
from mibe.run.plan import Plan, plan_task
from mibe.run.settings import Settings
from mibe.task import Example

SHOTS = 5
TEXT = "Question: {{question}}\nOptions:\n{{options}}\nAnswer:"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--peer-documents", type=int, default=1000)
    given = options.parse_args()
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    task = load_task("mmlu")
    plan = plan_task(task, Settings(num_fewshot=SHOTS))
    with tempfile.TemporaryDirectory() as folder:
        peers = peer_tasks(Path(folder), plan, given.peer_documents)
        ours, theirs = [], []
        for _ in range(given.repeats):
            start = time.process_time()
            texts = build_ours(plan)
            ours.append(1000 * (time.process_time() - start) / len(texts))
            start = time.process_time()
            peer_texts = [text for peer in peers for text in build_theirs(peer)]
            theirs.append(1000 * (time.process_time() - start) / len(peer_texts))
    same = len(set(texts) & set(peer_texts))
    print(f"{len(texts)} and {len(peer_texts)} five-shot MMLU prompts, medians of {given.repeats};")
    print(f"{platform.machine()}, {os.cpu_count()} cores; {same} of lm-eval's prompts are among ours")
    print("\n| builder | CPU seconds for 1,000 prompts | for 14,042 |\n|---|---:|---:|")
    for name, seconds in (("mibe", ours), ("lm_eval", theirs)):
        middle = statistics.median(seconds)
        print(f"| {name} | {middle:.3f} | {14.042 * middle:.2f} |")
    print(f"\nlm_eval / mibe = {statistics.median(theirs) / statistics.median(ours):.0f}")


def build_ours(plan: Plan) -> list[str]:
    """The texts of all prompts, from the data on disk."""
    builder = PromptBuilder(plan.task, load_model("dummy"), plan.shots, max_new_tokens=plan.max_new_tokens)
    return [builder.build(example).text for example in plan.documents]


def peer_tasks(folder: Path, plan: Plan, count: int) -> list[Any]:
    """lm-eval's tasks over the same documents, as many subjects as hold `count` of them."""
    from lm_eval.api.task import ConfigurableTask

    train, test = by_subject(examples(plan.task, "train")), by_subject(plan.documents)
    tasks: list[Any] = []
    for subject, documents in test.items():
        chosen = documents[: count - sum(len(task.dataset["test"]) for task in tasks)]
        if not chosen:
            break
        files = {"dev": folder / f"{subject}-dev.jsonl", "test": folder / f"{subject}-test.jsonl"}
        for file, rows in ((files["dev"], train[subject]), (files["test"], chosen)):
            file.write_text("".join(json.dumps(row(plan, example)) + "\n" for example in rows))
        config = {
            "task": f"mmlu_{subject}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {name: str(path) for name, path in files.items()}},
            "test_split": "test",
            "fewshot_split": "dev",
            "fewshot_config": {"sampler": "first_n"},
            "num_fewshot": SHOTS,
            "output_type": "generate_until",
            "description": plan.task.prompt.instruction + "\n\n",
            "doc_to_text": TEXT,
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 8},
        }
        tasks.append(ConfigurableTask(config=config))
    return tasks


def build_theirs(task: Any) -> list[str]:
    """The texts of one task's prompts."""
    task.build_all_requests(limit=None, rank=0, world_size=1, cache_requests=False, rewrite_requests_cache=False)
    return [instance.args[0] for instance in task.instances]


def by_subject(documents: Iterable[Example]) -> dict[str, list[Example]]:
    """Subject → its documents, in order."""
    found: dict[str, list[Example]] = defaultdict(list)
    for example in documents:
        found[example.metadata["subject"]].append(example)
    return found


def row(plan: Plan, example: Example) -> dict[str, str]:
    """What lm-eval's template needs of a document."""
    fields = plan.task.prompt.fields(example)
    return {"question": fields["question"], "options": fields["options"], "answer": plan.task.prompt.answer(example)}


if __name__ == "__main__":
    main()
