"""NEJM-MedQA: diagnoses of open questions of MedQA and of cases of the NEJM (Savage et al. 2024)."""

from dataclasses import replace

from mibe.data.readers.nejm_medqa import NejmMedQa
from mibe.tasks import nejm_cpc

TASK = replace(
    nejm_cpc.TASK,
    name="nejm_medqa",
    title="NEJM-MedQA: diagnoses of open questions and cases",
    source=NejmMedQa(),
    breakdowns=("part",),
    version=1,
)
