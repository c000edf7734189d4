"""The overview of runs on this machine alone: a port of its own, an address with a token, an orderly end."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from mibe.errors import RunError
from mibe.rating import web
from mibe.rating.access import Access
from mibe.rating.server import LOOPBACK, listen, names_of
from mibe.view.app import Desk, application
from mibe.view.live import Runs
from mibe.view.shelf import Shelf

READER = "reader"


def serve(paths: Sequence[str | Path], *, port: int = 0, announce: Callable[[str], None]) -> None:
    """Serve the runs at and below `paths` until it is interrupted. `announce` gets the address that lets in, once.

    `port` 0 takes a free one. Other machines cannot reach it. Raises `RunError` for a path that is not there.
    """
    for path in paths:
        if not Path(path).exists():
            raise RunError(f"{path} is not there; give a folder that holds runs, or will")
    address = ipaddress.ip_address(LOOPBACK)
    # The pages are for the owner of this process alone, as a temporary folder is, and go when it ends.
    with TemporaryDirectory(prefix="mibe-view-") as base, closing(listen(address, port)) as listening:
        port = listening.getsockname()[1]
        access = Access([READER])
        # Cookies know no ports: the name keeps two servers of one machine apart.
        desk = Desk(Runs(paths), Shelf(Path(base)), access, f"mibe_view_{port}")
        names = names_of(address, port)
        announce(f"http://{names[0]}/enter?token={access.tokens[READER]}")
        web.run(application(desk, hosts=names), listening)
