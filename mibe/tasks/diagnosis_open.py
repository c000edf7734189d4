"""Vignettes of MedQA that ask for the diagnosis, without options: an open stand-in for nejm_cpc (Jin et al. 2020)."""

from dataclasses import replace

from mibe.data.readers.cases import MedQaCases
from mibe.task import OPEN
from mibe.tasks import nejm_cpc

TASK = replace(
    nejm_cpc.TASK,
    name="diagnosis_open",
    title="Diagnoses of MedQA vignettes, in the form of nejm_cpc",
    access=OPEN,
    source=MedQaCases(
        licence="MIT",
        homepage="https://github.com/jind11/MedQA",
        obtain=(
            "`mibe data prepare diagnosis_open` makes it from the MedQA in the package: the vignettes whose last "
            "sentence asks for the most likely diagnosis. Or take the 112 that were looked up by hand, one object "
            '{"id", "case", "diagnosis"} a line.'
        ),
        counts={"test": 112},
    ),
)
