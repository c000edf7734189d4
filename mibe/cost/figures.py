"""What is known of a model's cost: figures that were measured, and None for those that were not."""

from __future__ import annotations

from dataclasses import dataclass

from mibe.meters.memory import Device
from mibe.models.pricing import Price

NOT_MEASURED = "not measured"
SERVED = "behind an API, in another process"
"""Why nothing of a model's machine is known."""
NO_PRICE = "the model is not behind an API, or its price is not known"
NOT_COUNTED = "the server did not count the tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How fast a model is with so many prompts `at_once`; None: as many as the run had under way.

    Latencies are seconds from when a prompt is handed over (of a run: from when the engine began with it) until its
    answer, or its first token, is there, of as many documents as `latencies` and `first_tokens` say. Tokens a second
    are over all of the time. `joules` are of one document.
    """

    at_once: int | None
    documents: int
    latencies: int = 0
    first_tokens: int = 0
    seconds: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    first_token_p50: float | None = None
    first_token_p95: float | None = None
    read_per_second: float | None = None
    written_per_second: float | None = None
    joules: float | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """Read and written together, as `mibe plan --throughput` takes them."""
        if self.read_per_second is None or self.written_per_second is None:
            return None
        return self.read_per_second + self.written_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak memory in bytes. `before` is what the process took before it loaded the model.

    `devices` are the accelerators one by one; `device_peak` is the sum that the engine tells, which is all that runs
    from before `devices` have.
    """

    process_peak: int | None = None
    before: int | None = None
    children_peak: int | None = None
    device_peak: int | None = None
    devices: tuple[Device, ...] = ()

    @property
    def peak(self) -> int | None:
        """What the model needs to run: the devices' share where it has one, else that of the processes."""
        on_devices = [peak for device in self.devices if (peak := peak_of(device)) is not None]
        if on_devices:
            return sum(on_devices)
        if self.device_peak is not None:
            return self.device_peak
        if self.process_peak is None or self.before is None:
            # Of a process that had the model already nobody knows what else it holds.
            return None
        return self.process_peak + (self.children_peak or 0)


def peak_of(device: Device) -> int | None:
    """The most of a device that is known to be this model's: what torch held, or what its processes use."""
    known = [bytes_ for bytes_ in (device.reserved_peak_bytes, device.own_bytes) if bytes_]
    return max(known, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a model takes. `documents` are its answers; tokens and operations are the mean of the `counted` ones, whose
    tokens are known, and money that of the `priced` ones, which a server counted and a price is known for.

    `why` says of figures that were not measured why not: name → reason. `weights` are the bytes of the weights, `price`
    is what tokens cost behind an API.
    """

    name: str
    machine: str
    load_seconds: float | None
    memory: Memory
    weights: int | None
    levels: tuple[Level, ...]
    documents: int
    counted: int
    priced: int
    prompt_tokens: float | None
    new_tokens: float | None
    flops: float | None
    joules: float | None
    usd: float | None
    price: Price | None
    why: dict[str, str]
