"""Which of several mentioned answers a text gives: the grammar that option letters and labels share.

A parser finds the *mentions* of its answers in a text; this module decides. From the strongest kind of evidence to
the weakest: a correction ("wait, …"), a final answer ("Final answer: …", a box, a tag), a stated answer ("the answer
is …", "… is correct"), an answer that opens the text, a conclusion ("therefore …", "I would go with …"), an answer
that is a sentence of its own, and the only answer that is mentioned at all. Negated mentions never count, and two
different answers of the same kind are no answer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mibe.parsers.mentions import NEGATED_AFTER, Finder, Group, Strength, group_mentions

# --- where an answer can stand --------------------------------------------------------------------------------------

_OPENING = re.compile(
    r"(?:\A|\n|[.!?;][\"')\]]*[ ])[\s\"'(\[{<*#>|$.,:_-]*(?:(?:sure|okay|ok|certainly|of course|well)[,.!:]\s*)?"
    r"(?:(?:definitely|probably|likely|clearly|certainly|most likely)[ ,]+)?"
    r"(?:(?:the |my )?(?:options?|choices?|letter|answer|label|to)[ ]?[\"'(\[]*)?\Z",
    re.I,
)
_CLOSING = re.compile(
    r"[ ]?[\"')\]}>|_]*(?:[ ]?(?:\Z|[\n.,;:!?/(\[|]|-)|(?<=\")[ ](?-i:[A-Z])"
    r"|[ ](?:because|since|as|due to|given|for\b|it|the|this|there|they|these|we|based|according"
    r"|rather than|instead of|than)\b)",
    re.I,
)
_ITEM_TEXT = re.compile(r"[ ](?:\S*\w[\w'’]|\d|[Aa][ ]\w)")
_LETTER_LAST = re.compile(r"(?<!\w)[A-Za-z]\W*\Z")
_LINE_END = re.compile(r"[ \"')\]}>.!|]*(?:\n|\Z)")
_HEADING = re.compile(
    r"(?:\A|\n|[.!?][ ])[ ]*(?:\d{1,2}[.)][ ]*)?([A-Za-z][\w '/&()-]{0,48}?)[ ]?(?::|->|=>|=)[\s\"'(\[]{0,4}\Z"
)
_NO_HEADING = re.compile(
    r"\b(?:in|not|non)?-?(?:correct|wrong|not|no|explanation|reason\w*|rationale|notes?\Z|analysis|distractors?"
    r"|premise|hypothesis|options|choices"
    r"|topics|labels|unlikely|excluded|rejected|eliminated|step|because|others?|alternatives?|second"
    r"|differential|if|option|choice"
    r"|possible|considered|question|context|input|text|sentence|example|confidence)\b",
    re.I,
)
_POSITIVE_HEADING = re.compile(r"\bcorrect (?:answer|option|choice|label|letter)\b", re.I)


def _opens(text: str, start: int) -> bool:
    return _OPENING.search(text[max(0, start - 60) : start] if start > 60 else text[:start]) is not None


def _is_item_mark(text: str, group: Group) -> bool:
    """Whether a group ends in the bracket of a list's item, with its text to follow ("B) a shortened option")."""
    return text[group.end - 1] == ")" and _ITEM_TEXT.match(text, group.end) is not None


def _ends(text: str, group: Group, groups: Sequence[Group]) -> bool:
    """Whether a sentence or an item may end with a group: "B) …" alone does, "B) …, C) …" goes through the options."""
    if _CLOSING.match(text, group.end):
        return True
    others = (text[g.start : g.end] for g in groups if not g.negated and g.value != group.value)
    return _is_item_mark(text, group) and not any(_LETTER_LAST.search(other) for other in others)


def stands_alone(text: str, group: Group) -> bool:
    """Whether a group is a sentence or an item of its own: nothing before it, and an end after it."""
    return _opens(text, group.start) and _CLOSING.match(text, group.end) is not None


# --- stated answers -------------------------------------------------------------------------------------------------

FINAL, STATED, CONCLUDED = 3, 2, 1

