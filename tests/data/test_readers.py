"""Each reader on the official files, where they are here, and on small files with one thing wrong."""

import csv
import io
import json
import shutil
import tarfile
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from mibe.data.prepare import read_splits
from mibe.data.raw import RawFiles
from mibe.data.readers import ddi, hoc, medmcqa, mmlu, mtsamples, pubmedqa
from mibe.data.readers.ddi import DdiCorpus
from mibe.data.readers.hoc import HallmarksOfCancer
from mibe.data.readers.medmcqa import MedMcqa
from mibe.data.readers.medqa import MedQa
from mibe.data.readers.mmlu import Mmlu
from mibe.data.readers.mtsamples import MtSamples
from mibe.data.readers.pubmedqa import PubMedQa
from mibe.data.splits import normalised
from mibe.errors import DataError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@cache
def official(source, folder, variant=None):
    """The splits of the real files, with what the manifest says."""
    if not (DATA / folder).exists():
        pytest.skip(f"the official files of {folder} are not beside this checkout")
    return read_splits("data", source, DATA / folder, variant=variant)


def read(source, path, variant=None):
    return source.read(RawFiles(path), variant=variant or source.variants[0])


def sizes(splits):
    return {split: len(examples) for split, examples in splits.items()}


def targets(examples):
    return Counter(example.target for example in examples)


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


# PubMedQA


def test_pubmedqa_official():
    splits, about = official(PubMedQa(), "pubmedqa")
    assert sizes(splits) == {"train": 450, "valid": 50, "test": 500}
    assert targets(splits["test"]) == {"yes": 276, "no": 169, "maybe": 55}
    assert targets(splits["train"]) == {"yes": 248, "no": 152, "maybe": 50}
    assert targets(splits["valid"]) == {"yes": 28, "no": 17, "maybe": 5}
    assert len({e.id for examples in splits.values() for e in examples}) == 1000
    truth = json.loads((DATA / "pubmedqa" / "test_ground_truth.json").read_text())
    assert {e.id: e.target for e in splits["test"]} == truth
    assert [source["file"] for source in about["sources"]] == ["ori_pqal.json", "test_ground_truth.json"]


def test_pubmedqa_shows_nothing_that_gives_the_answer():
    splits, _ = official(PubMedQa(), "pubmedqa")
    records = json.loads((DATA / "pubmedqa" / "ori_pqal.json").read_text())
    for example in splits["test"] + splits["train"]:
        record = records[example.id]
        assert example.inputs == {"question": record["QUESTION"], "context": "\n".join(record["CONTEXTS"])}
        assert record["LONG_ANSWER"] not in example.inputs["context"]
        assert not example.metadata


def pqa(count, prefix="", label="yes"):
    record = {"CONTEXTS": ["one", "two"], "final_decision": label, "LONG_ANSWER": "secret"}
    return {f"{prefix}{i}": {**record, "QUESTION": f"{prefix}{i}?"} for i in range(count)}


def test_pubmedqa_artificial(tmp_path, monkeypatch):
    labelled = pqa(1000)
    (tmp_path / "ori_pqal.json").write_text(json.dumps(labelled))
    (tmp_path / "test_ground_truth.json").write_text(json.dumps({str(i): "yes" for i in range(500)}))
    with pytest.raises(DataError, match="expected ori_pqaa.json"):
        read(PubMedQa(), tmp_path, "artificial")
    (tmp_path / "ori_pqaa.json").write_text(json.dumps(pqa(99, "a")))
    with pytest.raises(DataError, match="ori_pqaa.json: expected 211,269, found 99"):
        read(PubMedQa(), tmp_path, "artificial")
    monkeypatch.setattr(pubmedqa, "ARTIFICIAL", 99)
    splits = read(PubMedQa(), tmp_path, "artificial")
    assert sizes(splits) == {"train": 90, "valid": 9, "test": 500}
    assert {e.id[0] for e in splits["train"]} == {"a"}
    assert 211_269 - 211_269 // 10 == 190_143 and 211_269 // 10 == 21_126, "the paper's sizes"


