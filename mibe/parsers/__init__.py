"""Reading answers from raw model output: one small pure parser for each kind of answer.

`OptionLetter` (multiple choice), `OneLabel` and `LabelSet` (closed label sets), `MarkedSpans` (entities in a sentence),
`ExtractedAnswer` (text copied from a context), `RankedDiagnoses` and `PlainText`. Each is a `mibe.task.Parser`: it sees
the output and never the target, returns JSON data or None, and never raises on any text. `read` turns a response into
a prediction with its outcome.

Underneath, `text` takes away what surrounds an answer, `words` finds names whatever their spelling, `mentions` groups
them and hears negations, and `answers` decides which one a text gives.
"""

from mibe.parsers.extracted import ExtractedAnswer
from mibe.parsers.labels import LabelSet, OneLabel
from mibe.parsers.options import OptionLetter
from mibe.parsers.outcome import read
from mibe.parsers.plain import PlainText
from mibe.parsers.ranked import RankedDiagnoses
from mibe.parsers.spans import MarkedSpans

__all__ = [
    "ExtractedAnswer",
    "LabelSet",
    "MarkedSpans",
    "OneLabel",
    "OptionLetter",
    "PlainText",
    "RankedDiagnoses",
    "read",
]
