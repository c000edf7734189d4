"""What every parser does first: take away what surrounds an answer, and never the answer.

Chat models wrap answers in reasoning blocks, template tokens, code fences, markdown and LaTeX; base models run on
into an invented next document. Each function here undoes one of these and is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from mibe.parsers.patterns import late
from mibe.parsers.reasoning import without

INVISIBLE = dict.fromkeys(
    [0x00AD, 0x061C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)]
)

_OPENING_TOKEN = late(
    r"<s>|<bos>|\[/INST\]|<\|(?:begin_of_text|startoftext|assistant|begin▁of▁sentence)\|>"
    r"|<\|im_start\|>(?:\s*assistant\b)?|<start_of_turn>(?:\s*model\b)?"
    r"|<\|(?:start_header_id|start)\|>assistant(?:<\|(?:end_header_id|message)\|>)?"
)
_END_TOKEN = late(r"</s>|<eos>|<pad>|\[(?:EOS|PAD|INST)\]|<end_of_turn>|<turn\|>|<[|｜][^|｜<>\n]{1,40}[|｜]>", re.I)

# Long outputs are loops of a broken model: an answer stands near one of the two ends, and the cut bounds the time.
_HEAD = _TAIL = 12_000

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″「」『』«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("【〔〈", "["),
        **dict.fromkeys("】〕〉", "]"),
        **dict.fromkeys("、،", ","),
        "。": ". ",
        "→": "->",
        "⇒": "=>",
        "İ": "I",
        "\r": "\n",
        "\t": " ",
    }
)
_FENCE = late(r"^[ ]*```[\w+-]*[ ]*$", re.M)
_ANSWER_TAG = late(
    r"<(/?)\s{0,3}(?:final[_ -]?)?(?:answer|ans|label|labels|output|choice|option|result|response|prediction)\s{0,3}>"
    r"|\[(/?)(?:final[_ ]?)?answer\]",
    re.I,
)
_BREAK_TAG = late(r"<(?:br|p|/p|div|/div|li|/li|h\d|/h\d|ul|ol|/ul|/ol|hr)\b[^<>]{0,100}>", re.I)
_STYLE_TAG = late(r"</?(?:b|i|u|em|strong|span|code|pre|mark|center|font)\b[^<>]{0,100}>", re.I)
_BOX = late(r"\\f?box(?:ed)?\s{0,3}\{((?:[^{}\n]|\{[^{}\n]{0,200}\}){0,200})\}|\\f?box(?:ed)?\s{0,3}\{")
_MACRO = late(r"\\(?:text|math|operatorname|emph|bf|rm|it|sf)[a-z]{0,8}\s{0,3}|\\[()\[\],;! ]|[{}$]")
_MATH = late(r"\$([^$\n]{1,60})\$")
_STRUCK = late(r"~~[^~\n]{1,200}~~")
_LINE_MARK = late(r"^[ ]*(?:#{1,6}[ ]*|>[ ]?|[•▪◦●‣][ ]*|[*+-][ ]+)+", re.M)
_EMPHASIS = late(r"\*+(?=\S)|(?<=\S)\*+|(?<![^\W_])_+|_+(?![^\W_])")
_SPACES = late(r"[^\S\n]+")


def strip_tokens(text: str) -> str:
    """Without template tokens; what follows an end token is not part of the answer."""
    parts = _END_TOKEN.split(_OPENING_TOKEN.sub("\n", text))
    return next((part for part in parts if part.strip()), "")


def free_text(output: str) -> str:
    """An answer in free text: invisible characters, reasoning and template tokens removed, nothing else changed."""
    return strip_tokens(without(output.translate(INVISIBLE))).strip()


def normalise(text: str) -> str:
    """One form for each letter, quote, dash and space, so that patterns need to know only one of each."""
    text = unicodedata.normalize("NFKC", text.translate(INVISIBLE).replace("′", "'"))
    return _SPACES.sub(" ", text.translate(_TYPOGRAPHY))


def strip_tags(text: str) -> str:
    """Without HTML: a line for what is a line or an item there."""
    return _STYLE_TAG.sub("", _BREAK_TAG.sub("\n", text))


def strip_markup(text: str) -> str:
    """Without markdown, HTML and LaTeX; boxes and answer tags become a line that states a final answer."""
    if "~~" in text:
        text = _STRUCK.sub("", text)
    if "<" in text or "[" in text:
        text = _ANSWER_TAG.sub(lambda tag: "\n" if tag[1] or tag[2] else "\nFinal answer: ", text)
        text = strip_tags(text)
    if "$" in text:
        text = _MATH.sub(r"\1", text)
    if "\\" in text:
        text = _BOX.sub(lambda box: f"\nFinal answer: {box[1]}\n" if box[1] else "\nFinal answer: ", text)
        text = _MACRO.sub(" ", text)
    text = _EMPHASIS.sub("", _LINE_MARK.sub("", text))
    return _SPACES.sub(" ", text)


def shorten(text: str) -> str:
    """Both ends of a text that is too long to be an answer."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def closed_text(output: str) -> str:
    """An answer from a closed set (letter, label), with code fences removed but markup still in place."""
    return _FENCE.sub("", normalise(shorten(free_text(output)).replace("```", "\n```"))).strip()


