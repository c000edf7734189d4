"""BC5CDR as an open stand-in for i2b2: diseases as problems, chemicals as treatments (Li et al. 2016)."""

from dataclasses import replace

from mibe.data.clusters import blocks
from mibe.data.readers.bc5cdr import TYPES, Bc5cdr
from mibe.metrics.extraction import EntityMacroF1, EntityMicroF1, EntityScores, OverlapF1, Schema
from mibe.task import OPEN
from mibe.tasks import i2b2

# The prompt is that of i2b2 and asks for tests too, which BC5CDR does not annotate: they are not scored.
KINDS = tuple(TYPES.values())

TASK = replace(
    i2b2.TASK,
    name="bc5cdr",
    title="BC5CDR: diseases and chemicals in abstracts, in the form of i2b2",
    access=OPEN,
    source=Bc5cdr(),
    metrics=(
        EntityMacroF1(KINDS),
        EntityMicroF1(KINDS),
        OverlapF1(KINDS, Schema.PARTIAL),
        OverlapF1(KINDS, Schema.ENT_TYPE),
        OverlapF1(KINDS, Schema.EXACT),
        EntityScores(KINDS),
    ),
    # The release has sentences in order and no marks of abstracts, which have 9.6 sentences on average.
    cluster=blocks(20),
)
