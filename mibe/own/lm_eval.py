"""YAML tasks of lm-eval as task files: what can be said in columns is converted, and the rest is named.

Nothing of the file is run: `!function` is a name that cannot be converted, and of Jinja only plain references to
columns are understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mibe.errors import DataError, UsageError
from mibe.own.description import TaskFile, slug, task_file
from mibe.own.kinds import Kind
from mibe.own.rows import field_of
from mibe.own.tables import split_name
from mibe.task import letter

_REFERENCE = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)(?:\s*\|\s*(?:trim|string)|\.l?r?strip\(\))?\s*-?\}\}")
_LIST = re.compile(r"\{\{\s*\[\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)+)\s*\]\s*\}\}")
_TEXT = r"(?:\"[^\"\\]*\"|'[^'\\]*')"
_TEXT_LIST = rf"\[\s*(?P<texts>{_TEXT}(?:\s*,\s*{_TEXT})*)\s*\]"
_CHOSEN = re.compile(rf"\{{\{{\s*{_TEXT_LIST}\[(?P<column>[A-Za-z_]\w*)\]\s*\}}\}}")
_PLACE = re.compile(rf"\{{\{{\s*{_TEXT_LIST}\.index\((?P<column>[A-Za-z_]\w*)(?:\.strip\(\))?\)\s*\}}\}}")
_TEXTS = re.compile(r"\{\{\s*([A-Za-z_]\w*)\.text\s*\}\}")

TABLES = ("json", "csv", "parquet", "text", "pandas")
"""Loaders of `datasets` that `dataset_path` may name, whose files then stand in `dataset_kwargs`."""
METRICS = {
    Kind.ANSWER: {"exact_match": "exact_match", "f1": "f1"},
    Kind.SUMMARY: {"rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeL", "rougeLsum": "rougeLsum"},
    Kind.CHOICE: {"acc": "accuracy", "f1": "macro_f1"},
    Kind.LABEL: {"acc": "accuracy", "f1": "macro_f1", "exact_match": "accuracy"},
}
"""Kind → lm-eval's name of a metric → the figure that is the same, or the nearest, here."""
LEFT_OUT = {
    "filter_list": "answers are read by mibe's parser, which needs no filters",
    "process_results": "figures are those of mibe",
    "fewshot_config": "worked examples are chosen by mibe",
    "repeats": "draws are asked for by --repeats",
    "use_prompt": "the prompt is the one in doc_to_text",
}
"""Key → what is so without it."""
DECIDED = ("process_docs", "custom_dataset", "unsafe_code", "class", "doc_to_image", "doc_to_audio")
"""Keys whose code makes the task what it is: without them it would be another."""


@dataclass(frozen=True, slots=True)
class _Function:
    """What stood after `!function`."""

    name: str


def converted(path: Path) -> tuple[TaskFile, tuple[str, ...]]:
    """The task of a YAML file as a task file, and what became of the rest, a line each.

    Raises `DataError` for what is no YAML, and `UsageError` with everything that cannot be converted.
    """
    content = _content(path)
    problems = [*_problems(content)]
    fields: dict[str, Any] = {"name": slug(str(content.get("task") or path.stem)), "columns": {}}
    notes: list[str] = []
    for step in (_of_data, _of_prompt, _of_answer, _of_rest):
        try:
            notes += step(content, fields, path)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(f"{path} cannot be converted; write a task file (docs/own-data.md):", lines=problems)
    return task_file(fields, str(path)), tuple(notes)


def _content(path: Path) -> dict[str, Any]:
    """The file's keys, under those of the file that it includes."""
    try:
        import yaml
    except ImportError:
        raise DataError(f"reading {path.name} needs PyYAML: pip install pyyaml") from None

    class Loader(yaml.SafeLoader):
        """Data alone: of `!function` the name is kept."""

    Loader.add_constructor("!function", lambda loader, node: _Function(str(node.value)))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no task: a task is a mapping of keys")
    included = content.pop("include", None)
    if included is None:
        return content
    if not isinstance(included, str) or (path.parent / included).resolve() == path.resolve():
        raise DataError(f"{path}: include names one other file")
    return _content(path.parent / included) | content


