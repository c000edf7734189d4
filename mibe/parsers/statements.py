"""The grammar of answers: what a sentence says about the answers that are marked in it (`mibe.parsers.marks`).

Every rule has a name and a strength. The strongest say outright what the answer is, the weaker ones draw a conclusion.
A rule never looks beyond its sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from mibe.parsers import cues
from mibe.parsers.marks import (
    ANSWER,
    ANY,
    BOTH,
    DOWN,
    LETTERS,
    NAME,
    NO_MARK,
    OUTSIDE,
    SEVERAL,
    STRONG,
    WORD,
    Kind,
    index_of,
    kind_of,
    mark,
)
from mibe.parsers.patterns import late


class Strength(IntEnum):
    """How strongly something is said to be the answer."""

    MENTIONED = 0
    ALONE = 1
    CONCLUDED = 2
    CALLED_RIGHT = 3
    STATED = 4


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sentence says to be the answer; `mark` may be one for several answers or for none of the task's."""

    strength: Strength
    rule: str
    start: int
    mark: str

    @property
    def value(self) -> int | None:
        """Which answer, or None where it is no single one of the task's."""
        return None if kind_of(self.mark) in (Kind.SEVERAL, Kind.OUTSIDE) else index_of(self.mark)

    @property
    def by_letter(self) -> bool:
        """Whether the answer is given by its letter."""
        return kind_of(self.mark) in (Kind.SIGN, Kind.LETTER, Kind.BOTH)


NOUN = (
    r"(?:answers?|ans|output|response|label|options?|choices?|letter|results?|predictions?|classification"
    r"|categor(?:y|ies)|class|relation(?:ship)?|interaction|type|special(?:i?ty)|domain|selection|pick|decision"
    r"|verdict|conclusion|judge?ment|diagnosis|topics?|hallmarks?|impression)"
)
"""What an answer may be called in English."""

IS = (
    r"(?:(?<![a-z])(?:is|are|was|were|be|remains?|becomes?|would be|should be|must be|will be|has to be|seems to be"
    r"|appears to be)(?![a-z])|'s\b)"
)
FILLER = (
    r"[\s\"'(\[{<*#>:=|$_.,-]*(?:(?:options?|choices?|letter|answer|label|category|class|the|an?(?:[ ][a-z]+)?|that|of"
    r"|as|is|be|most|likely|probably|definitely|clearly|therefore|indeed|still|actually|best|simply|just|classified"
    r"|follows|in|with|to|this|it|type|would|must|should|either|between|both|one|only|specialty|described|given|by"
    r"|again|thus|hence|final|correct|strongly|more|number|\d)\b[\s\"'(\[:*,.)-]*){0,7}"
)
"""What may stand between the words that announce an answer and the answer."""

_FUNCTION_WORD = (
    r"(?:because|since|as|due to|given|for|the|this|that|these|those|there|it|its|they|we|he|she|i|both|each|all|based"
    r"|according|rather than|instead of|than|although|though|while|if|when|but|with|in|on|at|to|per|here|so"
    r"|an?|their|his|her|our|which|who|i'm|let|where|by|after|before|no)"
)
END = (
    rf"(?=[ ]?[\"')\]}}>|_]*(?:[ ]?(?:\Z|[\n.,;:!?/(\[|]|-)|[ ]+{_FUNCTION_WORD}\b|[ ]+(?-i:[A-Z][a-z'])"
    rf"|[ ]+\d|[\"'][ ]|[ ]?[\u2190-\u2bff\U0001f300-\U0001faff]))"
)
"""Where a word that is an answer ends its phrase: "No: …", "no because …", "No Both …", and not "no difference"."""

PHRASE_END = late(END, re.I)

_EVERY = rf"(?:{ANSWER}|{SEVERAL}|{OUTSIDE}|{DOWN})"
_NOT_ANOTHER = r"(?!\s*(?:check|criteria|evaluation|assessment|test|analysis)\b)"


def _compile(pattern: str) -> re.Pattern[str]:
    return late(pattern, re.I)


