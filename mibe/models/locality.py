"""What is this machine, and what may send text away: decided here for every engine and for both doors to lm-eval.

Twice: by the address that is asked, before anything is sent, and by each connection that is then really made. A library
that follows a redirect, takes a proxy from the environment or asks a name that has another address than it should is
stopped before it has sent a byte.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mibe.errors import ModelError

T = TypeVar("T")

IN_PROCESS = frozenset(
    {
        "dummy",
        "habana",
        "hf",
        "hf-audiolm-qwen",
        "hf-auto",
        "hf-mistral3",
        "hf-multimodal",
        "huggingface",
        "ipex",
        "mamba_ssm",
        "megatron_lm",
        "nemo_lm",
        "neuronx",
        "onnxruntime",
        "onnxruntime-genai",
        "openvino",
        "sglang",
        "steered",
        "trtllm",
        "vllm",
        "vllm-vlm",
        "winml",
    }
)
"""Names of lm-eval whose classes run the model in this process or its children. Every other one may send text away."""


SERVERS = frozenset({"gguf", "ggml"})
"""Names whose classes send text to their `base_url` and nowhere else; lm-eval's classes for HTTP APIs do the same."""

CLIENTS = SERVERS | {"local-chat-completions", "local-completions", "sglang-generate"}
"""Names that are known, without an object of theirs, to ask their `base_url` alone."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own: localhost, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def asks_this_machine(url: str) -> bool:
    """Whether a client of lm-eval that asks `url` asks this machine, with no proxy of the environment between."""
    if not is_loopback(urlsplit(url).hostname or ""):
        return False
    return not import_module("requests.utils").get_environ_proxies(url)


Reach = Callable[[str, int], bool]
"""Whether a connection may go to an address and a port."""


class ElsewhereError(ModelError):
    """Something that was meant for this machine would have left it."""


def this_machine(address: str, port: int) -> bool:
    """Whether an address is one of this machine's, be it that of a network card: engines' processes meet there."""
    if is_loopback(address):
        return True
    try:
        number = ip_address(address.partition("%")[0])
        if number.is_multicast or number.is_reserved or _binds_any_address():
            return False
        with socket.socket(socket.AF_INET6 if number.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # But for those above, only an address of one's own can be bound.
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True


def _binds_any_address() -> bool:
    """Whether Linux lets addresses be bound that are not this machine's, as on hosts that take over each other's."""
    switches = Path("/proc/sys/net").glob("ipv[46]/ip_nonlocal_bind")
    return any(switch.read_text().strip() != "0" for switch in switches)


def server_here(url: str) -> Reach:
    """The server at `url`, whose host is a loopback one: another port may be a proxy's, which would pass text on."""
    parts = urlsplit(url)
    wanted = parts.port or (443 if parts.scheme == "https" else 80)
    return lambda address, port: port == wanted and is_loopback(address)


class Hold:
    """A limit on the connections of this thread and of the asyncio tasks in it, and what was refused under it."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._refused: str | None = None

    def check(self, address: Any) -> None:
        """Raise `ConnectionRefusedError`, which every library knows, for an address outside the limit."""
        if not isinstance(address, tuple) or self._reach(str(address[0]), address[1]):
            return
        self._refused = f"{address[0]}:{address[1]}"
        raise ConnectionRefusedError(f"{self._refused} is not the server that was named")

    def raise_refused(self) -> None:
        """Raise `ElsewhereError` if anything was refused, whatever a library made of it."""
        if self._refused is not None:
            raise ElsewhereError(
                f"what was meant for this machine was led to {self._refused}, by a redirect or a proxy, and was not "
                "sent there; name the server itself in base_url, or ask it by --model openai, which takes neither"
            )


_HELD: ContextVar[Hold | None] = ContextVar("held", default=None)


@contextmanager
def held(hold: Hold) -> Iterator[None]:
    """For a while, connections go where `hold` lets them go, and nowhere else."""
    _watch()
    before = _HELD.set(hold)
    try:
        yield
    finally:
        _HELD.reset(before)


def kept(reach: Reach, action: Callable[[], T]) -> T:
    """The result of `action`, with connections within `reach`. Raises `ElsewhereError` where one would not be."""
    hold = Hold(reach)
    try:
        with held(hold):
            result = action()
    except Exception:
        hold.raise_refused()
        raise
    # What swallowed it had no answer of the server's.
    hold.raise_refused()
    return result


class _Process:
    """What holds the threads of this process that `held` says nothing of."""

    hold: Hold | None = None


def hold_to(hold: Hold | None) -> None:
    """Hold the whole process, its other threads too; None ends that."""
    _watch()
    _Process.hold = hold


@cache
def _watch() -> None:
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    # Python's own notice of every connection that its sockets begin, whichever library asks for it.
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        hold = _HELD.get() or _Process.hold
        if hold is not None:
            hold.check(arguments[1])
