"""The rating page as an ASGI application: an overview, one page a case, and four things that can be written.

It never says which run, model or judge a list comes from: cases go by their place in the rater's own order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mibe.errors import MibeError
from mibe.rating import web
from mibe.rating.access import Access
from mibe.rating.cases import Item, in_order
from mibe.rating.store import Ratings, Review
from mibe.rating.web import rendered, session_of

ASSETS = {
    "page.css": "text/css",
    "rating.css": "text/css",
    "theme.js": "text/javascript",
    "rating.js": "text/javascript",
}
COMMENT = 2000
"""Characters of a comment."""

BODY = 16_384
"""Bytes that one write may have: a comment and what is around it."""

Form: TypeAlias = Mapping[str, Any]
Write: TypeAlias = Callable[["Desk", str, Item, Form], None]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the application works with: everything to rate, where ratings go, who may rate."""

    items: Sequence[Item]
    ratings: Mapping[Path, Ratings]
    access: Access
    cookie: str
    seed: int

    def order(self, rater: str) -> list[Item]:
        """The items as this rater sees them."""
        return in_order(self.items, rater=rater, seed=self.seed)

    def same_case(self, item: Item) -> list[Item]:
        """The lists of all runs for the case of an item."""
        return [
            each
            for each in self.items
            if each.database.name == item.database.name
            and (each.listed.id, each.listed.accepted) == (item.listed.id, item.listed.accepted)
        ]

    def reviews(self, rater: str) -> list[Review]:
        """What the rater has said so far, in the same order."""
        said = {path: ratings.reviews(rater) for path, ratings in self.ratings.items()}
        found = [(item, said[item.database].get(item.listed.id, Review())) for item in self.order(rater)]
        return [review if review.digest == item.listed.digest else Review() for item, review in found]


def application(desk: Desk, *, hosts: Collection[str]) -> Starlette:
    """The page for a desk; `hosts` are the names with port that it is asked for by."""
    routes = [
        Route("/", partial(_overview, desk), methods=["GET"]),
        Route("/case/{number:int}", partial(_case, desk), methods=["GET"]),
        *(
            Route(f"/case/{{number:int}}/{name}", partial(_write, desk, write), methods=["POST"])
            for name, write in WRITES.items()
        ),
    ]
    return web.application(
        desk,
        routes,
        entered="rating_enter.html",
        assets=ASSETS,
        hosts=hosts,
        handlers={HTTPException: _refused, MibeError: _failed},
    )


async def _overview(desk: Desk, request: Request) -> Response:
    session = session_of(desk, request)
    order, reviews = desk.order(session.rater), desk.reviews(session.rater)
    entries = [
        {"number": number, "state": _state(item, review), "unsure": review.unsure}
        for number, (item, review) in enumerate(zip(order, reviews, strict=True), start=1)
    ]
    return rendered(
        "rating_overview.html",
        session=session,
        entries=entries,
        progress=_progress(order, reviews),
        unread=sum(not item.listed.diagnoses for item in order),
        next=_next_open(order, reviews, 0),
    )


async def _case(desk: Desk, request: Request) -> Response:
    session = session_of(desk, request)
    order, reviews = desk.order(session.rater), desk.reviews(session.rater)
    number = _number(request, order)
    item = order[number - 1]
    return rendered(
        "rating_case.html",
        session=session,
        number=number,
        count=len(order),
        inputs=item.inputs,
        listed=item.listed,
        review=reviews[number - 1],
        comment_length=COMMENT,
        progress=_progress(order, reviews),
    )


async def _write(desk: Desk, write: Write, request: Request) -> Response:
    session = session_of(desk, request)
    if request.headers.get("x-csrf-token") != session.csrf:
        raise HTTPException(403)
    order = desk.order(session.rater)
    number = _number(request, order)
    item = order[number - 1]
    # In a thread: a slow disk must not keep the other raters waiting.
    await run_in_threadpool(write, desk, session.rater, item, await _form(request))
    reviews = desk.reviews(session.rater)
    following = _next_open(order, reviews, number)
    return JSONResponse(
        {"progress": _progress(order, reviews), "next": f"/case/{following}" if following is not None else "/"}
    )


