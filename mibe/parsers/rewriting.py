"""From a text with marks to one in which a mark that can be no choice is none: small rewritings, one after the other.

Names and their letters become one mark, a repeated or judged list of the answers goes, answers joined by "and" or "or"
become one mark for several, and what is denied, doubted, described or set as a condition is turned down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mibe.parsers.lists import without_lists
from mibe.parsers.marks import (
    ANSWER,
    ANY,
    BOTH,
    LETTER_KINDS,
    LETTERS,
    NAME,
    NO_MARK,
    OUTSIDE,
    SEVERAL,
    WORD,
    Kind,
    as_kind,
    index_of,
    kind_of,
    mark,
)
from mibe.parsers.patterns import late
from mibe.parsers.statements import END, FILLER, NOUN, PHRASE_END

_ANY = late(ANY)


def rewrite(text: str, *, options: bool) -> str:
    """All of them in their order. `options`: the answers are lettered options, not labels."""
    text = _one_answer(_BETWEEN.sub(_down, _unwrapped(text)))
    text = without_lists(text, options=options)
    text = turned_down(_grouped(text), options=options)
    return _ON_THE_NEXT_LINE.sub(": ", text)


# --- one mark for one answer ----------------------------------------------------------------------------------------

_WRAPPED = late(rf"[\"'\[{{<][\"'(\[]?({ANSWER})[.:]?[\"')\]]?[\"'\]}}>]|\(({LETTERS})\)")
_SAME = late(r"[ \"'().:\[\]\-,*|]{0,8}(?:(?:i\.?e\.?|option|choice)[ ,]*)?[\"'(\[]?", re.I)
_RANGE = late(rf"(?:{LETTERS})(?: through | to | thru |-)(?:{LETTERS})", re.I)
_RESTATED = late(
    rf"({LETTERS})[ ](?:is|was|are|represents|refers to|states|says|describes|corresponds to)[ ]"
    rf"(?:that )?(?:an? |the )?[\"']?({NAME}|{WORD})",
    re.I,
)


_BRACKETED_LIST = late(rf"[(\[]\s?{ANSWER}(?:[ \"']*(?:[,;/|]| or )[ \"']*(?:or )?{ANSWER})+\s?[)\]]")
_A_FOR_ANSWER = late(rf"(^|[ \n]){mark(Kind.SIGN)}:[ ]*(?=[(\[]?{LETTERS})")


_BETWEEN = late(rf"\bbetween (?:the )?{ANSWER},? (?:and|or) (?:the )?{ANSWER}(?=,)", re.I)
"""What is chosen from is not yet chosen: "Between A and B, B fits better"."""


def _unwrapped(text: str) -> str:
    """Answers without quotes and brackets around them; a letter in brackets is meant as one."""
    text = _A_FOR_ANSWER.sub(r"\1Answer: ", _BRACKETED_LIST.sub(mark(Kind.SEVERAL), text))

    def bare(found: re.Match[str]) -> str:
        char: str = found[1] or found[2]
        return as_kind(char, Kind.LETTER) if kind_of(char) is Kind.SIGN else char

    return _WRAPPED.sub(bare, text)


def _one_answer(text: str) -> str:
    """A letter and its option's text as one mark, so an answer said twice; "option B is aspirin" chooses nothing."""

    def restated(found: re.Match[str]) -> str:
        same = index_of(found[1]) == index_of(found[2])
        return as_kind(found[1], Kind.TURNED_DOWN) if same else found[0]

    text = _RESTATED.sub(restated, _RANGE.sub("all", text))
    pieces: list[str] = []
    position = 0
    for found in _ANY.finditer(text):
        gap, char = text[position : found.start()], found[0]
        if pieces and index_of(pieces[-1]) == index_of(char) and _says_again(text, pieces[-1], gap, found):
            pieces[-1] = _together(pieces[-1], char)
        else:
            pieces += [gap, char]
        position = found.end()
    return "".join([*pieces, text[position:]])