def test_pubmedqa_with_something_wrong(tmp_path):
    (tmp_path / "ori_pqal.json").write_text(json.dumps(pqa(1000)))
    with pytest.raises(DataError, match="expected test_ground_truth.json in"):
        read(PubMedQa(), tmp_path)
    truth = {str(i): "yes" for i in range(500)}
    (tmp_path / "test_ground_truth.json").write_text(json.dumps({**truth, "7": "no"}))
    with pytest.raises(DataError, match="says 'no' for 7, ori_pqal.json 'yes'"):
        read(PubMedQa(), tmp_path)
    (tmp_path / "test_ground_truth.json").write_text(json.dumps(dict(list(truth.items())[:-1])))
    with pytest.raises(DataError, match=r"test_ground_truth.json: expected 500, found 499"):
        read(PubMedQa(), tmp_path)
    for change, message in (
        ({"final_decision": "perhaps"}, "ori_pqal.json, 3: final_decision is 'perhaps'"),
        ({"QUESTION": None}, "ori_pqal.json, 3: QUESTION must be a text, and found None"),
        ({"CONTEXTS": "one"}, "ori_pqal.json, 3: CONTEXTS must be a list of texts"),
    ):
        records = pqa(1000)
        records["3"] |= change
        (tmp_path / "ori_pqal.json").write_text(json.dumps(records))
        with pytest.raises(DataError, match=message):
            read(PubMedQa(), tmp_path)
    (tmp_path / "ori_pqal.json").write_text("[]")
    with pytest.raises(DataError, match="expected a JSON object, found list"):
        read(PubMedQa(), tmp_path)
    (tmp_path / "ori_pqal.json").write_text('{\n"1": ')
    with pytest.raises(DataError, match="ori_pqal.json, line 2: not JSON"):
        read(PubMedQa(), tmp_path)


# MedQA


@pytest.mark.parametrize("options", [5, 4])
def test_medqa_official(options):
    splits, about = official(MedQa(options=options), "medqa")
    assert sizes(splits) == {"test": 1273}
    letters = "ABCDE"[:options]
    assert set(targets(splits["test"])) == set(letters)
    assert all(len(e.choices) == options for e in splits["test"])
    assert about["notes"] == ["train: not among the source files", "valid: not among the source files"]
    first = splits["test"][0]
    assert first.inputs["question"].startswith("A junior orthopaedic surgery resident")
    assert (
        first.choices["ABCDE".index(first.target)] == "Tell the attending that he cannot fail to disclose this mistake"
    )


def medqa(number, letters="ABCDE", answer="B"):
    options = {letter: f"{letter} of {number}" for letter in letters}
    return {"question": f"q{number}?", "options": options, "answer_idx": answer, "answer": options.get(answer)}


def test_medqa_takes_the_us_questions_of_the_official_archive(tmp_path):
    base = "data_clean/questions"
    with zipfile.ZipFile(tmp_path / "data_clean.zip", "w") as archive:
        for region, question in (("US", "us"), ("Mainland", "cn"), ("Taiwan", "tw")):
            for split in ("train", "dev", "test"):
                archive.writestr(f"{base}/{region}/{split}.jsonl", json.dumps(medqa(f"{question} {split}")))
        for split in ("train", "dev", "test"):
            name = f"{base}/US/4_options/phrases_no_exclude_{split}.jsonl"
            archive.writestr(name, json.dumps(medqa(f"four {split}", "ABCD")))
            archive.writestr(f"{base}/Mainland/4_options/{split}.jsonl", json.dumps(medqa("cn", "ABCD")))
            archive.writestr(f"{base}/US/metamap_extracted_phrases/{split}/phrases_{split}.jsonl", "{}")
    for source, word in ((MedQa(options=5), "us"), (MedQa(options=4), "four")):
        splits = read(source, tmp_path)
        assert {s: e[0].inputs["question"] for s, e in splits.items()} == {
            "train": f"q{word} train?",
            "valid": f"q{word} dev?",
            "test": f"q{word} test?",
        }
        assert [e.id for e in splits["valid"]] == ["valid/0"]


