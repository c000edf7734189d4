"""Vignettes of MedQA that ask for the diagnosis, without options: an open stand-in for nejm_cpc (Jin et al. 2020)."""

from dataclasses import replace

from mibe.data.readers.cases import DiagnosisCases
from mibe.task import OPEN
from mibe.tasks import nejm_cpc

TASK = replace(
    nejm_cpc.TASK,
    name="diagnosis_open",
    title="Diagnoses of MedQA vignettes, in the form of nejm_cpc",
    access=OPEN,
    source=DiagnosisCases(
        licence="MIT",
        homepage="https://github.com/jind11/MedQA",
        obtain=(
            "Take the vignettes of MedQA's US test set whose last sentence asks for the most likely diagnosis, and "
            'write one object {"id", "case", "diagnosis"} a line, the case without that sentence, to a file '
            "medqa_diagnosis_cases.jsonl."
        ),
        counts={"test": 112},
    ),
)
