"""Small downloads in exactly the official formats of data sets that cannot be here; all of the text is made up."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path


def write_lines(path: Path, records: list[dict], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps(record, ensure_ascii=False) + end for record in records).encode())


def write_tar(path: Path, files: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))


# i2b2

NOTE = (
    "Admission Date :\n"
    "\n"
    'He had  chest pain ( "angina" ) and was given aspirin .\n'
    "An EKG and a CT of the left\n"
    "lower lobe showed no new infarct .\n"
)
CONCEPTS = (
    'c="chest pain ( "angina" )" 3:2 3:6||t="problem"\n'
    'c="aspirin" 3:10 3:10||t="treatment"\n'
    'c="an ekg" 4:0 4:1||t="test"\n'
    'c="a ct of the left lower lobe" 4:3 5:1||t="test"\n'
    'c="no infarct" 5:3 5:3,5:5 5:5||t="problem"\n'
)
SENTENCES = [
    ("Admission Date :", []),
    (
        'He had  chest pain ( "angina" ) and was given aspirin .',
        [("problem", 'chest pain ( "angina" )'), ("treatment", "aspirin")],
    ),
    ("An EKG and a CT of the left", [("test", "An EKG"), ("test", "a CT of the left")]),
    ("lower lobe showed no new infarct .", [("test", "lower lobe"), ("problem", "no new infarct")]),
]
"""What the lines of NOTE are, each with its entities."""


def in_training(text: str) -> str:
    """The words of the training notes, which differ from those of the test notes in every sentence."""
    for word, other in (
        ("Admission", "Discharge"),
        ("aspirin", "heparin"),
        ("EKG", "ECG"),
        ("ekg", "ecg"),
        ("lower", "upper"),
    ):
        text = text.replace(word, other)
    return text


TRAINING = "concept_assertion_relation_training_data"
REFERENCE, TEST = "reference_standard_for_test_data", "test_data"


def i2b2(folder: Path, concepts: str = CONCEPTS) -> Path:
    """The three archives of 2010; one note has CRLF, one a byte order mark, and there are files of other kinds."""
    training = {}
    for site, stem, end in (("beth", "record-13", "\n"), ("partners", "018636330_DH", "\r\n")):
        training[f"{TRAINING}/{site}/txt/{stem}.txt"] = in_training(NOTE).replace("\n", end)
        training[f"{TRAINING}/{site}/concept/{stem}.con"] = in_training(CONCEPTS).replace("\n", end)
        training |= {f"{TRAINING}/{site}/rel/{stem}.rel": "", f"{TRAINING}/{site}/ast/{stem}.ast": ""}
    training[f"{TRAINING}/README.txt"] = "nothing"
    write_tar(folder / f"{TRAINING}.tar.gz", training)
    write_tar(
        folder / f"{TEST}.tar.gz", {f"{TEST}/0001.txt": "\ufeff" + NOTE, f"{TEST}/0002.txt": "Never annotated .\n"}
    )
    reference = {f"{REFERENCE}/concepts/0001.con": concepts, f"{REFERENCE}/ast/0001.ast": ""}
    write_tar(folder / f"{REFERENCE}.tar.gz", reference)
    return folder


XML = """<?xml version="1.0" encoding="UTF-8" ?>
<ClinicalNarrativeTemporalAnnotation>
<TEXT><![CDATA[
{text}]]></TEXT>
<TAGS>
{events}
<TIMEX3 id="T0" start="1" end="10" text="Admission" type="DATE" val="2012" mod="NA" />
</TAGS>
</ClinicalNarrativeTemporalAnnotation>
"""
EVENTS = (
    ('chest pain ( "angina" )', "PROBLEM"),
    ("aspirin", "TREATMENT"),
    ("CT of the left\nlower lobe", "TEST"),
    ("Admission", "OCCURRENCE"),
)


def events(text: str = NOTE, first: int = 1) -> str:
    """EVENT tags, the offsets of the text counted from `first`; the quotes inside are as little escaped as there."""
    rows = []
    for number, (quoted, kind) in enumerate(EVENTS):
        start = text.index(quoted) + first
        quoted = quoted.replace("\n", " ")
        rows.append(
            f'<EVENT id="E{number}" start="{start}" end="{start + len(quoted)}" text="{quoted}" '
            f'modality="FACTUAL" polarity="POS" type="{kind}" />'
        )
    return "\n".join(rows)


def i2b2_2012(folder: Path, test: str | None = None) -> Path:
    xml = XML.format(text=NOTE, events=events())
    release = "2012-07-15.original-annotation.release"
    write_tar(folder / f"{release}.tar.gz", {f"{release}/1.xml": xml, f"{release}/1.xml.extent": "odd"})
    ground_truth = {f"ground_truth/merged_xml/{number}.xml": test or xml for number in (101, 102)}
    ground_truth["ground_truth/unmerged_i2b2/101.xml.event"] = "odd"
    write_tar(folder / "2012-08-23.test-data.groundtruth.tar.gz", ground_truth)
    return folder


# The others


def emrqa_question(number: int, lines: list[str], at: int) -> dict:
    answer = {"text": "aspirin", "evidence": lines[at], "evidence_start": at + 1, "answer_start": [at + 1, 3]}
    return {"id": [[str(number)]], "question": [f"What drug {number}?", f"Which drug {number}? "], "answers": [answer]}


def emrqa(folder: Path, notes: int = 10) -> Path:
    """Three parts that count and two that do not; a note that stands under two names, and one in two parts."""
    data = []
    for title, end in (("medication", "\n"), ("relations", "\n"), ("risk", ""), ("smoking", "\n"), ("obesity", "\n")):
        paragraphs = []
        for number in range(notes):
            about = min(number, notes - 2)  # the last two notes have the same text
            lines = [f"{title} {about} .{end}", f"He took aspirin {about} daily .{end}", f"No pain {about} .{end}"]
            asked = [emrqa_question(1, lines, 1), emrqa_question(2, lines, 2)]
            paragraphs.append({"note_id": f"{title[:3]}{number}", "context": lines, "qas": asked})
        data.append({"title": title, "paragraphs": paragraphs})
    relations = data[1]["paragraphs"]
    relations[0]["note_id"] = "med0"
    lines = relations[1]["context"]
    both = {
        "text": ["aspirin", "No"],
        "evidence": lines[1:],
        "evidence_start": [2, 3],
        "answer_start": [[2, 3], [3, 0]],
    }
    one = {"text": "", "evidence": lines[1], "evidence_start": 2, "answer_start": [2, 3]}
    relations[1]["qas"] = [
        {"id": "list", "question": "All of it?", "answers": [both, one]},
        {"id": "none", "question": ["No evidence?"], "answers": []},
        {"id": "empty", "question": ["Empty?"], "answers": [{"text": "", "evidence": "", "evidence_start": -1}]},
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.json").write_text(json.dumps({"data": data}))
    return folder


def article(number: str, **changes: object) -> dict:
    return {
        "article_id": f"PMC{number}",
        "abstract_text": [f"<S> we studied {number} . </S>", "<S> it worked . </S>"],
        "article_text": [f"introduction {number} .", "methods ."],
        "section_names": ["introduction"],
        "sections": [[f"introduction {number} .", "methods ."]],
        **changes,
    }


def pubmedsum(folder: Path) -> Path:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        records = [article(f"{split}{number}") for number in range(count)]
        records += [article(f"{split}a", article_text=[]), article(f"{split}b", abstract_text=["<S>  </S>"])]
        write_lines(folder / "pubmed-dataset" / f"{split}.txt", records, "\r\n")
    return folder


def sumpubmed(folder: Path, count: int = 40) -> Path:
    with zipfile.ZipFile(folder / "sumpubmed-master.zip", "w") as archive:
        for number in range(1, count + 1):
            for kind, text in (("text", "body"), ("abstract", "summary"), ("shorter_abstract", "short")):
                content = f"BACKGROUND\n {text} of {number} <cit> .\n\n\nRESULTS\ngood .\n"
                name = "abstract" if kind == "shorter_abstract" else kind
                archive.writestr(f"sumpubmed-master/{kind}/{name}_{number}.txt", content)
    return folder


REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  History: ___F with fever

 TECHNIQUE:  Chest PA and lateral

 FINDINGS:

 The lungs are clear.  NOTE: no
 effusion.

 IMPRESSION:

 1.  No acute process.
 2) Stable, 3. mm nodule.
"""