def test_medqa_by_bare_names_with_crlf_and_byte_order_mark(tmp_path):
    (tmp_path / "test.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(medqa(1)).encode() + b"\r\n\r\n")
    assert sizes(read(MedQa(options=5), tmp_path)) == {"test": 1}


def test_medqa_with_something_wrong(tmp_path):
    with pytest.raises(DataError, match=r"expected questions/US/test.jsonl in .*; found no files"):
        read(MedQa(options=5), tmp_path)
    for record, message in (
        (medqa(1, "ABCD"), "expected the options A, B, C, D, E, found A, B, C, D; .* prepare medqa_4"),
        (medqa(1) | {"answer": "C of 1"}, "answer_idx 'B' does not name the answer 'C of 1'"),
        (medqa(1) | {"answer_idx": "F"}, "answer_idx 'F' does not name the answer"),
        (medqa(1) | {"options": None}, "found None"),
        ({"options": medqa(1)["options"]}, "answer_idx must be a text, and it is missing"),
    ):
        write_lines(tmp_path / "test.jsonl", [medqa(0), record])
        with pytest.raises(DataError, match=f"test.jsonl, line 2: .*{message}"):
            read(MedQa(options=5), tmp_path)
    (tmp_path / "test.jsonl").write_text("{\n}")
    with pytest.raises(DataError, match="test.jsonl, line 1: not a JSON object on one line"):
        read(MedQa(options=5), tmp_path)


def test_medqas_train_split_alone(tmp_path):
    write_lines(tmp_path / "train.jsonl", [medqa(1), medqa(2)])
    assert {s: [e.id for e in found] for s, found in read(MedQa(), tmp_path, "pool").items()} == {
        "train": ["train/0", "train/1"]
    }
    with pytest.raises(DataError, match=r"expected questions/US/test.jsonl"):
        read(MedQa(), tmp_path)
    write_lines(tmp_path / "test.jsonl", [medqa(3)])
    assert sizes(read(MedQa(), tmp_path, "pool")) == {"train": 2}


# MedMCQA


def test_medmcqa_official():
    splits, _ = official(MedMcqa(), "medmcqa")
    assert sizes(splits) == {"test": 4183}
    assert targets(splits["test"]) == {"A": 1348, "B": 1085, "C": 925, "D": 825}
    subjects = Counter(e.metadata["subject"] for e in splits["test"])
    assert subjects["Dental"] == 1318 and len(subjects) == 21
    assert all(set(e.inputs) == {"question"} and len(e.choices) == 4 for e in splits["test"])


def mcq(number, cop, subject="Anatomy"):
    options = {option: f"{option} {number}" for option in medmcqa.OPTIONS}
    return {"id": f"id{number}", "question": f"q{number}", "cop": cop, "subject_name": subject, "exp": "no", **options}


def test_medmcqa_divides_train_by_subject(tmp_path):
    write_lines(tmp_path / "dev.json", [mcq(i, 1 + i % 4) for i in range(8)])
    train = [mcq(100 + i, 1 + i % 4, "Anatomy" if i % 4 else "Skin") for i in range(200)]
    write_lines(tmp_path / "train.json", train)
    splits = read(MedMcqa(), tmp_path)
    assert sizes(splits) == {"train": 180, "valid": 20, "test": 8}
    assert Counter(e.metadata["subject"] for e in splits["valid"]) == {"Anatomy": 15, "Skin": 5}
    assert (MedMcqa().counts["train"], MedMcqa().counts["valid"]) == (182_822 - 18_282, 182_822 // 10)


@pytest.mark.parametrize(("cops", "letters"), [([1, 2, 3, 4], "ABCD"), ([0, 1, 2, 3], "ABCD"), ([4, 1], "DA")])
def test_medmcqa_numbers_count_from_one_or_from_zero(tmp_path, cops, letters):
    write_lines(tmp_path / "dev.json", [mcq(i, cop) for i, cop in enumerate(cops)])
    assert "".join(e.target for e in read(MedMcqa(), tmp_path)["test"]) == letters


@pytest.mark.parametrize(
    ("cops", "message"),
    [
        ([1, 2, 3], "neither 0 nor 4 occurs"),
        ([0, 1, 4], "both 0 and 4 occur"),
        ([1, 5, 4], "cop must be 1–4 .*, found 5"),
        ([1, None, 4], "cop must be 1–4 .*, found None"),
        ([1, "2", 4], "cop must be 1–4 .*, found '2'"),
        ([-1], "found -1"),
    ],
)
def test_medmcqa_numbers_are_never_guessed(tmp_path, cops, message):
    write_lines(tmp_path / "dev.json", [mcq(i, cop) for i, cop in enumerate(cops)])
    with pytest.raises(DataError, match=message):
        read(MedMcqa(), tmp_path)


def test_medmcqa_from_the_parquet_files_of_a_hub(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    for split, numbers in (("train", range(40)), ("validation", range(100, 108))):
        rows = [mcq(i, i % 4) | {"topic_name": None, "choice_type": "single"} for i in numbers]
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    splits = read(MedMcqa(), tmp_path)
    assert sizes(splits) == {"train": 36, "valid": 4, "test": 8}
    assert [e.target for e in splits["test"]] == list("ABCDABCD")
    assert sizes(read(MedMcqa(), tmp_path, "pool")) == {"train": 40}


# MMLU


def test_mmlu_official():
    splits, about = official(Mmlu(), "mmlu", "prerelease")
    assert sizes(splits) == {"train": 285, "valid": 1542, "test": 14042}
    assert targets(splits["test"]) == {"A": 3222, "B": 3462, "C": 3582, "D": 3776}
    categories = Counter(e.metadata["category"] for e in splits["test"])
    assert categories == {
        "STEM": 3018,
        "humanities": 4705,
        "social sciences": 3077,
        "other (business, health, misc.)": 3242,
    }
    assert Counter(Counter(e.metadata["subject"] for e in splits["train"]).values()) == {5: 57}
    assert about["notes"][0].startswith("valid is the pre-release validation set")
    by_id = {e.id: e for e in splits["test"]}
    assert by_id["anatomy/test/0"].metadata == {"subject": "anatomy", "category": "other (business, health, misc.)"}
    # A mark that Python takes for a line end stands inside this question.
    assert any("\x85" in e.inputs["question"] for e in splits["test"])


def test_mmlu_prerelease_is_not_taken_for_the_release():
    splits, about = official(Mmlu(), "mmlu")
    assert sizes(splits) == {"train": 285, "test": 14042}
    assert about["notes"][0].startswith("valid is left out")


def make_mmlu(base, rows=None):
    for folder, suffix in (("dev", "dev"), ("val", "val"), ("test", "test")):
        (base / folder).mkdir(parents=True)
        for subject in mmlu.CATEGORIES:
            out = io.StringIO()
            csv.writer(out).writerows(rows or [[f'Which, "{subject}"\nis it?', "1", "2", "3", "4", "C"]])
            (base / folder / f"{subject}_{suffix}.csv").write_text(out.getvalue(), newline="")
    return base


def test_mmlu_reads_quoted_fields_and_takes_val_before_its_prerelease(tmp_path):
    make_mmlu(tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "val", tmp_path / "data" / "val_prerelease")
    splits = read(Mmlu(), tmp_path)
    assert sizes(splits) == {"train": 57, "valid": 57, "test": 57}
    first = splits["test"][0]
    assert (first.id, first.target, first.choices) == ("abstract_algebra/test/0", "C", ("1", "2", "3", "4"))
    assert first.inputs["question"] == 'Which, "abstract_algebra"\nis it?'


def test_mmlus_auxiliary_questions_are_a_split_of_their_own(tmp_path):
    base = make_mmlu(tmp_path)
    with pytest.raises(DataError, match="auxiliary_train/<source>.csv"):
        read(Mmlu(), base, "auxiliary")
    (base / "auxiliary_train").mkdir()
    (base / "auxiliary_train" / "race.csv").write_text("one?,1,2,3,4,A\ntwo?,1,2,3,4,D\n")
    (base / "auxiliary_train" / "arc_easy.csv").write_text("three?,1,2,3,4,B\n")
    splits = read(Mmlu(), base, "auxiliary")
    assert sizes(splits) == {"train": 57, "valid": 57, "test": 57, "auxiliary_train": 3}
    found = [(e.id, e.target, e.metadata["subject"]) for e in splits["auxiliary_train"]]
    assert found == [
        ("arc_easy/auxiliary_train/0", "B", "arc_easy"),
        ("race/auxiliary_train/0", "A", "race"),
        ("race/auxiliary_train/1", "D", "race"),
    ]
    # Worked examples are those of `dev` as ever.
    assert read(Mmlu(), base)["train"] == splits["train"]


def test_mmlu_with_something_wrong(tmp_path):
    base = make_mmlu(tmp_path)
    (base / "test" / "anatomy_test.csv").rename(base / "test" / "anatomie_test.csv")
    with pytest.raises(DataError, match="expected the 57 subjects .* missing: anatomy; unknown: anatomie"):
        read(Mmlu(), tmp_path)
    (base / "test" / "anatomie_test.csv").rename(base / "test" / "anatomy_test.csv")
    for row in ("q,1,2,3,C", "q,1,2,3,4,E", "q,1,2,3,4,2"):
        (base / "test" / "anatomy_test.csv").write_text(f"q,1,2,3,4,A\n{row}\n")
        with pytest.raises(DataError, match="anatomy_test.csv, record 2: expected a question, four options and A–D"):
            read(Mmlu(), tmp_path)


# MTSamples


def test_mtsamples_excerpt():
    splits, about = official(MtSamples(), "mtsamples", "excerpt")
    assert sizes(splits) == {"train": 281, "valid": 40, "test": 80}
    everything = [e for examples in splits.values() for e in examples]
    assert targets(everything)["Surgery"] == 223 and targets(everything)["Urology"] == 158
    assert "train: 3 examples with an empty text" in about["notes"]
    assert not any("also stand in test" in note for note in about["notes"])
    assert all(set(e.inputs) == {"text"} and not e.metadata for e in everything)
    texts = {split: {normalised(e.inputs["text"]) for e in examples} - {""} for split, examples in splits.items()}
    assert not texts["test"] & (texts["train"] | texts["valid"])
    twice = Counter(normalised(e.inputs["text"]) for e in everything)
    assert sum(count > 1 for text, count in twice.items() if text) == 20, "there are texts that could leak"


def test_mtsamples_labels_are_those_of_the_prompt():
    assert len(set(mtsamples.LABELS)) == 40


def make_mtsamples(path, rows, header="description,medical_specialty,sample_name,transcription,keywords"):
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    path.write_text(f",{header}\r\n{out.getvalue()}", newline="")
    return path


def report(number, label=" Urology", text="text"):
    return [number, f"description of {number}", label, "name", text, "keywords"]


def test_mtsamples_full_corpus(tmp_path):
    # Every second text stands under two specialties, as in the real corpus.
    rows = [report(i, f" {mtsamples.LABELS[i % 40]}", f"Text  number {i // 2 if i < 4000 else i}") for i in range(4999)]
    splits = read(MtSamples(), make_mtsamples(tmp_path / "mtsamples.csv", rows))
    assert sizes(splits) == {"train": 3500, "valid": 500, "test": 999}
    texts = {split: {e.inputs["text"] for e in examples} for split, examples in splits.items()}
    assert not texts["test"] & texts["train"] and not texts["valid"] & texts["train"]
    assert set(targets(splits["test"])) == set(mtsamples.LABELS)


def test_mtsamples_with_something_wrong(tmp_path):
    path = tmp_path / "mtsamples.csv"
    with pytest.raises(DataError, match="expected 4,999, found 2; .*--variant excerpt"):
        read(MtSamples(), make_mtsamples(path, [report(0), report(1)]))
    with pytest.raises(DataError, match="expected 401, found 2; .*--variant full"):
        read(MtSamples(), path, "excerpt")
    with pytest.raises(DataError, match="record 2: 'Urologie' is not one of the forty specialties"):
        read(MtSamples(), make_mtsamples(path, [report(0), report(1, "Urologie")]))
    with pytest.raises(DataError, match="the columns transcription are missing, found , description"):
        read(MtSamples(), make_mtsamples(path, [report(0)], "description,medical_specialty,sample_name,text,keywords"))
    with pytest.raises(DataError, match="record 2: the record is cut short"):
        read(MtSamples(), make_mtsamples(path, [report(0), report(1)[:3]]))
    path.write_text("")
    with pytest.raises(DataError, match="are missing, found none"):
        read(MtSamples(), path)
    path.write_bytes(b",description,medical_specialty,sample_name,transcription,keywords\n0,caf\xe9")
    with pytest.raises(DataError, match="mtsamples.csv, line 2: not UTF-8"):
        read(MtSamples(), path)


# DDI


def test_ddi_official():
    splits, about = official(DdiCorpus(), "ddi2013")
    assert sizes(splits) == {"train": 27792, "test": 5716}
    assert targets(splits["test"]) == {
        "DDI-false": 4737,
        "DDI-effect": 360,
        "DDI-mechanism": 302,
        "DDI-advise": 221,
        "DDI-int": 96,
    }
    assert targets(splits["train"]) == {
        "DDI-false": 23771,
        "DDI-effect": 1687,
        "DDI-mechanism": 1319,
        "DDI-advise": 826,
        "DDI-int": 189,
    }
    by_id = {e.id: e for examples in splits.values() for e in examples}
    assert by_id["DDI-DrugBank.d236.s29.p0"].target == "DDI-int"
    assert by_id["DDI-MedLine.d169.s0.p0"].inputs == {
        "text": "@DRUG$ does not inhibit the absorption of 5 milligrams of @DRUG$ at doses less than 800 milligrams in "
        "nonpregnant women."
    }
    assert (
        by_id["DDI-MedLine.d169.s0.p2"]
        .inputs["text"]
        .startswith("Calcium does not inhibit the absorption of 5 milligrams of @DRUG-DRUG$ at doses")
    )
    marks = Counter((e.inputs["text"].count("@DRUG$"), e.inputs["text"].count("@DRUG-DRUG$")) for e in splits["test"])
    assert set(marks) == {(2, 0), (0, 1)}
    assert [source["file"] for source in about["sources"]] == ["DDICorpus-2013.zip"]


def test_ddi_by_the_lists_of_blurb():
    splits, _ = official(DdiCorpus(), "ddi2013", "blurb")
    assert sizes(splits) == {"train": 25296, "valid": 2496, "test": 5716}
    plain, _ = official(DdiCorpus(), "ddi2013")
    assert {e.id for s in ("train", "valid") for e in splits[s]} == {e.id for e in plain["train"]}
    assert {e.id for e in splits["test"]} == {e.id for e in plain["test"]}


def test_ddi_in_blue_has_the_first_part_of_a_drug_alone(monkeypatch):
    ours, _ = official(DdiCorpus(), "ddi2013")
    monkeypatch.setattr(ddi, "envelope", lambda offsets, span=ddi.envelope: span(offsets.split(";")[0]))
    blue = read(DdiCorpus(), DATA / "ddi2013")
    # docs/data.md; BLUE's `create_ddi_bert.py` matches "(\d+)-(\d+)" at the beginning of charOffset.
    differing = {s: sum(a.inputs != b.inputs for a, b in zip(ours[s], blue[s], strict=True)) for s in ours}
    assert differing == {"train": 129, "test": 28}


@pytest.mark.parametrize(
    ("first", "second", "marked"),
    [
        ("0-2", "8-10", "@DRUG$ and @DRUG$ now"),
        ("8-10", "0-2", "@DRUG$ and @DRUG$ now"),
        ("0-2;12-14", "4-6", "@DRUG-DRUG$"),
        ("0-6", "4-10", "@DRUG-DRUG$ now"),
        ("0-2", "3-6", "@DRUG$@DRUG$ bbb now"),
        ("4-6;12-14", "0-2", "aaa @DRUG$".replace("aaa", "@DRUG$")),
    ],
)
def test_ddi_marks_the_two_drugs(first, second, marked):
    text = "aaa and bbb now"
    assert ddi.mark_drugs(text, ddi.envelope(first), ddi.envelope(second)) == marked


XML = """<document id="d"><sentence id="s" text="aaa and bbb">
<entity id="e0" charOffset="0-2"/><entity id="e1" charOffset="8-10"/>{}</sentence></document>"""
PAIR = '<pair id="p" e1="e0" e2="e1" ddi="true" type="effect"/>'


def make_ddi(base, train=PAIR, test=PAIR):
    for folder, pairs in (("Train", train), ("Test/Test for DDI Extraction task", test)):
        path = base / "DDICorpus" / folder / "DrugBank" / "a.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pairs if pairs.startswith("<document") else XML.format(pairs))
    return base


def test_ddi_reads_an_unpacked_corpus_and_no_other_test(tmp_path):
    other = make_ddi(tmp_path) / "DDICorpus/Test/Test for DrugNER task/DrugBank/b.xml"
    other.parent.mkdir(parents=True)
    other.write_text(XML.format(PAIR))
    splits = read(DdiCorpus(), tmp_path)
    assert sizes(splits) == {"train": 1, "test": 1}
    assert splits["test"][0].inputs == {"text": "@DRUG$ and @DRUG$"}
    assert splits["test"][0].target == "DDI-effect"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("<document><sentence>", "not XML"),
        (PAIR.replace("effect", "affect"), "'DDI-affect' is missing or not as expected"),
        (PAIR.replace('ddi="true"', ""), "'ddi' is missing"),
        (PAIR.replace("e1=", "e3="), "'e1' is missing"),
        (PAIR.replace('"e1"', '"e7"'), "'e7' is missing"),
        (XML.format(PAIR).replace("8-10", "8–10"), "'8–10' is missing or not as expected"),
    ],
)
def test_ddi_with_something_wrong(tmp_path, broken, message):
    make_ddi(tmp_path, test=broken)
    with pytest.raises(DataError, match=f"Test for DDI Extraction task/DrugBank/a.xml: {message}"):
        read(DdiCorpus(), tmp_path)


def test_ddi_without_its_parts(tmp_path):
    with pytest.raises(DataError, match="found no files"):
        read(DdiCorpus(), tmp_path)
    make_ddi(tmp_path)
    with pytest.raises(DataError, match="expected blurb_split_train_files.tsv"):
        read(DdiCorpus(), tmp_path, "blurb")
    (tmp_path / "train_files.tsv").write_text("train_dataset/DrugBank/zzz.xml\n")
    with pytest.raises(DataError, match="names train/DrugBank/zzz.xml, which is not in the corpus"):
        read(DdiCorpus(), tmp_path, "blurb")
    (tmp_path / "train_files.tsv").write_text("train_dataset/DrugBank/a.xml\n")
    with pytest.raises(DataError, match="BLURB's train split: expected 25,296, found 1"):
        read(DdiCorpus(), tmp_path, "blurb")


# HoC


def test_hoc_official():
    splits, about = official(HallmarksOfCancer(), "hoc")
    assert sizes(splits) == {"train": 1108, "valid": 157, "test": 315}
    labels = json.loads((DATA / "hoc" / "labelled_1580_doc_labels.json").read_text())
    found = {e.id: e.target for examples in splits.values() for e in examples}
    assert {pmid: set(target) for pmid, target in found.items()} == {p: set(names) for p, names in labels.items()}
    assert all(target == [name for name in hoc.LABELS if name in target] for target in found.values())
    every = Counter(name for target in found.values() for name in target)
    for split, examples in splits.items():
        count = Counter(name for e in examples for name in e.target)
        share = len(examples) / 1580
        assert all(abs(count[name] - every[name] * share) <= 0.15 * every[name] * share + 4 for name in hoc.LABELS), (
            split
        )
    assert "stratified by the rarest hallmark" in about["notes"][0]
    assert all("\n" not in e.inputs["text"] and e.inputs["text"] for e in splits["test"])


def test_hoc_by_the_lists_of_blurb():
    splits, _ = official(HallmarksOfCancer(), "hoc", "blurb")
    assert sizes(splits) == {"train": 1295, "valid": 186, "test": 371}
    assert {split: sum(bool(e.target) for e in examples) for split, examples in splits.items()} == {
        "train": 1098,
        "valid": 164,
        "test": 318,
    }
    plain, _ = official(HallmarksOfCancer(), "hoc")
    assert len({e.id for e in plain["test"]} & {e.id for e in splits["test"]}) == 67  # docs/data.md


def test_hoc_by_the_lists_of_blue(tmp_path, monkeypatch):
    monkeypatch.setattr(hoc, "DOCUMENTS", 6)
    monkeypatch.setitem(hoc.SIZES, "blue", {"train": 3, "valid": 1, "test": 2})
    make_hoc(tmp_path / "hoc.tar.gz", 6)
    for listed, ids in (("train", "5\n0\n3\n"), ("dev", "1\n"), ("test", "2\n4\n")):
        (tmp_path / f"{listed}_docid.txt").write_text(ids)
    splits = read(HallmarksOfCancer(), tmp_path, "blue")
    assert {split: [e.id for e in found] for split, found in splits.items()} == {
        "train": ["5", "0", "3"],
        "valid": ["1"],
        "test": ["2", "4"],
    }
    (tmp_path / "dev_docid.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match="BLUE's valid split: expected 1, found 2; give BLUE's own lists"):
        read(HallmarksOfCancer(), tmp_path, "blue")
    (tmp_path / "dev_docid.txt").write_text("77\n")
    with pytest.raises(DataError, match="dev_docid.txt names '77', which is not in the corpus"):
        read(HallmarksOfCancer(), tmp_path, "blue")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", []),
        ("< < <NULL< ", []),
        ("ignored<Cellular energetics< ", ["cellular energetics"]),
        (
            "<Resisting cell death--Apoptosis ANDEvading growth suppressors--By x--y AND NULL<Resisting cell death",
            ["evading growth suppressors", "resisting cell death"],
        ),
    ],
)
def test_hoc_label_files(content, expected):
    assert hoc.hallmarks(content) == expected