# "The answer is B", "Answer: B", "Label -> B", "FINAL ANSWER = B".
_ANNOUNCED = _compile(
    r"(?P<other>\b(?:incorrect|wrong|not (?:an?|the|my)(?: correct| right| best)?|previous|if the|whether the|if|other"
    r"|another|first|initial|possible|potential|candidate|available|allowed|valid|following|these)[ ])?"
    rf"(?<![a-z-]){NOUN}(?:\(s\))?(?![a-z])(?P<part>[ ]to part)?[ ]?(?:[(\[]?{SEVERAL}[)\]]?)?[\"')\]]*"
    rf"(?:(?![.\n:;?!=]){NO_MARK}){{0,80}}?(?:{IS}[ ]*[:=-]?|[ ]?(?:=>|->|[:=|])|[ ]?-+[ ]|(?<=ans)\.)"
    rf"{FILLER}(?:(?P<answer>{_EVERY}){_NOT_ANOTHER}|(?P<none>(?:unknown|none|neither|uncertain|unclear|inconclusive"
    r"|(?:all|both) of (?:the above|them|these)|cannot|can't|not (?:sure|certain|given|listed|enough)|n/?a)\b))"
)
_HEDGED = _compile(r"\b(?:could|might|may)\b")
_DIRECT = _compile(rf"(?<![a-z-])(?:answer|ans|output|response|label)[.)]?[ ][\"'(\[]*(?P<answer>{ANSWER}){END}")
_RIGHT = _compile(
    rf"(?P<answer>{ANSWER})(?:[ \"')\]]*[ ](?:is|was|are|seems(?: to be)?|appears(?: to be)?|must be|would be|should be"
    r"|has to be|remains|being|as the|represents|gives)[ ](?:(?:\w+ly|indeed|therefore|thus|also)[ ]){0,2}"
    r"(?:(?:the|my|our|only|single|most|best|final|likely|appropriate|accurate|suitable|probable)[ ]){0,5}"
    r"(?:answer|option|choice|correct|right|true|classification|label)\b"
    r"|[ ]?[:(-]+[ ]?(?:this is |is )?(?:the )?(?:most )?(?:correct|right|true)\b|[ ]?[:=-]+[ ]?(?:yes|true)[ .]*$"
    r"|[ ]?[✓✔✅])"
)
_ALL_BUT = _compile(
    rf"\b(?:all|every|none|no)\b[^.\n]{{0,40}}\b(?:except(?: for)?|but|besides|other than)[ \"'(]*(?P<answer>{_EVERY})"
)
_HEADED = _compile(
    rf"^[ ]*(?:\d{{1,2}}[.)][ ]*)?(?P<heading>[a-z][\w '/&()-]{{0,48}}?)[ ]?(?::|->|=>|=)[\s\"'(\[]{{0,4}}"
    rf"(?P<answer>{ANSWER})[ \"')\]}}>.!|]*$"
)
_NO_HEADING = _compile(
    r"\b(?:in|not|non)?-?(?:correct|wrong|not|no|explanation|reason\w*|rationale|notes?\Z|analysis|distractors?"
    r"|premise|hypothesis|options|choices|topics|labels|unlikely|excluded|rejected|eliminated|step|because|others?"
    r"|alternatives?|second|worst|least\b.*|differential|if|option|choice|possible|considered|question|context|input|text|sentence"
    r"|example|confidence|causes?|include[sd]?|including|check)\b"
)

