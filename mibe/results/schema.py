"""What may stand in a run's files, in one place: records, rows of sample logs, answers in the cache.

Such a file may come from anybody. What stands in it has the type it should have, numbers are finite, outcomes and the
like are known, names can be printed; all else is refused before a reader trips over it. Fields that are not listed here
are let through. `record` and `row` check what is there, since a run that was cut off has less than a finished one;
`check_whole` also asks for what every reader of a finished run counts on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required

from pydantic import AfterValidator, AllowInfNan, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import TypeAliasType, TypedDict

from mibe.terminal.characters import sound
from mibe.terminal.plain import printable

STRICT = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

LARGEST = 2**53
"""The largest count: what every reader of JSON takes for the number that it is."""

LARGEST_DRAWS = 1_000_000
"""The most resamples, or draws of a document, that a run may have."""


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _file_name(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > 200:
        raise ValueError("a task's name is that of a file, with no folder in it")
    return printable(name)


def _rectangle(confusion: dict[str, Any]) -> dict[str, Any]:
    labels, counts = confusion["labels"], confusion["counts"]
    if len(counts) != len(labels) or any(len(row) != len(labels) + 1 for row in counts):
        raise ValueError("a row for each label, a column for each and one for no answer")
    return confusion


Count = Annotated[int, Field(ge=0, le=LARGEST)]
Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Number = Annotated[float, Field(ge=-1e100, le=1e100)]
Positive = Annotated[float, Field(ge=0, le=1e100)]
Draws = Annotated[int, Field(ge=1, le=LARGEST_DRAWS)]
Name = Annotated[str, AfterValidator(printable)]
Time = Annotated[str, AfterValidator(_time)]
TaskName = Annotated[str, AfterValidator(_file_name)]
Likelihood = Annotated[float, AllowInfNan(True)]
"""Where float16 overflowed it is no number, and the sample is an error to whoever scores it again."""
Finite = Annotated[float, AllowInfNan(False)]
Value = TypeAliasType("Value", "str | bool | int | Finite | list[Value] | dict[str, Value] | None")
"""What a parser returns and a target holds: JSON data."""


class Response(TypedDict, total=False):
    """An answer in the cache: the fields of `mibe.models.base.Response`, and no others."""

    __pydantic_config__ = STRICT | ConfigDict(extra="forbid")  # type: ignore[misc]

    text: Required[str]
    finish_reason: Required[Literal["stop", "length", "filter", "error"]]
    error: str | None
    prompt_tokens: Count | None
    new_tokens: Count | None
    seconds: Positive | None
    cached_tokens: Count | None
    reasoning_tokens: Count | None
    cost: Positive | None
    answer_at: Count | None
    budget_cut: bool


class Answer(TypedDict):
    """What the cache keeps of a sample: the response and, where answers are scored by likelihood, those."""

    __pydantic_config__ = STRICT | ConfigDict(extra="forbid")  # type: ignore[misc]

    response: Response
    loglikelihoods: NotRequired[list[float]]


class Verdict(TypedDict):
    """What a judge said of one diagnosis."""

    __pydantic_config__ = STRICT | ConfigDict(extra="forbid")  # type: ignore[misc]

    rank: Annotated[int, Field(ge=1, le=1000)]
    diagnosis: str
    match: bool | None
    raw: str | None
    source: Name


class Variant(TypedDict):
    """Which version of which document a sample is."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    of: str
    stands: dict[Name, str]
    order: NotRequired[str]


class Row(TypedDict, total=False):
    """One line of a sample log, fields in the order in which they are written."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    id: Required[str]
    draw: Annotated[int, Field(ge=0, lt=LARGEST_DRAWS)]
    prompt_sha256: str
    output: str
    finish_reason: Name
    error: str | None
    shots: list[str]
    answer_at: Count | None
    budget_cut: bool
    outcome: Literal["parsed", "unparsed", "truncated", "refused", "error"]
    prediction: Value
    answered: Value
    target: Value
    scores: dict[str, Number]
    metadata: dict[str, str]
    cluster: str
    variant: Variant
    verdicts: list[Verdict]
    loglikelihoods: list[Likelihood]
    option_loglikelihoods: list[Likelihood]
    cut: bool
    prompt_tokens: Count | None
    new_tokens: Count | None
    seconds: Positive | None
    latency: Positive | None
    first_token: Positive | None
    cached: bool
    cached_tokens: Count | None
    reasoning_tokens: Count | None
    cost: Positive | None
    cost_is_bound: bool


class Figure(TypedDict):
    """A figure with its interval."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    value: Number
    low: Number
    high: Number
    stderr: Number | None
    n: Count


