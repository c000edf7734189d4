"""PubMed Central articles in JATS XML: single `.nxml` files, and the `.tar.gz` packages of the open-access subset."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import entitydefs
from pathlib import Path, PurePosixPath
from typing import IO
from xml.etree import ElementTree

from mellama_train.corpus.documents import Broken, Document, Documents
from mellama_train.corpus.sources.markup import raised
from mellama_train.corpus.streams import open_binary, plain_suffix
from mellama_train.errors import CorpusError

ARTICLE_SUFFIXES = (".nxml", ".xml")
# What is not running text: tables and figures with their captions, formulas in TeX, references and their marks.
LEFT_OUT = frozenset(
    {"table-wrap", "table-wrap-group", "fig", "fig-group", "graphic", "media", "tex-math", "ref-list", "fn", "fn-group"}
    | {"object-id", "supplementary-material", "inline-supplementary-material"}
)
BLOCKS = frozenset(
    {"abstract", "body", "sec", "title", "p", "list-item", "disp-quote", "boxed-text", "def", "verse-line"}
)

# What is left of "[1, 3–5]" when the citations in it are gone.
_EMPTY_BRACKETS = re.compile(r"\s*(?:\[[\s,;–-]*\]|\([\s,;–-]*\))")


@dataclass(frozen=True, slots=True)
class Article:
    """The parts of an article, as paragraphs."""

    id: str
    title: list[str]
    abstract: list[str]
    body: list[str]


def read_pmc(path: Path) -> Documents:
    """The article of an XML file, or all of an archive. Title, abstract and body, a blank line between paragraphs."""
    for article in read_articles(path):
        if isinstance(article, Broken):
            yield article
        else:
            yield Document(article.id, "\n\n".join([*article.title, *article.abstract, *article.body]))


def read_articles(path: Path) -> Iterator[Article | Broken]:
    """The same articles, in parts."""
    if plain_suffix(path) not in (".tar", ".tgz"):
        with open_binary(path) as stream:
            yield _article(stream, str(path))
        return
    try:
        # Mode "|" never seeks: the archive streams through, one member at a time.
        with open_binary(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            yield from _members(archive, path)
            # To the end, behind that of the archive: only there does a compressed file show that it is whole.
            while stream.read(1 << 20):
                pass
    except tarfile.TarError as error:
        raise CorpusError(f"{path} is damaged or cut short ({error}); get it again") from None


def _members(archive: tarfile.TarFile, path: Path) -> Iterator[Article | Broken]:
    for member in archive:
        if not member.isfile() or PurePosixPath(member.name).suffix not in ARTICLE_SUFFIXES:
            continue
        stream = archive.extractfile(member)
        if stream is not None:
            yield _article(stream, f"{path}:{member.name}")


def _article(stream: IO[bytes], where: str) -> Article | Broken:
    parser = ElementTree.XMLParser()
    # The DTD, which is not read, declares the named entities of ISO 8879; HTML's have the same names.
    parser.entity.update(entitydefs)
    try:
        root = ElementTree.parse(stream, parser).getroot()
    except ElementTree.ParseError as error:
        return Broken(where, f"not XML: {error}")
    article = next((element for element in root.iter() if _name(element) == "article"), None)
    if article is None:
        return Broken(where, f"no <article> but <{_name(root)}>")
    titles = [_line(title) for title in _find(article, "front/article-meta/title-group/article-title")]
    abstracts = _find(article, "front/article-meta/abstract")
    return Article(
        id=_identifier(article) or where,
        title=[title for title in titles if title],
        abstract=[paragraph for abstract in abstracts for paragraph in _paragraphs(abstract)],
        body=[paragraph for body in _find(article, "body") for paragraph in _paragraphs(body)],
    )


def _identifier(article: ElementTree.Element) -> str | None:
    ids = {e.get("pub-id-type"): (e.text or "").strip() for e in _find(article, "front/article-meta/article-id")}
    for kind in ("pmcid", "pmc", "pmid", "doi"):
        if found := ids.get(kind):
            return f"PMC{found.removeprefix('PMC')}" if kind in ("pmc", "pmcid") else f"{kind}:{found}"
    return None


def _paragraphs(block: ElementTree.Element) -> list[str]:
    """The texts of the block elements in `block`, in order; text between two blocks belongs to the first."""
    paragraphs: list[list[str]] = [[]]

    def walk(element: ElementTree.Element) -> None:
        name = _name(element)
        if name in LEFT_OUT or _is_citation(element):
            return
        if name == "sup":
            paragraphs[-1].append("" if any(map(_is_citation, element)) else raised("".join(element.itertext())))
            return
        if name in BLOCKS:
            paragraphs.append([])
        paragraphs[-1].append(element.text or "")
        for child in element:
            walk(child)
            paragraphs[-1].append(child.tail or "")
        if name in BLOCKS:
            paragraphs.append([])

    walk(block)
    joined = (" ".join(_EMPTY_BRACKETS.sub("", "".join(pieces)).split()) for pieces in paragraphs)
    return [text for text in joined if text]


def _is_citation(element: ElementTree.Element) -> bool:
    return _name(element) == "xref" and element.get("ref-type") == "bibr"


def _line(element: ElementTree.Element) -> str:
    return " ".join(" ".join(_paragraphs(element)).split())


def _name(element: ElementTree.Element) -> str:
    # Comments and processing instructions have a function for a tag.
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _find(element: ElementTree.Element, path: str) -> list[ElementTree.Element]:
    found = [element]
    for step in path.split("/"):
        found = [child for parent in found for child in parent if _name(child) == step]
    return found