def _says_again(text: str, last: str, gap: str, found: re.Match[str]) -> bool:
    """Whether a mark only repeats the last one; in "No, no difference was found" the second is a word."""
    kind = kind_of(found[0])
    if Kind.TURNED_DOWN in (kind, kind_of(last)) or kind > Kind.TURNED_DOWN or not _SAME.fullmatch(gap):
        return False
    return (
        kind is not Kind.WORD
        or kind_of(last) in LETTER_KINDS
        or not gap.strip()
        or PHRASE_END.match(text, found.end()) is not None
    )


def _together(first: str, second: str) -> str:
    kinds = {kind_of(first), kind_of(second)}
    if kinds & set(LETTER_KINDS) and kinds & {Kind.BOTH, Kind.NAME, Kind.WORD}:
        return as_kind(first, Kind.BOTH)
    return as_kind(first, Kind.LETTER if kinds <= set(LETTER_KINDS) else min(kinds))


# --- several answers --------------------------------------------------------------------------------------------------

JOIN = (
    r"[ \"')\]]*\.?(?:[,;/|&+]|\bor\b|\band\b|\bnor\b|\bvs\b\.?|\bversus\b|\b(?:as well as|together with|along with)\b"
    r"|\b(?:oder|und|ou|et|y|o|e|или|и)\b|或者?|和|または|및|또는)"
    r"(?:[ \"'(\[/&]|\bor\b|\band\b|\bnor\b|\beither\b|\b(?:option|choice)s?\b|\(?\d[.)][ ])*"
)
"""What joins two answers to a list."""

_JOIN = late(JOIN, re.I)
_WORD_JOIN = late(r"\b(?:or|nor|and)\b|/", re.I)
_ENDS_ITEM = late(r"[ \"')\]]*(?:$|[\n,.;/|&])")
_GOES_ON = late(rf"{JOIN}{ANSWER}", re.I)
_DENIED = late(r"\b(?:not|neither|nor|excludes?|except|avoid)\b[^.;\n]{0,40}\Z", re.I)


def _grouped(text: str) -> str:
    """Answers that are joined to a list as one mark."""
    pieces: list[str] = []
    position = 0
    for found in _ANY.finditer(text):
        gap = text[position : found.start()]
        if pieces and _joined(text, pieces, gap, found):
            if pieces[-1] != found[0]:
                same = index_of(pieces[-1]) == index_of(found[0]) and kind_of(pieces[-1]) is not Kind.SEVERAL
                pieces[-1] = _together(pieces[-1], found[0]) if same else mark(Kind.SEVERAL)
        else:
            pieces += [gap, found[0]]
        position = found.end()
    return "".join([*pieces, text[position:]])


def _joined(text: str, pieces: Sequence[str], gap: str, found: re.Match[str]) -> bool:
    """Whether a mark continues the list that the last one begins."""
    if Kind.TURNED_DOWN in (kind_of(pieces[-1]), kind_of(found[0])):
        return False
    ends = (_ENDS_ITEM.match(text, found.end()) or _GOES_ON.match(text, found.end())) is not None
    if gap == " - ":
        return ends
    if not _JOIN.fullmatch(gap) or (";" in gap and (_DENIED.search(pieces[-2]) or not ends)):
        return False
    return kind_of(found[0]) is not Kind.WORD or ends or _WORD_JOIN.search(gap) is not None


# --- what is no choice ------------------------------------------------------------------------------------------------