def mimic_cxr(folder: Path, reports: dict[str, str] | None = None, rows: list[tuple] | None = None) -> Path:
    """The reports as a zip file and the split file as it is, compressed; a study has a line for each image."""
    reports = (
        reports
        if reports is not None
        else {f"10000{n:03}/5000{n}": REPORT.replace("effusion", f"effusion {n}") for n in range(12)}
    )
    if rows is None:
        splits = ["train"] * 8 + ["validate"] * 2 + ["test"] * 2
        rows = [
            (f"dicom{n}{image}", f"5000{n}", f"10000{n:03}", split)
            for n, split in enumerate(splits)
            for image in range(2)
        ]
    with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w") as archive:
        for name, text in reports.items():
            subject, study = name.split("/")
            archive.writestr(f"files/p{subject[:2]}/p{subject}/s{study}.txt", text)
    lines = ["dicom_id,study_id,subject_id,split", *(",".join(row) for row in rows)]
    with gzip.open(folder / "mimic-cxr-2.0.0-split.csv.gz", "wt") as stream:
        stream.write("\n".join(lines) + "\n")
    return folder


def bionli_row(number: int, kind: str) -> list[str]:
    conclusion = f"Taken together, <re> IL-{number} <er> activates <el>TNF<le>, we find."
    return [str(number), f"Line one,\nwith p < 0.05 in {number}.", conclusion, kind, "123"]


