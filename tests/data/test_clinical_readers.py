"""The readers of clinical and summarization data on small downloads in the official formats, and on open text."""

import gzip
import shutil
import stat
import tarfile
from collections import Counter
from pathlib import Path

import format_true
import pytest
from format_true import NOTE, REPORT, SENTENCES

from mibe.cli import main
from mibe.data import store
from mibe.data.prepare import prepare, read_splits
from mibe.data.raw import RawFiles
from mibe.data.readers import emrqa, mimic_cxr
from mibe.data.readers.bc5cdr import Bc5cdr
from mibe.data.readers.bionli import BioNli, without_marks
from mibe.data.readers.emrqa import EmrQa
from mibe.data.readers.i2b2 import I2b2
from mibe.data.readers.mednli import MedNli
from mibe.data.readers.mimic_cxr import MimicCxr
from mibe.data.readers.pubmedsum import PubMedSum
from mibe.data.readers.sumpubmed import SumPubMed
from mibe.errors import DataError
from mibe.registry import load_task

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def real(folder):
    if not (DATA / folder).exists():
        pytest.skip(f"the files of {folder} are not beside this checkout")
    return DATA / folder


def read(source, path, variant=None):
    raw = RawFiles(path)
    return source.read(raw, variant=variant or source.variants[0]), raw.notes


def sizes(splits):
    return {split: len(examples) for split, examples in splits.items()}


def texts(examples):
    """Each sentence with the texts of its entities."""
    return [
        (e.inputs["text"], [(kind, e.inputs["text"][start:end]) for kind, start, end in e.target]) for e in examples
    ]


# i2b2 2010


def unpacked(folder):
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(folder)
        archive.unlink()
    return folder


@pytest.mark.parametrize("arrange", [lambda folder: folder, unpacked], ids=["archives", "unpacked"])
def test_i2b2_reads_the_download_as_it_comes(tmp_path, arrange):
    splits, notes = read(I2b2(), arrange(format_true.i2b2(tmp_path)))
    assert texts(splits["test"]) == SENTENCES
    in_training = [[format_true.in_training(str(part)) for part in sentence] for sentence in SENTENCES]
    assert [list(map(str, sentence)) for sentence in texts(splits["train"])] == in_training * 2, "also with CRLF"
    assert [e.id for e in splits["test"]] == [f"test/0001/{line}" for line in (1, 3, 4, 5)]
    assert notes == [
        "train: 2 notes, 10 entities",
        "train: 2 entities go on in the next line; each of these lines has its part",
        "test: 1 notes, 5 entities",
        "test: 1 entities go on in the next line; each of these lines has its part",
    ]


def test_i2b2_without_training_notes(tmp_path):
    (format_true.i2b2(tmp_path) / f"{format_true.TRAINING}.tar.gz").unlink()
    splits, notes = read(I2b2(), tmp_path)
    assert sizes(splits) == {"test": 4} and notes[0] == "train: not among the source files"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('c="x" 3:2 3:99||t="problem"', "line 6: the note has no such line or token"),
        ('c="x" 9:0 9:0||t="problem"', "line 6: the note has no such line or token"),
        ('c="x" 0:0 0:0||t="problem"', "line 6: lines are counted from 1"),
        ('c="x" 3:2 3:3||t="drug"', r"line 6: expected c=.*, found 'c=\"x\" 3:2 3:3"),
        ("fever", r"line 6: expected c=.*, found 'fever'"),
        ('c="fever" 3:2 3:3||t="problem"', "quote another text than stands at their place"),
    ],
)
def test_i2b2_with_something_wrong(tmp_path, line, message):
    format_true.i2b2(tmp_path, format_true.CONCEPTS + line + "\n")
    with pytest.raises(DataError, match=message):
        read(I2b2(), tmp_path)


def test_i2b2_needs_every_text_and_the_reference(tmp_path):
    format_true.i2b2(tmp_path)
    (tmp_path / "test_data.tar.gz").unlink()
    with pytest.raises(DataError, match=r"0001.con has no 0001.txt; give all archives"):
        read(I2b2(), tmp_path)
    (tmp_path / "reference_standard_for_test_data.tar.gz").unlink()
    with pytest.raises(DataError, match=r"expected reference_standard_for_test_data/concepts/\*.con"):
        read(I2b2(), tmp_path)


def test_credentialed_data_is_for_its_owner_alone(tmp_path):
    task = load_task("i2b2")
    (tmp_path / "raw").mkdir()
    prepare("i2b2", task.source, format_true.i2b2(tmp_path / "raw"), access=task.access)
    from mibe.data.store import data_dir

    folder = data_dir() / "i2b2"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())