_CONCLUSION = (
    r"(?:\b(?:therefore|thus|hence|so|consequently|accordingly|ultimately|overall|in conclusion|to conclude|in summary"
    r"|in short|finally)\b,?"
    r"|\b(?:i|we)(?:'d|'ll|'m| would| will| am| must| have to)?(?: most)?"
    r"(?: (?:\w+ly|therefore|thus|hence|then|still|now))?(?: going to| to| inclined to)?[ ]"
    r"(?:choose|chose|pick|select|go(?:ing)?(?: ahead)? (?:with|for)|opt for|say|answer|vote for"
    r"|lean(?:ing)? (?:towards?|to)|favou?r|conclude|believe|think|guess|label|classify|suggest|recommend|prefer|assign"
    r"|mark)\b(?: (?:that|it|this|the (?:\w+ )?(?:sentence|relationship|note|transcription|article|text|pair)|as|is"
    r"|would be|be|it's))*"
    r"|\b(?:it|this|that|which)(?: is|'s| must be| has to be| would be| should be)\b|\b(?:must|has to) be\b"
    r"|\b(?:classified|categori[sz]ed|labell?ed|annotated|described|marked|tagged)(?: here)?(?: as)?\b"
    r"|\bbelongs? to\b|\bfalls? (?:under|into)\b|\bcorresponds? to\b|\b(?:leaves|leaving)(?: us with| only)?\b"
    r"|\bgo(?:ing)? with\b|^(?:choose|pick|select|mark)\b"
    r"|\banswer(?:s|ed)?\b[^.\n]{0,40}\bwith an?\b(?:[ ](?:clear|definite|firm|strong|simple|qualified|tentative))?"
    r"|\bthe (?:single )?(?:best|likeliest|correct|right|most (?:likely|appropriate|suitable|accurate))(?: \w+){0,3}?"
    r" (?:is|would be|must be|remains)\b"
    r"|^(?:according to|based on|given|considering)\b[^.,;:\n]{0,80}[,:]"
    r"|\bif i had to (?:choose|pick|guess|say|answer)(?: (?:one|an answer))?\b,?"
    r"|\bas (?:it|things) (?:is|are|stands?)\b,?|\bin (?:this|our|her|his) (?:case|patient|scenario|vignette)\b,?"
    r"|\bby (?:a |the )?(?:process of )?(?:elimination|exclusion)\b,?"
    r"|\bsuggests?\b|\bindicates?\b|\bpoints? to\b|\bfits?\b|\bmatch(?:es)?\b|\bsupports?\b|(?:^|,[ ])only\b)"
)
_CONCLUDED = _compile(rf"{_CONCLUSION}{FILLER}(?P<answer>{ANSWER}){_NOT_ANOTHER}")
_CLAUSE = _compile(
    r"\b(?:therefore|thus|hence|so|consequently|accordingly|ultimately|overall|in conclusion|to conclude|in summary"
    r"|in short)\b,?"
)
_CONTRAST = _compile(
    rf"{DOWN}[ ,;\"')\]]*(?:but|rather|instead|it is|it's)[\"'(\[ ]+"
    rf"(?:(?:rather|instead|is|it is|it's|with|option|choice)[\"'(\[ ]+)*(?P<answer>{ANSWER})"
)
_BEST = _compile(
    rf"(?P<answer>{ANSWER})[ \"')\]]*[ ](?:(?:is|was|are|seems|appears|looks|would be|must be|should be|remains)[ ]"
    r"(?:\w+ly[ ])?(?:the |my )?(?:best|most|more|\w+ of choice|likeliest|first|one|only|preferred|better)\b"
    r"|(?:\w+ly )?(?:fits?|match(?:es)?|makes?|explains?|appl(?:y|ies))\b)"
    rf"|(?P<it>{LETTERS})[ ]it is\b"
)
_COMPLETES = _compile(
    rf"(?:\b(?:is|are|was|equals?|be)|=)[ \"'($€£]*(?:an?[ ]|the[ ])?(?P<answer>{NAME}|{WORD}|{BOTH})"
    r"[\"')]*[ ]?(?:[.!]|$)"
)
_ALONE = _compile(
    rf"^[\s\"'(\[{{<*#>|$.,:_-]*(?:(?:\d{{1,2}}[.)]|yes,|right,)[ ]*)?(?P<answer>{ANSWER})(?:{END}|(?=[)][ ]))"
)
_COLON_END = _compile(rf":[ \"'(\[]*(?P<answer>{ANSWER})[\"')\].!]*$")

