"""NEJM clinicopathologic conferences: ten ranked diagnoses for a case, which the user brings (McDuff et al. 2023)."""

from mibe.data.readers.cases import DiagnosisCases
from mibe.metrics.diagnosis import TopKExact
from mibe.parsers.ranked import RankedDiagnoses
from mibe.task import NON_COMMERCIAL, Category, Prompt, Task

TASK = Task(
    name="nejm_cpc",
    title="NEJM CPC: differential diagnoses of complex cases",
    category=Category.DIAGNOSIS,
    access=NON_COMMERCIAL,
    source=DiagnosisCases(
        licence="copyright of the Massachusetts Medical Society",
        homepage="https://www.nejm.org/case-records-of-the-massachusetts-general-hospital",
        obtain=(
            "From the case records of the Massachusetts General Hospital that you have access to (the paper used 70 of "
            'January 2021 to December 2022), write a file cases.jsonl with one object {"id", "case", "diagnosis"} a '
            "line: the case up to the differential diagnosis, and the final diagnosis, several names parted by "
            "semicolons."
        ),
    ),
    prompt=Prompt(
        # The paper does not print its prompt; this one is ours.
        instruction=(
            "You are an experienced physician. Read the case and give the differential diagnosis: list the ten most "
            "likely diagnoses, the most likely first, as a numbered list with one diagnosis a line. Give the names of "
            "the diagnoses only, without any explanation."
        ),
        input="CASE: {case}",
        cue="DIAGNOSES:",
        cut=("case",),
        answer=lambda example: f"1. {example.target[0]}",
    ),
    parser=RankedDiagnoses(),
    metrics=(TopKExact(),),
    headline="top1_accuracy",
    shots=0,
    max_new_tokens=512,
    version=2,
)
