"""Files of the instruction sources that are not open, in the exact form of their releases, with invented content."""

import csv
import gzip
import json

FINDINGS = "The lungs are clear. The cardiac silhouette is normal in size."
IMPRESSION = "No acute cardiopulmonary process."
REPORT = f"""[**2145-3-1**] 8:02 AM
CHEST (PA & LAT)
INDICATION: Cough.
_____________________________________________________
 FINAL REPORT
FINDINGS:  {FINDINGS}

IMPRESSION:
 {IMPRESSION}
"""
DISCHARGE = "Admission Date: [**2145-2-27**]  The patient was admitted with chest pain and treated for {disease}."
ICD9 = {
    "41071": "Subendocardial infarction, initial episode of care",
    "25000": "Diabetes mellitus without mention of complication, type II or unspecified type",
    "4019": "Unspecified essential hypertension",
    "486": "Pneumonia, organism unspecified",
    "5849": "Acute kidney failure, unspecified",
}
# Admission → (its codes by rank, HOSPITAL_EXPIRE_FLAG).
STAYS = {"100001": (["41071", "25000"], "0"), "100002": (["486"], "1"), "100003": (["4019", "5849"], "0")}


def write_json(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def _table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        # The releases quote all that is text.
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(header)
        writer.writerows(rows)


def write_mimic3(folder):
    """MIMIC-III 1.4: upper-case tables, ICD-9 alone, notes of all categories in one table."""
    notes = ["ROW_ID", "SUBJECT_ID", "HADM_ID", "CHARTDATE", "CHARTTIME", "STORETIME"]
    notes += ["CATEGORY", "DESCRIPTION", "CGID", "ISERROR", "TEXT"]
    rows = [
        [
            n,
            n,
            hadm,
            "2145-03-01",
            "",
            "",
            "Discharge summary",
            "Report",
            "",
            "",
            DISCHARGE.format(disease=ICD9[codes[0]]),
        ]
        for n, (hadm, (codes, _)) in enumerate(STAYS.items(), start=1)
    ]
    rows.append([4, 1, "100001", "2145-03-01", "", "", "Radiology", "CHEST (PA & LAT)", "", "", REPORT])
    rows.append([5, 1, "100001", "2145-03-01", "", "", "Nursing", "Report", "", "", "Resting comfortably."])
    rows.append([6, 1, "100001", "2145-03-01", "", "", "Discharge summary", "Report", "", "1", "Written in error."])
    rows.append([7, 9, "", "2145-03-01", "", "", "Discharge summary", "Report", "", "", "Of no admission."])
    _table(folder / "NOTEEVENTS.csv.gz", notes, rows)
    _table(
        folder / "ADMISSIONS.csv.gz",
        ["ROW_ID", "SUBJECT_ID", "HADM_ID", "HOSPITAL_EXPIRE_FLAG"],
        [[n, n, hadm, int(flag)] for n, (hadm, (_, flag)) in enumerate(STAYS.items(), start=1)],
    )
    _table(
        folder / "DIAGNOSES_ICD.csv.gz",
        ["ROW_ID", "SUBJECT_ID", "HADM_ID", "SEQ_NUM", "ICD9_CODE"],
        [
            [1, 1, hadm, rank, code]
            for hadm, (codes, _) in STAYS.items()
            for rank, code in reversed([*enumerate(codes, 1)])
        ],
    )
    _table(
        folder / "D_ICD_DIAGNOSES.csv.gz",
        ["ROW_ID", "ICD9_CODE", "SHORT_TITLE", "LONG_TITLE"],
        [[n, code, title[:20], title] for n, (code, title) in enumerate(ICD9.items(), start=1)],
    )
    return folder


def write_mimic4(folder):
    """MIMIC-IV 2.2 and MIMIC-IV-Note: lower-case tables, the version beside each code, one table a note type."""
    notes = ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"]
    _table(
        folder / "note" / "discharge.csv.gz",
        notes,
        [
            [f"10-DS-{n}", 10, hadm, "DS", n, "2180-05-07", "", f"Name: ___  Treated for {ICD9[codes[0]]}."]
            for n, (hadm, (codes, _)) in enumerate(STAYS.items())
        ],
    )
    _table(folder / "note" / "radiology.csv.gz", notes, [["10-RR-1", 10, "", "RR", 1, "2180-05-06", "", REPORT]])
    _table(
        folder / "hosp" / "admissions.csv.gz",
        ["subject_id", "hadm_id", "hospital_expire_flag"],
        [[10, hadm, int(flag)] for hadm, (_, flag) in STAYS.items()],
    )
    _table(
        folder / "hosp" / "diagnoses_icd.csv.gz",
        ["subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"],
        [[10, hadm, rank, code, 9] for hadm, (codes, _) in STAYS.items() for rank, code in enumerate(codes, 1)],
    )
    # The same characters are another disease in another version.
    titles = [[code, 9, title] for code, title in ICD9.items()] + [["486", 10, "Not a pneumonia"]]
    _table(folder / "hosp" / "d_icd_diagnoses.csv.gz", ["icd_code", "icd_version", "long_title"], titles)
    return folder


MEDLINE = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN" "https://dtd.nlm.nih.gov/x.dtd">
<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID Version="1">123</PMID><Article>
<ArticleTitle>[Aspirin after <i>myocardial</i> infarction].</ArticleTitle><Abstract>
<AbstractText Label="METHODS">We gave aspirin to 40 patients for a year.</AbstractText>
<AbstractText Label="RESULTS">
Ten percent vs. twelve percent of them died in that year.</AbstractText></Abstract></Article>
<MeshHeadingList><MeshHeading><DescriptorName UI="D001241">Aspirin</DescriptorName><QualifierName>therapeutic use
</QualifierName></MeshHeading><MeshHeading><DescriptorName UI="D006801">Humans</DescriptorName></MeshHeading>
</MeshHeadingList></MedlineCitation></PubmedArticle>
<PubmedArticle><MedlineCitation><PMID>124</PMID><Article><ArticleTitle>A letter.</ArticleTitle></Article>
</MedlineCitation></PubmedArticle></PubmedArticleSet>"""

JATS = """<?xml version="1.0"?><article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>
<article-id pub-id-type="pmc">77</article-id><title-group><article-title>Statins in the <italic>elderly</italic>
</article-title></title-group><abstract><sec><title>Background</title><p>
Statins lower cholesterol in most adults.</p>
</sec><sec><title>Results</title><p>They did so in 90 of 100 elderly patients
[<xref ref-type="bibr" rid="b1">1</xref>].</p></sec></abstract></article-meta></front>
<body><sec><title>Introduction</title><p>The body.</p></sec></body></article>"""
