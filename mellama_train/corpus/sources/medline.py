"""PubMed abstracts in MEDLINE XML: the files `pubmed25n0001.xml.gz` of the yearly baseline and the daily updates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mellama_train.corpus.documents import Document, Documents
from mellama_train.corpus.sources.markup import inline_text
from mellama_train.corpus.streams import open_binary
from mellama_train.errors import CorpusError

DESCRIPTORS = "MeshHeadingList/MeshHeading/DescriptorName"


@dataclass(frozen=True, slots=True)
class Citation:
    """A citation that has an abstract: the abstract's parts with their labels, and its MeSH headings."""

    id: str
    title: str
    abstract: list[str]
    topics: list[str]


def read_pubmed(path: Path) -> Documents:
    """Title and abstract of each citation that has an abstract; a part's label stands before it ("METHODS: …")."""
    for citation in read_citations(path):
        yield Document(citation.id, "\n".join(line for line in (citation.title, *citation.abstract) if line))


def read_citations(path: Path) -> Iterator[Citation]:
    """The same citations, in parts."""
    try:
        with open_binary(path) as stream:
            events = ElementTree.iterparse(stream, events=("start", "end"))
            _, root = next(events)
            for event, element in events:
                if event == "end" and element.tag == "PubmedArticle":
                    citation = element.find("MedlineCitation")
                    if citation is not None and (abstract := _abstract(citation)):
                        yield Citation(
                            id=f"pmid:{citation.findtext('PMID', '').strip()}",
                            title=_title(citation),
                            abstract=abstract,
                            topics=[inline_text(name) for name in citation.iterfind(DESCRIPTORS)],
                        )
                    # Else the tree of all citations before this one would stay in memory.
                    root.clear()
    except ElementTree.ParseError as error:
        raise CorpusError(f"{path} is damaged or not MEDLINE XML ({error}); get it again") from None


def _abstract(citation: ElementTree.Element) -> list[str]:
    parts = [(part.get("Label"), inline_text(part)) for part in citation.iterfind("Article/Abstract/AbstractText")]
    return [f"{label}: {text}" if label else text for label, text in parts if text]


def _title(citation: ElementTree.Element) -> str:
    title = citation.find("Article/ArticleTitle")
    return "" if title is None else inline_text(title)
