"""One request over the wire: the `openai` package's client with one policy, ours, in place of its own retries.

Nothing here raises for what a server does: an attempt ends in a `Reply` of any status or is `Broken`. Exceptions of
the HTTP library hold the request and so the key; none of them leaves this module.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import openai

from mibe.models.locality import Hold, held, server_here
from mibe.models.openai import events
from mibe.models.openai.content import Reply
from mibe.models.openai.endpoint import Endpoint

# The HTTP library that this release of openai stands on: httpx, or httpx2 since its version 3.
_HTTP: Any = import_module(type(openai.DEFAULT_CONNECTION_LIMITS).__module__.partition(".")[0])

CONNECT_SECONDS = 10.0
NO_KEY = "none"
"""What servers that need no key get in its place: the package insists on one."""

MEGABYTE = 1_000_000
MOST_OF_FILE = 2_000 * MEGABYTE
"""Bytes of a Batch job's output, at most: it holds the replies to 50,000 requests."""

ENCODINGS = ("", "identity", "gzip", "deflate")
"""What a reply may be packed in, once: what comes in a piece of 64 kB is then at most 64 MB."""

LONGEST_HEADER = 100
"""Characters of a header that is read; none that means anything has as many."""

SPANS = "mibe_spans"
"""Where a response of the HTTP library says what it took."""

_most: ContextVar[int] = ContextVar("most")


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer, or half of one.

    `reached`: the server may have worked on the request, and charged for it. `late`: it took too long. `useless`: it
    answered, and what it sent cannot be taken.
    """

    reason: str
    reached: bool
    late: bool = False
    useless: bool = False


class _UselessError(openai.OpenAIError):
    """A reply that cannot be taken. The package lets its own kind of error pass."""


class _Client(openai.DefaultAsyncHttpxClient):
    """Takes no more of a reply than may be taken, and of its headers those that are read."""

    async def send(self, request: Any, **options: Any) -> Any:
        """The whole reply, and the seconds until it was there and until an answer in it began."""
        begun = time.perf_counter()
        first: list[float] = []
        try:
            response = await super().send(request, **{**options, "stream": True})
        except (_HTTP.InvalidURL, ValueError) as error:
            # A Location that is no address, a header in no encoding.
            raise _UselessError(f"the reply cannot be read ({type(error).__name__})") from None
        try:
            content = await _content(response, _most.get(), lambda: first.append(time.perf_counter()))
        finally:
            await response.aclose()
        spans = {"seconds": time.perf_counter() - begun, "first_token": first[0] - begun if first else None}
        headers = _read(response.headers)
        return _HTTP.Response(
            response.status_code, headers=headers, content=content, request=request, extensions={SPANS: spans}
        )


async def _content(response: Any, most: int, began: Callable[[], None]) -> bytes:
    """The content of a reply; `began` is called when an answer begins in one that comes as a stream of events."""
    if (encoding := response.headers.get("content-encoding", "").strip().lower()) not in ENCODINGS:
        raise _UselessError(f"the reply is packed in a way that was not asked for ({encoding[:20]})")
    is_stream = response.headers.get("content-type", "").lower().startswith(events.MEDIA_TYPE)
    content, looked_at, has_begun = bytearray(), 0, not is_stream
    async for part in response.aiter_bytes():
        content += part
        if len(content) > most:
            raise _UselessError(f"the reply is longer than {most // MEGABYTE} MB (max_reply_mb)")
        while not has_begun and (end := content.find(b"\n", looked_at)) >= 0:
            has_begun = events.begins(bytes(content[looked_at:end]))
            looked_at = end + 1
            if has_begun:
                began()
    return events.completion(bytes(content)) if is_stream else bytes(content)


def _read(headers: Any) -> dict[str, str]:
    names = ("retry-after", "x-ratelimit-")
    return {
        name: value
        for name, value in ((name.lower(), value) for name, value in headers.items())
        if name.startswith(names) and len(value) <= LONGEST_HEADER
    }


class Transport:
    """Sends requests to one endpoint over connections that are kept. Belongs to one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._key = endpoint.key
        self._most = endpoint.max_reply_mb * MEGABYTE
        self._base_url = endpoint.base_url
        self._stays_here = endpoint.is_loopback
        limits = _HTTP.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency)
        # A connection that takes half of an attempt's time leaves none for an answer.
        timeout = _HTTP.Timeout(endpoint.timeout, connect=min(CONNECT_SECONDS, endpoint.timeout / 2))
        http = _Client(
            limits=limits,
            timeout=timeout,
            headers={"Accept-Encoding": "gzip, deflate"},
            # A redirect would take prompts to a place that nobody checked.
            follow_redirects=False,
            # A proxy from the environment would take what is meant for this machine, or for a server of ours, off it.
            trust_env=not endpoint.is_ours,
            # The certificates that the environment says are to be trusted (SSL_CERT_FILE) are meant for ours as well.
            verify=_HTTP.create_ssl_context(),
        )
        self._client = openai.AsyncOpenAI(
            api_key=endpoint.key or NO_KEY,
            base_url=endpoint.base_url,
            timeout=timeout,
            max_retries=0,
            http_client=http,
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply | Broken:
        """Send JSON."""
        return await self._attempt(lambda: self._client.post(path, cast_to=_HTTP.Response, body=body))

    async def get(self, path: str) -> Reply | Broken:
        """Fetch."""
        return await self._attempt(lambda: self._client.get(path, cast_to=_HTTP.Response))

    async def download(self, path: str) -> Reply | Broken:
        """Fetch a file of a Batch job."""
        return await self._attempt(lambda: self._client.get(path, cast_to=_HTTP.Response), MOST_OF_FILE)

    async def upload(self, name: str, content: bytes) -> Reply | Broken:
        """Store a file for a Batch job."""
        return await self._attempt(
            lambda: self._client.post(
                "/files",
                cast_to=_HTTP.Response,
                body={"purpose": "batch"},
                files={"file": (name, content)},
                options={"headers": {"Content-Type": "multipart/form-data"}},
            )
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _attempt(self, send: Callable[[], Awaitable[Any]], most: int | None = None) -> Reply | Broken:
        _most.set(most or self._most)
        try:
            if not self._stays_here:
                return self._reply(await send())
            with held(Hold(server_here(self._base_url))):
                return self._reply(await send())
        except openai.APIStatusError as error:
            return self._reply(error.response)
        except openai.APITimeoutError as error:
            reached = not isinstance(error.__cause__, _HTTP.ConnectTimeout | _HTTP.PoolTimeout)
            return Broken("no answer in time" if reached else "no connection in time", reached, late=True)
        except openai.APIConnectionError as error:
            return _broken(error.__cause__)
        except _UselessError as error:
            return Broken(str(error), reached=True, useless=True)

    def _reply(self, response: Any) -> Reply:
        spans = response.extensions.get(SPANS, {})
        return Reply(response.status_code, response.headers, response.content, self._key, **spans)


def _broken(cause: BaseException | None) -> Broken:
    if isinstance(cause, _HTTP.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in str(cause):
        said = str(cause).rpartition("certificate verify failed: ")[2]
        return Broken(f"its certificate is not accepted: {said}; SSL_CERT_FILE names the ones that are", reached=False)
    if isinstance(cause, _HTTP.ConnectError):
        return Broken(f"ConnectError: {cause}", reached=False)
    # The library's words may quote what was sent, the key among it, or what came back.
    return Broken(type(cause).__name__, reached=True)