# i2b2 2012

SENTENCES_2012 = [
    SENTENCES[0],
    SENTENCES[1],
    ("An EKG and a CT of the left", [("test", "CT of the left")]),
    ("lower lobe showed no new infarct .", [("test", "lower lobe")]),
]


def test_i2b2_2012(tmp_path):
    splits, notes = read(I2b2(), format_true.i2b2_2012(tmp_path), "2012")
    assert texts(splits["train"]) == SENTENCES_2012 and texts(splits["test"]) == SENTENCES_2012 * 2
    assert not any("quote another text" in note for note in notes)


def test_i2b2_2012_reads_what_is_not_well_formed_and_counts_from_what_fits(tmp_path):
    note = NOTE.replace("no new", "<3 & no")
    loose = format_true.XML.format(text=note, events=format_true.events(note))
    from_text = format_true.XML.replace("[CDATA[\n", "[CDATA[").format(text=note, events=format_true.events(note))
    for number, xml in enumerate((loose, from_text)):
        folder = tmp_path / str(number)
        folder.mkdir()
        splits, _ = read(I2b2(), format_true.i2b2_2012(folder, xml), "2012")
        assert texts(splits["test"])[1] == SENTENCES_2012[1]
        assert texts(splits["test"])[3] == ("lower lobe showed <3 & no infarct .", [("test", "lower lobe")])


def test_i2b2_2012_with_something_wrong(tmp_path):
    bad = '<EVENT id="E0" start="one" end="3" text="x" type="TEST" />'
    for number, (xml, message) in enumerate(
        (
            ("<TAGS></TAGS>", "101.xml: there is no <TEXT>"),
            (format_true.XML.format(text=NOTE, events=bad), "101.xml: an EVENT is not as expected"),
            (format_true.XML.format(text=NOTE, events=bad.replace("one", "1")), "quote another text"),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(DataError, match=message):
            read(I2b2(), format_true.i2b2_2012(folder, xml), "2012")
    with pytest.raises(DataError, match=r"expected ground_truth/merged_xml/\*.xml"):
        read(I2b2(), format_true.cases(folder.with_name("none")), "2012")


# BC5CDR


def test_bc5cdr_official():
    splits, _ = read_splits("bc5cdr", Bc5cdr(), real("bc5cdr"))
    assert sizes(splits) == {"train": 4560, "valid": 4581, "test": 4797}
    kinds = Counter(kind for e in splits["test"] for kind, _, _ in e.target)
    assert kinds == {"problem": 4424, "treatment": 5385}
    assert texts(splits["test"])[0] == (
        "Torsade de pointes ventricular tachycardia during low dose intermittent dobutamine treatment in a patient "
        "with dilated cardiomyopathy and congestive heart failure .",
        [
            ("problem", "Torsade de pointes"),
            ("problem", "ventricular tachycardia"),
            ("treatment", "dobutamine"),
            ("problem", "dilated cardiomyopathy"),
            ("problem", "congestive heart failure"),
        ],
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a\tB-Gene\n", "train.tsv, line 1: 'B-Gene' is not a tag"),
        ("a\tO\nb\tI-Disease\n", "train.tsv, line 2: I-Disease follows O"),
        ("a\n", "train.tsv, line 1: '' is not a tag"),
    ],
)
def test_bc5cdr_with_something_wrong(tmp_path, rows, message):
    (format_true.bc5cdr(tmp_path) / "train.tsv").write_text(rows)
    with pytest.raises(DataError, match=message):
        read(Bc5cdr(), tmp_path)


# emrQA


def test_emrqa(tmp_path):
    splits, notes = read(EmrQa(), format_true.emrqa(tmp_path, 40))
    everything = {e.id: e for examples in splits.values() for e in examples}
    assert len(everything) == 3 * 40 * 2 - 1
    assert notes[0] == "relations: 2 questions without evidence left out"
    assert notes[1].startswith("split made by mibe: 81 train/20 valid/18 test notes, stratified by part")
    assert everything["relations/rel1/0"].target == ["He took aspirin 1 daily .", "No pain 1 ."]
    assert everything["medication/med3/1"].target == ["No pain 3 ."]
    medication, risk = everything["medication/med3/0"].inputs, everything["risk/ris3/0"].inputs
    assert medication["context"] == "medication 3 .\nHe took aspirin 3 daily .\nNo pain 3 .\n"
    assert risk["context"] == "risk 3 .\nHe took aspirin 3 daily .\nNo pain 3 ."
    asked = {e.inputs["question"] for e in everything.values()}
    assert {"What drug 1?", "Which drug 1?"} <= asked, "no paraphrase is always taken"
    assert read(EmrQa(), tmp_path)[0] == splits, "and always the same one for a question"


def test_emrqa_notes_stay_together(tmp_path):
    splits, _ = read(EmrQa(), format_true.emrqa(tmp_path, 40))
    of_note = {}
    for split, examples in splits.items():
        for e in examples:
            _, note, _ = e.id.split("/")
            of_note.setdefault(note, set()).add(split)
    assert all(len(found) == 1 for found in of_note.values())
    assert of_note["med38"] == of_note["med39"], "the same text under two names"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["data"].pop(0), "the part medication is missing"),
        (lambda d: d.pop("data"), "data must be a list of objects, found None"),
        (lambda d: d["data"][0]["paragraphs"][2].pop("note_id"), "paragraph 2: note_id must be a text"),
        (lambda d: d["data"][0]["paragraphs"][2].update(context="x"), "paragraph 2: context must be a list of texts"),
        (
            lambda d: d["data"][0]["paragraphs"][2]["qas"][1]["answers"][0].update(evidence=3),
            "paragraph 2, question 1: evidence must be a text or a list of texts, found 3",
        ),
    ],
)
def test_emrqa_with_something_wrong(tmp_path, change, message):
    import json

    path = format_true.emrqa(tmp_path) / "data.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read(EmrQa(), tmp_path)


