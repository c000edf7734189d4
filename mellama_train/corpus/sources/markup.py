"""Text of XML elements of JATS and MEDLINE: what markup means that plain text would lose."""

from __future__ import annotations

from xml.etree import ElementTree

_RAISED = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")


def raised(text: str) -> str:
    """The text of a `<sup>`: numbers as superscripts, or else 10<sup>9</sup> would be read as 109."""
    return text.translate(_RAISED) if any(map(str.isdigit, text)) else text


def inline_text(element: ElementTree.Element) -> str:
    """The text in an element and its inline markup, on one line."""
    return " ".join("".join(_pieces(element)).split())


def _pieces(element: ElementTree.Element) -> list[str]:
    pieces = [element.text or ""]
    for child in element:
        inner = "".join(_pieces(child))
        pieces += [raised(inner) if child.tag == "sup" else inner, child.tail or ""]
    return pieces
