"""Samples: prompts with responses from JSON lines, as tokens of which the responses alone are learned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from mellama_train.errors import DataError
from mellama_train.recipe.stages import HubDataset
from mellama_train.rows.characters import lone_surrogate
from mellama_train.rows.formats import KNOWN, tools, turns
from mellama_train.rows.tables import PARQUET, dataset_records, parquet_records

ROLES = ("system", "user", "assistant", "tool")

STAND_IN = "an answer"
"""Put in the place of a response to see what a template has around it."""

OPENED = re.compile(r"([<\[◁])(\w[\w:]*)([>\]▷])\s*\Z")
"""A mark that opens a thought at the end of a prompt: <think>, [THINK]."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation: turns of system, user, assistant and tool, the last by the assistant. `place` is "file:line".

    `tools` are the schemas of what the assistant may call.
    """

    messages: tuple[Mapping[str, Any], ...]
    source: str
    place: str
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """The token ids of a sample, and for each whether it is learned."""

    tokens: list[int]
    learned: list[bool]


def read_samples(source: Path | HubDataset) -> Iterator[Sample]:
    """The samples of one file (JSON lines, a JSON list, Parquet) or data set, in order.

    Raises `DataError` as "file:line: what is wrong".
    """
    for place, record in read_records(source):
        yield _sample(record, place, source.stem)


def read_records(source: Path | HubDataset) -> Iterator[tuple[str, Any]]:
    """(place, what stands there) of each record of a file or data set, in order. Raises `DataError` with the place."""
    if isinstance(source, HubDataset):
        return dataset_records(source)
    return parquet_records(source) if source.suffix == PARQUET else _json_records(source)


def _json_records(file: Path) -> Iterator[tuple[str, Any]]:
    """(place, record) of each record of a file of JSON lines or of a JSON list."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            yield from _records(file, lines)
    except IsADirectoryError:
        raise DataError(f"{file} is a folder; a data set in one is given as {{dataset: {file}}}") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text: {error}") from None


def encode(sample: Sample, tokenizer: Any, form: Literal["chat", "plain"]) -> Encoded:
    """The sample as the model will meet it: what stands before a response is tokenised as it is for generation.

    "chat" renders by the tokenizer's template; "plain" is prompt, a blank, response (the paper's form), turns being
    separated by blank lines. Each response ends with what ends a turn, which is learned too; the last one ends with a
    token in any case. Raises `DataError` for a conversation that the template cannot render turn by turn, and where no
    token can end it.
    """
    pieces = _chat_pieces(sample, tokenizer) if form == "chat" else _plain_pieces(sample, tokenizer)
    begin = added_before(tokenizer) if form == "plain" else []
    text, tokens, learned = "", list[int](), [False] * len(begin)
    for piece, is_response in pieces:
        text += piece
        tokens = _longer(tokenizer, tokens, piece, text)
        learned += [is_response] * (len(begin) + len(tokens) - len(learned))
    return Encoded(begin + tokens, learned)


def _longer(tokenizer: Any, tokens: list[int], piece: str, text: str) -> list[int]:
    """The tokens of a text whose last piece is new, with those of the text before it unchanged.

    The whole text is tokenised again, since some tokenizers (LLaMA's) put a blank before a piece that stands alone;
    where that would change tokens before the piece, a model could not have generated it so, and it does stand alone.
    """
    whole: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    if whole[: len(tokens)] == tokens:
        return whole
    alone: list[int] = tokenizer(piece, add_special_tokens=False)["input_ids"]
    return tokens + alone


