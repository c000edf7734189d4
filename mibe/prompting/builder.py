"""From an example to the text a model reads: worked examples, layout, and cuts that keep the question.

The form is the same everywhere. Plain text is the instruction once, then each worked example and the document,
each as input, cue and answer, separated by blank lines. For chat models each worked example is a pair of turns.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from mibe.models.base import Message, Renderer
from mibe.prompting.cutting import largest_cap, longest_field, shorten
from mibe.prompting.layout import layout, plain_text
from mibe.prompting.shots import Shots
from mibe.task import Example, Task

# A rendered prompt never has more tokens than bytes, whatever the tokenizer, but for the few it adds on its own.
ADDED_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt ready for a model: its turns, its text, whether a field was cut, and why it cannot be sent."""

    messages: tuple[Message, ...]
    text: str
    cut: bool = False
    problem: str | None = None

    @property
    def sha256(self) -> str:
        """Hash of the text, for the sample log and the response cache."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


class PromptBuilder:
    """Builds the prompts of one task for one model; worked examples are laid out once, not once a document."""

    def __init__(self, task: Task, model: Renderer, shots: Shots | None, *, max_new_tokens: int) -> None:
        self._prompt = task.prompt
        self._model = model
        self._shots = shots
        window = model.context_window
        self._budget = None if window is None else window - max_new_tokens
        self._max_new_tokens = max_new_tokens
        self._fitted: dict[str, tuple[Example, ...]] = {}

    @property
    def is_chat(self) -> bool:
        """Whether the prompts are chat turns."""
        return self._model.is_chat

    def shots_for(self, example: Example) -> tuple[Example, ...]:
        """The worked examples before this document, their long fields cut to at most half of the window."""
        if self._shots is None or self._shots.count == 0:
            return ()
        key = self._shots.matching(example)
        if key not in self._fitted:
            if self._shots.per_document:
                self._fitted.clear()
            self._fitted[key] = self._fit_shots(self._shots.choose(key))
        return self._fitted[key]

    def build(self, example: Example) -> Rendered:
        """The prompt for one document; its longest field is cut in the middle if the window is too small."""
        shots = self.shots_for(example)

        def render(document: Example) -> Rendered:
            messages = layout(self._prompt, shots, document, chat=self._model.is_chat)
            return Rendered(messages, self._model.render(messages))

        rendered = render(example)
        if self._budget is None or self._fits(rendered.text, self._budget):
            return rendered
        budget = self._budget

        def fits(cap: int) -> bool:
            return self._fits(render(shorten(example, self._prompt.cut, cap)).text, budget)

        cap = largest_cap(longest_field(self._prompt.cut, [example]), fits)
        if cap is None:
            tokens = self._model.count_tokens(rendered.text)
            return replace(
                rendered,
                problem=f"the prompt ({tokens} tokens) and {self._max_new_tokens} new tokens do not fit the context "
                f"window of {self._model.context_window}, and no more can be cut; use fewer shots or a larger window",
            )
        return replace(render(shorten(example, self._prompt.cut, cap)), cut=True)

    def _fits(self, text: str, budget: int) -> bool:
        return len(text.encode("utf-8", "surrogatepass")) + ADDED_TOKENS <= budget or (
            self._model.count_tokens(text) <= budget
        )

    def _fit_shots(self, shots: tuple[Example, ...]) -> tuple[Example, ...]:
        if self._budget is None:
            return shots
        half = self._budget // 2

        def capped(cap: int) -> tuple[Example, ...]:
            return tuple(shorten(shot, self._prompt.cut, cap) for shot in shots)

        def fits(examples: tuple[Example, ...]) -> bool:
            return self._fits(plain_text(self._prompt, examples[:-1], examples[-1]), half)

        if fits(shots):
            return shots
        cap = largest_cap(longest_field(self._prompt.cut, shots), lambda cap: fits(capped(cap)))
        return capped(0 if cap is None else cap)
