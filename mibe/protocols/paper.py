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


def apply(task: Task, prompts: str = "released") -> Task:
    """The task as the released code has it, asked in its words ("released") or in those of table A2 ("table").

    The diagnosis tasks and those of later benchmarks are not part of that code and stay as they are. Raises
    `UsageError` for any other task that it does not have, and `ModelError` where the packages to read its outputs are
    not installed.
    """
    if task.name in UNCHANGED:
        return task
    released = released_prompt(task)
    prompt = released if prompts == "released" else paper_prompts.one_text(task.prompt)
    scored = RULES[task.name](replace(task, prompt=prompt))
    return replace(scored, max_new_tokens=NEW_TOKENS, equal_options=False)


def in_released_words(task: Task) -> Task:
    """The task with the prompt of the released builder, read and scored as it is.

    Raises `UsageError` as `apply` does, and for a prompt that asks for another answer than the task's parser reads.
    """
    if task.name in UNCHANGED:
        return task
    prompt = released_prompt(task)
    if prompt is paper_prompts.MMLU:
        raise UsageError(
            f"{task.name}: the released prompt asks for the index of an option, which --protocol paper alone reads; "
            "give that, or leave out --prompts released"
        )
    return replace(task, prompt=prompt)


def released_prompt(task: Task) -> Prompt:
    """The prompt of the released builder. Raises `UsageError` for a task that the released code does not have."""
    if task.name not in PROMPTS:
        raise UsageError(
            f'the released code has no task {task.name!r}, so the protocol "paper" cannot ask or score it; '
            f"it has {', '.join(PROMPTS)}"
        )
    return PROMPTS[task.name](task.prompt)


def for_model(task: Task, model: Model) -> Task:
    """The task with longer answers where the model is a chat API, which is a chat model on another machine."""
    if task.name in UNCHANGED or not (model.is_remote and model.is_chat):
        return task
    return replace(task, max_new_tokens=CHAT_API_NEW_TOKENS)


def one_answer(task: Task, parser: Parser) -> Task:
    """A task whose answer is one label or letter (`Classification`)."""
    metrics = (Accuracy(), Missing(), WeightedF1(task.labels), MacroF1Gold(task.labels, name="macro_f1"))
    return replace(task, parser=parser, metrics=metrics)


def first(*choices: str, lower: bool = True) -> FirstChoice:
    """The parser of most tasks: choices that stand for themselves."""
    return FirstChoice({choice: choice for choice in choices}, lower=lower)


def _pubmedqa(task: Task) -> Task:
    return one_answer(task, first("yes", "no", "maybe"))


def _examination(task: Task) -> Task:
    return one_answer(task, first(*task.labels, lower=False))


def _mmlu(task: Task) -> Task:
    if task.prompt is not paper_prompts.MMLU:
        return _examination(task)
    indices = {str(index): label for index, label in enumerate(task.labels)}
    return one_answer(task, FirstChoice(indices, lower=True))


def _ddi(task: Task) -> Task:
    return one_answer(task, OnlyChoice(task.labels))


def _mtsample(task: Task) -> Task:
    return one_answer(task, first(*task.labels))


def _nli(task: Task) -> Task:
    return one_answer(task, first(*NLI_LABELS))


def _hoc(task: Task) -> Task:
    metrics = (LabelwiseMacroF1(task.labels), LabelwiseScores(task.labels))
    return replace(task, parser=EveryChoice(task.labels), metrics=metrics, headline="macro_f1")


def _emrqa(task: Task) -> Task:
    return replace(task, parser=Verbatim(), metrics=(CharacterScores(),), headline="exact_match")


def _marked(task: Task) -> Task:
    check_packages()
    return replace(task, parser=MarkedWords(), metrics=(AlignedEntities(),), headline="entity_f1")


def _summary(task: Task) -> Task:
    return replace(task, parser=Verbatim(), metrics=(Rouge(), BootstrapMedian(Rouge())), headline="rougeL")


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
    "pubmedsum": _summary,
    "sumpubmed": _summary,
    "mimic_cxr": _summary,
    "bionli": _nli,
    "mednli": _nli,
}
"""Task → how the released code reads and scores it. The open stand-ins go the way of the task they stand in for."""


def _always(prompt: Prompt) -> Callable[[Prompt], Prompt]:
    return lambda _: prompt


PROMPTS: Mapping[str, Callable[[Prompt], Prompt]] = {
    "pubmedqa": _always(paper_prompts.PUBMEDQA),
    "medqa": paper_prompts.examination,
    "medqa_4": paper_prompts.examination,
    "medmcqa": paper_prompts.examination,
    "mmlu": _always(paper_prompts.MMLU),
    "mmlu_medical": _always(paper_prompts.MMLU),
    "emrqa": _always(paper_prompts.EMRQA),
    "i2b2": paper_prompts.one_text,
    "bc5cdr": paper_prompts.one_text,
    "ddi": _always(paper_prompts.DDI),
    "hoc": paper_prompts.topics,
    "mtsample": paper_prompts.specialty,
    "pubmedsum": _always(paper_prompts.PUBMEDSUM),
    "sumpubmed": _always(paper_prompts.PUBMEDSUM),
    "mimic_cxr": _always(paper_prompts.MIMIC_CXR),
    "bionli": _always(paper_prompts.NLI),
    "mednli": _always(paper_prompts.NLI),
}
"""Task → what the released builder makes of table A2's prompt."""

UNCHANGED = frozenset({"nejm_cpc", "diagnosis_open", "gpqa_biology", "nejm_medqa", "clip"})
