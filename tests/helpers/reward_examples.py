"""A made-up document of each kind of task, and how a policy could try to be paid for it without an answer."""

from __future__ import annotations

from mibe.registry import load_task
from mibe.task import Example, Task

SENTENCE = "The patient was given aspirin for chest pain and an EKG was normal."
FINDINGS = (
    "The lungs are hyperinflated with flattened diaphragms. There is a patchy opacity in the right lower lobe. "
    "No pleural effusion or pneumothorax is seen. The cardiac silhouette is normal in size. The bony structures are "
    "intact."
)
NOTE = (
    "Mrs. Doe was seen for follow-up of hypertension. She takes lisinopril 10 mg daily and tolerates it well. Her "
    "blood pressure today is 128/78 and she denies headache, chest pain and shortness of breath."
)
ABSTRACT = (
    "We randomised 200 patients to early or late mobilisation after hip fracture. Mortality at 30 days was 4 % in the "
    "early group and 9 % in the late group, and early mobilisation shortened the stay by two days."
)
DRUGS = ("Metformin", "Insulin glargine", "Glipizide", "Acarbose")


def _options(target: str) -> Example:
    inputs = {"question": "Which drug is the first choice in type 2 diabetes?"}
    return Example(id="q", inputs=inputs, target=target, choices=DRUGS, metadata={"subject": "anatomy"})


EXAMPLES: dict[str, Example] = {
    "pubmedqa": Example(
        id="p", inputs={"question": "Does early mobilisation lower mortality?", "context": ABSTRACT}, target="yes"
    ),
    "medqa_4": _options("A"),
    "medmcqa": _options("C"),
    "mmlu": _options("B"),
    "emrqa": Example(
        id="e", inputs={"context": NOTE, "question": "What does she take?"}, target=["lisinopril 10 mg daily"]
    ),
    "i2b2": Example(
        id="i",
        inputs={"text": SENTENCE},
        target=[["treatment", 22, 29], ["problem", 34, 44], ["test", 52, 55]],
    ),
    "bc5cdr": Example(id="b", inputs={"text": SENTENCE}, target=[["treatment", 22, 29], ["problem", 34, 44]]),
    "ddi": Example(id="d", inputs={"text": "@DRUG$ may increase the plasma level of @DRUG$."}, target="DDI-mechanism"),
    "hoc": Example(
        id="h",
        inputs={"text": "Loss of p53 let the cells survive; VEGF rose and new vessels grew into the tumour."},
        target=["resisting cell death", "inducing angiogenesis"],
    ),
    "mtsample": Example(id="m", inputs={"text": "PROCEDURE: Left heart catheterization."}, target="Urology"),
    "pubmedsum": Example(
        id="s",
        inputs={"text": " ".join([ABSTRACT, NOTE, FINDINGS])},
        target="Early mobilisation after hip fracture lowered mortality and shortened the stay by two days.",
    ),
    "mimic_cxr": Example(
        id="c",
        inputs={"findings": FINDINGS},
        target="Right lower lobe opacity, which may be pneumonia. Hyperinflation.",
    ),
    "mednli": Example(
        id="n",
        inputs={"premise": "She takes lisinopril daily.", "hypothesis": "She has hypertension."},
        target="neutral",
    ),
    "bionli": Example(
        id="n",
        inputs={"premise": "Cells died with the drug.", "hypothesis": "The drug kills cells."},
        target="entailment",
    ),
    "nejm_cpc": Example(
        id="j", inputs={"case": "A 40-year-old man with a hot swollen knee."}, target=["Pseudogout", "CPPD"]
    ),
}
"""Task → a document of it. All categories of the benchmark are here."""


def tasks() -> list[Task]:
    """The tasks of the documents."""
    return [load_task(name) for name in EXAMPLES]


def gold(task: Task) -> str:
    """The answer to the task's document, as the prompt asks for it."""
    return task.prompt.answer(EXAMPLES[task.name])


def prompt(task: Task) -> str:
    """The prompt of the task's document."""
    fields = task.prompt.fields(EXAMPLES[task.name])
    return f"{task.prompt.instruction}\n{task.prompt.input.format(**fields)}\n{task.prompt.cue}"


def answers(task: Task) -> list[str]:
    """All that could be answered to the task's document, the right answer among it."""
    example = EXAMPLES[task.name]
    if task.answers(example):
        return list(task.answers(example))
    shown = next(iter(example.inputs.values()))
    if task.name in ("i2b2", "bc5cdr"):
        return [_marked(kind) for kind in ("problem", "treatment", "test")]
    if task.name == "nejm_cpc":
        return ["Gout", "Septic arthritis", "Pseudogout", "Lyme disease", "Hemarthrosis"]
    return [part.strip() for part in shown.split(".") if part.strip()]


def _marked(kind: str) -> str:
    return " ".join(f'<span class="{kind}">{word}</span>' for word in SENTENCE.split())