def test_evidence_may_be_one_line_or_a_list():
    assert emrqa.evidence({"evidence": " a \n"}, "") == ["a"]
    assert emrqa.evidence({"evidence": ["a", " ", "b"]}, "") == ["a", "b"]


# Summaries


def test_pubmedsum(tmp_path):
    splits, notes = read(PubMedSum(), format_true.pubmedsum(tmp_path))
    assert sizes(splits) == {"train": 4, "valid": 2, "test": 3}
    first = splits["test"][0]
    assert (first.id, first.target) == ("PMCtest0", "we studied test0 .\nit worked .")
    assert first.inputs == {"text": "introduction test0 .\nmethods ."}
    assert notes[2] == "test: 2 articles without text or abstract left out"
    (tmp_path / "pubmed-dataset" / "train.txt").unlink()
    assert sizes(read(PubMedSum(), tmp_path)[0]) == {"valid": 2, "test": 3}
    format_true.write_lines(tmp_path / "pubmed-dataset" / "test.txt", [format_true.article("1", article_text="x")])
    with pytest.raises(DataError, match="test.txt, line 1: article_text must be a list of texts"):
        read(PubMedSum(), tmp_path)


def test_a_part_of_an_official_release_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected 6,658 test examples, found 3"):
        read_splits("pubmedsum", PubMedSum(), format_true.pubmedsum(tmp_path))
    with pytest.raises(DataError, match=r"expected 11,232 train examples, found 9.*another variant \(paper\)"):
        read_splits("mednli", MedNli(), format_true.mednli(tmp_path))


def test_sumpubmed(tmp_path):
    splits, _ = read(SumPubMed(), format_true.sumpubmed(tmp_path))
    assert sizes(splits) == {"train": 36, "valid": 2, "test": 2}
    example = splits["train"][0]
    assert example.inputs == {"text": f"BACKGROUND\nbody of {example.id} <cit> .\nRESULTS\ngood ."}
    assert example.target == f"BACKGROUND\nsummary of {example.id} <cit> .\nRESULTS\ngood ."
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "text_1.txt").write_text("x")
    with pytest.raises(DataError, match=r"\d+ has no text or no abstract"):
        read(SumPubMed(), tmp_path)


def test_sumpubmed_sample():
    splits, _ = read_splits("sumpubmed", SumPubMed(), real("sumpubmed"), variant="sample")
    assert sizes(splits) == {"train": 250, "valid": 50, "test": 100}
    assert all(e.target and e.inputs["text"] and e.target not in e.inputs["text"] for e in splits["test"])


def test_mimic_cxr(tmp_path):
    splits, notes = read(MimicCxr(), format_true.mimic_cxr(tmp_path))
    assert sizes(splits) == {"train": 8, "valid": 2, "test": 2} and notes == []
    example = splits["test"][0]
    assert example.id == "s500010"
    assert example.inputs == {"findings": "The lungs are clear. NOTE: no effusion 10."}
    assert example.target == "No acute process. Stable, 3. mm nodule."


