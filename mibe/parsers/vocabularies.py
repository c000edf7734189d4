"""Other words by which models name the labels of a task, beside the labels themselves.

`…_ALIASES` maps a form to its label. `…_AS_ANSWER_ONLY` lists the forms that are also ordinary words: they count where
they stand as the answer, not as a word within a sentence.
"""

from __future__ import annotations

PUBMEDQA_AS_ANSWER_ONLY = ("yes", "no", "maybe")

DDI_ALIASES = {
    "DDI-advice": "DDI-advise",
    "DDI-advised": "DDI-advise",
    "DDI-interaction": "DDI-int",
    "DDI-none": "DDI-false",
    "DDI-negative": "DDI-false",
    "no interaction": "DDI-false",
    "no drug interaction": "DDI-false",
    "no drug-drug interaction": "DDI-false",
    "no DDI": "DDI-false",
    "no DDI relation": "DDI-false",
    "no relation": "DDI-false",
    "no relationship": "DDI-false",
    "effect": "DDI-effect",
    "mechanism": "DDI-mechanism",
    "advise": "DDI-advise",
    "advice": "DDI-advise",
    "int": "DDI-int",
    "false": "DDI-false",
}

DDI_AS_ANSWER_ONLY = ("effect", "mechanism", "advise", "advice", "int", "false", "no relation", "no relationship")

MTSAMPLE_ALIASES = {
    "Allergy": "Allergy / Immunology",
    "Immunology": "Allergy / Immunology",
    "Pediatrics": "Pediatrics - Neonatal",
    "Neonatal": "Pediatrics - Neonatal",
    "SOAP": "SOAP / Chart / Progress Notes",
    "SOAP Notes": "SOAP / Chart / Progress Notes",
    "Progress Notes": "SOAP / Chart / Progress Notes",
    "Lab Medicine": "Lab Medicine - Pathology",
    "Laboratory Medicine - Pathology": "Lab Medicine - Pathology",
    "Pathology": "Lab Medicine - Pathology",
    "Orthopedics": "Orthopedic",
    "Psychiatry": "Psychiatry / Psychology",
    "Psychology": "Psychiatry / Psychology",
    "Cosmetic Surgery": "Cosmetic / Plastic Surgery",
    "Plastic Surgery": "Cosmetic / Plastic Surgery",
    "Diet and Nutrition": "Diets and Nutritions",
    "Nutrition": "Diets and Nutritions",
    "Cardiovascular": "Cardiovascular / Pulmonary",
    "Pulmonary": "Cardiovascular / Pulmonary",
    "Speech": "Speech - Language",
    "Hospice": "Hospice - Palliative Care",
    "Palliative Care": "Hospice - Palliative Care",
    "Emergency Room": "Emergency Room Reports",
    "Discharge Summaries": "Discharge Summary",
    "ENT": "ENT - Otolaryngology",
    "Otolaryngology": "ENT - Otolaryngology",
    "Physical Medicine": "Physical Medicine - Rehab",
    "Physical Medicine - Rehabilitation": "Physical Medicine - Rehab",
    "Rehab": "Physical Medicine - Rehab",
    "Rehabilitation": "Physical Medicine - Rehab",
    "IME": "IME-QME-Work Comp etc.",
    "QME": "IME-QME-Work Comp etc.",
    "IME-QME": "IME-QME-Work Comp etc.",
    "IME-QME-Work Comp": "IME-QME-Work Comp etc.",
    "Work Comp": "IME-QME-Work Comp etc.",
    "Hematology": "Hematology - Oncology",
    "Oncology": "Hematology - Oncology",
    "Consult": "Consult - History and Phy.",
    "History and Physical": "Consult - History and Phy.",
    "Consult - History and Physical": "Consult - History and Phy.",
    "Consultation - History and Physical": "Consult - History and Phy.",
    "Consultation": "Consult - History and Phy.",
    "Obstetrics": "Obstetrics / Gynecology",
    "Gynecology": "Obstetrics / Gynecology",
    "OB/GYN": "Obstetrics / Gynecology",
    "OBGYN": "Obstetrics / Gynecology",
}

MTSAMPLE_AS_ANSWER_ONLY = (
    "Surgery",
    "Plastic Surgery",
    "Cosmetic Surgery",
    "Allergy",
    "Neonatal",
    "SOAP",
    "Pathology",
    "Orthopedic",
    "Letters",
    "Nutrition",
    "Cardiovascular",
    "Pulmonary",
    "Speech",
    "Hospice",
    "Autopsy",
    "Emergency Room",
    "Rehab",
    "Rehabilitation",
    "Consult",
    "Consultation",
    "History and Physical",
)

NLI_ALIASES = {
    "entail": "entailment",
    "entails": "entailment",
    "entailed": "entailment",
    "entailing": "entailment",
    "contradict": "contradiction",
    "contradicts": "contradiction",
    "contradicted": "contradiction",
    "contradicting": "contradiction",
    "contradictory": "contradiction",
    "neutrality": "neutral",
}

CLIP_ALIASES = {
    form.format(kind): label
    for kind, label in (
        ("appointment", "Appointment-related followup"),
        ("lab", "Lab-related followup"),
        ("laboratory", "Lab-related followup"),
        ("procedure", "Procedure-related followup"),
        ("medication", "Medication-related followups"),
        ("imaging", "Imaging-related followup"),
    )
    for form in ("{}-related", "{}-related follow-up", "{} followup", "{} follow-up")
} | {
    "case-specific instructions": "Case-specific instructions for patient",
    "instructions for patient": "Case-specific instructions for patient",
    "patient instructions": "Case-specific instructions for patient",
    "helpful contextual information": "Other helpful contextual information",
    "other contextual information": "Other helpful contextual information",
}

HOC_ALIASES = {
    "sustained proliferative signaling": "sustaining proliferative signaling",
    "sustain proliferative signaling": "sustaining proliferative signaling",
    "proliferative signaling": "sustaining proliferative signaling",
    "evade growth suppressors": "evading growth suppressors",
    "evasion of growth suppressors": "evading growth suppressors",
    "evading growth suppression": "evading growth suppressors",
    "evading tumor suppressors": "evading growth suppressors",
    "resist cell death": "resisting cell death",
    "resistance to cell death": "resisting cell death",
    "enable replicative immortality": "enabling replicative immortality",
    "replicative immortality": "enabling replicative immortality",
    "induce angiogenesis": "inducing angiogenesis",
    "induction of angiogenesis": "inducing angiogenesis",
    "inducing or accessing vasculature": "inducing angiogenesis",
    "activate invasion and metastasis": "activating invasion and metastasis",
    "activation of invasion and metastasis": "activating invasion and metastasis",
    "invasion and metastasis": "activating invasion and metastasis",
    "genome instability and mutation": "genomic instability and mutation",
    "genomic instability": "genomic instability and mutation",
    "genome instability": "genomic instability and mutation",
    "tumor promotion inflammation": "tumor promoting inflammation",
    "tumor promoting inflammatory": "tumor promoting inflammation",
    "inflammation promoting tumor": "tumor promoting inflammation",
    "cellular energetic": "cellular energetics",
    "cell energetics": "cellular energetics",
    "deregulated cellular energetics": "cellular energetics",
    "deregulating cellular energetics": "cellular energetics",
    "avoid immune destruction": "avoiding immune destruction",
    "avoidance of immune destruction": "avoiding immune destruction",
    "evading immune destruction": "avoiding immune destruction",
    "evade immune destruction": "avoiding immune destruction",
}
