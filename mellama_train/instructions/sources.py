"""The sources of the instruction set: one declaration each, in the order of the paper's table 5.

A new source is one `Source` here, and one reader when its form is new. `docs/instructions.md` says where each is to be
had and what its files look like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mellama_train.corpus.sources import PHYSIONET
from mellama_train.instructions import prompts
from mellama_train.instructions.prompts import Prompt
from mellama_train.instructions.readers import Reader, articles, consumer_health, conversations, mimic
from mellama_train.instructions.readers.columns import table
from mibe.task import NON_COMMERCIAL, OPEN, Access

PRINTED = 219_484
"""The sum of the sizes in table 5."""
WITHOUT_NULLS = 214_595
"""What the paper has left after null inputs and responses are removed."""

ADVICE_LABELS = {"0": "No Advice", "1": "Weak Advice", "2": "Strong Advice"}
"""Li, Wang and Yu 2021 (detecting-health-advice)."""
CAUSAL_LABELS = {"0": "No relation", "1": "Causal", "2": "Conditional causal", "3": "Correlational"}
"""Yu, Li and Wang 2019 (causal-language-use-in-science): 1,356, 494, 213 and 998 sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the paper's table 5: sources that were drawn from together.

    `size` is the printed number and the cap, None for what the paper has not. With `near`, near copies count as
    duplicates too; not so where samples share a context or a note on purpose.
    """

    title: str
    size: int | None
    near: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One public data set. `cap` is its own share of the row's size; `home` is where to get it."""

    name: str
    row: Row
    reader: Reader
    prompt: Prompt
    access: Access
    licence: str
    home: str
    cap: int | None = None


GENERAL = Row(title="Alpaca, Dolly, ShareGPT", size=20_000, near=True)
CONVERSATION = Row(title="HealthCareMagic, iCliniq", size=20_000, near=True)
MEDINSTRUCT = Row(title="MedInstruct (AlpaCare)", size=52_000, near=True)
FLASH_CARDS = Row(title="Medical flash cards", size=34_000, near=True)
MEDIQA = Row(title="MEDIQA", size=2_220)
MEDICATION_QA = Row(title="MedicationQA", size=690)
LIVEQA = Row(title="LiveQA", size=634)
WIKIDOC = Row(title="WikiDoc patient information", size=5_490, near=True)
GUIDELINE_QA = Row(title="GuidelineQA", size=2_000, near=True)
TITLES = Row(title="PubMed Central titles", size=10_000)
NEXT_SENTENCE = Row(title="PubMed and guideline next sentences", size=20_000)
KEY_WORDS = Row(title="PubMed key words", size=10_000)
CAUSAL = Row(title="Causal relation, advice", size=2_450)
UMLS = Row(title="UMLS relations", size=10_000)
MIMIC = Row(title="MIMIC-III, MIMIC-IV", size=30_000)
EXTRA = Row(title="Beside the paper", size=None)

ROWS = (
    *(GENERAL, CONVERSATION, MEDINSTRUCT, FLASH_CARDS, MEDIQA, MEDICATION_QA, LIVEQA, WIKIDOC, GUIDELINE_QA, TITLES),
    *(NEXT_SENTENCE, KEY_WORDS, CAUSAL, UMLS, MIMIC, EXTRA),
)

_ALPACA_FORM = table({"input": "instruction", "context": "input"}, "output", optional=frozenset({"input"}))
_INPUT_OUTPUT = table({"input": "input"}, "output")
_QUESTION_ANSWER = table({"input": "question"}, "answer")
_PHYSIONET_HOME = "https://physionet.org/content/mimiciii/ and https://physionet.org/content/mimic-iv-note/"
_PMC_HOME = "https://pmc.ncbi.nlm.nih.gov/tools/openftlist/"
_PUBMED_HOME = "https://ftp.ncbi.nlm.nih.gov/pubmed/baseline/"