def make_hoc(path, count, labels="<Cellular energetics"):
    with tarfile.open(path, "w:gz") as archive:
        for i in range(count):
            for folder, content in (("text", f"sentence {i} .\n"), ("labels", labels)):
                info = tarfile.TarInfo(f"H/{folder}/{i}.txt")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content.encode()))
    return path


def test_hoc_with_something_wrong(tmp_path, monkeypatch):
    path = make_hoc(tmp_path / "hoc.tar.gz", 4)
    with pytest.raises(DataError, match="abstracts: expected 1,852, found 4; download the whole repository"):
        read(HallmarksOfCancer(), path)
    monkeypatch.setattr(hoc, "DOCUMENTS", 4)
    with pytest.raises(DataError, match="abstracts with a hallmark: expected 1,580, found 4"):
        read(HallmarksOfCancer(), path)
    with pytest.raises(DataError, match=r"H/labels/0.txt: 'celular' is not one of the ten hallmarks"):
        read(HallmarksOfCancer(), make_hoc(path, 4, "<Celular--x"))
    with pytest.raises(DataError, match=r"expected text/\*.txt"):
        read(HallmarksOfCancer(), make_hoc(path, 0))
    with pytest.raises(DataError, match="expected blurb_split_train_pmid.tsv"):
        read(HallmarksOfCancer(), make_hoc(path, 4), "blurb")


def test_the_order_of_the_input_does_not_change_a_split(tmp_path):
    if not (DATA / "pubmedqa").exists():
        pytest.skip("the official files of pubmedqa are not beside this checkout")
    records = json.loads((DATA / "pubmedqa" / "ori_pqal.json").read_text())
    (tmp_path / "ori_pqal.json").write_text(json.dumps(dict(reversed(records.items()))))
    shutil.copy(DATA / "pubmedqa" / "test_ground_truth.json", tmp_path)
    splits, _ = official(PubMedQa(), "pubmedqa")
    assert {e.id for e in read(PubMedQa(), tmp_path)["valid"]} == {e.id for e in splits["valid"]}