def _problems(content: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(content.get("task"), list) or "group" in content:
        yield "it is a group of tasks; convert each of them"
    if (output := content.get("output_type", "generate_until")) not in ("generate_until", "multiple_choice"):
        yield f"output_type {output}: only generate_until and multiple_choice have a like here"
    for key in DECIDED:
        if content.get(key):
            yield f"{key}: {_named(content[key])}"
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        if isinstance(content.get(key), _Function):
            yield f"{key}: {_named(content[key])}"


def _named(value: Any) -> str:
    return f"the function {value.name}, which is not run" if isinstance(value, _Function) else "it is not converted"


def _of_data(content: Mapping[str, Any], fields: dict[str, Any], path: Path) -> list[str]:
    name = str(content.get("dataset_path", ""))
    arguments = content.get("dataset_kwargs") or {}
    if not isinstance(arguments, dict):
        raise UsageError("dataset_kwargs: expected names and values")
    test = content.get("test_split") or content.get("validation_split") or "test"
    if name in TABLES and (files := arguments.get("data_files")):
        given = files if isinstance(files, dict) else {test: files}
        several = {
            split: found[0] if isinstance(found, list) and len(found) == 1 else found for split, found in given.items()
        }
        if strange := [split for split, found in several.items() if not isinstance(found, str)]:
            raise UsageError(f"dataset_kwargs: {strange[0]} has several files; put them into one")
        fields["files"] = {"test" if split == test else split_name(split): found for split, found in several.items()}
        return []
    if name and (path.parent / name).exists():
        fields["files"] = name
        split = split_name(str(test))
        return [] if split == "test" else [f"its documents are those of {split}: add --split {split} to mibe eval"]
    raise UsageError(
        f"dataset_path: {name or 'none'} is not on this disk; save it (load_dataset(…).save_to_disk(FOLDER)) and name "
        "the folder, or give data_files"
    )


def _of_prompt(content: Mapping[str, Any], fields: dict[str, Any], path: Path) -> list[str]:
    text = content.get("doc_to_text")
    if isinstance(text, _Function):
        return []
    if not isinstance(text, str) or not text.strip():
        raise UsageError("doc_to_text: it is missing")
    if "{" not in text:
        # A column by its name.
        text = "{{" + text.strip() + "}}"
    columns = list(dict.fromkeys(_REFERENCE.findall(text)))
    rest = _REFERENCE.sub("", text)
    if not columns or "{{" in rest or "{%" in rest:
        raise UsageError("doc_to_text: of Jinja only {{column}} is understood")
    # Braces of the text itself are doubled before its references become fields.
    pieces = [piece.replace("{", "{{").replace("}", "}}") for piece in _REFERENCE.split(text)[::2]]
    names = _REFERENCE.split(text)[1::2]
    template = "".join(p + (f"{{{field_of(n)}}}" if n else "") for p, n in zip(pieces, [*names, ""], strict=True))
    head, body, cue = _parted(template)
    description = content.get("description")
    instruction = "\n".join(part for part in (_plain(description), head) if part)
    prompt = {"input": body, "cue": cue} | ({"instruction": instruction} if instruction else {})
    fields["prompt"] = prompt
    fields["columns"]["input"] = columns
    return [] if instruction else ["it has no description: the first line of the prompt is mibe's"]


def _plain(description: Any) -> str:
    if description is None:
        return ""
    if not isinstance(description, str) or "{{" in description or "{%" in description:
        raise UsageError("description: only plain text is understood")
    return description.strip()


def _parted(template: str) -> tuple[str, str, str]:
    """What stands before the lines with fields, these, and what stands after them, which is the cue."""
    lines = template.strip().split("\n")
    shown = [n for n, line in enumerate(lines) if re.search(r"(?<!\{)\{[^{}]+\}(?!\})", line)]
    first, last = shown[0], shown[-1]
    undoubled = [line.replace("{{", "{").replace("}}", "}") for line in lines]
    return (
        "\n".join(undoubled[:first]).strip(),
        "\n".join(lines[first : last + 1]),
        "\n".join(undoubled[last + 1 :]).strip() or "Answer:",
    )


def _of_answer(content: Mapping[str, Any], fields: dict[str, Any], path: Path) -> list[str]:
    target, choices = content.get("doc_to_target"), content.get("doc_to_choice")
    if isinstance(target, _Function) or isinstance(choices, _Function):
        return []
    if isinstance(target, str) and (chosen := _CHOSEN.fullmatch(target.strip())):
        # {{["yes", "no"][label]}}: the column has the number of a text.
        return _labelled(fields, chosen["column"], _texts(chosen["texts"]))
    if isinstance(target, str) and (place := _PLACE.fullmatch(target.strip())):
        # {{["A", "B"].index(answer)}}: the column has a text, whose number is that of the right choice.
        return _placed(fields, place["column"], _texts(place["texts"]), choices)
    column = _column(target)
    if column is None:
        raise UsageError(f"doc_to_target: {target!r:.60} is no column")
    fields["columns"]["target"] = column
    if content.get("output_type", "generate_until") == "generate_until":
        names = {str(metric.get("metric")) for metric in _metrics(content)}
        fields["kind"] = Kind.SUMMARY if any(name.startswith("rouge") for name in names) else Kind.ANSWER
        return []
    if isinstance(choices, list):
        return _labelled(fields, column, [str(choice) for choice in choices])
    return _optional(fields, column, choices, first=0)


def _labelled(fields: dict[str, Any], column: str, labels: Sequence[str]) -> list[str]:
    """One of the same texts for every row, which the column has, or whose number it has."""
    if any(str(n) in labels and label != str(n) for n, label in enumerate(labels)):
        raise UsageError(f"doc_to_target: numbers in {column} may be the labels {', '.join(labels)} or their places")
    numbers = {str(n): label for n, label in enumerate(labels) if label != str(n)}
    fields["columns"]["target"] = column
    fields |= {"kind": Kind.LABEL, "labels": list(labels), "aliases": numbers}
    return ["its choices are the same for every row: they are labels, and numbers in the target count from 0"]


def _placed(fields: dict[str, Any], column: str, texts: Sequence[str], choices: Any) -> list[str]:
    """The choice that has the place that the column's text has among the texts."""
    if isinstance(choices, list) and len(choices) == len(texts):
        labels = [str(choice) for choice in choices]
        fields["columns"]["target"] = column
        aliases = {text: label for text, label in zip(texts, labels, strict=True) if text != label}
        if aliases.keys() & set(labels):
            raise UsageError(f"doc_to_target: {', '.join(texts)} and {', '.join(labels)} share names")
        fields |= {"kind": Kind.LABEL, "labels": labels, "aliases": aliases}
        return ["its choices are the same for every row: they are labels"]
    if list(texts) == [letter(n) for n in range(len(texts))]:
        return _optional(fields, column, choices, first=0)
    if list(texts) == [str(n + 1) for n in range(len(texts))]:
        return _optional(fields, column, choices, first=1)
    raise UsageError(f"doc_to_target: {', '.join(texts)} are neither letters nor numbers of options")


def _optional(fields: dict[str, Any], column: str, choices: Any, *, first: int) -> list[str]:
    """Options of each row's own."""
    fields["columns"] |= {"target": column, "choices": _choice_columns(choices)}
    fields["kind"], fields["first_option"] = Kind.CHOICE, first
    prompt = fields.get("prompt")
    if prompt:
        prompt["input"] += "\n{options}"
    return ["its options are shown as lettered lines, and a letter is asked for, where lm-eval compares likelihoods"]


def _texts(listed: str) -> list[str]:
    """The texts of a list in a template."""
    return [text[1:-1] for text in re.findall(_TEXT, listed)]


def _choice_columns(choices: Any) -> list[str]:
    if (found := _column(choices)) is not None:
        return [found]
    if isinstance(choices, str):
        if listed := _LIST.fullmatch(choices.strip()):
            return [name.strip() for name in listed[1].split(",")]
        if texts := _TEXTS.fullmatch(choices.strip()):
            return [texts[1]]
    raise UsageError(f"doc_to_choice: {choices!r:.60} is neither a column nor a list of columns")


def _column(value: Any) -> str | None:
    """The one column that a key names, plainly or in braces."""
    if not isinstance(value, str):
        return None
    if found := _REFERENCE.fullmatch(value.strip()):
        return found[1]
    return value.strip() if re.fullmatch(r"[\w ./-]+", value.strip()) else None


def _of_rest(content: Mapping[str, Any], fields: dict[str, Any], path: Path) -> list[str]:
    notes = [f"{key} is left out: {why}" for key, why in LEFT_OUT.items() if content.get(key) not in (None, 1)]
    known = METRICS.get(fields.get("kind", Kind.ANSWER), {})
    names = [str(metric.get("metric")) for metric in _metrics(content)]
    if figures := list(dict.fromkeys(known[name] for name in names if name in known)):
        fields["metrics"] = figures
    if lost := [name for name in names if name not in known]:
        notes.append(f"metrics left out: {', '.join(lost)}")
    generation = content.get("generation_kwargs") or {}
    if isinstance(generation, dict):
        if isinstance(most := generation.get("max_gen_toks"), int):
            fields["max_new_tokens"] = most
        if generation.get("until"):
            notes.append("until is left out: mibe stops a plain-text answer where the next document would begin")
        if generation.get("do_sample") or generation.get("temperature"):
            notes.append("its answers are sampled: give --temperature to mibe eval")
    if isinstance(shots := content.get("num_fewshot"), int):
        fields["shots"] = shots
    version = (content.get("metadata") or {}).get("version") if isinstance(content.get("metadata"), dict) else None
    if isinstance(version, int | float) and version >= 1:
        fields["version"] = int(version)
    return notes


def _metrics(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    given = content.get("metric_list") or []
    return [metric for metric in given if isinstance(metric, dict)] if isinstance(given, list) else []
