"""From an example to the text a model reads: few-shot choice, chat turns, and cuts that keep the question.

The form is the same everywhere. Plain text is the instruction once, then each worked example and the document,
each as input, cue and answer, separated by blank lines. For chat models each worked example is a pair of turns.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import NamedTuple, Protocol, TypeAlias

from mibe.errors import DataError, UsageError
from mibe.models.base import Message, Renderer
from mibe.task import Example, Prompt, Task

CUT_MARK = " […] "

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


def shot_order(seed: int, ident: str) -> str:
    """A key that shuffles the same way on every machine and Python version, whatever the order of the file."""
    return hashlib.sha256(f"{seed}\0{ident}".encode()).hexdigest()


def content_hash(example: Example) -> int:
    """Hash of what the model sees of an example, white space and case aside: equal content is a leak."""
    seen = " ".join(" ".join(chain(example.inputs.values(), example.choices)).lower().split())
    return int.from_bytes(hashlib.blake2b(seen.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class Candidate(NamedTuple):
    """What is known of a possible worked example while examples are chosen; `place` is its index in the train split."""

    place: int
    id: str
    label: str


class Pool(Protocol):
    """A train split: examples in their order, and each by its place in it."""

    def __iter__(self) -> Iterator[Example]: ...

    def __getitem__(self, place: int, /) -> Example: ...


Candidates: TypeAlias = Mapping[str, Sequence[Candidate]]
"""What examples must agree in with the document ("" where in nothing) → those that do, in the order of the split."""


def choose_shots(candidates: Sequence[Candidate], count: int, *, seed: int, key: str = "") -> list[Candidate]:
    """`count` of the candidates, balanced over labels, the same for every equal `seed` and `key`.

    Labels take turns, so that five shots over three labels are two, two and one.
    """

    def order(candidate: Candidate) -> str:
        return shot_order(seed, key + candidate.id)

    by_label: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_label.setdefault(candidate.label, []).append(candidate)
    queues = [heapq.nsmallest(count, queue, key=order) for queue in by_label.values()]
    turns = sorted(filter(None, queues), key=lambda queue: order(queue[0]))
    rounds = chain.from_iterable(zip_longest(*turns))
    chosen = islice((candidate for candidate in rounds if candidate is not None), count)
    return sorted(chosen, key=lambda candidate: shot_order(seed + 1, key + candidate.id))


def balance_label(task: Task, example: Example) -> str:
    """The label that shots are balanced over: the first of a set, the type of the first entity; texts are one class."""
    target = example.target
    first = (target[0] if target else "") if isinstance(target, list | tuple) else target
    if isinstance(first, list | tuple):  # an entity, [type, start, end]: most sentences of a note have none
        return str(first[0])
    return str(first) if task.labels or example.choices else ""


@dataclass(frozen=True)
class Shots:
    """The worked examples of a task for one run, chosen from its train split alone.

    `candidates` never hold an example whose content also stands in the evaluated split (`leaked` lists those left out).
    They are ids and places: an example is read from `train` when it is chosen, so that a train split of any size fits.
    """

    task: Task
    train: Pool
    candidates: Candidates
    count: int
    seed: int
    leaked: tuple[str, ...] = ()
    per_document: bool = False

    @classmethod
    def prepare(
        cls,
        task: Task,
        train: Pool,
        evaluated: Iterable[Example],
        count: int,
        *,
        seed: int,
        per_document: bool = False,
    ) -> Shots:
        """Check the number against the train split and leave out of it whatever is evaluated."""

        # MMLU asks some questions in two subjects; only a subject's own test split is shown after its examples.
        def seen(example: Example) -> tuple[str, int]:
            return _matched(task, example), content_hash(example)

        hashes = {seen(example) for example in evaluated}
        candidates: dict[str, list[Candidate]] = {}
        leaked: list[str] = []
        for place, example in enumerate(train):
            if not task.includes(example):
                continue
            if seen(example) in hashes:
                leaked.append(example.id)
            else:
                label = sys.intern(balance_label(task, example))
                candidates.setdefault(_matched(task, example), []).append(Candidate(place, example.id, label))
        smallest = min(map(len, candidates.values()), default=0)
        if not 0 <= count <= smallest:
            raise UsageError(
                f"{task.name}: --num-fewshot {count} is out of range, the train split has {smallest} examples"
                + (f" for each {task.shots_match}" if task.shots_match else "")
            )
        return cls(task, train, candidates, count, seed, tuple(leaked), per_document)

    def matching(self, example: Example) -> str:
        """What tells this document's shots from another's: "" when all documents have the same."""
        if self.task.shots_match is not None:
            return _matched(self.task, example)
        return example.id if self.per_document else ""

    def choose(self, key: str) -> tuple[Example, ...]:
        """The worked examples for documents whose `matching` is `key`.

        Where they must match the document (MMLU's subject) they are the first, as their authors list them.
        """
        if self.task.shots_match is not None:
            chosen = list(self.candidates.get(key, ()))[: self.count]
        else:
            chosen = choose_shots(self.candidates.get("", ()), self.count, seed=self.seed, key=key)
        return tuple(self._read(candidate) for candidate in chosen)

    def _read(self, candidate: Candidate) -> Example:
        example = self.train[candidate.place]
        if example.id != candidate.id:
            raise DataError(f"{self.task.name}: the train split was replaced during the run; give the command again")
        return example


def _matched(task: Task, example: Example) -> str:
    """What a worked example and the document must have in common: "" where it is nothing."""
    return "" if task.shots_match is None else example.metadata.get(task.shots_match, "")


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

        cap = largest_cap(_longest(self._prompt.cut, [example]), fits)
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
        cap = largest_cap(_longest(self._prompt.cut, shots), lambda cap: fits(capped(cap)))
        return capped(0 if cap is None else cap)


def layout(prompt: Prompt, shots: Sequence[Example], example: Example, *, chat: bool) -> tuple[Message, ...]:
    """The turns of a prompt: pairs of user and assistant for a chat model, one user turn of plain text otherwise."""
    if not chat or prompt.verbatim:
        return (Message(role="user", content=plain_text(prompt, shots, example)),)
    messages: list[Message] = []
    head = prompt.instruction + "\n"
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
        return f"{prompt.instruction}\n{question(prompt, example)}"
    blocks = [prompt.instruction]
    blocks += [f"{question(prompt, shot)} {prompt.answer(shot)}" for shot in shots]
    return "\n\n".join([*blocks, question(prompt, example)])


def question(prompt: Prompt, example: Example) -> str:
    """One document as the prompt shows it: input fields, lettered options, cue."""
    separator = "" if prompt.verbatim else "\n"
    return prompt.input.format_map(prompt.fields(example)) + separator + prompt.cue


def stop_strings(prompt: Prompt, *, chat: bool) -> tuple[str, ...]:
    """What ends a plain-text answer: the start of an invented next document. Chat models end their own turn."""
    return () if chat or prompt.verbatim else ("\n\n" + prompt.input.split("{", 1)[0].strip(),)


def shorten(example: Example, fields: Sequence[str], cap: int) -> Example:
    """The example with each of `fields` cut in the middle to at most `cap` characters."""
    inputs = {name: cut_middle(text, cap) if name in fields else text for name, text in example.inputs.items()}
    return replace(example, inputs=inputs)


def cut_middle(text: str, cap: int) -> str:
    """Beginning and end of a text, whole words where it has any, with a mark where the middle was."""
    if len(text) <= cap:
        return text
    room = max(0, cap - len(CUT_MARK))
    head, tail = text[: (room + 1) // 2], text[len(text) - room // 2 :]
    if " " in head:
        head = head.rsplit(" ", 1)[0]
    if " " in tail:
        tail = tail.split(" ", 1)[1]
    return f"{head}{CUT_MARK}{tail}"


def largest_cap(longest: int, fits: Callable[[int], bool]) -> int | None:
    """The largest cap in characters, at most `longest`, for which `fits` holds; None if not even 0 does."""
    if not fits(0):
        return None
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _longest(fields: Sequence[str], examples: Iterable[Example]) -> int:
    return max((len(e.inputs.get(name, "")) for e in examples for name in fields), default=0)


def template_sha256(prompt: Prompt) -> str:
    """Hash of the template itself, for the run record: equal hashes mean equal wording."""
    parts = [prompt.instruction, prompt.input, prompt.cue, *(["verbatim"] if prompt.verbatim else [])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
