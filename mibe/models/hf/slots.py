"""The key–value cache of a batch in slots that are there from the start, so that a new token copies nothing.

Each prompt of a batch is one row. Its tokens end at the same slot as those of all other rows; before them, or between
a shared head and a prompt's own part, may lie slots that are no tokens, which the batch's mask says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer


class SlotLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer: (rows, heads, slots, width), of which the first `used` slots are filled."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.used = 0

    @classmethod
    def holding(cls, keys: torch.Tensor, values: torch.Tensor, used: int) -> SlotLayer:
        """A layer made of tensors that are there already."""
        layer = cls(keys.shape[-2])
        layer.all_keys, layer.all_values, layer.used = keys, values, used
        layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
        return layer

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make room for rows like these."""
        self.all_keys, self.all_values = (
            states.new_empty(*states.shape[:2], self.slots, states.shape[-1]) for states in (key_states, value_states)
        )
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fill the next slots; returns the keys and values of all filled ones."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.used = self.used, self.used + key_states.shape[-2]
        self.all_keys[:, :, start : self.used] = key_states
        self.all_values[:, :, start : self.used] = value_states
        return self.all_keys[:, :, : self.used], self.all_values[:, :, : self.used]

    def get_seq_length(self) -> int:
        """Number of filled slots."""
        return self.used


class Rows:
    """The prompts of a batch as the model has read them: their cache, and which slots are tokens.

    `mask` is boolean, (rows, slots), over all slots there are; those not yet filled are True.
    """

    def __init__(self, cache: Cache, mask: torch.Tensor) -> None:
        self.cache = cache
        self.mask = mask
        self.has_gaps = not bool(mask.all())

    @property
    def used(self) -> int:
        """Number of filled slots."""
        filled: int = next((layer.used for layer in self.cache.layers if layer.is_initialized), 0)
        return filled

    def __len__(self) -> int:
        count: int = self.mask.shape[0]
        return count


def spread(head: Cache, mask: torch.Tensor) -> Rows:
    """Rows that begin with `head` (a cache of one row, which stays as it is), with slots for all of `mask`."""
    count, slots = mask.shape
    if not head.layers:
        return Rows(Cache(layer_class_to_replicate=lambda: SlotLayer(slots)), mask)
    layers = []
    for layer in head.layers:
        if not layer.is_initialized:  # a layer that looks at another one's keys has none of its own
            layers.append(SlotLayer(slots))
            continue
        used = layer.keys.shape[-2]
        keys, values = (_with_room(held, count, slots) for held in (layer.keys, layer.values))
        layers.append(SlotLayer.holding(keys, values, used))
    return Rows(Cache(layers=layers), mask)


def _with_room(head: torch.Tensor, count: int, slots: int) -> torch.Tensor:
    room = head.new_empty(count, head.shape[1], slots, head.shape[-1])
    room[:, :, : head.shape[-2]] = head
    return room


@dataclass(frozen=True, slots=True)
class Part:
    """The rows `numbers` of a batch (in any order, also more than once), and its last `width` filled slots."""

    rows: Rows
    numbers: torch.Tensor
    width: int

    @classmethod
    def of(cls, rows: Rows, numbers: Sequence[int]) -> Part:
        """Some rows with all slots that are a token in any of them."""
        chosen = torch.tensor(list(numbers), device=rows.mask.device)
        first = int(rows.mask[chosen, : rows.used].any(dim=0).int().argmax())
        return cls(rows, chosen, rows.used - first)

    @classmethod
    def whole(cls, rows: Rows) -> Part:
        """All rows and filled slots."""
        return cls(rows, torch.arange(len(rows), device=rows.mask.device), rows.used)

    @property
    def mask(self) -> torch.Tensor:
        """(rows, width): which slots are tokens."""
        return self.rows.mask[self.numbers, self.rows.used - self.width : self.rows.used]

    def take(self, number: int) -> SlotLayer:
        """A layer of the cache, which loses it."""
        layers: list[SlotLayer] = self.rows.cache.layers
        layer, layers[number] = layers[number], SlotLayer(0)
        return layer


def merge(parts: Sequence[Part], room: int) -> Rows:
    """One batch of all rows of the parts, with `room` free slots after the last token.

    The parts lose their caches, layer by layer, so that hardly more than the outcome is in memory at any time.
    """
    used = max(part.width for part in parts)
    mask = torch.cat([pad(part.mask, (used - part.width, 0), value=False) for part in parts])
    layers = [
        _merge_layers([part.take(number) for part in parts], parts, used, room)
        for number in range(len(parts[0].rows.cache.layers))
    ]
    return Rows(Cache(layers=layers), pad(mask, (0, room), value=True))


def _merge_layers(layers: Sequence[SlotLayer], parts: Sequence[Part], used: int, room: int) -> SlotLayer:
    if not layers[0].is_initialized:
        return SlotLayer(used + room)
    begins_ends = [(layer.used - part.width, layer.used) for layer, part in zip(layers, parts, strict=True)]

    def joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        _, heads, _, width = tensors[0].shape
        whole = tensors[0].new_empty(sum(len(part.numbers) for part in parts), heads, used + room, width)
        start = 0
        for tensor, part, (begin, end) in zip(tensors, parts, begins_ends, strict=True):
            rows = whole[start : start + len(part.numbers)]
            # Nothing is read there, but what is no number (whatever memory held) would spoil what is.
            rows[:, :, : used - part.width] = 0
            rows[:, :, used - part.width : used] = tensor[part.numbers.to(tensor.device), :, begin:end]
            start += len(part.numbers)
        return whole

    return SlotLayer.holding(
        joined([layer.all_keys for layer in layers]), joined([layer.all_values for layer in layers]), used
    )
