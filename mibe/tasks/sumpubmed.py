"""SumPubMed as an open stand-in for pubmedsum: abstracts of BioMed Central articles (Gupta et al. 2021)."""

from dataclasses import replace

from mibe.data.readers.sumpubmed import SumPubMed
from mibe.task import NON_COMMERCIAL
from mibe.tasks import pubmedsum

TASK = replace(
    pubmedsum.TASK,
    name="sumpubmed",
    title="SumPubMed: abstracts of BioMed Central articles, in the form of pubmedsum",
    access=NON_COMMERCIAL,
    source=SumPubMed(),
)