Figures = dict[Name, Figure]


class Outcomes(TypedDict):
    """How many samples came to which outcome."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    parsed: Count
    unparsed: Count
    truncated: Count
    refused: Count
    error: Count


class Data(TypedDict):
    """Which documents were asked about."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    split: Name
    sha256: str
    manifest: NotRequired[dict[str, Any] | None]
    documents: Count
    of: Count
    shard: NotRequired[Name | None]


class Confusion(TypedDict):
    """Gold × predicted."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    labels: list[str]
    counts: list[list[Count]]


class Repeats(TypedDict):
    """What the draws of a document tell."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    draws: Draws
    documents: Count
    figures: Figures


class VariationOf(TypedDict):
    """How a task's documents were varied."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    vary: Name
    version: Count
    samples: Count
    refused: dict[Name, dict[str, Count]]


class VersionsAsked(TypedDict):
    """All samples of a task whose documents were asked in several versions."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    samples: Count
    outcomes: Outcomes


class Letters(TypedDict):
    """Whether an option is chosen for its letter."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    p: Number
    figures: Figures


class Robustness(TypedDict):
    """What the versions of documents in one way tell."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    versions: Count
    documents: Count
    left_out: Count
    divisor: Count
    worst: str
    p: Number | None
    by_version: Figures
    figures: Figures
    letters: NotRequired[Letters]


class Gap(TypedDict):
    """The accuracy with one value minus that with another."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    value: Number
    low: Number
    high: Number
    p: Number
    p_holm: Number
    n: Count
    only_value: NotRequired[Count]
    only_first: NotRequired[Count]


class Attribute(TypedDict):
    """What pairs of documents that differ in one attribute tell."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    values: list[str]
    documents: Count
    figures: Figures
    excess: NotRequired[Gap]
    gaps: NotRequired[dict[Name, Gap]]


class FewGold(TypedDict):
    """Labels with few gold samples, and the figure that a perfect model has."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    gold: dict[str, Count]
    perfect: Number


class Answers(TypedDict):
    """How many answers were read, and how many of them are the same."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    read: Count
    distinct: Count
    commonest: Count


class Bin(TypedDict):
    """A point of the reliability curve."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    low: Number
    high: Number
    confidence: Number
    accuracy: Figure


class Usage(TypedDict):
    """What a server counted."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    cached_tokens: Count
    reasoning_tokens: Count
    cost_usd: Number | None
    priced: NotRequired[Count]
    priced_usd: NotRequired[Number]


class Percentiles(TypedDict):
    """Seconds: median and 95th percentile of so many."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    p50: Positive
    p95: Positive
    n: Count


class Timing(TypedDict):
    """What the responses took."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    prompt_tokens: Count
    new_tokens: Count
    model_seconds: Positive
    tokens_per_second: Number | None
    generated: NotRequired[Count]
    counted: NotRequired[Count]
    positions: NotRequired[Count]
    attended: NotRequired[Count]
    latency: NotRequired[Percentiles]
    first_token: NotRequired[Percentiles]
    usage: NotRequired[Usage]


