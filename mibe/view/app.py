"""The overview of all runs as an ASGI application, and their pages below it. Nothing can be written through it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from mibe.errors import MibeError
from mibe.rating import web
from mibe.rating.access import Access
from mibe.rating.web import rendered, session_of
from mibe.view.live import Runs
from mibe.view.shelf import Shelf

ASSETS = {
    "page.css": "text/css",
    "view.css": "text/css",
    "theme.js": "text/javascript",
    "view.js": "text/javascript",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
"""Of the files of a page; licences are plain text."""

Kind = Callable[..., None]
"""Writes a page for a desk under a name, given what stands in its address."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the application works with: the runs, the pages that were written of them, who may look."""

    runs: Runs
    shelf: Shelf
    access: Access
    cookie: str


def application(desk: Desk, *, hosts: Collection[str]) -> Starlette:
    """The overview for a desk; `hosts` are the names with port that it is asked for by."""
    routes = [
        Route("/", partial(_overview, desk), methods=["GET"]),
        Route("/runs", partial(_states, desk), methods=["GET"]),
        *(
            Route(f"{place}/{{file:path}}", partial(_page, desk, kind), methods=["GET"])
            for place, kind in PAGES.items()
        ),
    ]
    return web.application(
        desk,
        routes,
        entered="view_enter.html",
        assets=ASSETS,
        hosts=hosts,
        handlers={HTTPException: _refused, MibeError: _failed},
    )


async def _overview(desk: Desk, request: Request) -> Response:
    session_of(desk, request)
    return rendered("view.html", states=await run_in_threadpool(_all_states, desk))


async def _states(desk: Desk, request: Request) -> Response:
    session_of(desk, request)
    return JSONResponse(await run_in_threadpool(_all_states, desk))


def _all_states(desk: Desk) -> list[dict[str, Any]]:
    return [state.as_json() for state in desk.runs.states()]


async def _page(desk: Desk, kind: Kind, request: Request) -> Response:
    """A file of a page. The page is written where its `index.html` is asked for, and stays as it is meanwhile."""
    session_of(desk, request)
    asked = {key: value for key, value in request.path_params.items() if key != "file"}
    name = "-".join([kind.__name__, *asked.values()])
    wanted = request.path_params["file"] or "index.html"
    if wanted == "index.html":
        # In a thread: a large report takes seconds, in which the overview goes on.
        await run_in_threadpool(kind, desk, name, **asked)
    folder = desk.shelf.folder(name).resolve()
    file = (folder / wanted).resolve()
    if not file.is_relative_to(folder) or not file.is_file():
        raise HTTPException(404)
    return FileResponse(file, media_type=TYPES.get(file.suffix, "text/plain"))


def report(desk: Desk, name: str, *, key: str) -> None:
    """Write the report of a run."""
    desk.shelf.report(name, _run(desk, key))


def beside(desk: Desk, name: str, *, a: str, b: str) -> None:
    """Write the page of two runs."""
    desk.shelf.comparison(name, _run(desk, a), _run(desk, b))


def leaderboard(desk: Desk, name: str) -> None:
    """Write the leaderboard of all runs that are scored."""
    scored = {state.key for state in desk.runs.states() if state.is_scored}
    runs = [path for key, path in desk.runs.folders().items() if key in scored]
    desk.shelf.leaderboard(name, [*runs, *desk.runs.memorised()])


PAGES: dict[str, Kind] = {"/leaderboard": leaderboard, "/report/{key}": report, "/beside/{a}/{b}": beside}


def _run(desk: Desk, key: str) -> Path:
    try:
        return desk.runs.folders()[key]
    except KeyError:
        raise HTTPException(404) from None


async def _refused(request: Request, error: Exception) -> Response:
    return rendered("view_refused.html", error.status_code if isinstance(error, HTTPException) else 500)


async def _failed(request: Request, error: Exception) -> Response:
    """A page that cannot be written: runs that must not stand side by side, say, or none that is scored."""
    return rendered("view_refused.html", 409, error=str(error))