_NOUN = (
    r"(?:answers?|ans|output|response|label|options?|choices?|letter|results?|predictions?|classification"
    r"|categor(?:y|ies)|class|relation(?:ship)?"
    r"|interaction|type|special(?:i?ty)|domain|selection|pick|decision|verdict|conclusion|judge?ment|diagnosis"
    r"|topics?|hallmarks?|impression"
    r"|réponse|respuesta|antwort|ответ|risposta|resposta|答案|答え|回答|正解)"
)
_COPULA = (
    r"(?:(?<![A-Za-z])(?:is|are|was|were|be|remains?|becomes?|would be|should be|must be|will be|has to be|seems to be"
    r"|appears to be|est|es|ist|è|é)(?![A-Za-zà-ü])|'s\b|是|为|は)"
)
_STATED = re.compile(
    r"(?P<negative>\b(?:incorrect|wrong|not (?:an?|the|my)(?: correct| right| best)?|previous|if the"
    r"|whether the|if|other"
    r"|another|first|initial)[ ])?"
    r"(?P<final>\bfinal(?:ly,?)?[ ](?:\w+[ ]){0,2})?"
    rf"(?<![A-Za-z-]){_NOUN}(?:\(s\))?(?![a-z])[\"')\]]*"
    rf"[^.\n:;?!=]{{0,80}}?(?:{_COPULA}[ ]*[:=-]?|[ ]?(?:=>|->|[:=|])|[ ]?-+[ ]|\n|(?<=ans)\.)",
)
_LISTS = re.compile(r"(?:option|choice)s\W*\Z")  # "looking at the options: A is …"
_CONDITION = re.compile(r"\b(?:if|unless|had|were)\b[^.!?\n]*\Z", re.I)
_ALL_BUT = re.compile(r"\b(?:all|every)\b[^.\n]{0,30}\b(?:except(?: for)?|but|besides)[ \"'(]*\Z", re.I)
_NONE_BUT = re.compile(r"\b(?:none|no)\b[^.\n]{0,40}\b(?:except(?: for)?|but|besides|other than)[ \"'(]*\Z", re.I)
_IS = re.compile(r"(?:\b(?:is|are|was|equals?)|=)[ \"'($€£]*\Z", re.I)
_DIRECT = re.compile(
    r"(?<![A-Za-z-])(?P<final>final )?(?:answer|ans|output|response|label)[.)]?[ ](?=\S)",
)
_CONCLUDED = re.compile(
    r"\b(?:(?P<clause>\b(?:therefore|thus|hence|so|consequently|accordingly|ultimately|overall|in conclusion"
    r"|to conclude|in summary|in short)\b,?)"
    r"|\b(?:i|we)(?:'d|'ll|'m| would| will| am| must| have to)?(?: most)?(?: \w+ly)?(?: going to| to| inclined to)?[ ]"
    r"(?:choose|chose|pick|select|go(?:ing)?(?: ahead)? (?:with|for)|opt for|say|answer|vote for"
    r"|lean(?:ing)? (?:towards?|to)|favou?r|conclude"
    r"|believe|think|guess|label|classify|suggest|recommend|prefer|assign|mark)\b(?: (?:that|it|this"
    r"|the (?:\w+ )?(?:sentence|relationship|note|transcription|article|text|pair)|as|is|would be|be|it's))*"
    r"|\b(?:it|this|that|which)(?: is|'s| must be| has to be| would be| should be)\b"
    r"|\b(?:must|has to) be\b|\b(?:classified|categori[sz]ed|labell?ed|annotated|described|marked"
    r"|tagged)(?: here)?(?: as)?\b|\bbelongs? to\b|\bfalls? (?:under|into)\b"
    r"|\bcorresponds? to\b|\b(?:leaves|leaving)(?: us with| only)?\b|\bgo(?:ing)? with\b"
    r"|(?:^|(?<=[.!?:] ))(?:choose|pick|select|mark)\b"
    r"|\banswer(?:s|ed)?\b[^.\n]{0,40}\bwith an?\b(?:[ ](?:clear|definite|firm|strong|simple|qualified|tentative))?"
    r"|\bthe (?:single )?(?:best|likeliest|correct|right|most (?:likely|appropriate|suitable|accurate))(?: \w+){0,3}?"
    r" (?:is|would be|must be|remains)\b"
    r"|\b(?:according to|based on|given|considering)\b[^.,;:\n]{0,80},"
    r"|\bsuggests?\b|\bindicates?\b|\bpoints? to\b)",
    re.M,
)
_FILLER = re.compile(
    r"[\s\"'(\[{<*#>:=|$_.,-]*(?:(?:options?|choices?|letter|answer|label|category|class|the"
    r"|an?(?:[ ][a-z]+)?|that|of|as|is|be|most|likely|probably|definitely"
    r"|clearly|therefore|indeed|still|actually|best|simply|just|classified|follows|in|with|to|this|it|type"
    r"|would|must|should|either"
    r"|between|both|one|only|specialty|described|given|by|again|thus|hence|final|correct|strongly"
    r"|more)\b[\s\"'(\[:*,-]*){0,7}",
    re.I,
)
_SENTENCE_END = re.compile(r"(?<![ (][A-Z])[.!?](?=\s|\Z)|\n")
_RIGHT = re.compile(
    r"[ \"')\]]*[ ](?:is|was|are|seems(?: to be)?|appears(?: to be)?|must be|would be|should be|has to be"
    r"|remains|being|as the|represents|gives)[ ]"
    r"(?:(?:\w+ly|indeed|therefore|thus|also)[ ]){0,2}(?:(?:the|my|our|only|single|most|best|final|likely"
    r"|appropriate|accurate|suitable|probable)[ ]){0,5}"
    r"(?:answer|option|choice|correct|right|true|classification|label)\b"
    r"|[ ]?[:(-]+[ ]?(?:this is |is )?(?:the )?(?:most )?(?:correct|right|true)\b|[ ]?[:=-]+[ ]?yes[ .]*$|[ ]?[✓✔✅]",
    re.I | re.M,
)
_BEST = re.compile(
    r"[ \"')\]]*[ ](?:(?:is|was|are|seems|appears|looks|would be|must be|should be"
    r"|remains)[ ](?:\w+ly[ ])?(?:the |my )?(?:best|most|\w+ of choice|likeliest|first|one|only|preferred|better)\b"
    r"|(?:\w+ly )?(?:fits?|match(?:es)?|makes?|explains?|appl(?:y|ies))\b[^.\n]{0,20}?(?:best|most|better"
    r"|perfectly|well)?)",
    re.I,
)