def added_before(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text: usually nothing, or the token that begins a sequence."""
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    full: list[int] = tokenizer("a")["input_ids"]
    start = next((at for at in range(len(full)) if full[at : at + len(alone)] == alone), 0)
    return full[:start]


def _records(file: Path, lines: IO[str]) -> Iterator[tuple[str, Any]]:
    """(place, what stands there) of each line that is not blank, or of each record of a list in a `.json` file."""
    if file.suffix == ".json":
        text = lines.read()
        if text.lstrip().startswith("["):
            for number, record in enumerate(_parsed(text, str(file)), start=1):
                yield f"{file}:record {number}", record
            return
        lines.seek(0)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{file}:{number}"
            yield place, _parsed(line, place)


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({error})") from None


def _sample(found: Any, place: str, source: str) -> Sample:
    if not isinstance(found, dict):
        raise DataError(f'{place}: not an object; a line is {{"prompt": …, "response": …}} or {{"messages": […]}}')
    messages = turns(found)
    if messages is None:
        have = ", ".join(found) or "nothing"
        raise DataError(f"{place}: neither prompt with response nor messages; it has {have}, and may have {KNOWN}")
    return sample_of(found, messages, place, source)


def sample_of(record: Mapping[str, Any], messages: Any, place: str, source: str) -> Sample:
    """The sample of some turns of a record, with its tools. Raises `DataError` with the place where they are none."""
    described = tools(record)
    if problem := _problem(messages) or _problem_of_tools(described):
        raise DataError(f"{place}: {problem}")
    return Sample(tuple(messages), str(record.get("source", source)), place, tuple(described))


def _problem(messages: Any) -> str | None:
    """What is wrong with the turns of a conversation."""
    if not isinstance(messages, list) or not messages:
        return "messages is no list of turns"
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return f"a turn needs a role, one of {', '.join(ROLES)}"
        # A call may say nothing beside itself, and a tool may answer with nothing.
        may_be_empty = message["role"] == "tool" or (message["role"] == "assistant" and message.get("tool_calls"))
        if not isinstance(message.get("content"), str) or not (may_be_empty or message["content"].strip()):
            return f"the turn of {message['role']} has no text"
        if half := lone_surrogate(message["content"]) or _half_in(message.get("tool_calls")):
            return f"the turn of {message['role']} holds {half}, half a character; mend the text, or take the line out"
    if messages[-1]["role"] != "assistant":
        return "the last turn is not the assistant's, so there is nothing to learn at the end"
    if messages[0]["role"] == "assistant":
        return "the first turn is the assistant's; a prompt comes before a response"
    return None


def _problem_of_tools(described: Any) -> str | None:
    """What is wrong with the schemas of tools."""
    if not isinstance(described, list):
        return "tools is no list of schemas"
    for tool in described:
        if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict) or "name" not in tool["function"]:
            return "a schema of tools is an object with the name of a function"
    if half := _half_in(described):
        return f"tools holds {half}, half a character; mend the text, or take the line out"
    return None


def _half_in(value: Any) -> str | None:
    """Half a character in any text of a JSON value."""
    return lone_surrogate(json.dumps(value, ensure_ascii=False, default=str))


def _chat_pieces(sample: Sample, tokenizer: Any) -> Iterator[tuple[str, bool]]:
    """(text, is it learned), alternately what stands before a response and the response with its end."""
    messages, done = list(sample.messages), ""
    for turn, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _render(tokenizer, messages[:turn], sample, cue=True)
        after = _render(tokenizer, messages[: turn + 1], sample, cue=False)
        # Whitespace after the token that ends a turn is the template's, and no model is asked to write it.
        response = after[len(before) :].rstrip() if after.startswith(before) else None
        if turn == len(messages) - 1:
            response = _last_response(response, before, sample, tokenizer)
        if response is None or not before.startswith(done):
            raise DataError(
                f"{sample.place}: the chat template renders a turn otherwise when more turns follow; use form: plain"
            )
        yield before[len(done) :], False
        yield response, True
        done = before + response


def _last_response(rendered: str | None, before: str, sample: Sample, tokenizer: Any) -> str | None:
    """The response that ends the sample, with a token that ends it.

    `rendered` is what the template has behind the prompt `before`; None where it does not begin with that prompt, as
    R1's, which open a thought there. Such a response stands behind the prompt all the same, since none follows.
    """
    *turns, last = sample.messages
    shown = _render(tokenizer, [*turns, {**last, "content": STAND_IN}], sample, cue=False)
    head, found, tail = shown.rpartition(STAND_IN)
    tail = tail.rstrip()
    if rendered is None:
        if not found or not before.startswith(head):
            return None
        rendered = _continued(before.removeprefix(head), last["content"].strip()) + tail
    if tail.endswith((*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens)):
        return rendered
    if tokenizer.eos_token is None:
        raise DataError(
            f"{sample.place}: the chat template puts no token behind an answer and the tokenizer has no end token, so "
            "the model would never end one; use a tokenizer with an eos_token"
        )
    return rendered + str(tokenizer.eos_token)


def _continued(written: str, content: str) -> str:
    """A response behind a prompt in which the template has `written` more than it leaves in the turn afterwards.

    R1's templates open a thought there. A response that has a thought goes on with it, another one closes it first.
    """
    opened = OPENED.search(written)
    if opened is None:
        return content
    opening, closing = opened[0].strip(), f"{opened[1]}/{opened[2]}{opened[3]}"
    if content.startswith(opening):
        thought = content.removeprefix(opening)
        return thought.removeprefix("\n") if written.endswith("\n") else thought
    return content if closing in content else f"\n{closing}\n\n{content}"


def _render(tokenizer: Any, messages: list[Mapping[str, Any]], sample: Sample, *, cue: bool) -> str:
    from jinja2 import TemplateError

    # A template is a program: "text" + 5 in it raises what it does in Python.
    errors = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
    try:
        text: str = tokenizer.apply_chat_template(
            messages, tools=list(sample.tools) or None, tokenize=False, add_generation_prompt=cue
        )
    except errors as error:
        raise DataError(f"{sample.place}: the chat template refuses these turns: {error}") from None
    return text


def _plain_pieces(sample: Sample, tokenizer: Any) -> Iterator[tuple[str, bool]]:
    """The same in the paper's form, every response followed by the token that ends a text."""
    if tokenizer.eos_token is None:
        raise DataError("the tokenizer has no end token, which plain samples end with; use form: chat")
    if sample.tools:
        raise DataError(f"{sample.place}: tools are described by a chat template; use form: chat")
    prompt = ""
    for turn, message in enumerate(sample.messages):
        if message["role"] != "assistant":
            prompt += ("\n\n" if turn else "") + message["content"]
            continue
        if message.get("tool_calls"):
            raise DataError(f"{sample.place}: calls of tools are written by a chat template; use form: chat")
        yield prompt, False
        blank = "" if prompt[-1:].isspace() else " "
        yield blank + message["content"].strip() + tokenizer.eos_token, True
        prompt = ""
