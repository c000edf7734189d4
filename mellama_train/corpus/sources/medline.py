"""PubMed abstracts in MEDLINE XML: the files `pubmed25n0001.xml.gz` of the yearly baseline and the daily updates."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from mellama_train.corpus.documents import Document, Documents
from mellama_train.corpus.sources.markup import inline_text
from mellama_train.corpus.streams import open_binary
from mellama_train.errors import CorpusError


def read_pubmed(path: Path) -> Documents:
    """Title and abstract of each citation that has an abstract; a part's label stands before it ("METHODS: …")."""
    try:
        with open_binary(path) as stream:
            events = ElementTree.iterparse(stream, events=("start", "end"))
            _, root = next(events)
            for event, element in events:
                if event == "end" and element.tag == "PubmedArticle":
                    citation = element.find("MedlineCitation")
                    if citation is not None and (text := _text(citation)):
                        yield Document(f"pmid:{citation.findtext('PMID', '').strip()}", text)
                    # Else the tree of all citations before this one would stay in memory.
                    root.clear()
    except ElementTree.ParseError as error:
        raise CorpusError(f"{path} is damaged or not MEDLINE XML ({error}); get it again") from None


def _text(citation: ElementTree.Element) -> str:
    parts = [part for part in citation.iterfind("Article/Abstract/AbstractText") if inline_text(part)]
    if not parts:
        return ""
    title = citation.find("Article/ArticleTitle")
    lines = [inline_text(title)] if title is not None else []
    lines += [f"{part.get('Label')}: {inline_text(part)}" if part.get("Label") else inline_text(part) for part in parts]
    return "\n".join(line for line in lines if line)
