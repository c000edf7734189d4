"""Conversations by the keys that public files have them under, as turns of system, user, assistant and tool.

Also pairs of them: two answers to one prompt, of which one is better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

PAIRS = (
    ("prompt", (), "response"),
    ("prompt", (), "completion"),
    ("instruction", ("input", "context"), "output"),
    ("instruction", ("context", "input"), "response"),
    ("question", ("context",), "answer"),
    ("input", (), "output"),
)
"""(what is asked, what it is asked about, the answer): ours, TRL's, Alpaca's, Dolly's, and question sets'."""

SPEAKERS = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
}
"""The roles of OpenAI's messages and of ShareGPT's files → the role that a chat template knows."""

COMPARED = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
)
"""(the better answer, the worse one): TRL's and most data sets', SteerLM's, and OpenAI's."""

PROMPTS = (("prompt", ()), ("instruction", ("input", "context")), ("question", ("context",)), ("input", ()))
"""(what is asked, what it is asked about) where two answers stand beside it."""

DIALOGUE = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
"""What begins a turn in the texts of Anthropic's preference data (HH-RLHF)."""

KNOWN_PAIRS = " or ".join(f"{better} with {worse}" for better, worse in COMPARED)

KNOWN = "messages, conversations, or one of " + ", ".join(f"{asked} with {answer}" for asked, _, answer in PAIRS)


def turns(record: Mapping[str, Any]) -> Any:
    """The turns of a record, in the form of OpenAI's messages; None where it has none of the known keys.

    `messages` and ShareGPT's `conversations`; a pair of texts, what it is about behind a blank line; TRL's prompt and
    completion as lists of turns. A `system` text beside them comes first, where they begin with none of their own. What
    is not of the form is left as it is, for the reader to name.
    """
    for name in ("messages", "conversations"):
        if name in record:
            found = _of_json(record[name], list)
            return _headed(record, [_turn(turn) for turn in found]) if isinstance(found, list) else found
    for asked, about, answer in PAIRS:
        if asked in record and answer in record:
            subject = next((record[key] for key in about if record.get(key)), None)
            return _headed(record, [*_asked(record[asked], subject), *_answered(record[answer])])
    return None


def compared(record: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The two conversations of a record of preferences, the better one first; None where it has none of the known keys.

    The answers are texts, or turns of the assistant behind the prompt that stands beside them: a text under one of
    `PROMPTS`, turns under `prompt`, `messages` or `conversations`, or OpenAI's `input`. Turns that begin with another
    speaker are whole conversations, and so are texts in the form of HH-RLHF with no prompt beside them.
    """
    answers = next(((record[a], record[b]) for a, b in COMPARED if a in record and b in record), None)
    if answers is None:
        return None
    prompt = _prompt_of(record)
    better, worse = (_conversation(prompt, answer) for answer in answers)
    return (_headed(record, better), _headed(record, worse))


def _prompt_of(record: Mapping[str, Any]) -> list[Any]:
    """The turns that both answers follow; none where the answers hold them."""
    asked = record.get("input")
    beside = asked if isinstance(asked, dict) else record
    for name in ("messages", "conversations"):
        if isinstance(found := _of_json(beside.get(name), list), list):
            return [_turn(turn) for turn in found]
    for name, about in PROMPTS:
        if name in record:
            subject = next((record[key] for key in about if record.get(key)), None)
            return _asked(_of_json(record[name], list), subject)
    return []


def _conversation(prompt: list[Any], answer: Any) -> list[Any]:
    if not prompt and isinstance(answer, str) and (found := _dialogue(answer)):
        return found
    found = _answered([answer] if isinstance(answer, dict) else _of_json(answer, list))
    first = found[0] if found else None
    is_whole = isinstance(first, dict) and first.get("role") != "assistant"
    return found if is_whole else [*prompt, *found]


def _dialogue(text: str) -> list[Any]:
    """The turns of a text in the form of HH-RLHF; none where it does not begin as one."""
    before, *parts = DIALOGUE.split(text)
    if before.strip():
        return []
    return [
        _turn({"from": who.lower(), "value": said.strip()}) for who, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def tools(record: Mapping[str, Any]) -> Any:
    """The schemas of the tools that a conversation may call, in OpenAI's form, which chat templates take.

    They come as a list or as its JSON text (a table has no other place for schemas that differ), and each bare or
    under "function". What is not of the form is left as it is, for the reader to name.
    """
    found = _of_json(record.get("tools"), list)
    if not isinstance(found, list):
        return found or []
    return [
        {"type": "function", "function": tool} if isinstance(tool, dict) and "function" not in tool else tool
        for tool in found
    ]


def _of_json(value: Any, kind: type) -> Any:
    """What a JSON text of a list or an object says; anything else as it is."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return found if isinstance(found, kind) else value


def _call(call: Any) -> Any:
    """One call of a tool. OpenAI writes its arguments as JSON text, and chat templates want the object."""
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        return call
    function = call["function"]
    if "arguments" not in function:
        return call
    return {**call, "function": {**function, "arguments": _of_json(function["arguments"], dict)}}


def _headed(record: Mapping[str, Any], found: list[Any]) -> list[Any]:
    """The turns behind the system text that stands beside them; an empty system turn, as exports write, is none."""
    text, first = record.get("system"), found[0] if found else None
    if isinstance(first, dict) and first.get("role") == "system":
        return found[1:] if first["content"] in ("", None) else found
    return [{"role": "system", "content": text}, *found] if text else found


def _asked(text: Any, about: Any) -> list[Any]:
    if isinstance(text, list):
        return [_turn(turn) for turn in text]
    both = f"{text}\n\n{about}" if isinstance(text, str) and isinstance(about, str) and about.strip() else text
    return [{"role": "user", "content": both}]


def _answered(text: Any) -> list[Any]:
    return [_turn(turn) for turn in text] if isinstance(text, list) else [{"role": "assistant", "content": text}]


def _turn(turn: Any) -> Any:
    """One turn with role and content, calls of tools with it."""
    if not isinstance(turn, dict):
        return turn
    speaker = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    more = {key: turn[key] for key in ("tool_calls", "tool_call_id", "name") if turn.get(key)}
    if isinstance(more.get("tool_calls"), list):
        more["tool_calls"] = [_call(call) for call in more["tool_calls"]]
    if more.get("tool_calls") and content is None:
        content = ""
    return {"role": SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else speaker, "content": content, **more}
