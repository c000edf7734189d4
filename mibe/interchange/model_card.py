"""A run as the block of a model card that lists evaluation results (`model-index`), for the head of its README.md.

https://github.com/huggingface/hub-docs/blob/main/modelcard.md describes the form; huggingface_hub makes it.
"""

from __future__ import annotations

from typing import Any

from mibe.errors import ModelError
from mibe.metrics.base import is_main
from mibe.own.recorded import task_of
from mibe.results.draws import documents_scored, draws_of, mean_name
from mibe.results.run import Run
from mibe.task import Category, Task

TYPES = {
    Category.QA: "question-answering",
    Category.GENERAL: "question-answering",
    Category.NER: "token-classification",
    Category.RELATION_EXTRACTION: "text-classification",
    Category.CLASSIFICATION: "text-classification",
    Category.NLI: "text-classification",
    Category.SUMMARIZATION: "summarization",
    Category.DIAGNOSIS: "text-generation",
}
"""The hub's name of each kind of task."""


def model_index_text(run: Run) -> str:
    """The block as YAML. Raises `ModelError` where huggingface_hub or PyYAML, which it brings, is not installed."""
    try:
        import yaml
        from huggingface_hub import EvalResult
        from huggingface_hub.repocard_data import eval_results_to_model_index
    except ImportError:
        raise ModelError(
            "a model card's block needs huggingface_hub, which is not installed: pip install 'mibe[hub]'"
        ) from None
    name = run.record["model"]["name"]
    results = [
        EvalResult(**fields)
        for task, part in run.record["tasks"].items()
        for fields in _results(run.record, task_of(run.record, task), part)
    ]
    index = {"model-index": eval_results_to_model_index(name, results)}
    return str(yaml.safe_dump(index, sort_keys=False, allow_unicode=True)).rstrip("\n")


def _results(record: dict[str, Any], task: Task, part: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of one `EvalResult` for each main figure; the name says where it is the mean of several draws."""
    draws = draws_of(part)
    return [
        {
            "task_type": TYPES[task.category],
            "task_name": task.title,
            "dataset_type": task.source.hub or task.data_name,
            "dataset_name": task.name,
            "dataset_split": part["data"]["split"],
            "dataset_args": {
                "documents": documents_scored(part),
                **({"draws": draws} if draws > 1 else {}),
                "of": part["data"]["of"],
                "num_fewshot": part["num_fewshot"],
                "protocol": record["protocol"],
                "mibe_version": record["mibe_version"],
            },
            "metric_type": metric,
            "metric_name": mean_name(metric, draws) if draws > 1 else metric,
            "metric_value": figure["value"],
            "metric_args": {"low": figure["low"], "high": figure["high"], "level": 0.95},
        }
        for metric, figure in part.get("figures", {}).items()
        if is_main(metric)
    ]
