"""Static pages: templates, styles and scripts that the leaderboard and the report of a run share.

A page is one folder that opens from disk and from any web server: no request leaves it, since its data stands in the
page itself, and its content security policy forbids every other source. Charts are drawn by Apache ECharts, which
lies in `assets` as its npm package has it (`assets/NOTICE`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mibe.data.disk import disk_error, write_atomically
from mibe.errors import RunError

SHARED = ("page.css", "theme.js", "table.js", "charts.js", "echarts.common.min.js")
"""Assets of every page, beside the licences of the library."""

LICENCES = ("NOTICE", "LICENSE-echarts", "LICENSE-d3")

ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_page(folder: Path, template: str, context: Mapping[str, Any], *, assets: Sequence[str] = ()) -> Path:
    """Write `folder`/index.html from a template, and the shared and given assets beside it; returns the page's path.

    Whatever else lies in the folder stays. Raises `RunError` when it cannot be written.
    """
    text = environment().get_template(template).render(context)
    try:
        target = folder / "assets"
        target.mkdir(parents=True, exist_ok=True)
        for name in (*SHARED, *LICENCES, *assets):
            write_atomically(target / name, files(__package__).joinpath("assets", name).read_text(encoding="utf-8"))
        write_atomically(folder / "index.html", text)
    except (FileExistsError, NotADirectoryError):
        raise RunError(f"{folder} is not a folder; give another one") from None
    except OSError as error:
        raise disk_error(error, folder, "another folder") from error
    return folder / "index.html"


def environment() -> Environment:
    """The templates. Every value is escaped unless it is markup of our own making."""
    env = Environment(
        loader=PackageLoader("mibe.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["embed"] = embed
    return env


def embed(data: Any) -> Markup:
    """JSON for a script element of type application/json, from which no text in it can break out."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for char, escape in ESCAPES.items():
        # Ten times as fast as `translate`, which looks every character up.
        text = text.replace(char, escape)
    return Markup(text)