_X = rf"(?:(?:{ANSWER}|{SEVERAL})(?:(?:{JOIN.replace(';', '')}){ANSWER})*)"
_WORDS = r"(?:[ ](?!(?:but|because|so|therefore|thus|hence|then|is|are|was|were|only|just|merely|since|yet)\b)"
_FURTHER = rf"{_WORDS}[\w$@/'-]+){{0,6}}"
_OTHERS_SAY = (
    r"\b(?:some(?:one|body)?|others|many|people|one)(?: \w+)? ?(?:may|might|would|could|will)?"
    r" ?(?:say|says|think|thinks|argue|argues|claim|claims|believe|believes|answer|choose|pick)\b"
)
_BEFORE = late(
    r"(?:(?:\bnot|n't|\bcannot|\bnever|\bneither|\bnor|\bwithout|\brather than|\binstead of|\bother than|\bunlike"
    r"|\bavoid(?:s|ed|ing)?|\bno(?! doubt| question)|\bnon|\bexclud\w*|\beliminat\w*|\brul(?:e|es|ed|ing) out"
    r"|\breject\w*|\bdismiss\w*|\bunlikely|\bagainst|\bexcept(?: for)?|\bless likely(?: than)?|\bincorrect|\bwrong"
    rf"|\blacks?|\babsence of|\bany(?:thing|one)? (?:but|except)|{_OTHERS_SAY}){_FURTHER}"
    rf"|(?:\bdo|\bdoes|\bwould|\bdid)(?:n't| not) (?:think|believe|say|feel|consider|choose|pick|mean|expect)"
    rf"(?:[ ][\w$@-]+){{0,6}}"
    rf"|\b(?:not(?:[ ]\w+)?|incorrect|wrong|irrelevant|unrelated|excluded)[ ]?:)[ \"'(\[-]*{_X}",
    re.I,
)
_NOT_VERDICT = (
    r"(?:not|never|incorrect|wrong|false|untrue|unlikely|less|least|inappropriate|excluded|eliminated|ruled out|out\b"
    r"|(?:an? |the |mere )?distractors?|contraindicated|irrelevant|unrelated|inadequate|insufficient|implausible"
    r"|unnecessary|absent|invalid|incompatible|inconsistent)"
)
_AFTER = late(
    rf"{_X}[ \"')\]]*(?:,? (?:both|all|which|also|but (?:that|this|it)|therefore|thus|clearly|on the other hand,?)\b)*"
    r"[ ]?(?:"
    r"(?:is|are|was|were|seems?|appears?|looks?|would be|could be|may be)[ ](?:(?:\w+ly|also|both|all|the|to be)[ ])"
    rf"{{0,2}}{_NOT_VERDICT}"
    r"|(?:is|are|was|were|do|does|did|would|could|can|should|has|have|will)(?:n't| not)\b(?! be (?:ruled|excluded)"
    r"| only| just)|cannot\b(?! be (?:ruled|excluded))"
    r"|(?:can|could|may|should|must|will) (?:also |therefore |thus )?be (?:ruled out|excluded|eliminated|discarded"
    r"|dismissed|rejected)"
    r"|[:(-]+[ ]?(?:this is |is )?(?:incorrect|wrong|false\b|ruled out|eliminated|excluded|unlikely|not (?:correct"
    r"|indicated|appropriate|relevant|related|applicable|likely|the (?:answer|best|correct)|present|mentioned"
    r"|discussed|supported|selected)|✗|❌|✘|x\b(?=\s*$))"
    r"|[ ]?[:=-]+[ ]?no[ .]*$|\?[ ](?:no|not)\b)",
    re.I | re.M,
)
_DOUBTED = late(
    rf"{_X}(?:[ ](?!(?:since|because|as|but|and|while|though|although)\b)\w[\w-]*){{0,3}}[ ](?:might|could|may)\b"
    r"(?! be (?:ruled|excluded))"
    rf"|{_X}[ ](?:would|will)[ ](?:require|need|have to|mean|imply|demand)\b",
    re.I,
)
_IF = r"if(?! (?:forced|pressed|(?:i|we) (?:had|have|must|recall|remember|am|are)|you (?:ask|like|will)))"
_CONCEDED = late(
    rf"\b(?:while|although|though|even if|even though|despite|at first|one (?:might|could|may) \w+"
    rf"|{_IF}|had(?! to)|unless"
    rf"|suppose|for (?:the|a|it|this)\b[^.!?\n]{{0,40}}\bto be)\b(?:(?![.;:!?\n,]){NO_MARK}){{0,80}}{_X}",
    re.I,
)
_TO_DECIDE = late(
    r"\b(?:whether|(?:see|decide|determine|check|ask|tell|judge|assess|evaluate|consider|establish|know) if)\b"
    r"(?:(?!\b(?:answer|output|label|therefore|thus|hence|i (?:conclude|choose|select|pick))\b)[^.;:!?\n]){0,300}",
    re.I,
)
_DEFINED = late(rf"{ANSWER}[,:]?[ ](?:this|which) (?:type|label|class|category|option) is\b", re.I)
_UNREAL = late(
    rf"\b(?:{_IF}|unless|had(?! to)|were)\b[^.!?\n]{{0,100}}\bwould\b(?:(?![.;!?\n]){NO_MARK}){{0,40}}{_X}", re.I
)
_NO_REASON = r"(?:(?!\b(?:because|since|as)\b)[^.;!?\n])"
_ON_CONDITION = late(
    # "The answer would be A if …", "A would be right only in …", "A if severe", "if severe, A; otherwise B"
    rf"(?:{_X}[^.;!?\n]{{0,60}})?\bwould\b{_NO_REASON}{{0,60}}(?:{_X}{_NO_REASON}{{0,80}})?"
    rf"\b(?:{_IF}|unless|only (?:in|when|for))\b"
    rf"|{_X},?[ ](?:only[ ])?(?:{_IF}|unless)\b"
    rf"|\b{_IF}\b[^.;!?\n]{{0,80}}[, ]{NO_MARK}{{0,60}}?{_X}[^.!?\n]{{0,60}}\b(?:otherwise|if not|else)\b"
    rf"(?:{NO_MARK}{{0,40}}?{_X})?",
    re.I,
)
_POINTED_AT = late(
    rf"(?:(?:^|[.!?:]\s)(?:please )?(?:see|consider)|\brefer to|\btell me(?: more)? about)[ ]+(?:the )?{_X}",
    re.I | re.M,
)
# A sentence is looked at from its beginning alone: from each of its characters, a long one takes a time of its square.
_ASKED = late(r"(?<![^.!?\n])[^.!?\n]*\?")
_DESCRIBED = late(rf"^[ *>#|-]*(?:\(?\d{{1,2}}[.)][ ]*)?(?:{BOTH}|{NAME})[.,)\]]{{0,3}}[ ]?(?::|-)[ ]?(?=\w)", re.M)
_CHECKED = late(rf"{_X}[\"']?[ ](?:check|criteria|evaluation|assessment|test|analysis)\b", re.I)


