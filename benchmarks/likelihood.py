"""Decisions by likelihood beside lm-eval's: the same model, documents and requests, compared document by document.

    python benchmarks/likelihood.py [--documents 100] [--tasks medmcqa,mmlu,…] [--comparisons native,texts,own]

lm-eval runs its own files of medmcqa, medqa_4options, mmlu and pubmedqa, by its own evaluator and `hf` class, on
the prepared data in the columns that the files name (no hub is asked). Three comparisons for each task:

- **native**: lm-eval's prompt through `--scoring loglikelihood`: the letters or labels (acc, acc_norm)
- **texts**: the same with the texts of the options in place of the letters (acc, acc_norm)
- **own**: the prompt of mibe's task, laid out by the model's chat template, through lm-eval

Equal are requests (context and continuation, as text), decisions and figures; the likelihoods themselves are equal but
for rounding, whose largest value stands in the table. The exit status is 1 where anything else differs.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lm_eval
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml
from tabulate import tabulate

import mibe
from mibe.models import load_model, parse_model_args
from mibe.models.base import ChoiceRequest, Model
from mibe.models.local.demo import demo_path
from mibe.registry import load_task
from mibe.run.documents import Documents
from mibe.run.settings import Settings
from mibe.task import Example, Prompt, Task, shown_fields

FILES = Path(lm_eval.__file__).parent / "tasks"

Document = dict[str, Any]
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Native:
    """One of lm-eval's tasks: our task of the same data, its prompt as a template of ours, its file and its columns.

    `file` and `columns` are functions of an example: MMLU has a file for each subject.
    """

    task: str
    prompt: Prompt
    file: Callable[[Example], str]
    columns: Callable[[Example], Document]


def _place(example: Example) -> int:
    return "ABCD".index(example.target)


def _with_subject(example: Example) -> Mapping[str, str]:
    subject = example.metadata["subject"].replace("_", " ")
    return {**shown_fields(example), "question": example.inputs["question"].strip(), "subject": subject}


def _verbatim(text: str, **more: Any) -> Prompt:
    return Prompt(instruction="", input=text, cue="Answer:", verbatim=True, **more)


NATIVE = {
    "medmcqa": Native(
        "medmcqa",
        _verbatim("Question: {question}\nChoices:\n{options}\n"),
        lambda _: "medmcqa/medmcqa.yaml",
        lambda e: {**e.inputs, **dict(zip(("opa", "opb", "opc", "opd"), e.choices, strict=True)), "cop": _place(e)},
    ),
    "medqa_4options": Native(
        "medqa_4",
        _verbatim("Question: {question}\n{options}\n"),
        lambda _: "medqa/medqa.yaml",
        lambda e: {
            "sent1": e.inputs["question"],
            **{f"ending{number}": text for number, text in enumerate(e.choices)},
            "label": _place(e),
        },
    ),
    "mmlu": Native(
        "mmlu",
        _verbatim(
            "The following are multiple choice questions (with answers) about {subject}.\n\n{question}\n{options}\n",
            fields=_with_subject,
        ),
        lambda e: f"mmlu/default/mmlu_{e.metadata['subject']}.yaml",
        lambda e: {**e.inputs, "choices": list(e.choices), "answer": _place(e)},
    ),
    "pubmedqa": Native(
        "pubmedqa",
        _verbatim("Abstract: {context}\nQuestion: {question}\n"),
        lambda _: "pubmedqa/pubmedqa.yaml",
        lambda e: {
            "QUESTION": e.inputs["question"],
            "CONTEXTS": e.inputs["context"].split("\n"),
            "final_decision": e.target,
        },
    ),
}


@dataclass(frozen=True)
class Scored:
    """What one side says of one document: what was asked, the likelihoods, and which figures it is right in."""

    pairs: Pairs
    values: tuple[float, ...]
    right: Mapping[str, float]


class Listening:
    """A model that remembers what it was asked, by the hash of the prompt."""

    def __init__(self, model: Model) -> None:
        self.asked: dict[str, ChoiceRequest] = {}
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def loglikelihood(self, requests: Sequence[ChoiceRequest]) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Those of the model."""
        self.asked.update((hashlib.sha256(each.text.encode()).hexdigest(), each) for each in requests)
        return self._model.loglikelihood(requests)


def by_mibe(
    task: Task, model: Listening, documents: int, *, texts: bool
) -> tuple[dict[str, Scored], dict[str, Scored]]:
    """Id → what mibe says by letters or labels, and by the texts of options, in one run of `mibe.evaluate`."""
    settings = {"limit": documents, "scoring": "loglikelihood", "option_texts": texts}
    with tempfile.TemporaryDirectory() as folder:
        run = mibe.evaluate(model=model, tasks=[task.name], output_dir=folder, use_cache=False, **settings)
        rows = run.samples(task.name).to_dict("records")
    by_answer, by_text = {}, {}
    for row in rows:
        request = model.asked[row["prompt_sha256"]]
        pairs = [(request.text, text) for text in request.continuations]
        own, scores = row["loglikelihoods"], row["scores"]
        by_answer[row["id"]] = Scored(pairs[: len(own)], tuple(own), {"acc": scores["accuracy"]})
        if "acc" in scores:
            right = {name: scores[name] for name in ("acc", "acc_norm")}
            by_text[row["id"]] = Scored(pairs[len(own) :], tuple(row["option_loglikelihoods"]), right)
    return by_answer, by_text