def bionli(folder: Path, rows: list[list[str]] | None = None) -> Path:
    for name, count in (("train_balanced", 8), ("dev_balanced", 2), ("test", 4)):
        out = io.StringIO()
        made = [bionli_row(count * 10 + n, "pos" if n % 2 else "neg_lexical_polarity") for n in range(count)]
        header = ["index", "supp_set", "conclusion", "label_cat", "pmid"]
        csv.writer(out).writerows([header, *(rows if rows and name == "test" else made)])
        (folder / f"{name}.csv").write_text(out.getvalue(), newline="", encoding="utf-8-sig")
    return folder


NLI = ("entailment", "contradiction", "neutral")


def mednli_pair(ident: str, label: str) -> dict:
    return {
        "sentence1": f"Patient {ident} has hypertension. ",
        "pairID": ident,
        "sentence1_parse": "(ROOT)",
        "sentence1_binary_parse": "( )",
        "sentence2": f"Patient {ident} is ill",
        "sentence2_parse": "(ROOT)",
        "sentence2_binary_parse": "( )",
        "gold_label": label,
    }


def mednli(folder: Path) -> Path:
    for split, count in (("train", 9), ("dev", 3), ("test", 6)):
        pairs = [mednli_pair(f"{split}{n}", NLI[n % 3]) for n in range(count)]
        write_lines(folder / f"mli_{split}_v1.jsonl", [*pairs, mednli_pair(f"{split}x", "-")], "\r\n")
    return folder


def cases(folder: Path) -> Path:
    names = ("Giant-cell arteritis (GCA); temporal arteritis", "Lyme disease", "Granulomatosis with polyangiitis")
    records = [
        {"id": f"cpc-{n}", "case": f"A man of {n + 60} years …", "diagnosis": name} for n, name in enumerate(names)
    ]
    write_lines(folder / "cases.jsonl", records)
    return folder


def bc5cdr(folder: Path) -> Path:
    sentence = "Torsade\tB-Disease\nde\tI-Disease\npointes\tI-Disease\nduring\tO\n{}\tB-Chemical\ndose\tO\n"
    for name in ("train", "devel", "test"):
        blocks = [sentence.format(f"drug{number}{name}") for number in range(6)]
        (folder / f"{name}.tsv").write_text("\n".join(blocks) + "\n\n")
    return folder


GPQA_SIZES = {"main": 448, "extended": 546, "diamond": 198}
DOMAINS = ("Biology", "Physics", "Chemistry")


