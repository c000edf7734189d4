"""MIMIC-CXR: the impression of a chest X-ray report from its findings (Johnson et al. 2019)."""

from mibe.data.readers.mimic_cxr import MimicCxr
from mibe.metrics.summarization import Rouge
from mibe.parsers.plain import PlainText
from mibe.task import Category, Prompt, Task, credentialed

TASK = Task(
    name="mimic_cxr",
    title="MIMIC-CXR: impressions of chest X-ray reports",
    category=Category.SUMMARIZATION,
    access=credentialed("PhysioNet Credentialed Health Data Use Agreement 1.5.0"),
    source=MimicCxr(),
    prompt=Prompt(
        instruction="Derive the impression from findings in the radiology report.",
        input="INPUT:{findings}",
        cut=("findings",),
    ),
    parser=PlainText(),
    metrics=(Rouge(),),
    headline="rougeL",
    shots=1,
    max_new_tokens=256,
    version=2,
)