_OTHERS = cues.alternatives
_LETTER_BEFORE, _LETTER_AFTER = (
    r"(?<![a-z\u00c0-\u024f\u0370-\u04ff\u1e00-\u1eff])",
    r"(?![a-z\u00c0-\u024f\u0370-\u04ff\u1e00-\u1eff])",
)
_FOREIGN_FILLER = (
    rf"[ \"'(\[:,]{{0,4}}(?:{_LETTER_BEFORE}(?:{_OTHERS('option')}){_LETTER_AFTER}[ \"'(\[:]{{0,3}}){{0,3}}"
)
_FOREIGN = _compile(
    rf"{_LETTER_BEFORE}(?:(?:{_OTHERS('answer')}){_LETTER_AFTER}"
    rf"(?P<gap>(?:(?![.\n:;?!]){NO_MARK}){{0,40}}?(?:{_LETTER_BEFORE}(?:{_OTHERS('is_')}){_LETTER_AFTER}|[:=-])|)"
    rf"|(?:{_OTHERS('pick')})){_FOREIGN_FILLER}(?P<answer>{ANSWER}|{SEVERAL})"
)
_FOREIGN_RIGHT = _compile(rf"(?P<answer>{ANSWER})[ \"')]{{0,2}}(?:{_OTHERS('right')})")
_FOREIGN_DENIED = _compile(rf"{_LETTER_BEFORE}(?:{_OTHERS('denied')}){_LETTER_AFTER}")
_FOREIGN_DENIED_AFTER = _compile(rf"[ \"')]{{0,2}}(?:{_OTHERS('denied_after')})")


def statements(sentence: str, start: int = 0) -> Iterator[Statement]:
    """What one sentence, which begins at `start`, states or concludes."""
    for found in _ANNOUNCED.finditer(sentence):
        if found["other"] or found["part"]:
            continue
        if found["none"]:
            yield Statement(Strength.STATED, "announced", start + found.start("none"), mark(Kind.OUTSIDE))
        elif kind_of(found["answer"]) is not Kind.TURNED_DOWN and _is_whole(sentence, found):
            hedged = _HEDGED.search(found[0]) is not None
            yield _statement(Strength.CONCLUDED if hedged else Strength.STATED, "announced", found, start)
    if not _MARKED.search(sentence):
        return
    for found in _FOREIGN.finditer(sentence):
        denied = found["gap"] and _FOREIGN_DENIED.search(found["gap"])
        if not denied and not _FOREIGN_DENIED_AFTER.match(sentence, found.end("answer")) and _is_whole(sentence, found):
            yield _statement(Strength.STATED, "announced", found, start)
    for found in _DIRECT.finditer(sentence):
        yield _statement(Strength.STATED, "announced", found, start)
    for rule, pattern in (
        ("called right", _RIGHT),
        ("called right", _FOREIGN_RIGHT),
        ("all others excluded", _ALL_BUT),
    ):
        for found in pattern.finditer(sentence):
            yield _statement(Strength.CALLED_RIGHT, rule, found, start)
    headed = _HEADED.search(sentence)
    if headed and len(headed["heading"].split()) <= 7 and not _NO_HEADING.search(headed["heading"]):
        yield _statement(Strength.STATED, "after a heading", headed, start)
    for found in _CONCLUDED.finditer(sentence):
        if _is_whole(sentence, found):
            yield _statement(Strength.CONCLUDED, "concluded", found, start)
    clause = _CLAUSE.search(sentence)
    if clause:
        named = re.findall(STRONG, sentence[clause.end() :])
        if len({index_of(char) for char in named}) == 1:
            place = sentence.index(named[0], clause.end())
            yield Statement(Strength.CONCLUDED, "concluded", start + place, named[0])
    for rule, pattern in (
        ("against another", _CONTRAST),
        ("called best", _BEST),
        ("ends the sentence", _COMPLETES),
        ("ends the sentence", _COLON_END),
    ):
        for found in pattern.finditer(sentence):
            yield _statement(Strength.CONCLUDED, rule, found, start)
    alone = _ALONE.match(sentence)
    if alone and _is_whole(sentence, alone):
        yield _statement(Strength.ALONE, "on its own", alone, start)


def _statement(strength: Strength, rule: str, found: re.Match[str], start: int) -> Statement:
    name = "answer" if found["answer"] else "it"
    return Statement(strength, rule, start + found.start(name), found[name])


_END = _compile(END)
_MARKED = late(ANY)


def _is_whole(sentence: str, found: re.Match[str]) -> bool:
    """Whether the answer is no part of a longer phrase: an ordinary word needs an end after it."""
    return kind_of(found["answer"]) is not Kind.WORD or _END.match(sentence, found.end("answer")) is not None