def turned_down(text: str, *, options: bool) -> str:
    """What is denied, doubted, conceded, a condition or a question is no choice, nor is an option described."""
    for pattern in (
        _BEFORE,
        _AFTER,
        _DOUBTED,
        _CONCEDED,
        _TO_DECIDE,
        _UNREAL,
        _ON_CONDITION,
        _POINTED_AT,
        _CHECKED,
        *([_DESCRIBED] if options else []),
    ):
        text = pattern.sub(_down, text)
    if len(_DEFINED.findall(text)) + len(re.findall(SEVERAL, text)) > 1:
        text = _DEFINED.sub(_down, text)
    if len(_ANY.findall(text)) > 1 or not re.fullmatch(rf"\W*{ANY}\W*", text):
        text = _ASKED.sub(_down, text)
    return text


def _down(found: re.Match[str]) -> str:
    return _ANY.sub(lambda char: as_kind(char[0], Kind.TURNED_DOWN), found[0])


# --- answers on the line after their cue ------------------------------------------------------------------------------

_ON_THE_NEXT_LINE = late(
    rf"(?:(?<=[:=])|(?<=[ ]is)|(?<=[ ]be)|(?<=answer)|(?<=Answer)|(?<=ANSWER)|(?<=onclusion))[ ]*\n\s*"
    rf"(?!(?:\w+[ ]){{0,3}}{NOUN}[ ]?:)(?={FILLER}(?:{ANSWER}|{SEVERAL}|{OUTSIDE}){END})",
    re.I,
)
