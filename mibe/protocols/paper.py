"""The protocol `paper`: tasks asked and scored bug for bug as the released code of Me-LLaMA did.

Sources: `src/tasks/vital_measure.py` (matching and metrics) and `src/preprocess_instruct.py` (prompts) of
https://github.com/BIDS-Xu-Lab/Me-LLaMA, which is an lm-eval 0.3 fork. `docs/protocols.md` shows by an example for each
task how this differs from the default, and why.

Generation there is greedy to 256 new tokens and ends at the end-of-text token alone, with the bare query as prompt; the
GPT models get the query as one user message and 512 tokens. Few-shot examples are query and answer, joined by blank
lines. What is not reproduced: few-shot examples from the test set (NER and summarization).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from mibe.errors import UsageError
from mibe.metrics.base import BootstrapMedian
from mibe.metrics.classification import Accuracy, MacroF1Gold, WeightedF1
from mibe.metrics.multilabel import LabelwiseMacroF1, LabelwiseScores
from mibe.metrics.summarization import Rouge
from mibe.models.base import Model
from mibe.protocols import paper_prompts
from mibe.protocols.paper_marks import check_packages
from mibe.protocols.paper_metrics import AlignedEntities, CharacterScores, Missing
from mibe.protocols.paper_parsing import EveryChoice, FirstChoice, MarkedWords, OnlyChoice, Verbatim
from mibe.task import Parser, Prompt, Task

NEW_TOKENS = 256
CHAT_API_NEW_TOKENS = 512

NLI_LABELS = ("entailment", "contradiction", "neutral")
"""In the order in which the released code looks for them."""


def apply(task: Task) -> Task:
    """The task as the released code has it.

    The diagnosis tasks are not part of that code and stay as they are. Raises `UsageError` for any other task that it
    does not have, and `ModelError` where the packages to read its outputs are not installed.
    """
    if task.name in UNCHANGED:
        return task
    if task.name not in RULES:
        raise UsageError(
            f'the released code has no task {task.name!r}, so the protocol "paper" cannot score it; '
            f"it has {', '.join(RULES)}"
        )
    return replace(RULES[task.name](task), max_new_tokens=NEW_TOKENS, equal_options=False)


def for_model(task: Task, model: Model) -> Task:
    """The task with longer answers where the model is a chat API, which is a chat model on another machine."""
    if task.name in UNCHANGED or not (model.is_remote and model.is_chat):
        return task
    return replace(task, max_new_tokens=CHAT_API_NEW_TOKENS)


def one_answer(task: Task, prompt: Prompt, parser: Parser) -> Task:
    """A task whose answer is one label or letter (`Classification`)."""
    metrics = (Accuracy(), Missing(), WeightedF1(task.labels), MacroF1Gold(task.labels, name="macro_f1"))
    return replace(task, prompt=prompt, parser=parser, metrics=metrics)


def first(*choices: str, lower: bool = True) -> FirstChoice:
    """The parser of most tasks: choices that stand for themselves."""
    return FirstChoice({choice: choice for choice in choices}, lower=lower)


def _pubmedqa(task: Task) -> Task:
    return one_answer(task, paper_prompts.PUBMEDQA, first("yes", "no", "maybe"))


def _examination(task: Task) -> Task:
    return one_answer(task, paper_prompts.examination(task.prompt), first(*task.labels, lower=False))


def _mmlu(task: Task) -> Task:
    indices = {str(index): label for index, label in enumerate(task.labels)}
    return one_answer(task, paper_prompts.MMLU, FirstChoice(indices, lower=True))


def _ddi(task: Task) -> Task:
    return one_answer(task, paper_prompts.DDI, OnlyChoice(task.labels))


def _mtsample(task: Task) -> Task:
    return one_answer(task, paper_prompts.specialty(task.prompt), first(*task.labels))


def _nli(task: Task) -> Task:
    return one_answer(task, paper_prompts.NLI, first(*NLI_LABELS))


def _hoc(task: Task) -> Task:
    metrics = (LabelwiseMacroF1(task.labels), LabelwiseScores(task.labels))
    prompt = paper_prompts.topics(task.prompt)
    return replace(task, prompt=prompt, parser=EveryChoice(task.labels), metrics=metrics, headline="macro_f1")


def _emrqa(task: Task) -> Task:
    prompt = paper_prompts.EMRQA
    return replace(task, prompt=prompt, parser=Verbatim(), metrics=(CharacterScores(),), headline="exact_match")


def _marked(task: Task) -> Task:
    check_packages()
    prompt = paper_prompts.marking(task.prompt)
    return replace(task, prompt=prompt, parser=MarkedWords(), metrics=(AlignedEntities(),), headline="entity_f1")


def _summary(prompt: Prompt) -> Callable[[Task], Task]:
    metrics = (Rouge(), BootstrapMedian(Rouge()))
    return lambda task: replace(task, prompt=prompt, parser=Verbatim(), metrics=metrics, headline="rougeL")


RULES: Mapping[str, Callable[[Task], Task]] = {
    "pubmedqa": _pubmedqa,
    "medqa": _examination,
    "medqa_4": _examination,
    "medmcqa": _examination,
    "mmlu": _mmlu,
    "mmlu_medical": _mmlu,
    "emrqa": _emrqa,
    "i2b2": _marked,
    "bc5cdr": _marked,
    "ddi": _ddi,
    "hoc": _hoc,
    "mtsample": _mtsample,
    "pubmedsum": _summary(paper_prompts.PUBMEDSUM),
    "sumpubmed": _summary(paper_prompts.PUBMEDSUM),
    "mimic_cxr": _summary(paper_prompts.MIMIC_CXR),
    "bionli": _nli,
    "mednli": _nli,
}
"""Task → what the released code makes of it. The open stand-ins go the way of the task they stand in for."""

UNCHANGED = frozenset({"nejm_cpc", "diagnosis_open"})
