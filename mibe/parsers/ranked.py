"""A ranked list of diagnoses (NEJM CPC)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from mibe.parsers.patterns import late
from mibe.parsers.structured import NOTHING, find_json
from mibe.parsers.text import free_text, is_refusal, states_no_answer, strip_tags

_LONGEST = 400  # no name is longer, whatever a broken output puts on one line
_SPACE = late(r"[^\S\n]")
_BETWEEN = late(r"(?<=\S) +")
_FENCE = late(r"^[ ]*```[\w+-]*[ ]*$", re.M)
_NUMBER = (
    r"(?:\#\d{1,2}[.):]?[ ]|(?:(?:diagnosis|rank|\#|no\.?)[ ]?)?[(\[]?\d{1,2}(?:st|nd|rd|th)?(?:[.)\]:]+|[ ]-)"
    r"(?:[ ]|(?=[*_A-Z])))"
)
_NUMBERED = late(rf"^[ *#_>|]*{_NUMBER}[ ]*[-|]?[ ]*(\S.*)$", re.I)
_FIRST = late(r"^\D{0,20}1\b")
_TABLE_ROW = late(r"^[ ]*\|[ ]*\d{1,2}\.?[ ]*\|([^|\n]+)\|")
# "E. coli" is no item E: letters, Roman numerals and words count only where lines go through them from the first on.
_SERIES = (
    tuple("abcdefghij"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"),
    ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    tuple("①②③④⑤⑥⑦⑧⑨⑩"),
)
_MARK = "|".join(mark for series in _SERIES for mark in sorted(series, key=len, reverse=True))
_ITEM = late(rf"^([ *_>#-]*)[(\[]?({_MARK})(?:(?<=[①-⑩])|[.)\]:])(?=[ *_]+\S)", re.I | re.M)
_BULLET = late(r"^([ ]*)(?:[-*•+‣▪◦–])[ ]+(\S.*)$")
_INLINE = late(r"(?:(?<=\s)|(?<=^))\(?\d{1,2}[.)](?:[ ]+(?=[A-Za-z*\"'])|(?=[A-Z][A-Za-z]))")
_LIKELIEST = late(
    r"^[\s*#_>-]*(?:the )?(?:(?:single )?most likely(?: (?:diagnosis|cause|etiology))?|(?:leading|top|primary"
    r"|working|probable|main|final) diagnosis)"
    r"[*_]*[ ]*(?::[*_]*|[ ]is\b:?)[ ]*(\S.*)$",
    re.I,
)
_FINAL = late(
    r"^[\s*#_>]*(?:my |the |here is (?:my|the) )?(?:final|revised|updated|corrected)\b[^:\n]{0,60}(?::|\*\*|$)", re.I
)
_HEADING = late(
    r"^[\s*#_>]*[^\n]{0,120}\b(?:differential|diagnos[ei]s|possibilit\w+|ranked)\b[^\n]{0,80}:?[\s*_]*$", re.I
)
_AFTER = late(
    r"^[\s*#_>]*(?:next steps?|recommend\w*|work-?up|further|investigations?|tests?|management|treatment"
    r"|explanations?|reasoning|rationale|references?|sources?"
    r"|notes?|please note|disclaimer|justification|summary|conclusion|supporting|key (?:findings|features))\b",
    re.I,
)
_NEXT = late(r"\n[ ]*(?:question|case|input|human|user)[ ]*\d*[ ]*:", re.I)
_REASON = late(
    r",[ ]+(?:given|because|since|due to|as|which|based on|considering|supported|suggested|likely|although|but|with)\b"
    r"|[ ]+(?:because|given (?:the|his|her|this))\b"
)
_EXPLAINED = late(rf"[ ]+[-–—]+[ ]+|—|:\s|:$|[ ]*\|[ ]*|{_REASON.pattern}|[.;!][ ]+(?=[A-Z])")
_REMARK = late(
    r"[ ]*[(\[](?:(?:most|less|least|highly|very|more|un)?[ ]?(?:likely|probable|unlikely|possible)\b[^()]*"
    r"|[^()]*\d[ ]?%[^()]*|(?:given|because|due to|based on"
    r"|e\.g\.|i\.e\.|rank|score|probability|confidence|high|low|moderate|though|although|rare|less)\b[^()]*"
    r"|[^()]*,[ ][^()]*|(?:[^\s()]+[ ]){4,}[^()]*)[)\]]",
    re.I,
)
# A full stop after these ends no sentence: "z. B.", "St. Louis encephalitis", and "P. Falciparum malaria" at the start.
_ABBREVIATION = late(
    r"(?:\A[A-Z]|\b(?:z|z\. ?B|d|d\. ?h|u|u\. ?a|v|[Vv]\. ?a|o|o\. ?g|i|i\. ?e|i\. ?R|e|e\. ?g|s|s\. ?o|bzw|ggf|inkl"
    r"|sog|evtl|bes|chron|ca|vs|cf|spp?|var|resp|incl|esp|St|Ste|Mt|Dr|[Mm]orb|[Ss]yndr|[Ss]ek|[Pp]rim|[Aa]k))\Z"
)
_DIAGNOSIS_IS = late(
    r"\b(?:diagnos[ei]s|condition|disease|answer|differential)\b[^.\n:]{0,60}?(?:\b(?:is|are|would be|includes?)\b"
    r"|:)[ ]*:?[ ]*([^\n]+)",
    re.I,
)
_SENTENCE = late(
    r"[.!?:][ ]|\b(?:i|we|you|he|she|it|this|these|patient|is|are|was|were|be|has|have|had|can|cannot|could|would|may"
    r"|might|should|must|suggest\w*|present\w*|include\w*)\b",
    re.I,
)
_LABEL = late(r"^[\s*_]*(?:diagnosis|dx)[*_]*:[*_]*[ ]+", re.I)
_NAME_KEY = late(r"diagnos|name|disease|condition", re.I)


@dataclass(frozen=True)
class RankedDiagnoses:
    """Reads up to `most` diagnoses in order of rank, named as written.

    Numbering, bold and explanations are removed, abbreviations in parentheses stay, a repeated name keeps its first
    rank. A name given as the most likely comes first; a list announced as final replaces the earlier ones.
    """

    most: int = 10

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> list[str] | None:
        """Names, best first, or None where none can be read."""
        text = _FENCE.sub("", _one_space(strip_tags(free_text(output)))).strip()[:20_000]
        following = _NEXT.search(text)
        if following:
            text = text[: following.start()]
        stated = find_json(text)
        if not text or (is_refusal(text) and stated is NOTHING and not _has_ranks(text)):
            return None
        names = _of_json(stated) if stated is not NOTHING else _of_text(_in_numbers(text))
        unique: dict[str, str] = {}
        for name in filter(None, names):
            unique.setdefault(name.casefold(), name)
        return list(unique.values())[: self.most] or None


def _has_ranks(text: str) -> bool:
    """Whether at least two lines are numbered: a list, whatever was said before it ("I cannot diagnose, but …")."""
    lines = text.split("\n")
    return sum(1 for line in lines if _NUMBERED.match(line) or _TABLE_ROW.match(line)) > 1


def _one_space(text: str) -> str:
    """One kind of space, and one between words; how far a line is indented is kept, since it tells nested bullets."""
    return _BETWEEN.sub(" ", _SPACE.sub(" ", text))


def _in_numbers(text: str) -> str:
    """A list with letters, Roman numerals or words in front of its items, with numbers in their place."""
    marks = tuple(mark[2].lower() for mark in _ITEM.finditer(text))
    if len(marks) < 2 or not any(marks == series[: len(marks)] for series in _SERIES):
        return text
    numbers = count(1)
    return _ITEM.sub(lambda mark: f"{mark[1]}{next(numbers)}.", text)


def _of_json(value: Any) -> list[str]:
    """The names in a JSON list of strings or objects, or under the one key that holds such a list."""
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        if lists:
            return _of_json(lists[-1] if len(lists) == 1 else lists[0])
        return [clean_name(item) for key, item in value.items() if isinstance(item, str) and _is_name_key(key)]
    names = []
    for item in value:
        if isinstance(item, dict):
            found = [v for key, v in item.items() if isinstance(v, str) and _NAME_KEY.search(key)]
            names += [clean_name(found[0])] if found else []
        elif isinstance(item, str):
            names.append(clean_name(item))
    return names


def _is_name_key(key: str) -> bool:
    return bool(_NAME_KEY.search(key)) or key.strip().isdigit()


def _of_text(text: str) -> list[str]:
    lines = text.split("\n")
    first: list[str] = []
    for line in lines:
        likeliest = _LIKELIEST.match(line)
        if likeliest and not _NUMBERED.match(line):
            first = [clean_name(likeliest[1])]
    lines = [line for line in lines if not _LIKELIEST.match(line) or _NUMBERED.match(line)]
    remarks = next((i for i, line in enumerate(lines) if _AFTER.match(line)), len(lines))
    names = _listed(_last_list(lines))
    if names and not _listed(lines[:remarks]):
        names = _in_one_line(lines[:remarks]) or names
    return [*first, *names] or _unlisted(lines)


def _last_list(lines: Sequence[str]) -> list[str]:
    """The lines from the list that counts: the one announced as final, else the one announced as the differential."""
    finals = [i for i, line in enumerate(lines) if _FINAL.match(line)]
    if finals and _listed(lines[finals[-1] + 1 :]):
        return list(lines[finals[-1] + 1 :])
    for i, line in enumerate(lines):
        is_item = _NUMBERED.match(line) or _BULLET.match(line)
        if not is_item and _HEADING.match(line) and _listed(lines[i + 1 :]):
            return list(lines[i + 1 :])
    return list(lines)


def _listed(lines: Sequence[str]) -> list[str]:
    """Names of a numbered list; failing that, of the outermost bullets."""
    numbered: list[str] = []
    bullets: list[tuple[int, str]] = []
    ended = False
    for line in lines:
        row = _TABLE_ROW.match(line)
        number = _NUMBERED.match(line)
        bullet = _BULLET.match(line)
        if ended and ((bullet and not numbered) or (number and _FIRST.match(line))):
            break
        if row:
            numbered.append(row[1])
        elif number:
            numbered += _split_inline(number[1])
        elif bullet:
            bullets.append((len(bullet[1]), bullet[2]))
        elif numbered or bullets:
            ended = ended or _AFTER.match(line) is not None
    if numbered:
        return [clean_name(item) for item in numbered]
    outermost = min((indent for indent, _ in bullets), default=0)
    return [clean_name(item) for indent, item in bullets if indent == outermost]


def _split_inline(item: str) -> Iterable[str]:
    """Items that are numbered within one line ("Gout 2. Pseudogout 3. Septic arthritis")."""
    return [part for part in _INLINE.split(item) if part.strip()]


def _unlisted(lines: Sequence[str]) -> list[str]:
    """Names of a text without a list: numbered within a sentence, named by one, or the text itself if it is short."""
    short = [line.strip() for line in lines if line.strip()]
    if len(short) > 1 and short[0].rstrip("*_ ").endswith(":"):
        short = short[1:]
    text = " ".join(short)
    if len(_INLINE.findall(text)) >= 2:
        return [clean_name(part) for part in _INLINE.split(text)[1:]]
    each_is_short = all(len(line.split()) <= 8 and not re.search(r"[.!?:]\s*$", line) for line in short)
    names = [] if each_is_short else _in_one_line(short)
    if names:
        return names
    named = _DIAGNOSIS_IS.search(text)
    if named:
        return _separated(re.split(r"[.!?](?:\s|$)", named[1])[0])
    if states_no_answer(text) or is_refusal(text):
        return []
    if each_is_short:
        return [name for line in short for name in _separated(line)]
    names = _separated(short[0]) if len(short) == 1 and len(short[0].split()) <= 12 else []
    return names if len(names) == 1 or not _SENTENCE.search(text) else []


def _in_one_line(lines: Iterable[str]) -> list[str]:
    """The names in the first line that lists three or more ("Gout; pseudogout; septic arthritis")."""
    for line in lines:
        names = _separated(line.strip(". "))
        is_list = len(names) > 2 and not _SENTENCE.search(line) and not _INLINE.search(line)
        if is_list and all(0 < len(name.split()) <= 6 for name in names):
            return names
    return []


def _separated(text: str) -> list[str]:
    """Names separated by semicolons, or by commas where there are several."""
    parts = text.split(";") if ";" in text else re.split(r",[ ]+(?:and |or )?", _REASON.split(text)[0])
    return [clean_name(part) for part in parts]


def clean_name(item: str) -> str:
    """A diagnosis as written, without numbering, bold, remarks and the explanation after it."""
    item = _LABEL.sub("", item[:_LONGEST])
    bold = re.match(r"\s*(?:\*\*|__)(.+?)(?:\*\*|__)", item)
    name = bold[1] if bold else item
    name = re.sub(rf"^\s*{_NUMBER}", "", name, flags=re.I)
    name = _REMARK.sub("", name.replace("**", "").replace("__", ""))
    name = _without_explanation(name.strip())
    return re.sub(r"^(?:\*|\"|')+|(?:\*|\"|')+$", "", name.strip(" .;,:*_|-")).strip()


def _without_explanation(name: str) -> str:
    """The name up to what explains it: brackets and abbreviations that hold the same signs belong to it."""
    for found in _EXPLAINED.finditer(name):
        before = name[: found.start()]
        inside = before.count("(") > before.count(")")
        if not inside and not (found[0][0] == "." and _ABBREVIATION.search(before)):
            return before
    return name
