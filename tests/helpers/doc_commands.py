"""The commands that README and docs show, one by one, with where they stand and why one is not run."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

SHELLS = {"console", "sh", "bash", "shell"}
OTHERS = {"text", "python", "json", "yaml", "toml", "csv", "jsonl", "html", "ini"}
"""Languages of fenced blocks: those that hold commands, and all others that there may be."""

PROGRAMS = {
    "mibe", "mellama-train", "make", "pip", "pipx", "uv", "uvx", "python", "python3", "torchrun", "accelerate",
    "lm_eval", "git", "ssh", "export", "hf", "tar", ".ci/run", "echo", "cat", "nox", "tox", "vllm", "docker",
    "curl", "cd",
}  # fmt: skip
"""What an indented block of commands begins with."""

ASSIGNMENT = re.compile(r"\w+=\S+ ")
MARK = re.compile(r"<!-- not run: (?P<why>[^>]+?) -->")
"""Above a block whose commands cannot run here, with the reason."""


@dataclass(frozen=True)
class Block:
    """A block of code: the line it begins at, its fence's language ("" for an indented one), the mark above it."""

    page: Path
    line: int
    language: str
    rows: tuple[str, ...]
    mark: str | None = None

    @property
    def has_commands(self):
        if self.language:
            return self.language in SHELLS
        return program_of(self.rows[0].removeprefix("$ ")) in PROGRAMS


@dataclass(frozen=True)
class Command:
    """A command as printed, comments and the breaks of long lines left out."""

    page: Path
    line: int
    text: str
    mark: str | None

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line} {self.text}"


def program_of(text):
    """The program of a command, the variables before it aside."""
    while ASSIGNMENT.match(text):
        text = text[ASSIGNMENT.match(text).end() :].lstrip()
    return text.split(maxsplit=1)[0] if text.strip() else ""


def blocks(page):
    """All blocks of code of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    at, mark = 0, None
    while at < len(lines):
        row = lines[at]
        if found := re.match(r"(\s*)```\s*(\w*)", row):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            rows = tuple(line.removeprefix(found[1]) for line in lines[at + 1 : end])
            yield Block(page, at + 2, found[2] or "none", rows, mark)
            at, mark = end + 1, None
        elif row.startswith("    ") and row.strip() and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield Block(page, at + 1, "", tuple(line[4:] for line in lines[at:end]), mark)
            at, mark = end, None
        else:
            if said := MARK.search(row):
                mark = said["why"]
            elif row.strip():
                mark = None
            at += 1


def commands(page):
    """The commands of a page. Where lines begin with "$ " the others are what was printed."""
    for block in blocks(page):
        if not block.has_commands:
            continue
        prompted = any(row.startswith("$ ") for row in block.rows)
        held = None
        for number, row in enumerate(block.rows):
            if held is None:
                if not row.strip() or row.startswith("#") or (prompted and not row.startswith("$ ")):
                    continue
                held = Command(block.page, block.line + number, "", block.mark)
                row = row.removeprefix("$ ")
            text = re.sub(r"(^|\s)#\s.*$", "", row).rstrip()
            held = replace(held, text=f"{held.text} {text.removesuffix(chr(92)).strip()}".strip())
            if not text.endswith("\\"):
                yield held
                held = None
