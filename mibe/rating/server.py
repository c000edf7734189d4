"""The rating page on this machine: a port that is its own, addresses with tokens, and an orderly end."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeAlias

from mibe.errors import RunError, UsageError
from mibe.rating import web
from mibe.rating.access import Access
from mibe.rating.app import Desk, application
from mibe.rating.cases import items_of, rated_runs
from mibe.rating.store import Ratings
from mibe.terminal.news import say

LOOPBACK = "127.0.0.1"

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def serve(
    runs: Sequence[str | Path],
    *,
    raters: Sequence[str],
    seed: int = 1234,
    host: str = LOOPBACK,
    port: int = 0,
    allow_network: bool = False,
    announce: Callable[[str, str], None],
) -> None:
    """Serve the page until it is interrupted. `announce` gets each rater and the address that lets them in, once.

    `port` 0 takes a free one. Raises `UsageError`, `RunError`, `DataError` and `DataUseError` before it listens.
    """
    address = check_host(host, allow_network=allow_network)
    found, left_out = rated_runs(runs)
    for line in left_out:
        say(line)
    items = items_of(found, shared=not address.is_loopback)
    if not items:
        raise UsageError("the runs have no response yet, so there is nothing to rate")
    with ExitStack() as held:
        ratings = {
            path: held.enter_context(closing(Ratings(path))) for path in dict.fromkeys(item.database for item in items)
        }
        listening = held.enter_context(closing(listen(address, port)))
        port = listening.getsockname()[1]
        access = Access(raters)
        # Cookies know no ports: the name keeps two servers of one machine apart.
        desk = Desk(items, ratings, access, f"mibe_rating_{port}", seed)
        names = names_of(address, port)
        for rater, token in access.tokens.items():
            announce(rater, f"http://{names[0]}/enter?token={token}")
        web.run(application(desk, hosts=names), listening)


def check_host(host: str, *, allow_network: bool) -> Address:
    """The address to listen at. Raises `UsageError` for one that others can reach, unless that is allowed."""
    try:
        address = ipaddress.ip_address(LOOPBACK if host == "localhost" else host)
    except ValueError:
        raise UsageError(f"--host {host}: give the IP address of one of this machine's interfaces") from None
    if address.is_unspecified:
        raise UsageError(f"--host {host} is every interface; give the address of the one that the raters use")
    if not address.is_loopback and not allow_network:
        raise UsageError(
            f"--host {host} can be reached by other machines, and what they read is not encrypted; better let raters "
            "come by ssh -L (docs/rating.md), or say --allow-network"
        )
    if not address.is_loopback:
        print(
            f"mibe: WARNING: {host} can be reached by other machines, and cases and ratings go there unencrypted",
            file=sys.stderr,
        )
    return address


def listen(address: Address, port: int) -> socket.socket:
    """A socket that takes connections from now on, so that an address can be printed before the server runs."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A server that was killed leaves connections behind, which must not keep it from its port.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(address), port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise RunError(f"cannot listen at {address}, port {port}: {error}; leave --port out for a free one") from None
    return listening


def names_of(address: Address, port: int) -> list[str]:
    """The names with port by which the page may be asked for, the one to print first."""
    own = f"[{address}]" if address.version == 6 else str(address)
    names = dict.fromkeys([own, *(["localhost", LOOPBACK, "[::1]"] if address.is_loopback else [])])
    # A browser leaves the port of HTTP out.
    return [f"{name}:{port}" for name in names] + (list(names) if port == 80 else [])
