"""MTSamples: the medical specialty of a transcription, one of forty (mtsamples.com, CC0)."""

from mibe.data.clusters import of_input
from mibe.data.readers.mtsamples import LABELS, MtSamples
from mibe.metrics.classification import Accuracy, MacroF1Gold, PerLabel, PredictedShare, WeightedF1
from mibe.parsers.labels import OneLabel
from mibe.parsers.vocabularies import MTSAMPLE_ALIASES, MTSAMPLE_AS_ANSWER_ONLY
from mibe.task import OPEN, Category, Prompt, Task

TASK = Task(
    name="mtsample",
    title="MTSamples: the specialty of a transcription",
    category=Category.CLASSIFICATION,
    access=OPEN,
    source=MtSamples(),
    prompt=Prompt(
        instruction=(
            "TASK: The task is to determine the medical specialty or domain that a medical transcription belongs to. "
            "The input is a medical transcription. There are 40 medical specialties or domains and you need to decide"
            " which one is the transcription related to. The medical specialties or domains are: ‘Surgery’, ‘Allergy "
            "/ Immunology’, ‘Sleep Medicine’, ‘Pediatrics - Neonatal’, ‘SOAP / Chart / Progress Notes’, ‘Bariatrics’,"
            " ‘Pain Management’, ‘Lab Medicine - Pathology’, ‘Dermatology’, ‘Orthopedic’, ‘Dentistry’, ‘Psychiatry / "
            "Psychology’, ‘General Medicine’, ‘Office Notes’, ‘Letters’, ‘Neurosurgery’, ‘Radiology’, ‘Cosmetic / "
            "Plastic Surgery’, ‘Nephrology’, ‘Diets and Nutritions’, ‘Chiropractic’, ‘Gastroenterology’, "
            "‘Cardiovascular / Pulmonary’, ‘Speech - Language’, ‘Hospice - Palliative Care’, ‘Autopsy’, "
            "‘Endocrinology’, ‘Emergency Room Reports’, ‘Discharge Summary’, ‘ENT - Otolaryngology’, ‘Urology’, "
            "‘Physical Medicine - Rehab’, ‘Neurology’, ‘Podiatry’, ‘Ophthalmology’, ‘Rheumatology’, ‘IME-QME-Work "
            "Comp etc.’, ‘Hematology - Oncology’, ‘Consult - History and Phy.’, ‘Obstetrics / Gynecology’. The output"
            " should be only one medical specialty or domain from the above 40 specialties or domains, that is most "
            "relevant to the medical transcription. Please note that each medical transcript can only be related to "
            "one medical specialty or domain. Output format: provide the name of the medical specialty or domain."
        ),
        input="INPUT:{text}",
        cut=("text",),
    ),
    parser=OneLabel(LABELS, aliases=MTSAMPLE_ALIASES, as_answer_only=MTSAMPLE_AS_ANSWER_ONLY),
    metrics=(
        Accuracy(),
        # Several of the forty specialties are too rare to occur in every sample of the data.
        MacroF1Gold(LABELS, name="macro_f1"),
        WeightedF1(LABELS),
        PerLabel(LABELS),
        PredictedShare(LABELS),
    ),
    headline="accuracy",
    shots=5,
    max_new_tokens=64,
    version=4,
    labels=LABELS,
    # A report may stand under several specialties.
    cluster=of_input("text"),
)
