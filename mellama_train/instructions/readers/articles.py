"""Titles, MeSH terms and next sentences of articles; the next part of guidelines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mellama_train.corpus.documents import Broken
from mellama_train.corpus.sources.jats import read_articles as read_jats
from mellama_train.corpus.sources.medline import read_citations
from mellama_train.corpus.streams import open_binary, plain_suffix
from mellama_train.errors import DataError
from mellama_train.instructions.items import Item, Items
from mellama_train.instructions.readers import EachFile, unknown_form
from mellama_train.instructions.readers.records import keyed_records, records, text_of
from mellama_train.instructions.readers.sentences import cut, sentences

SUFFIXES = (".nxml", ".xml", ".tar", ".tgz", ".json", ".jsonl")
CONTEXT_WORDS = 400
"""Words of a guideline that are shown at most before the part to be written."""


@dataclass(frozen=True, slots=True)
class Article:
    """An article. None is what the form of its file has no place for, empty what this article lacks."""

    id: str
    title: str | None
    abstract: str
    topics: tuple[str, ...] | None


def read_articles(path: Path) -> Iterator[Article]:
    """The articles of a file.

    MEDLINE XML (`pubmed25n0001.xml.gz`); JATS, a `.nxml` or an archive of them (PubMed Central's open-access subset);
    PubMedQA's `ori_*.json`; JSON lines {"id", "title", "abstract" or "text", "mesh"}.
    """
    match plain_suffix(path):
        case ".jsonl":
            yield from _lines(path)
        case ".json":
            yield from _pubmedqa(path)
        case ".nxml" | ".tar" | ".tgz":
            yield from _jats(path)
        case ".xml":
            yield from _jats(path) if _is_jats(path) else _medline(path)
        case _:
            raise unknown_form(path, ", ".join(SUFFIXES))


def read_titles(path: Path) -> Items:
    """Abstract → title."""
    for article in read_articles(path):
        if article.title is None:
            raise DataError(f"{path}: its articles have no title; use it for next sentences alone")
        yield Item(article.id, {"input": article.abstract}, article.title)


def read_topics(path: Path) -> Items:
    """Title and abstract → MeSH terms, by semicolons."""
    for article in read_articles(path):
        if article.topics is None:
            raise DataError(f"{path}: its articles have no MeSH terms; take MEDLINE XML, which has them")
        text = f"{article.title}\n{article.abstract}" if article.title and article.abstract else ""
        yield Item(article.id, {"input": text}, "; ".join(article.topics))


def read_next_sentences(path: Path) -> Items:
    """The first sentences of an abstract → the one after them; the place is drawn by the article's id."""
    for article in read_articles(path):
        parts = sentences(article.abstract)
        if len(parts) < 2:
            yield Item(article.id, {"input": ""}, "")
            continue
        known = cut(parts, article.id)
        yield Item(article.id, {"input": " ".join(parts[:known])}, parts[known])


def read_guideline_parts(path: Path) -> Items:
    """A piece of a guideline → the paragraph after it, from JSON lines with `clean_text` (Meditron) or `text`."""
    for place, record in records(path):
        name = next((name for name in ("clean_text", "text") if name in record), None)
        if name is None:
            raise DataError(f"{place}: no column 'clean_text'; it has {', '.join(record) or 'none'}")
        id = str(record.get("id") or place)
        paragraphs = text_of(record[name], place, name).split("\n")
        parts = [part.strip() for part in paragraphs if sentences(part)]
        if len(parts) < 2:
            yield Item(id, {"input": ""}, "")
            continue
        known = cut(parts, id)
        shown = " ".join("\n".join(parts[:known]).split(" ")[-CONTEXT_WORDS:])
        yield Item(id, {"input": shown}, parts[known])


def _lines(path: Path) -> Iterator[Article]:
    for place, record in records(path):
        name = next((name for name in ("abstract", "text") if name in record), None)
        if name is None:
            raise DataError(f"{place}: no column 'abstract'; it has {', '.join(record) or 'none'}")
        mesh = record.get("mesh")
        yield Article(
            id=str(record.get("id") or record.get("pmid") or place),
            title=text_of(record["title"], place, "title") if "title" in record else None,
            abstract=text_of(record[name], place, name),
            topics=tuple(map(str, mesh)) if isinstance(mesh, list) else None,
        )


def _pubmedqa(path: Path) -> Iterator[Article]:
    # The question of PubMedQA is the article's title, or made from it.
    for key, record in keyed_records(path):
        if missing := [name for name in ("QUESTION", "CONTEXTS", "LONG_ANSWER", "MESHES") if name not in record]:
            raise DataError(f"{path}:{key}: no field {missing[0]!r}; is it a file of PubMedQA?")
        abstract = "\n".join([*record["CONTEXTS"], record["LONG_ANSWER"]])
        yield Article(f"pmid:{key}", record["QUESTION"], abstract, tuple(record["MESHES"]))


def _medline(path: Path) -> Iterator[Article]:
    for citation in read_citations(path):
        # MEDLINE ends a title with a dot, and puts one that it translated in brackets.
        title = citation.title.rstrip(".").removeprefix("[").removesuffix("]")
        yield Article(citation.id, title, "\n".join(citation.abstract), tuple(citation.topics))


def _jats(path: Path) -> Iterator[Article]:
    for article in read_jats(path):
        if isinstance(article, Broken):
            raise DataError(f"{article.where}: {article.reason}; take it out, or get it again")
        yield Article(article.id, " ".join(article.title), "\n".join(article.abstract), None)


def _is_jats(path: Path) -> bool:
    with open_binary(path) as stream:
        return b"<article" in stream.read(4096)


TITLES = EachFile(read_titles, SUFFIXES)
TOPICS = EachFile(read_topics, SUFFIXES)
NEXT_SENTENCES = EachFile(read_next_sentences, SUFFIXES)
GUIDELINE_PARTS = EachFile(read_guideline_parts, (".jsonl", ".json"))
