"""What a task file says: the fields of the TOML, their types, and their JSON schema (`docs/own-data.md`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mibe.errors import DataError, UsageError, unknown
from mibe.own.kinds import Kind
from mibe.own.tables import Reading
from mibe.task import AccessLevel


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_prompt(value: Any) -> Any:
    return {"instruction": value} if isinstance(value, str) else value


def _as_files(value: Any) -> Any:
    return {"test": value} if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_list, json_schema_input_type=Name | list[Name])]
"""One name, or a list of them."""


class Part(BaseModel):
    """What all parts of a task file have in common: no key is unknown, and nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(Part):
    """Which columns hold what."""

    input: Names = Field(default=(), description="What the model reads: one column, or several in this order.")
    target: Names = Field(
        default=(),
        description="The right answer: one column; for spans also three, with the start, the end and the type.",
    )
    choices: Names = Field(default=(), description="The options of a question: one column with a list, or one each.")
    id: str | None = Field(default=None, description="A name for each row (default: a column named id, or the row).")
    cluster: str | None = Field(
        default=None, description="What rows share that are easy or hard together, such as the patient."
    )
    breakdowns: Names = Field(default=(), description="Columns by whose values scores are broken down, as the ward.")
    split: str | None = Field(default=None, description="A column that says train, valid or test.")


class PromptText(Part):
    """The prompt, in parts; what is left out is written by mibe for the kind of the task."""

    instruction: str | None = Field(default=None, description="What the model is to do.")
    input: str | None = Field(
        default=None, description='One row: text with columns in braces, as "NOTE: {note}"; {options} are the choices.'
    )
    cue: str | None = Field(default=None, description="The last line, after which the answer is written.")
    cut: Names | None = Field(default=None, description="Columns that may be cut in the middle for a small window.")


class TaskFile(Part):
    """A task of one's own data. Paths are relative to the file's folder."""

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$",
        description="How the task is called (default: the file's name).",
    )
    title: str | None = Field(default=None, description="One line for tables and pages.")
    kind: Kind | None = Field(default=None, description="What an answer is (default: guessed from the columns).")
    labels: Names = Field(default=(), description="The labels (default: those in the target column).")
    aliases: dict[str, str] = Field(default={}, description="Other spellings of labels: spelling = label.")
    answer_only: Names = Field(
        default=(), description="Labels that are ordinary words too: they count where they stand as the answer."
    )
    most_labels: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most labels of an answer (default: as the data has them)."
    )
    first_option: Literal[0, 1] | None = Field(default=None, description="Whether numbered targets count from 0 or 1.")
    access: AccessLevel = Field(
        default=AccessLevel.CREDENTIALED,
        description="credentialed (default): the text stays on this machine; open and non-commercial let it leave.",
    )
    agreement: str | None = Field(default=None, description="The agreement that credentialed data came under.")
    licence: str = Field(default="own data", description="The licence of the data.")
    shots: Annotated[int, Field(ge=0)] = Field(default=5, description="Worked examples in the few-shot setting.")
    max_new_tokens: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Length limit of an answer.")
    metrics: Names = Field(default=(), description="Figures by name; the first is the headline.")
    version: Annotated[int, Field(ge=1)] = Field(default=1, description="Raise it when results change their meaning.")
    prompt: Annotated[PromptText, BeforeValidator(_as_prompt, json_schema_input_type=str | PromptText)] = PromptText()
    columns: Columns = Columns()
    files: Annotated[dict[str, str], BeforeValidator(_as_files, json_schema_input_type=str | dict[str, str])] = Field(
        default={}, description="One file, or one for each split: test = …, train = …"
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        default=None, description="What parts the cells of a CSV (default: found in the header)."
    )
    encoding: str | None = Field(default=None, description="Of text files (default: UTF-8, or its byte order mark).")
    sheet: str | None = Field(default=None, description="Of a workbook (default: the first).")

    @property
    def reading(self) -> Reading:
        """How its files are read."""
        return Reading(self.delimiter, self.encoding, self.sheet)


def read_task_file(path: Path) -> TaskFile:
    """The task file at `path`.

    Raises `DataError` for what is no TOML, and `UsageError` naming every field that is wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML ({error})") from None
    return task_file(content, str(path))


def task_file(content: Mapping[str, Any], where: str) -> TaskFile:
    """The fields as a `TaskFile`. Raises `UsageError` naming every field that is wrong; `where` is the file's name."""
    try:
        return TaskFile.model_validate(content)
    except ValidationError as error:
        found = [_said(part) for part in error.errors()]
    if len(found) == 1:
        raise UsageError(f"{where}: {found[0]}")
    raise UsageError(f"{where}: {len(found)} fields are not as they should be:", lines=found)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a task file, for the completion of editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TaskFile.model_json_schema()}


def slug(name: str) -> str:
    """A file's name as the name of a task."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")[:64] or "own"


def _said(error: Mapping[str, Any]) -> str:
    """One error of pydantic in one line, with the nearest known key for one that is unknown."""
    *parents, last = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        parts: dict[str, type[Part]] = {"columns": Columns, "prompt": PromptText}
        part = parts.get(parents[0] if parents else "", TaskFile)
        return str(unknown(f"key{' in [' + parents[0] + ']' if parents else ''}", last, part.model_fields))
    return f"{'.'.join([*parents, last])}: {error['msg'][:1].lower()}{error['msg'][1:]}"