class Part(TypedDict, total=False):
    """A task's part of the record."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    title: Name
    version: Count
    headline: Name
    data: Data
    prompt_template_sha256: str
    definition_sha256: str
    first_prompt_sha256: str
    first_prompt: str | None
    max_new_tokens: Count
    thinking_budget: Count | None
    stop: list[str]
    num_fewshot: Count
    shots: dict[str, list[str]]
    shots_left_out_as_leaked: list[str]
    rule: Name
    samples: Count
    scored: Count
    clusters: Count
    outcomes: Outcomes
    finish_reasons: dict[Name, Count]
    cut_prompts: Count
    budget_cut: Count
    figures: Figures
    rates: Figures
    breakdowns: dict[str, dict[str, Figures]]
    confusion: Annotated[Confusion, AfterValidator(_rectangle)] | None
    few_gold: dict[Name, FewGold]
    answers: Answers
    reliability: list[Bin]
    repeats: Repeats
    variation: VariationOf
    versions: VersionsAsked
    robustness: dict[Name, Robustness]
    fairness: dict[Name, Attribute]
    timing: Timing
    changes: dict[Name, JsonValue]


class Settings(TypedDict, total=False):
    """The fields of `mibe.run.settings.Settings`, and `asked_under`: the protocol before another one scored the run."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    num_fewshot: Count | dict[str, Count]
    limit: Count | None
    split: Name
    scoring: Literal["generate", "loglikelihood"]
    option_texts: bool
    seed: Whole
    max_new_tokens: Count | None
    fewshot_per_document: bool
    resamples: Draws
    protocol: Name
    asked_under: Name
    prompts: Name | None
    bertscore: str | None
    bartscore: str | None
    shard: Name | None
    system_prompt: str | None
    thinking: Name
    reasoning_effort: Name | None
    chat_template_args: dict[str, JsonValue]
    prompt_style: Name
    thinking_budget: Count | None
    at_budget: Name
    generation: Name
    temperature: Number | None
    top_p: Number | None
    top_k: Count | None
    min_p: Number | None
    repeats: Draws
    constrain: bool
    vary: str | None


class Size(TypedDict):
    """A model's weights, counted: `mibe.models.size.Size`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    params: Count
    bytes: Count | None
    layer_params: Count
    head_params: Count
    layers: Count
    attention_width: Count


class Model(TypedDict, total=False):
    """The model, as the record describes it."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: Name
    identity: JsonValue
    is_remote: bool
    is_chat: bool
    context_window: Count | None
    size: Size


class Judge(TypedDict):
    """The judge of diagnoses."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: Name


class Price(TypedDict):
    """USD per million tokens: `mibe.models.pricing.Price`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    prompt: Positive
    completion: Positive
    cached: Positive
    batch: Positive
    source: Name


class Service(TypedDict):
    """A model behind an API."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: Name
    cost_usd: NotRequired[Number | None]
    price: NotRequired[Price | None]


class Loading(TypedDict):
    """What it took to load the model."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    seconds: Positive
    before_bytes: Count | None
    after_bytes: Count | None


class Energy(TypedDict):
    """Joules by what used them: `mibe.meters.energy.Energy`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    joules: dict[Name, Positive]
    seconds: Positive
    why: Name


class Device(TypedDict, total=False):
    """One accelerator: `mibe.meters.memory.Device`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: Required[Name]
    total_bytes: Required[Count]
    used_bytes: Required[Count]
    allocated_peak_bytes: Count | None
    reserved_peak_bytes: Count | None
    own_bytes: Count | None
    others_bytes: Count | None


class Memory(TypedDict, total=False):
    """Peak memory."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    process_peak_bytes: Count | None
    children_peak_bytes: Count | None
    device_peak_bytes: Count | None
    devices: list[Device]


class Session(TypedDict, total=False):
    """One time that the run's command ran."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    started: Required[Time]
    ended: Time | None
    reason: Name | None
    loading: Loading
    energy: Energy
    services: list[Service]


class Shard(TypedDict, total=False):
    """What a merged run tells of one of the runs that it was made of."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    sessions: Required[list[Session]]
    hardware: Hardware | None
    memory: Memory | None


class Versions(TypedDict):
    """What the run ran on."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    packages: dict[str, str]
    git_revision: str | None


class Hardware(TypedDict, total=False):
    """The machine."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    cpu: Name | None
    cores: Count | None
    memory_bytes: Count
    accelerators: list[Name]


class MeanOver(TypedDict):
    """The mean of several tasks' headline figures."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    value: Number
    low: Number
    high: Number
    tasks: list[TaskName]


class OwnTask(TypedDict):
    """A task of the user's own: its task file, where its data lay, and split → sha256 of what was read there."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    description: dict[str, JsonValue]
    files: dict[str, str]
    splits: dict[str, str]


class Included(TypedDict):
    """A file of tasks: `mibe.results.included.Included`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    path: Name
    sha256: Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
    content: str
    tasks: list[TaskName]