def by_lm_eval(
    lm: HFLM, native: Native, examples: Sequence[Example], changes: Callable[[Example], Document]
) -> dict[str, Scored]:
    """Id → what lm-eval says, by its own files, with what `changes` of their configuration for each example."""
    by_file: dict[str, list[Example]] = {}
    for example in examples:
        by_file.setdefault(native.file(example), []).append(example)
    found = {}
    for file, members in by_file.items():
        documents = Dataset.from_list([native.columns(e) | {"id": e.id} | changes(e) for e in members])
        config = load_yaml(FILES / file) | {
            "custom_dataset": lambda documents=documents, **_: {"test": documents},
            "metadata": {},
            "dataset_kwargs": None,
            "fewshot_split": None,
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            **{key: "{{own_prompt}}" for key in ["doc_to_text"] if "own_prompt" in documents.column_names},
            **{key: "option_texts" for key in ["doc_to_choice"] if "option_texts" in documents.column_names},
        }
        if "own_prompt" in documents.column_names:
            config |= {"description": "", "target_delimiter": documents[0]["own_delimiter"]}
        task = ConfigurableTask(config=config)
        results = lm_eval.evaluate(
            lm, {"tasks": {"own": task}, "groups": {}, "group_map": {}}, bootstrap_iters=0, verbosity="ERROR"
        )
        for sample in results["samples"]["own"]:
            pairs = [(context, text) for context, text in sample["arguments"]]
            values = tuple(value for value, _ in sample["filtered_resps"])
            right = {name: sample[name] for name in ("acc", "acc_norm") if name in sample}
            found[sample["doc"]["id"]] = Scored(pairs, values, right)
    return found


def compared(ours: Mapping[str, Scored], theirs: Mapping[str, Scored]) -> Iterator[tuple[list[Any], bool]]:
    """A line of the table for each figure that both sides have, and whether everything in it is equal."""
    assert ours.keys() == theirs.keys()
    requests = sum(ours[key].pairs == theirs[key].pairs for key in ours)
    furthest = max(abs(a - b) for key in ours for a, b in zip(ours[key].values, theirs[key].values, strict=True))
    for name in next(iter(theirs.values())).right:
        # Letters have one character each, so that acc_norm is acc.
        own = {key: one.right.get(name, one.right["acc"]) for key, one in ours.items()}
        same = sum(own[key] == theirs[key].right[name] for key in ours)
        figures = [sum(side.values()) / len(own) for side in (own, {k: s.right[name] for k, s in theirs.items()})]
        line = [name, *(f"{figure:.4f}" for figure in figures), f"{requests} of {len(own)}", f"{same} of {len(own)}"]
        yield [*line, f"{furthest:.0e}"], requests == same == len(own) and figures[0] == figures[1]


def sides(
    native: Native, lm: HFLM, plain: Model, chat: Model, documents: int, wanted: Sequence[str]
) -> Iterator[tuple[str, dict[str, Scored], dict[str, Scored]]]:
    """What is compared, what mibe says of each document, and what lm-eval says."""
    task = load_task(native.task)
    examples = list(Documents.select(task, Settings.split, documents, Settings.seed))
    if "native" in wanted or "texts" in wanted:
        in_theirs = replace(
            task, name=f"{task.name}_as_lm_eval_asks", dataset=task.data_name, prompt=native.prompt, shots_match=None
        )
        mibe.register_task(in_theirs)
        answers, texts = by_mibe(in_theirs, Listening(plain), documents, texts="texts" in wanted)
        if "native" in wanted:
            yield "native", answers, by_lm_eval(lm, native, examples, lambda _: {})
        if texts:
            yield "texts", texts, by_lm_eval(lm, native, examples, lambda e: {"option_texts": list(e.choices)})
    if "own" in wanted:
        own, _ = by_mibe(task, Listening(chat), documents, texts=False)
        prompts = {ident: scored.pairs[0][0] for ident, scored in own.items()}
        delimiter = "" if chat.is_chat else " "
        asked = by_lm_eval(lm, native, examples, lambda e: {"own_prompt": prompts[e.id], "own_delimiter": delimiter})
        yield "own", own, asked


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=100)
    options.add_argument("--tasks", default=",".join(NATIVE))
    options.add_argument("--comparisons", default="native,texts,own")
    options.add_argument("--model-args", default="", help="of hf, in place of the demo model")
    given = options.parse_args()
    logging.disable(logging.WARNING)
    args = parse_model_args(given.model_args) or {"pretrained": str(demo_path()), "dtype": "float32", "device": "cpu"}
    lines, all_equal = [], True
    lm = HFLM(**args, batch_size=8)
    plain, chat = (load_model("hf", {**args, "chat_template": form}) for form in ("off", "auto"))
    with closing(plain), closing(chat):
        for name in given.tasks.split(","):
            start = time.perf_counter()
            wanted = given.comparisons.split(",")
            for what, ours, theirs in sides(NATIVE[name], lm, plain, chat, given.documents, wanted):
                for line, equal in compared(ours, theirs):
                    lines.append([name, what, *line])
                    all_equal &= equal
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    header = ["lm-eval's task", "comparison", "figure", "mibe", "lm-eval", "equal requests", "equal decisions", "apart"]
    print(tabulate(lines, headers=header, tablefmt="github", disable_numparse=True))
    print(
        f"\nlm-eval {lm_eval.__version__}, {given.documents} documents of each: {'equal' if all_equal else 'NOT EQUAL'}"
    )
    return 0 if all_equal else 1


if __name__ == "__main__":
    sys.exit(main())
