"""i2b2: problems, treatments and tests, marked in a sentence of a clinical note (Uzuner et al. 2011)."""

from mibe.data.clusters import of_id
from mibe.data.readers.i2b2 import TYPES, I2b2
from mibe.metrics.extraction import EntityMacroF1, EntityMicroF1, EntityScores, OverlapF1, Schema
from mibe.parsers.spans import MarkedSpans, marked_answer
from mibe.task import Category, Prompt, Task, credentialed

TASK = Task(
    name="i2b2",
    title="i2b2: problems, treatments and tests in clinical notes",
    category=Category.NER,
    access=credentialed("n2c2 Data Use and Confidentiality Agreement"),
    source=I2b2(),
    prompt=Prompt(
        # Table A2 lost the tags of the guide in typesetting.
        instruction=(
            "In the sentence extracted from clinical narrative notes, identify all the clinically relevant entities, "
            "including problems, tests, and treatments. The required answer format is the same sentence with HTML tags"
            ' to mark up specific entities. Entity Markup Guide: Use <span class="problem"> to denote a medical '
            'problem. Use <span class="treatment"> to denote a treatment. Use <span class="test"> to denote a test'
        ),
        input="Input Text: {text}",
        cue="Output Text:",
        answer=marked_answer,
    ),
    parser=MarkedSpans(TYPES),
    metrics=(
        EntityMacroF1(TYPES),
        EntityMicroF1(TYPES),
        OverlapF1(TYPES, Schema.PARTIAL),
        OverlapF1(TYPES, Schema.ENT_TYPE),
        OverlapF1(TYPES, Schema.EXACT),
        EntityScores(TYPES),
    ),
    headline="macro_f1",
    shots=5,
    max_new_tokens=512,
    version=3,
    cluster=of_id("/"),
)