class Record(TypedDict, total=False):
    """`run.json`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    schema: Whole
    status: Literal["running", "interrupted", "incomplete", "finished", "failed"]
    fingerprint: str | None
    mibe_version: Name
    protocol: Name
    suite: Name | None
    settings: Settings
    model: Model
    egress: list[dict[str, JsonValue]]
    task_names: list[TaskName]
    own_tasks: dict[TaskName, OwnTask]
    sessions: list[Session]
    versions: Versions
    hardware: Hardware | None
    memory: Memory | None
    parts: list[Shard]
    tasks: dict[TaskName, Part]
    include: list[Included]
    skipped: dict[TaskName, Name]
    means: dict[Name, MeanOver]
    judge: Judge | None


RUN = ("status", "mibe_version", "protocol", "suite", "settings", "model", "sessions", "versions", "tasks")
SETTINGS = ("num_fewshot", "limit", "split", "scoring", "seed", "resamples", "bertscore")
MODEL = ("name", "identity", "is_chat")
DESCRIBED = ("title", "version", "headline", "data", "prompt_template_sha256", "num_fewshot")
SCORED = ("samples", "scored", "outcomes", "figures", "rates", "breakdowns", "confusion")
SAMPLE = ("output", "finish_reason", "outcome", "prediction", "target", "scores")


class Unfit(ValueError):
    """What is not as it should be, and where, in one line."""


class NotJson(Unfit):
    """It is no JSON at all, as half a line is not."""


def record(content: bytes) -> dict[str, Any]:
    """A run record, or what there is of one. Raises `Unfit`."""
    return _read(Record, content)


def row(line: bytes) -> dict[str, Any]:
    """A line of a sample log. Raises `Unfit`."""
    return _read(Row, line)


def answer(content: bytes) -> dict[str, Any]:
    """What the cache keeps of a sample. Raises `Unfit`."""
    return _read(Answer, content)


def response(content: bytes) -> dict[str, Any]:
    """What the cache keeps of a judge's answer. Raises `Unfit`."""
    return _read(Response, content)


def of_form(form: Any, content: bytes) -> dict[str, Any]:
    """A JSON object of a typed dictionary's form. Raises `Unfit`."""
    return _read(form, content)


def json_object(content: bytes) -> dict[str, Any]:
    """Any JSON object. Raises `Unfit`."""
    return _read(dict[str, Value], content)


def check_whole(record: Mapping[str, Any]) -> None:
    """Raise `Unfit` unless the record has what its readers count on; a task that is not scored yet may lack figures."""
    _need(record, RUN, "")
    _need(record["settings"], SETTINGS, "settings.")
    _need(record["model"], MODEL, "model.")
    if not record["sessions"]:
        raise Unfit("sessions: there is none")
    for name, part in record["tasks"].items():
        _need(part, DESCRIBED, f"tasks.{name}.")
        if "figures" in part:
            _need(part, SCORED, f"tasks.{name}.")
            if part["figures"] and part["headline"] not in part["figures"]:
                raise Unfit(f"tasks.{name}.headline: it is none of the figures")


def check_sample(row: Mapping[str, Any]) -> None:
    """Raise `Unfit` unless the row has what its readers count on."""
    _need(row, SAMPLE, "")


def _need(found: Mapping[str, Any], names: Collection[str], where: str) -> None:
    for name in names:
        if name not in found:
            raise Unfit(f"{where}{name}: it is missing")


def _read(form: Any, content: bytes) -> dict[str, Any]:
    try:
        return _adapter(form).validate_json(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        if found["type"] != "json_invalid":
            raise Unfit(_one_line(found)) from None
    # Half a character, written as an escape, is JSON to Python and to nobody else.
    try:
        return _adapter(form).validate_json(sound(json.dumps(json.loads(content), ensure_ascii=False)))
    except ValidationError as error:
        raise Unfit(_one_line(error.errors(include_url=False, include_input=False)[0])) from None
    except RecursionError:
        raise Unfit("nested too deeply") from None
    except ValueError as error:
        raise NotJson(f"not JSON: {error}") from None


@cache
def _adapter(form: Any) -> TypeAdapter[dict[str, Any]]:
    return TypeAdapter(form)


def _one_line(error: ErrorDetails) -> str:
    """Where and what; never the value, which may be the text of a patient."""
    where = ".".join(map(str, error["loc"]))
    what = error["msg"].removeprefix("Value error, ").removeprefix("Invalid JSON: ")
    return printable(f"{where}: {what}" if where else what)[:300]
