"""Requests and answers in the form of the OpenAI API, and what servers that speak it with an accent say instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mibe.models.base import FinishReason, Request, Response
from mibe.models.finish import FINISH_REASONS
from mibe.models.openai.content import Reply, read_json
from mibe.models.openai.endpoint import Endpoint
from mibe.models.pricing import Usage
from mibe.models.reasoning import tell_apart, was_cut
from mibe.parsers.reasoning import opened_by
from mibe.terminal.characters import sound
from mibe.terminal.plain import as_text

LIMITS = ("max_tokens", "max_completion_tokens")
OPTIONAL = ("temperature", "seed", "stop", "stream_options", "stream")
"""Parameters that a request can do without: greedy decoding is asked for, stop strings are also cut here, and an answer
that does not grow before our eyes is the same answer."""

ASKED = ("top_p", "top_k", "min_p", "reasoning_effort", "chat_template_kwargs", "response_format")
"""Parameters that are there because the user asked for them: a server that knows them not cannot do what was asked."""

CUT_NOTHING: Mapping[str, float] = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}

MEMBER = "answer"
"""What the one member of a constrained answer's JSON is called."""

SHOWN = 500
"""Characters of a server's message that are kept."""

_UNSUPPORTED = re.compile(
    r"unsupported|not support|unknown|unrecognized|unrecognised|unexpected|not permitted|not allowed|extra_forbidden"
    r"|extra inputs|deprecated|invalid param|use '?max_",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server wants to be asked: the length limit's name that is tried first, and what it has refused."""

    preferred: str
    refused: frozenset[str] = frozenset()

    @property
    def limit(self) -> str:
        """The name of the length limit."""
        return next((name for name in (self.preferred, *LIMITS) if name not in self.refused), self.preferred)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a server said in place of an answer.

    `spent`: the server did its work, and what came of it is no answer. A few more attempts may be luckier; each costs
    as much as an answer does.
    """

    status: int
    message: str
    code: str = ""
    param: str = ""
    spent: bool = False


def path_of(endpoint: Endpoint) -> str:
    """Where requests go, below the base address."""
    return "/chat/completions" if endpoint.api == "chat" else "/completions"


def body_of(endpoint: Endpoint, dialect: Dialect, request: Request) -> dict[str, Any]:
    """The JSON of one request."""
    sampling = request.sampling
    body: dict[str, Any] = {"model": endpoint.model}
    if endpoint.api == "chat":
        body["messages"] = [{"role": m["role"], "content": _sendable(m["content"])} for m in request.messages]
        body[dialect.limit] = sampling.room
    else:
        body["prompt"] = _sendable(request.text)
        body["max_tokens"] = sampling.room
    body |= {"temperature": sampling.temperature, "seed": sampling.seed}
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    body |= {
        name: value for name in ("top_p", "top_k", "min_p") if (value := getattr(sampling, name)) != CUT_NOTHING[name]
    }
    if endpoint.reasoning_effort is not None:
        body["reasoning_effort"] = endpoint.reasoning_effort
    if endpoint.stream:
        # Without the second the server would not count the tokens.
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if endpoint.template_args:
        body["chat_template_kwargs"] = dict(endpoint.template_args)
    if sampling.allowed:
        body["response_format"] = _one_answer_of(sampling.allowed)
    return {name: value for name, value in body.items() if name not in dialect.refused}


def _one_answer_of(answers: Sequence[str]) -> dict[str, Any]:
    """A `response_format` that leaves nothing but one of the answers, as the only member of a JSON object."""
    member = {"type": "string", "enum": list(answers)}
    schema = {"type": "object", "properties": {MEMBER: member}, "required": [MEMBER], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": MEMBER, "strict": True, "schema": schema}}


def _answer_in(text: str, answers: Sequence[str]) -> str | None:
    """The answer in the JSON that such a format asks for; None where it is not one of them."""
    try:
        found = read_json(text)[MEMBER]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) and found in answers else None


def _sendable(text: str) -> str:
    """What is no character is sent as a question mark."""
    return sound(text, "?")


def learn(dialect: Dialect, sent: Mapping[str, Any], problem: Problem) -> Dialect | None:
    """The dialect that the server's refusal asks for, or None where it is about something else.

    The parameter is the one that the server names, in `param` or in its message; the model's name says nothing.
    """
    if problem.status not in (400, 422) or not _UNSUPPORTED.search(f"{problem.code} {problem.message}"):
        return None
    name = next((name for name in (*LIMITS, *OPTIONAL) if name in sent and _names(problem, name)), None)
    if name is None:
        return None
    learnt = replace(dialect, refused=dialect.refused | {name})
    return None if learnt.refused.issuperset(LIMITS) else learnt


def refused_request(sent: Mapping[str, Any], problem: Problem) -> str | None:
    """The parameter that the user asked for and the server says it does not know, or None."""
    if problem.status not in (400, 422) or not _UNSUPPORTED.search(f"{problem.code} {problem.message}"):
        return None
    asked = [name for name in ASKED if name in sent] + (["temperature"] if sent.get("temperature") else [])
    return next((name for name in asked if _names(problem, name)), None)


def _names(problem: Problem, name: str) -> bool:
    if problem.param:
        return problem.param.split(".")[-1] == name
    return re.search(rf"(?<![\w]){name}(?![\w])", problem.message) is not None


def problem_of(reply: Reply) -> Problem:
    """The error in a reply, whichever of the usual forms it has."""
    try:
        body = reply.json()
    except ValueError:
        return Problem(reply.status, _short(reply.text()) or f"HTTP status {reply.status}")
    return problem_in(reply.status, body)


def problem_in(status: int, body: Any) -> Problem:
    """The same from JSON that was read already. An error in a body of status 200 may name the status that it means."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return Problem(status, _short(as_text(error)))
    inner = error.get("innererror")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    message = error.get("message") or error.get("detail") or error
    if status < 300:
        status = next((int(code) for code in map(str, codes) if re.fullmatch("[45][0-9][0-9]", code)), status)
    return Problem(
        status, _short(as_text(message)), " ".join(str(c) for c in codes if c), str(error.get("param") or "")
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def response_of(endpoint: Endpoint, body: Any, request: Request) -> Response | None:
    """The response in an answer's JSON, or None where there is none in it; `mibe.models.openai.answers` says why.

    Of a constrained answer the text is the answer, without the JSON around it.
    A refusal, in a field of its own or by a content filter, is finish reason "filter". Reasoning that the server keeps
    in a field of its own stands before the text in <think> tags, as models write it themselves. A text that comes
    with none may begin inside it, as the user says by `reasoning`: a server does not show how its template ends.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        refusal = message.get("refusal")
        # Some servers say only that there is one, and the words stand where an answer would.
        text = refusal if isinstance(refusal, str) and refusal else _content(message.get("content"))
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        usage = usage_of(body)
        is_full = usage is not None and usage.completion >= request.sampling.room
        finish = _finish(choice.get("finish_reason"), refused=bool(refusal), is_full=is_full)
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    opened = endpoint.reasoning or (opened_by(request.text) if endpoint.api == "completions" else None)
    allowed = request.sampling.allowed
    # A stop string is looked for in an answer, and not in the JSON around one.
    stop = () if allowed else request.sampling.stop
    if isinstance(reasoning, str) and reasoning:
        text, answer_at = _after(reasoning, text, stop)
    else:
        text, answer_at = tell_apart(text, opened if not refusal else None, stop)
    if allowed and finish == "stop":
        answer = None if answer_at is None else _answer_in(text[answer_at:], allowed)
        if answer is None:
            said = _short(text) or "nothing"
            return Response(
                text="", finish_reason="error", error=f"the server did not keep to the answers allowed: {said}"
            )
        text = text[:answer_at] + answer
    hidden = finish == "length" and not text and usage is not None and usage.reasoning > 0
    return Response(
        text=text,
        finish_reason=finish,
        prompt_tokens=usage.prompt if usage else None,
        new_tokens=usage.completion if usage else None,
        cached_tokens=usage.cached if usage else None,
        reasoning_tokens=usage.reasoning if usage else None,
        answer_at=answer_at,
        budget_cut=hidden or was_cut(finish, answer_at),
    )


def _after(reasoning: str, text: str, stop: Sequence[str]) -> tuple[str, int | None]:
    """The text behind its reasoning, and where it begins; a message without text is a reasoning that never ended."""
    if not text:
        return f"<think>\n{reasoning}", None
    head = f"<think>\n{reasoning}\n</think>\n\n"
    text, answer_at = tell_apart(text, None, stop)
    return head + text, None if answer_at is None else len(head) + answer_at


def _content(content: Any) -> str:
    """Text, given as such or in parts; a model that said nothing gives None."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _finish(reason: Any, *, refused: bool, is_full: bool) -> FinishReason:
    """What the server's reason means. Raises `KeyError` for one that is no end of an answer.

    Many servers give none: an answer that has as many tokens as it may have was then cut by the limit.
    """
    if refused:
        return "filter"
    if not reason:
        return "length" if is_full else "stop"
    return FINISH_REASONS[str(reason).lower()]


def usage_of(body: Any) -> Usage | None:
    """The tokens that the server counted, or None where it does not say."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None
    try:
        return Usage(
            prompt=int(usage["prompt_tokens"]),
            completion=int(usage["completion_tokens"]),
            cached=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            reasoning=int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
