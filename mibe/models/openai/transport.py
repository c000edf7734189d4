"""One request over the wire: the `openai` package's client with one policy, ours, in place of its own retries.

Nothing here raises for what a server does: an attempt ends in a `Reply` of any status or is `Broken`. Exceptions of
the HTTP library hold the request and so the key; none of them leaves this module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import openai

from mibe.models.openai.endpoint import Endpoint

# The HTTP library that this release of openai stands on: httpx, or httpx2 since its version 3.
_HTTP: Any = import_module(type(openai.DEFAULT_CONNECTION_LIMITS).__module__.partition(".")[0])

CONNECT_SECONDS = 10.0
NO_KEY = "none"
"""What servers that need no key get in its place: the package insists on one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status, with its headers in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer, or half of one.

    `reached`: the server may have worked on the request, and charged for it. `late`: it took too long.
    """

    reason: str
    reached: bool
    late: bool = False


class Transport:
    """Sends requests to one endpoint over connections that are kept. Belongs to one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._key = endpoint.key
        limits = _HTTP.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency)
        timeout = _HTTP.Timeout(endpoint.timeout, connect=min(CONNECT_SECONDS, endpoint.timeout))
        http = openai.DefaultAsyncHttpxClient(
            limits=limits,
            timeout=timeout,
            # A redirect would take prompts to a place that nobody checked.
            follow_redirects=False,
            # A proxy from the environment would take what is meant for this machine off it.
            trust_env=not endpoint.is_loopback,
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

    def redact(self, text: str) -> str:
        """The text without the key, which some servers repeat in their errors."""
        return text.replace(self._key, "[key]") if self._key else text

    async def _attempt(self, send: Callable[[], Awaitable[Any]]) -> Reply | Broken:
        try:
            return self._reply(await send())
        except openai.APIStatusError as error:
            return self._reply(error.response)
        except openai.APITimeoutError as error:
            reached = not isinstance(error.__cause__, _HTTP.ConnectTimeout | _HTTP.PoolTimeout)
            return Broken("no answer in time" if reached else "no connection in time", reached, late=True)
        except openai.APIConnectionError as error:
            cause = error.__cause__
            reason = self.redact(f"{type(cause).__name__}: {cause}".rstrip(": "))
            return Broken(reason, not isinstance(cause, _HTTP.ConnectError))

    def _reply(self, response: Any) -> Reply:
        content: bytes = response.content
        if self._key and self._key.encode() in content:
            content = content.replace(self._key.encode(), b"[key]")
        return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, content)
