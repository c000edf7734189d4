"""A hook of mkdocs: pages that lie beside docs/, the reference of the public face, and links that lead out of docs/."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]

OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Page beside docs/ → its name in the site."""

FENCE = re.compile(r"^(\s*```\w+)[ \t].*$", re.MULTILINE)
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages beside docs/ and the reference."""
    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text with fences that superfences reads and links that hold inside the site."""
    folder = ROOT if page.file.src_uri in OUTSIDE.values() else ROOT / "docs"
    markdown = FENCE.sub(r"\1", markdown)
    parts, at = [], 0
    for code in CODE.finditer(markdown):
        parts += [LINK.sub(lambda link: _inside(link, folder), markdown[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, LINK.sub(lambda link: _inside(link, folder), markdown[at:])])


def _inside(link: re.Match[str], folder: Path) -> str:
    """A link as the site has it: to its own page; of a file that is in the source alone, its name."""
    target = (folder / link["target"]).resolve()
    if not target.exists():
        # Left as it stands, for mkdocs to complain of.
        return link[0]
    inside = target.relative_to(ROOT).as_posix()
    anchor = link["anchor"] or ""
    if inside not in OUTSIDE and not inside.startswith("docs/"):
        return f"{link['text']} (`{inside}`)"
    where = OUTSIDE.get(inside, inside.removeprefix("docs/"))
    return f"{link['image']}[{link['text']}]({where}{anchor})"


def reference() -> str:
    """Every name of docs/api.md with its docstring, a section for each module."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = (line.split("|")[1] for line in page.splitlines() if line.startswith(("| `mibe", "| `mellama_train")))
    modules: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(name for row in rows for name in re.findall(r"`((?:mibe|mellama_train)\.[\w.]+)`", row)):
        modules[name.rpartition(".")[0]].append(name)
    parts = ["# Reference", "Every name of [the public face](api.md), as its docstring has it."]
    for module, names in modules.items():
        parts += [f"## {module}", *(f"::: {name}" for name in names)]
    return "\n\n".join(parts) + "\n"