_CONTRAST = re.compile(
    r"[ ,;\"')\]]*(?:but|rather|instead|it is|it's)[\"'(\[ ]+(?:(?:rather|instead|is|it is|it's|with|option"
    r"|choice)[\"'(\[ ]+)*",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What one sentence states to be the answer; `value` is None where it is a hedge or no answer of the task."""

    rank: int
    start: int
    value: str | None


def statements(text: str, groups: Sequence[Group], outside: re.Pattern[str] | None) -> Iterator[Statement]:
    """Everything in the text that states an answer."""
    yield from _announced(text, groups, outside)
    for previous, group in zip([None, *groups], groups, strict=False):
        rank = _rank_by_context(text, previous, group)
        if rank is not None:
            yield Statement(rank, group.start, group.values[0])


def _announced(text: str, groups: Sequence[Group], outside: re.Pattern[str] | None) -> Iterator[Statement]:
    """Answers after words that announce one ("the answer is …", "Answer …", "therefore …")."""
    starts = [group.start for group in groups]
    low = text.lower()
    for cue in _STATED.finditer(low):
        if cue["negative"] or ("would" in cue[0] and _CONDITION.search(text[max(0, cue.start() - 100) : cue.start()])):
            continue
        rank = FINAL if cue["final"] else STATED
        group = _next_group(text, groups, starts, cue.end())
        if group is None and outside is not None and outside.match(text, cue.end()):
            yield Statement(rank, cue.end(), None)
        if group is None or (_LISTS.search(cue[0]) and not _CLOSING.match(text, group.end)):
            continue
        if group.value is not None or (len(group.values) == 2 and not group.negated):
            yield Statement(rank, group.start, group.value)
    for cue in _DIRECT.finditer(low):
        group = _next_group(text, groups, starts, cue.end())
        if group is None or group.value is None or text[cue.end() : group.start].strip("\"'(["):
            continue
        if _CLOSING.match(text, group.end):
            yield Statement(FINAL if cue["final"] else STATED, group.start, group.value)
    for cue in _CONCLUDED.finditer(low):
        group = _next_group(text, groups, starts, cue.end())
        if group is None and cue["clause"]:
            group = _only_in_sentence(text, groups, starts, cue.end())
        if group is not None and group.value is not None:
            yield Statement(CONCLUDED, group.start, group.value)


def _rank_by_context(text: str, previous: Group | None, group: Group) -> int | None:
    """How strongly the words on both sides of a group state it ("… is correct", "not … but …", "Label: …")."""
    before = text[max(0, group.start - 80) : group.start]
    if group.negated and (
        _NONE_BUT.search(before) or (_ALL_BUT.search(before) and NEGATED_AFTER.match(text, group.end))
    ):
        return STATED
    if group.value is None:
        return None
    if _RIGHT.match(text, group.end):
        return STATED
    heading = _HEADING.search(before)
    if heading and len(heading[1].split()) <= 7 and _names_answer(heading[1]) and _LINE_END.match(text, group.end):
        return STATED
    contrasted = previous is not None and previous.negated and _CONTRAST.fullmatch(text, previous.end, group.start)
    is_letter = text[group.start : group.end].isalpha() and group.end - group.start == 1
    completes = not is_letter and _IS.search(before) and _SENTENCE_END.match(text, group.end)
    return CONCLUDED if contrasted or completes or _BEST.match(text, group.end) else None


def _names_answer(heading: str) -> bool:
    return _POSITIVE_HEADING.search(heading) is not None or not _NO_HEADING.search(heading)


def _next_group(text: str, groups: Sequence[Group], starts: Sequence[int], position: int) -> Group | None:
    """The group that stands right after a cue, with nothing but filler between."""
    index = bisect_left(starts, position)
    if index and groups[index - 1].end > position:  # the cue is part of the mention ("option: B")
        return groups[index - 1]
    if index == len(groups):
        return None
    group = groups[index]
    if group.start - position > 60 or not _FILLER.fullmatch(text, position, group.start):
        return None
    if group.strength == Strength.WORD and not _CLOSING.match(text, group.end):
        return None
    return group


def _only_in_sentence(text: str, groups: Sequence[Group], starts: Sequence[int], position: int) -> Group | None:
    end = _SENTENCE_END.search(text, position, position + 300)
    limit = end.start() if end else position + 300
    inside = [
        g for g in groups[bisect_left(starts, position) : bisect_left(starts, limit)] if g.strength == Strength.NAME
    ]
    affirmed = [g for g in inside if not g.negated]
    return affirmed[0] if len({g.values for g in affirmed}) == 1 else None


# --- the decision ---------------------------------------------------------------------------------------------------

_CORRECTION = re.compile(
    r"\b(?:(?P<explicit>\bwait(?=[,.!;:-]|\s+(?:no|actually|a (?:minute|moment|second)|i|let)\b)|\bcorrection\b"
    r"|\bon (?:second|further) (?:thoughts?|reflection|consideration)"
    r"|\bscratch that\b|\bi mean[t]?\b|\bor rather\b|\bi made an? (?:mistake|error)\b|\blet me (?:reconsider"
    r"|correct|revise|rethink|re-evaluate)"
    r"|\bi (?:was|stand) (?:wrong|mistaken|corrected)\b|\bmy (?:mistake|apologies|bad)\b|\bi(?:'d like to"
    r"| need to| must| should| will|'ll)? (?:correct|revise|change) (?:my|the) (?:final )?answer(?: to)?"
    r"|\b(?:revised|corrected|updated|amended)(?=[ ](?:final )?(?:answer|label|choice|output))|\bno,? sorry\b"
    r"|\bsorry,|\boops\b|\breconsidering\b)"
    r"|\bactually\b|\bin fact\b|\binstead\b(?! of))",
)
_QUESTION = re.compile(r"[^.!?\n]{0,120}\?")
LETTER_OPENING = r"(?:[Oo]ption |[Cc]hoice )?[\"'(\[]?"
"""What may stand right before a letter that names an option."""

_OTHER_LETTER = re.compile(rf"[\W_]*{LETTER_OPENING}[A-Z]\b")
_LAST_CORRECTIONS = 4


def read_answer(
    text: str, find: Finder, *, mentions: bool = True, outside: re.Pattern[str] | None = None
) -> str | None:
    """The answer that a text gives, or None.

    `mentions` says whether an answer that is mentioned once, and never stated, counts. `outside` matches what is an
    answer in form but not one of the task's (a letter beyond the last option).
    """
    for tail, explicit in corrections(text):
        value = _decide(tail, find, explicit and mentions, outside)
        if value is not None:
            return value
    return _decide(text, find, mentions, outside)


def corrections(text: str) -> Iterator[tuple[str, bool]]:
    """What follows each of the last corrections, the latest first, and whether the correction is explicit.

    "Wait" and "I meant" are; "actually" and "in fact" may be ordinary words: only an answer stated after them counts.
    """
    for mark in reversed(list(_CORRECTION.finditer(text.lower()))[-_LAST_CORRECTIONS:]):
        yield text[mark.end() :].lstrip(" ,.:;!-"), mark["explicit"] is not None


def _decide(text: str, find: Finder, mentions: bool, outside: re.Pattern[str] | None) -> str | None:
    groups = group_mentions(text, find(text))
    said = list(statements(text, groups, outside))
    alone = [g for g in groups if g.value is not None and _opens(text, g.start) and _ends(text, g, groups)]
    leading = groups[0] if groups and groups[0].value and _leads(text, groups) else None
    first_line: set[str | None] = {leading.value} if leading and _LINE_END.match(text, leading.end) else set()

    for rank in (FINAL, STATED):
        ranked = [statement for statement in said if statement.rank == rank]
        values: set[str | None] = {statement.value for statement in ranked if statement.value is not None}
        if values:
            return _only(values | first_line if rank == STATED else values)
        if ranked:  # a hedge, or no answer of the task: only a pick after it counts, or an answer that leads
            picked = [s.value for s in said if s.rank == CONCLUDED and s.start > ranked[-1].start]
            if picked or leading is None or any(_OTHER_LETTER.match(text, s.start) for s in ranked):
                return picked[-1] if picked else None
    if leading is not None:
        lines = {group.value for group in alone if _LINE_END.match(text, group.end)}
        return _only(first_line | lines) if first_line else leading.value
    concluded = [statement.value for statement in said if statement.rank == CONCLUDED]
    if concluded:
        return concluded[-1]
    if alone and len({group.value for group in alone}) == 1:
        return alone[0].value
    if not mentions:
        return None
    affirmed = {
        group.values
        for group in groups
        if group.strength == Strength.NAME and not group.negated and not _QUESTION.match(text, group.end)
    }
    only = affirmed.pop() if len(affirmed) == 1 else ()
    return only[0] if len(only) == 1 else None


def _only(values: set[str | None]) -> str | None:
    return values.pop() if len(values) == 1 else None


def _leads(text: str, groups: Sequence[Group]) -> bool:
    """Whether the first group opens the text as its answer: an opening at most before it ("Sure!"), an end after it."""
    group = groups[0]
    if not _ends(text, group, groups):
        return False
    before = text[: group.start]
    if not before.strip(" \n\"'([{<*#>|$.,:_-"):
        return True
    opening = _OPENING.search(before) if group.start <= 60 else None
    return opening is not None and opening.start() == 0