@pytest.mark.parametrize(
    ("report", "found"),
    [
        (REPORT, {"findings", "impression"}),
        (REPORT.replace("\n", "\r\n"), {"findings", "impression"}),
        (
            REPORT.replace("IMPRESSION", "CONCLUSION").replace("FINDINGS", "CHEST, TWO VIEWS"),
            {"findings", "impression"},
        ),
        (REPORT.replace("IMPRESSION", "IMPRESSON").replace("FINDINGS", "FINDING"), {"findings", "impression"}),
        (REPORT.replace("IMPRESSION", "FINDINGS AND IMPRESSION"), {"findings", "impression"}),
        (REPORT.replace(" FINDINGS:", " The findings:"), {"impression"}),
        ("\n IMPRESSION: none", {"impression"}),
        ("Nothing but a line of text.", set()),
    ],
)
def test_mimic_cxr_sections(report, found):
    assert set(mimic_cxr.sections(report.replace("\r\n", "\n"))) & {"findings", "impression"} == found


def test_mimic_cxr_takes_the_last_of_two_sections_and_skips_what_is_on_the_heading_s_line():
    report = "\n IMPRESSION: first\n \n ADDENDUM: see below\n IMPRESSION:  second\n COMPARISON: COMPARED TO:\n"
    assert mimic_cxr.sections(report)["impression"].strip() == "second"


def test_mimic_cxr_leaves_out_reports_without_both_sections(tmp_path):
    empty = REPORT.split("IMPRESSION")[0] + "IMPRESSION:\n \n"
    reports = {"10000001/1": REPORT, "10000001/2": empty, "10000002/3": REPORT}
    rows = [("a", "1", "10000001", "test"), ("b", "2", "10000001", "test"), ("c", "3", "10000002", "train")]
    splits, notes = read(MimicCxr(), format_true.mimic_cxr(tmp_path, reports, rows))
    assert sizes(splits) == {"train": 1, "valid": 0, "test": 1}
    assert notes == ["test: 1 reports without findings or impression left out"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("a", "1", "10000001", "test"), ("b", "2", "10000001", "train")],
            "line 3: subject 10000001 is in two splits",
        ),
        (
            [("a", "1", "10000001", "test"), ("b", "1", "10000001", "train")],
            "line 3: subject 10000001 is in two splits",
        ),
        ([("a", "1", "10000001", "dev")], "line 2: 'dev' is not train, validate or test"),
        ([("a", "9", "10000001", "test")], "the report s9.txt is missing"),
    ],
)
def test_mimic_cxr_with_something_wrong(tmp_path, rows, message):
    format_true.mimic_cxr(tmp_path, {"10000001/1": REPORT, "10000001/2": REPORT}, rows)
    with pytest.raises(DataError, match=message):
        read(MimicCxr(), tmp_path)


def test_mimic_cxr_with_other_files(tmp_path):
    format_true.mimic_cxr(tmp_path)
    with gzip.open(tmp_path / "mimic-cxr-2.0.0-split.csv.gz", "wt") as stream:
        stream.write("study_id,split\n")
    with pytest.raises(DataError, match="split.csv: the column subject_id is missing"):
        read(MimicCxr(), tmp_path)
    (tmp_path / "mimic-cxr-reports.zip").unlink()
    with pytest.raises(DataError, match="expected files/p10/p10000032/s50414267.txt"):
        read(MimicCxr(), tmp_path)


# Inference


def test_bionli(tmp_path):
    splits, _ = read(BioNli(), format_true.bionli(tmp_path))
    assert sizes(splits) == {"train": 8, "valid": 2, "test": 4}
    assert [e.target for e in splits["test"]] == ["contradiction", "entailment"] * 2
    assert splits["test"][1].inputs == {
        "premise": "Line one,\nwith p < 0.05 in 41.",
        "hypothesis": "Taken together, IL-41 activates TNF, we find.",
    }
    format_true.bionli(tmp_path, [format_true.bionli_row(1, "pos"), format_true.bionli_row(2, " ")])
    with pytest.raises(DataError, match="test.csv, record 2: supp_set, conclusion or label_cat is empty"):
        read(BioNli(), tmp_path)
    (tmp_path / "test.csv").write_text("premise,label\n")
    with pytest.raises(DataError, match="test.csv: the column supp_set is missing"):
        read(BioNli(), tmp_path)
    (tmp_path / "test.csv").unlink()
    with pytest.raises(DataError, match=r"expected test.csv"):
        read(BioNli(), tmp_path)


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("<re>A<er> and <el>B<le>.", "A and B."),
        ("<re> A <er> and <el> B <le> .", "A and B ."),
        ("a < b and c > d", "a < b and c > d"),
        ("x <re>y<er>-z", "x y-z"),
    ],
)
def test_bionli_marks(marked, plain):
    assert without_marks(marked) == plain


