"""What every page that is served from this machine shares: the way in, its files, its templates, the server itself."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ExceptionHandler

from mibe.pages import environment
from mibe.rating.access import Access, Session
from mibe.rating.guard import Guard


class Door(Protocol):
    """Who may come in, and the cookie by which they are known again."""

    @property
    def access(self) -> Access:
        """The tokens and sessions."""
        ...

    @property
    def cookie(self) -> str:
        """Its name."""
        ...


def application(
    door: Door,
    routes: Sequence[BaseRoute],
    *,
    entered: str,
    assets: Mapping[str, str],
    hosts: Collection[str],
    handlers: Mapping[Any, ExceptionHandler],
) -> Starlette:
    """The application of these routes behind a door; `entered` is the template behind the address with a token.

    `assets` are the files it may give with their media types, `hosts` the names with port that it is asked for by.
    """
    return Starlette(
        routes=[
            Route("/enter", partial(_enter, door, entered), methods=["GET"]),
            *routes,
            Route("/assets/{name}", partial(_asset, assets), methods=["GET"]),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers=handlers,
    )


async def _enter(door: Door, template: str, request: Request) -> Response:
    # Not for HEAD, which Starlette routes here too: what looks at an address must not use it up.
    key = door.access.enter(request.query_params.get("token", "")) if request.method == "GET" else None
    if key is None:
        raise HTTPException(403)
    # A page that goes on by itself, and no redirect: browsers send no strict cookie along a redirect that began at
    # another site, in a mail say.
    response = rendered(template)
    response.set_cookie(door.cookie, key, httponly=True, samesite="strict", path="/")
    return response


async def _asset(assets: Mapping[str, str], request: Request) -> Response:
    name = request.path_params["name"]
    if name not in assets:
        raise HTTPException(404)
    return Response(files("mibe.pages").joinpath("assets", name).read_bytes(), media_type=assets[name])


def session_of(door: Door, request: Request) -> Session:
    """Who asks. Raises `HTTPException` where nobody let them in."""
    session = door.access.session(request.cookies.get(door.cookie))
    if session is None:
        raise HTTPException(403)
    return session


def rendered(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page by its template, which knows its status."""
    return HTMLResponse(environment().get_template(template).render(status=status, **context), status)


def run(app: Starlette, listening: socket.socket) -> None:
    """Serve on a socket until it is interrupted."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, proxy_headers=False)
    uvicorn.Server(config).run(sockets=[listening])