_SOURCES = (
    Source(
        name="alpaca",
        row=GENERAL,
        reader=_ALPACA_FORM,
        prompt=prompts.GENERAL,
        access=NON_COMMERCIAL,
        licence="CC BY-NC 4.0",
        home="https://github.com/tatsu-lab/stanford_alpaca (alpaca_data.json)",
    ),
    Source(
        name="dolly",
        row=GENERAL,
        reader=table({"input": "instruction", "context": "context"}, "response"),
        prompt=prompts.GENERAL,
        access=OPEN,
        licence="CC BY-SA 3.0",
        home="https://huggingface.co/datasets/databricks/databricks-dolly-15k (databricks-dolly-15k.jsonl)",
    ),
    Source(
        name="sharegpt",
        row=GENERAL,
        reader=conversations.SHAREGPT,
        prompt=prompts.GENERAL,
        access=OPEN,
        licence="Apache-2.0",
        home="https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered",
    ),
    Source(
        name="healthcaremagic",
        row=CONVERSATION,
        reader=_INPUT_OUTPUT,
        prompt=prompts.CONVERSATION,
        access=NON_COMMERCIAL,
        licence="reserved by HealthCareMagic",
        home="https://github.com/Kent0n-Li/ChatDoctor (HealthCareMagic-100k.json)",
    ),
    Source(
        name="icliniq",
        row=CONVERSATION,
        reader=table({"input": "input"}, "answer_chatdoctor"),
        prompt=prompts.CONVERSATION,
        access=NON_COMMERCIAL,
        licence="reserved by iCliniq",
        home="https://github.com/Kent0n-Li/ChatDoctor (iCliniq.json)",
    ),
    Source(
        name="medinstruct",
        row=MEDINSTRUCT,
        reader=table(
            {"input": "instruction", "context": "input"}, ("output", "gpt-4-answer"), optional=frozenset({"input"})
        ),
        prompt=prompts.MEDINSTRUCT,
        access=NON_COMMERCIAL,
        licence="CC BY-NC 4.0",
        home="https://github.com/XZhang97666/AlpaCare (MedInstruct-52k.json)",
    ),
    Source(
        name="flash_cards",
        row=FLASH_CARDS,
        reader=_INPUT_OUTPUT,
        prompt=prompts.FLASH_CARDS,
        access=NON_COMMERCIAL,
        licence="no commercial use",
        home="https://huggingface.co/datasets/medalpaca/medical_meadow_medical_flashcards",
    ),
    Source(
        name="mediqa",
        row=MEDIQA,
        reader=consumer_health.MEDIQA,
        prompt=prompts.MEDIQA,
        access=OPEN,
        licence="CC BY 4.0",
        home="https://osf.io/fyg46/ (MEDIQA-AnS) or https://github.com/abachaa/MEDIQA2019 (MEDIQA_Task3_QA)",
    ),
    Source(
        name="medication_qa",
        row=MEDICATION_QA,
        reader=table({"input": "Question"}, "Answer"),
        prompt=prompts.MEDICATION_QA,
        access=OPEN,
        licence="CC BY 4.0",
        home="https://github.com/abachaa/Medication_QA_MedInfo2019 (MedInfo2019-QA-Medications.xlsx)",
    ),
    Source(
        name="liveqa",
        row=LIVEQA,
        reader=consumer_health.LIVEQA,
        prompt=prompts.LIVE_QA,
        access=OPEN,
        licence="CC BY 4.0",
        home="https://github.com/abachaa/LiveQA_MedicalTask_TREC2017 (TrainingDatasets)",
    ),
    Source(
        name="wikidoc_patient",
        row=WIKIDOC,
        reader=_INPUT_OUTPUT,
        prompt=prompts.PATIENT_INFORMATION,
        access=OPEN,
        licence="CC BY-SA 4.0",
        home="https://huggingface.co/datasets/medalpaca/medical_meadow_wikidoc_patient_information",
    ),
    Source(
        name="guideline_qa",
        row=GUIDELINE_QA,
        reader=_QUESTION_ANSWER,
        prompt=prompts.GUIDELINE_QA,
        access=OPEN,
        licence="Common Crawl (other)",
        home="https://huggingface.co/YBXL",
    ),
    Source(
        name="titles",
        row=TITLES,
        reader=articles.TITLES,
        prompt=prompts.TITLE,
        access=OPEN,
        licence="CC BY",
        home=_PMC_HOME,
    ),
    Source(
        name="next_sentence",
        row=NEXT_SENTENCE,
        reader=articles.NEXT_SENTENCES,
        prompt=prompts.NEXT_SENTENCE,
        access=OPEN,
        licence="CC BY",
        home=_PMC_HOME,
    ),
    Source(
        name="next_guideline",
        row=NEXT_SENTENCE,
        reader=articles.GUIDELINE_PARTS,
        prompt=prompts.NEXT_GUIDELINE,
        access=OPEN,
        licence="Common Crawl (other)",
        home="https://huggingface.co/datasets/epfl-llm/guidelines (open_guidelines.jsonl)",
    ),
    Source(
        name="key_words",
        row=KEY_WORDS,
        reader=articles.TOPICS,
        prompt=prompts.TOPICS,
        access=OPEN,
        licence="CC BY",
        home=_PUBMED_HOME,
    ),
    Source(
        name="advice",
        row=CAUSAL,
        reader=table({"input": "sentence"}, "label", labels=ADVICE_LABELS),
        prompt=prompts.ADVICE,
        access=OPEN,
        licence="none stated",
        home="https://github.com/junwang4/detecting-health-advice (data/annotations_*.csv)",
    ),
    Source(
        name="causal",
        row=CAUSAL,
        reader=table({"input": "sentence"}, "label", labels=CAUSAL_LABELS),
        prompt=prompts.CAUSAL,
        access=OPEN,
        licence="GPL-3.0",
        home="https://github.com/junwang4/causal-language-use-in-science (data/pubmed_causal_language_use.csv)",
    ),
    Source(
        name="umls",
        row=UMLS,
        reader=table({"input": "input"}, "output", where={"source": "umls"}),
        prompt=prompts.RELATION,
        access=OPEN,
        licence="OpenRAIL",
        home="https://huggingface.co/datasets/axiong/pmc_llama_instructions",
    ),
    Source(
        name="mimic_radiology",
        row=MIMIC,
        reader=mimic.RADIOLOGY,
        prompt=prompts.RADIOLOGY,
        access=PHYSIONET,
        licence="PhysioNet",
        home=_PHYSIONET_HOME,
        cap=5_000,
    ),
    Source(
        name="mimic_disease_choice",
        row=MIMIC,
        reader=mimic.DISEASE_CHOICE,
        prompt=prompts.DISEASE_CHOICE,
        access=PHYSIONET,
        licence="PhysioNet",
        home=_PHYSIONET_HOME,
        cap=5_000,
    ),
    Source(
        name="mimic_disease_qa",
        row=MIMIC,
        reader=mimic.DISEASE_QA,
        prompt=prompts.DISEASE_QA,
        access=PHYSIONET,
        licence="PhysioNet",
        home=_PHYSIONET_HOME,
        cap=5_000,
    ),
    Source(
        name="mimic_disease_binary",
        row=MIMIC,
        reader=mimic.DISEASE_BINARY,
        prompt=prompts.DISEASE_BINARY,
        access=PHYSIONET,
        licence="PhysioNet",
        home=_PHYSIONET_HOME,
        cap=5_000,
    ),
    Source(
        name="mimic_mortality",
        row=MIMIC,
        reader=mimic.MORTALITY,
        prompt=prompts.MORTALITY,
        access=PHYSIONET,
        licence="PhysioNet",
        home=_PHYSIONET_HOME,
        cap=5_000,
    ),
    Source(
        name="mimic_manual_qa",
        row=MIMIC,
        reader=table({"question": "question", "input": "note"}, "answer"),
        prompt=prompts.MANUAL_QA,
        access=PHYSIONET,
        licence="PhysioNet",
        home="https://huggingface.co/YBXL (credentialed), as JSON lines {question, note, answer}",
        cap=5_000,
    ),
    Source(
        name="chatdoctor5k",
        row=EXTRA,
        reader=_INPUT_OUTPUT,
        prompt=prompts.CONVERSATION,
        access=OPEN,
        licence="Apache-2.0 (text generated with ChatGPT)",
        home="https://github.com/Kent0n-Li/ChatDoctor (chatdoctor5k.json)",
    ),
    Source(
        name="medquad",
        row=EXTRA,
        reader=consumer_health.MEDQUAD,
        prompt=prompts.PATIENT_INFORMATION,
        access=OPEN,
        licence="CC BY 4.0",
        home="https://github.com/abachaa/MedQuAD",
    ),
    Source(
        name="mmlu",
        row=EXTRA,
        reader=_ALPACA_FORM,
        prompt=prompts.GENERAL,
        access=OPEN,
        licence="MIT",
        home="https://github.com/hendrycks/test (dev, val), as examples/demo_texts.py writes them",
    ),
)

SOURCES: Mapping[str, Source] = {source.name: source for source in _SOURCES}