# --- documents ------------------------------------------------------------------------------------------------------

_DOCUMENT = late(
    r"(?i:(?:^|\n)[ ]*(?:next |new )?(?:question|q|input|input text|context|passage|abstract|sentence|premise"
    r"|transcription|task|instructions?|human|user|example|problem)[ ]*(?:\#?[ ]?\d{1,3})?[ ]*:"
    r"|\n[ ]*(?:next |new )?(?:question|example|problem|case)[ ]+\#?\d{1,3}[.]?[ ]*(?=\n))"
    r"|(?<=\S)[ ](?:Question|QUESTION|INPUT|Input Text|Human|User)(?:[ ]\d{1,3})?:"
)


def documents(text: str) -> Iterator[str]:
    """The text up to an invented next document, and each such document, without their headings.

    Whoever asks takes the first that holds an answer: a base model may repeat the prompt before it answers and
    may invent further prompts after it.
    """
    position = 0
    for mark in _DOCUMENT.finditer(text):
        if text[position : mark.start()].strip():
            yield text[position : mark.start()]
        position = mark.end()
    yield text[position:]


# --- refusals and statements that there is no answer ----------------------------------------------------------------

_REFUSAL = late(
    r"\b(?:i|we)(?:'m| am| are)? (?:(?:really |very |so )?sorry|apologi[sz]e)\b.{0,40}?\b(?:can't|cannot"
    r"|can not|unable|not able|won't)\b"
    r"|\b(?:i|we)(?: am|'m)? ?(?:can't|cannot|can not|could not|couldn't|won't|will not|unable to|not able to"
    r"|must decline to"
    r"|decline to|am not qualified to|not qualified to|not comfortable) ?"
    r"(?:safely |ethically |currently |legally )?(?:provide|help|assist|answer|give|offer|diagnos|comply"
    r"|fulfill?|make|complete|respond"
    r"|engage|continue|do that|process|support|advise|recommend|share|discuss)"
    r"|\bas an? (?:ai|large language|language)\b(?=.{0,120}\b(?:can't|cannot|can not|unable|not able|do not"
    r"|don't|not)\b)"
    r"|\bi(?: am|'m) (?:just |only )?an? (?:ai|language model|large language model)\b(?=.{0,120}\b(?:can't"
    r"|cannot|unable|not|don't)\b)"
    r"|\bi must (?:respectfully )?decline\b"
    r"|\b(?:response|output|content|prompt|request|message|completion|answer|generation) (?:was|has been|is|were|got) "
    r"(?:\w+ )?(?:filtered|blocked|withheld|flagged|removed|redacted)\b(?=[^.\n]{0,80}\b(?:prompt|polic(?:y|ies)"
    r"|filter\w*|moderation|guidelines|safety|violat\w+|terms)\b)"
    r"|\bcontent (?:filter(?:ing)?|management|moderation) polic(?:y|ies)\b"
    r"|\b(?:blocked|filtered|flagged|withheld|stopped) (?:by|due to|because of) (?:\w+[ ']+){0,4}?"
    r"(?:content|safety|moderation) (?:filter\w*|polic(?:y|ies)|guidelines|system|settings)\b"
    r"|\bi (?:do not|don't) (?:provide|give|offer) (?:medical )?(?:advice|diagnos)",
    re.I | re.S,
)
_NO_ANSWER = late(
    r"\bunknown\b|\bundetermined\b|\bindeterminate\b|\b(?:can't|cannot|can not|could not|couldn't"
    r"|not possible to|impossible to|unable to) "
    r"(?:be )?(?:determined?|decided?|answer(?:ed)?|classif(?:y|ied)|conclude[d]?|tell|say|judge[d]?|choose|select)"
    r"|\bnot (?:entirely |completely |quite )?(?:sure|certain)\b|\bunsure\b|\buncertain\b|\bno (?:answer|conclusion)\b"
    r"|\bi (?:do not|don't) know\b|\bnot enough information\b|\binsufficient (?:information|data|evidence)\b"
    r"|\bnone of (?:the|these|them|those)\b|\bnot (?:listed|given|among)\b",
    re.I,
)


def is_refusal(text: str) -> bool:
    """Whether the model declines to answer, as the words at the beginning or the end of its output say."""
    plain = normalise(f"{text[:600]}\n{text[-300:]}" if len(text) > 900 else text)
    return _REFUSAL.search(plain) is not None


def states_no_answer(text: str) -> bool:
    """Whether the text says that no answer can be given ("unknown", "cannot be determined", "not sure")."""
    return _NO_ANSWER.search(text) is not None