def gpqa_row(number: int) -> dict[str, str]:
    return {
        "Pre-Revision Question": "An older question",
        "Question": f"Which enzyme,\nof these, is number {number}?\n",
        "Correct Answer": f"The right enzyme {number}\n",
        "Incorrect Answer 1": f"Enzyme {number}, a",
        "Incorrect Answer 2": f"Enzyme {number}, b",
        "Incorrect Answer 3": f"Enzyme {number}, c",
        "Explanation": "It is the right one.",
        "Subdomain": ("Molecular Biology", "Genetics")[number // 3 % 2],
        "High-level domain": DOMAINS[number % 3],
        "Record ID": f"rec{number:05}",
    }


def gpqa(folder: Path, rows: dict[str, list[dict[str, str]]] | None = None) -> Path:
    """The three tables, each smaller one the beginning of the larger; a third of each is biology."""
    for name, size in GPQA_SIZES.items():
        out = io.StringIO()
        made = (rows or {}).get(name, [gpqa_row(number) for number in range(size)])
        writer = csv.DictWriter(out, fieldnames=list(gpqa_row(0)))
        writer.writeheader()
        writer.writerows(made)
        path = folder / "dataset" / f"gpqa_{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(out.getvalue(), newline="", encoding="utf-8")
    return folder


CLIP_LABELS = (
    "Imaging-related followup",
    "Appointment-related followup",
    "Medication-related followups",
    "Procedure-related followup",
    "Lab-related followup",
    "Case-specific instructions for patient",
    "Other helpful contextual information",
)
"""In the order of the released code (`sentclf/constants.py`)."""


def clip(folder: Path, cells: list[tuple[str, str]] | None = None) -> Path:
    """718 summaries of three sentences, the first without a label, the second with one, the third with two."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["doc_id", "sent_index", "sentence", "labels"])
    for number in range(718):
        first, second = (f"I-{CLIP_LABELS[(number + shift) % 7]}" for shift in (0, 3))
        rows = [
            (str(["He", "'s", "well", str(number), "."]), "[]"),
            (str(["See", "Dr.", "A", str(number), "."]), str([first])),
            (str(["``", "Call", "''", str(number)]), str(sorted([first, second]))),
        ]
        for index, (sentence, labels) in enumerate(cells if cells and not number else rows):
            writer.writerow([1000 + number, index, sentence, labels])
    (folder / "sentence_level.csv").write_text(out.getvalue(), newline="", encoding="utf-8")
    for name, start, end in (("test", 0, 100), ("val", 100, 200), ("train", 200, 718)):
        (folder / f"{name}_ids.csv").write_text("".join(f"{1000 + number}\n" for number in range(start, end)))
    return folder


SUPPLEMENT = "41746_2024_1010_MOESM{}_ESM.csv"


def nejm_medqa(folder: Path) -> Path:
    """The three tables as a spreadsheet on Windows saves them, with grades beside the cases and sums below them."""
    stem = "A {}-year-old man comes to the physician because of joint pain\x92s flare. What is the diagnosis?"
    medqa = [["index", "question", "answer", "new_IR", "IR Grade", "CoT", "CoT", ""]]
    medqa += [[str(n), stem.format(n + 40), f'"Gout, type {n}"', "Gout", "y", "1", "0", ""] for n in range(6)]
    medqa += [["", "", "", "", "0.83", "", "", ""], ["", "Correct", "", "", "5", "", "", ""]]
    train = [["question", "answer", "diag_IR1", "grade (1 for y , 2 for n)"]]
    train += [[stem.format(n + 20), f"Pseudogout {n}", "Gout", "2"] for n in range(3)]
    case = "A {}-year-old woman was seen in this hospital because of fever and dyspnea. " + "She had been well. " * 20
    nejm = [["DOI", "Title", "Lab Data", "Answer", "Initial Answer", "BLINDED_1", "BLINDED_1"]]
    nejm += [
        [f"10.1056/{n}", case.format(n + 30), f"Sodium {n + 130}", f"Legionella {n}.", "", "y", "n"] for n in range(3)
    ]
    nejm += [["10.1056/9", "Case 9-2022: A Woman with Fever", "", "Legionella", "", "", ""]]
    for number, rows in ((2, medqa), (3, nejm), (4, train)):
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        (folder / SUPPLEMENT.format(number)).write_bytes(out.getvalue().encode("latin-1"))
    return folder


MAKERS = {
    "emrqa": emrqa,
    "i2b2": i2b2,
    "pubmedsum": pubmedsum,
    "mimic_cxr": mimic_cxr,
    "bionli": bionli,
    "mednli": mednli,
    "nejm_cpc": cases,
    "bc5cdr": bc5cdr,
    "sumpubmed": sumpubmed,
    "diagnosis_open": cases,
    "gpqa_biology": gpqa,
    "clip": clip,
    "nejm_medqa": nejm_medqa,
}
"""Data set → what writes a small download of it."""