def _write_mark(desk: Desk, rater: str, item: Item, form: Form) -> None:
    (rank,) = _ranks([form.get("rank")], item)
    desk.ratings[item.database].mark(rater, item.listed, rank, _flag(form, "match"))


def _write_note(desk: Desk, rater: str, item: Item, form: Form) -> None:
    unsure, comment = _flag(form, "unsure"), _comment(form)
    desk.ratings[item.database].note(rater, item.listed, unsure=unsure, comment=comment)


def _write_leaving_out(desk: Desk, rater: str, item: Item, form: Form) -> None:
    """The reference is that of the case: what is said of it holds for every list."""
    left_out = _flag(form, "left_out")
    for each in desk.same_case(item):
        desk.ratings[each.database].leave_out(rater, each.listed, left_out)


def _write_confirmation(desk: Desk, rater: str, item: Item, form: Form) -> None:
    matches = form.get("matches")
    if not item.listed.diagnoses or not isinstance(matches, list):
        raise HTTPException(400)
    desk.ratings[item.database].confirm(
        rater,
        item.listed,
        matches=_ranks(matches, item),
        unsure=_flag(form, "unsure"),
        comment=_comment(form),
    )


WRITES: dict[str, Write] = {
    "mark": _write_mark,
    "note": _write_note,
    "leave-out": _write_leaving_out,
    "confirm": _write_confirmation,
}


async def _form(request: Request) -> Form:
    """The JSON object of a request, of limited size. Raises `HTTPException` for anything else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY:
            raise HTTPException(413)
    try:
        form = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
    if not isinstance(form, dict):
        raise HTTPException(400)
    return form


def _ranks(values: Sequence[Any], item: Item) -> list[int]:
    if any(type(rank) is not int or not 1 <= rank <= len(item.listed.diagnoses) for rank in values):
        raise HTTPException(400)
    return list(values)


def _flag(form: Form, name: str) -> bool:
    value = form.get(name)
    if not isinstance(value, bool):
        raise HTTPException(400)
    return value


def _comment(form: Form) -> str:
    comment = form.get("comment")
    if not isinstance(comment, str) or len(comment) > COMMENT:
        raise HTTPException(400)
    # A lone surrogate, which JSON can hold and UTF-8 cannot.
    return comment.encode(errors="replace").decode()


def _number(request: Request, order: Sequence[Item]) -> int:
    number: int = request.path_params["number"]
    if not 1 <= number <= len(order):
        raise HTTPException(404)
    return number


def _state(item: Item, review: Review) -> str:
    if review.left_out:
        return "left"
    if not item.listed.diagnoses:
        return "unread"
    if review.confirmed:
        return "done"
    return "begun" if review.digest else "open"


def _progress(order: Sequence[Item], reviews: Sequence[Review]) -> dict[str, int]:
    """Lists that are done with and lists that there are; those that could not be read ask nothing of a rater."""
    return {
        "done": sum(review.settled for item, review in zip(order, reviews, strict=True) if item.listed.diagnoses),
        "of": sum(bool(item.listed.diagnoses) for item in order),
    }


def _next_open(order: Sequence[Item], reviews: Sequence[Review], after: int) -> int | None:
    """The number of the next list that is not done with, from the start again after the last; None when all are."""
    numbers = [*range(after + 1, len(order) + 1), *range(1, after + 1)]
    return next((n for n in numbers if order[n - 1].listed.diagnoses and not reviews[n - 1].settled), None)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return rendered("rating_refused.html", status=status)


async def _failed(request: Request, error: Exception) -> Response:
    """Ratings that could not be read or kept, because the disk is full, say."""
    if request.method == "POST":
        return JSONResponse({"error": str(error)}, 507)
    return rendered("rating_refused.html", status=507, error=str(error))
