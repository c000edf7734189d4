"""How the parts of a prompt stand together: as chat turns, or as one plain text that ends with the cue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from mibe.models.base import Message
from mibe.task import Example, Prompt


def layout(prompt: Prompt, shots: Sequence[Example], example: Example, *, chat: bool) -> tuple[Message, ...]:
    """The turns of a prompt: pairs of user and assistant for a chat model, one user turn of plain text otherwise.

    A system prompt is the turn before them; models without turns join it to the text by a blank line.
    """
    messages = [Message(role="system", content=prompt.system)] if prompt.system else []
    if not chat or prompt.verbatim:
        return (*messages, Message(role="user", content=plain_text(prompt, shots, example)))
    head = prompt.instruction + "\n" if prompt.instruction else ""
    for shot in shots:
        messages.append(Message(role="user", content=head + question(prompt, shot)))
        messages.append(Message(role="assistant", content=prompt.answer(shot)))
        head = ""
    messages.append(Message(role="user", content=head + question(prompt, example)))
    return tuple(messages)


def plain_text(prompt: Prompt, shots: Sequence[Example], example: Example) -> str:
    """Instruction, worked examples and document as one text that ends with the cue."""
    if prompt.verbatim:
        texts = [prompt.instruction + question(prompt, shot) + prompt.answer(shot) for shot in shots]
        return "\n\n".join([*texts, prompt.instruction + question(prompt, example)])
    if not shots:
        return "\n".join(filter(None, (prompt.instruction, question(prompt, example))))
    blocks = [prompt.instruction] if prompt.instruction else []
    blocks += [f"{question(prompt, shot)} {prompt.answer(shot)}" for shot in shots]
    return "\n\n".join([*blocks, question(prompt, example)])


def question(prompt: Prompt, example: Example) -> str:
    """One document as the prompt shows it: input fields, lettered options, cue."""
    separator = "" if prompt.verbatim else "\n"
    return prompt.input.format_map(prompt.fields(example)) + separator + prompt.cue


def stop_strings(prompt: Prompt, *, chat: bool) -> tuple[str, ...]:
    """What ends a plain-text answer: the start of an invented next document. Chat models end their own turn."""
    return () if chat or prompt.verbatim else ("\n\n" + prompt.input.split("{", 1)[0].strip(),)


def template_sha256(prompt: Prompt) -> str:
    """Hash of the template itself, for the run record: equal hashes mean equal wording."""
    parts = [prompt.instruction, prompt.input, prompt.cue, *(["verbatim"] if prompt.verbatim else [])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
