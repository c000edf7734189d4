"""PubMed summarization: the abstract of a biomedical article from its text (Cohan et al. 2018)."""

from mibe.data.readers.pubmedsum import PubMedSum
from mibe.metrics.summarization import Rouge
from mibe.parsers.plain import PlainText
from mibe.task import OPEN, Category, Prompt, Task

TASK = Task(
    name="pubmedsum",
    title="PubMed: abstracts of biomedical articles",
    category=Category.SUMMARIZATION,
    access=OPEN,
    source=PubMedSum(),
    prompt=Prompt(
        instruction=(
            "The task is to summarize an input biomedical literature in six sentences. The input is a biomedical "
            "literature. The output is the summary of an input biomedical literature in six sentences."
        ),
        input="INPUT:{text}",
        cut=("text",),
    ),
    parser=PlainText(),
    metrics=(Rouge(),),
    headline="rougeL",
    shots=1,
    max_new_tokens=512,
    version=2,
)
