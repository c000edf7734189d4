"""emrQA: a question about a clinical note, answered by the text segment that holds the answer (Pampari et al. 2018)."""

from mibe.data.clusters import of_id
from mibe.data.readers.emrqa import EmrQa
from mibe.metrics.qa import ExactMatch, TokenF1
from mibe.parsers.extracted import ExtractedAnswer
from mibe.task import Category, Prompt, Task, credentialed

TASK = Task(
    name="emrqa",
    title="emrQA: questions about clinical notes",
    category=Category.QA,
    access=credentialed("n2c2 Data Use and Confidentiality Agreement"),
    source=EmrQa(),
    prompt=Prompt(
        instruction=(
            "Given a medical context and an open-ended question related to it, extract the relevant text segment from "
            "the context as an answer. Expected output: Only extract and return the text segment from the provided "
            "context that directly answers the question. Do not add any new words."
        ),
        # Table A2 lost the line of the question; the released code has it.
        input="Context: {context}\nQuestion: {question}",
        cue="Answer:",
        cut=("context",),
        answer=lambda example: str(example.target[0]),
    ),
    parser=ExtractedAnswer(),
    metrics=(ExactMatch(), TokenF1()),
    headline="exact_match",
    shots=5,
    max_new_tokens=256,
    version=2,
    cluster=of_id("/"),
)