def test_mednli(tmp_path):
    splits, notes = read(MedNli(), format_true.mednli(tmp_path))
    assert sizes(splits) == {"train": 9, "valid": 3, "test": 6}
    assert notes == [f"{split}: 1 pairs without a label left out" for split in ("train", "valid", "test")]
    first = splits["test"][0]
    assert (first.id, first.target) == ("test0", "entailment")
    assert first.inputs == {"premise": "Patient test0 has hypertension.", "hypothesis": "Patient test0 is ill"}
    paper, _ = read(MedNli(), tmp_path, "paper")
    assert paper == {"train": splits["train"], "valid": splits["test"], "test": splits["valid"]}
    format_true.write_lines(tmp_path / "mli_test_v1.jsonl", [format_true.mednli_pair("x", "maybe")])
    with pytest.raises(DataError, match="line 1: gold_label is 'maybe'"):
        read(MedNli(), tmp_path)


# Diagnoses


def test_cases(tmp_path):
    splits, _ = read(load_task("nejm_cpc").source, format_true.cases(tmp_path))
    assert [e.target for e in splits["test"]][:2] == [
        ["Giant-cell arteritis (GCA)", "temporal arteritis"],
        ["Lyme disease"],
    ]
    assert splits["test"][0].inputs == {"case": "A man of 60 years …"}
    for record, message in (
        ({"id": "1", "case": "x"}, "diagnosis must be a text, and it is missing"),
        ({"id": "1", "case": " ", "diagnosis": "y"}, "case and diagnosis must not be empty"),
        ({"id": "1", "case": "x", "diagnosis": " ; "}, "case and diagnosis must not be empty"),
    ):
        format_true.write_lines(tmp_path / "cases.jsonl", [record])
        with pytest.raises(DataError, match=f"cases.jsonl, line 1: {message}"):
            read(load_task("nejm_cpc").source, tmp_path)


def test_open_cases():
    splits, _ = read_splits("diagnosis_open", load_task("diagnosis_open").source, real("diagnosis_cases"))
    assert sizes(splits) == {"test": 112}
    assert all(set(e.inputs) == {"case"} and not e.metadata for e in splits["test"])


def test_open_cases_are_made_from_the_medqa_in_the_package(capsys):
    assert main(["data", "prepare", "diagnosis_open"]) == 0
    assert capsys.readouterr().out.startswith("diagnosis_open: test 118 (variant bundled)")
    cases = {example.id: example for example in store.load_examples("diagnosis_open", "test")}
    questions = {example.id: example for example in store.load_examples("medqa", "test")}
    for ident, case in cases.items():
        question = questions[ident]
        (name,) = case.target
        assert name == question.choices["ABCDE".index(question.target)].strip('\n"') and name.isprintable()
        asked = question.inputs["question"].replace(case.inputs["case"], "")
        assert (
            "most likely diagnosis" in asked and asked.count(" ") < 20 and "likely diagnosis" not in case.inputs["case"]
        )
    # 104 of the 112 that were once looked up by hand; the other eight ask for a drug, a test or a mechanism.
    by_hand, _ = read_splits("diagnosis_open", load_task("diagnosis_open").source, real("diagnosis_cases"))
    found = [cases.get(f"test/{example.id.rpartition('_')[2]}") for example in by_hand["test"]]
    same = [one for one, other in zip(by_hand["test"], found, strict=True) if other]
    # One answer has a line break and a quote at its end there.
    targets = [(one.target[0].strip('\n"'), found[by_hand["test"].index(one)].target[0]) for one in same]
    assert all(one == other for one, other in targets)
    assert len(same) == 104 and all(found[by_hand["test"].index(one)].inputs == one.inputs for one in same)
    lost = {one.target[0] for one, other in zip(by_hand["test"], found, strict=True) if other is None}
    assert len(lost) == 8 and {"V/Q scan", "Paroxetine", "Lumbar puncture"} < lost


def test_other_data_is_not_made_from_the_package(capsys):
    assert main(["data", "prepare", "ddi"]) == 2
    assert "--from PATH says where the official files are" in capsys.readouterr().err


def test_two_splits_of_one_archive_beside_its_unpacked_folder(tmp_path):
    """An archive that was unpacked beside itself does not count twice."""
    format_true.i2b2(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("copy"))
    unpacked(copy)
    assert sizes(read(I2b2(), tmp_path)[0]) == {"train": 8, "test": 4}
