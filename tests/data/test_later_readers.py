"""The readers of benchmarks that are not the paper's, on small files in the official form; the text is made up."""

import struct
import zipfile
from collections import Counter

import format_true
import pytest
from format_true import CLIP_LABELS, gpqa_row

from mibe.cli import main
from mibe.data import store
from mibe.data.prepare import read_splits
from mibe.data.raw import RawFiles
from mibe.data.readers.clip import LABELS, Clip
from mibe.data.readers.gpqa import GpqaBiology
from mibe.data.readers.nejm_medqa import NejmMedQa
from mibe.errors import DataError
from mibe.registry import load_task


def read(source, path, variant=None):
    raw = RawFiles(path)
    return source.read(raw, variant=variant or source.variants[0]), raw.notes


def sizes(splits):
    return {split: len(examples) for split, examples in splits.items()}


# GPQA


def test_gpqa_is_the_questions_of_biology_and_the_rest_of_the_extended_set_are_worked_examples(tmp_path):
    splits, _ = read(GpqaBiology(), format_true.gpqa(tmp_path))
    assert sizes(splits) == {"test": 150, "train": 182 - 150}
    ids = {split: {example.id for example in examples} for split, examples in splits.items()}
    assert ids["test"] == {f"rec{n:05}" for n in range(0, 448, 3)} and not ids["test"] & ids["train"]
    for example in splits["test"]:
        number = int(example.id.removeprefix("rec"))
        assert example.inputs == {"question": f"Which enzyme,\nof these, is number {number}?"}
        assert example.choices["ABCD".index(example.target)] == f"The right enzyme {number}"
        assert sorted(example.choices) == sorted(
            [f"Enzyme {number}, a", f"Enzyme {number}, b", f"Enzyme {number}, c", f"The right enzyme {number}"]
        )
        assert example.metadata["subdomain"] in ("Molecular Biology", "Genetics")


def test_gpqas_right_answer_stands_at_each_letter_about_equally_often_and_always_at_the_same_one(tmp_path):
    splits, _ = read(GpqaBiology(), format_true.gpqa(tmp_path))
    letters = Counter(example.target for example in splits["test"])
    assert letters.keys() == set("ABCD") and min(letters.values()) > 20
    backwards = {"main": [gpqa_row(n) for n in reversed(range(448))]}
    again, _ = read(GpqaBiology(), format_true.gpqa(tmp_path, backwards))
    assert sorted(again["test"], key=lambda e: e.id) == sorted(splits["test"], key=lambda e: e.id)


def test_gpqas_other_sets_and_what_there_is_without_the_extended_one(tmp_path):
    format_true.gpqa(tmp_path)
    assert sizes(read(GpqaBiology(), tmp_path, "extended")[0]) == {"test": 182}
    assert sizes(read(GpqaBiology(), tmp_path, "diamond")[0]) == {"test": 66, "train": 32}
    (tmp_path / "dataset" / "gpqa_extended.csv").unlink()
    assert sizes(read(GpqaBiology(), tmp_path)[0]) == {"test": 150}


def test_a_table_of_gpqa_that_is_not_whole_is_refused(tmp_path):
    format_true.gpqa(tmp_path, {"main": [gpqa_row(n) for n in range(447)]})
    with pytest.raises(DataError, match=r"gpqa_main.csv, questions: expected 448, found 447; give the whole"):
        read(GpqaBiology(), tmp_path)
    format_true.gpqa(
        tmp_path, {"main": [gpqa_row(n) | ({"Correct Answer": " "} if n == 3 else {}) for n in range(448)]}
    )
    with pytest.raises(DataError, match=r"gpqa_main.csv, record 4: Correct Answer is empty"):
        read(GpqaBiology(), tmp_path)
    twice = [gpqa_row(n) for n in range(447)] + [gpqa_row(0)]
    format_true.gpqa(tmp_path, {"main": twice})
    with pytest.raises(DataError, match=r"gpqa_main.csv, record 448: the Record ID rec00000 stands there twice"):
        read(GpqaBiology(), tmp_path)
    format_true.gpqa(tmp_path, {"main": [gpqa_row(n) | {"High-level domain": "Physics"} for n in range(448)]})
    with pytest.raises(DataError, match="gpqa_biology: no document of the test split is in these files"):
        read_splits("gpqa_biology", GpqaBiology(), tmp_path)
    (tmp_path / "dataset" / "gpqa_main.csv").write_text("id,Question\n")
    with pytest.raises(DataError, match="gpqa_main.csv: the column Record ID is missing"):
        read(GpqaBiology(), tmp_path)


def lock(archive):
    """Mark the files of an archive as encrypted, as those of GPQA's dataset.zip are."""
    content = bytearray(archive.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            (flags,) = struct.unpack_from("<H", content, at + place)
            struct.pack_into("<H", content, at + place, flags | 1)
            at = content.find(signature, at + 4)
    archive.write_bytes(content)


def test_gpqas_archive_wants_its_password(tmp_path, capsys):
    format_true.gpqa(tmp_path / "made")
    with zipfile.ZipFile(tmp_path / "dataset.zip", "w") as archive:
        for path in (tmp_path / "made" / "dataset").iterdir():
            archive.write(path, f"dataset/{path.name}")
    lock(tmp_path / "dataset.zip")
    assert main(["data", "prepare", "gpqa_biology", "--from", str(tmp_path / "dataset.zip")]) == 2
    told = capsys.readouterr().err
    assert "password required" in told and "unpack it and give the folder" in told and told.count("\n") == 1
    assert main(["data", "prepare", "gpqa_biology", "--from", str(tmp_path / "made")]) == 0
    assert capsys.readouterr().out.startswith("gpqa_biology: train 32, test 150 (variant main)")


# CLIP


def test_clip_is_a_sentence_with_its_neighbours(tmp_path):
    splits, _ = read(Clip(), format_true.clip(tmp_path))
    assert sizes(splits) == {"train": 518 * 3, "valid": 300, "test": 300}
    assert set(LABELS) == set(CLIP_LABELS)
    first, second, third = splits["test"][3:6]
    assert first.id == "1001/0" and first.target == [] and second.target == ["Appointment-related followup"]
    assert third.target == ["Appointment-related followup", "Lab-related followup"]
    assert third.inputs == {
        "sentence": "`` Call '' 1",
        "context": "He 's well 1 . See Dr. A 1 . `` Call '' 1",
    }


def test_the_context_is_two_sentences_on_either_side_of_the_same_summary(tmp_path):
    cells = [(str([f"s{n}"]), "[]") for n in range(7)]
    splits, _ = read(Clip(), format_true.clip(tmp_path, cells))
    contexts = [example.inputs["context"] for example in splits["test"] if example.id.startswith("1000/")]
    assert contexts == [
        "s0 s1 s2", "s0 s1 s2 s3", "s0 s1 s2 s3 s4", "s1 s2 s3 s4 s5", "s2 s3 s4 s5 s6", "s3 s4 s5 s6", "s4 s5 s6",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (("['a']", "['I-Dinner']"), r"sentence_level.csv, record 1: 'Dinner' is not one of the seven labels"),
        (("['a']", "I-Lab-related followup"), r"record 1: labels must be a list, found 'I-Lab-related followup'"),
        (("['a']", "[1]"), r"record 1: labels must be a list"),
    ],
)
def test_odd_labels_of_clip(tmp_path, cell, message):
    with pytest.raises(DataError, match=message):
        read(Clip(), format_true.clip(tmp_path, [cell]))


def test_a_sentence_of_clip_that_is_no_list_is_itself(tmp_path):
    splits, _ = read(Clip(), format_true.clip(tmp_path, [("[**Name**] was seen.", "[]")]))
    assert splits["test"][0].inputs["sentence"] == "[**Name**] was seen."


def test_clip_that_is_not_whole(tmp_path):
    format_true.clip(tmp_path)
    (tmp_path / "val_ids.csv").write_text("1100\n9\n")
    with pytest.raises(DataError, match="summaries in the three lists of ids: expected 718, found 620"):
        read(Clip(), tmp_path)
    (tmp_path / "val_ids.csv").write_text("".join(f"{n}\n" for n in (*range(1100, 1199), 9)))
    with pytest.raises(DataError, match="sentence_level.csv has no sentence of the summary 9"):
        read(Clip(), tmp_path)
    (tmp_path / "val_ids.csv").write_text("".join(f"{n}\n" for n in (*range(1100, 1199), 1100)))
    with pytest.raises(DataError, match="the lists of ids have the summary 1100 twice"):
        read(Clip(), tmp_path)


def test_clip_is_for_its_users_eyes_alone_and_no_remote_model_gets_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "of-a-test-12345")
    assert main(["data", "prepare", "clip", "--from", str(format_true.clip(tmp_path))]) == 0
    assert (store.data_dir() / "clip" / "test.jsonl").stat().st_mode & 0o77 == 0
    capsys.readouterr()
    remote = ["--model", "openai", "--model-args", "model=x,base_url=https://api.example.org/v1"]
    assert main(["eval", "--tasks", "clip", *remote, "--output-dir", str(tmp_path)]) == 2
    assert "clip came under the PhysioNet Credentialed Health Data Use Agreement 1.5.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "labels"),
    [
        ("none", []),
        ("None.", []),
        (
            "Appointment-related followup; Lab-related followup",
            ["Appointment-related followup", "Lab-related followup"],
        ),
        ("- Imaging-related follow-up\n- patient instructions", [LABELS[4], LABELS[5]]),
        ("The label is: Medication-related followups", ["Medication-related followups"]),
        ("He should rest.", None),
    ],
)
def test_what_is_read_as_labels_of_clip(output, labels):
    assert load_task("clip").parser(output) == labels


# NEJM-MedQA


def test_nejm_medqa_is_both_parts_of_the_supplement(tmp_path):
    splits, notes = read(NejmMedQa(), format_true.nejm_medqa(tmp_path))
    assert sizes(splits) == {"test": 9, "train": 3}
    assert Counter(example.metadata["part"] for example in splits["test"]) == {"MedQA": 6, "NEJM": 3}
    first, last = splits["test"][0], splits["test"][-1]
    assert (first.id, first.target) == ("medqa/1", ["Gout, type 0"])
    assert "joint pain’s flare" in first.inputs["case"], "the tables are in Windows-1252"
    assert (last.id, last.target) == ("nejm/3", ["Legionella 2."])
    assert last.inputs["case"].startswith("A 32-year-old woman") and last.inputs["case"].endswith("\n\nSodium 132")
    assert notes == [
        "41746_2024_1010_MOESM2_ESM.csv: 2 rows without a case or without a diagnosis left out",
        "41746_2024_1010_MOESM3_ESM.csv: 1 rows without a case or without a diagnosis left out",
    ]


def test_each_part_of_nejm_medqa_is_a_variant(tmp_path):
    format_true.nejm_medqa(tmp_path)
    assert sizes(read(NejmMedQa(), tmp_path, "medqa")[0]) == {"test": 6, "train": 3}
    assert sizes(read(NejmMedQa(), tmp_path, "nejm")[0]) == {"test": 3}
    (tmp_path / "41746_2024_1010_MOESM3_ESM.csv").unlink()
    with pytest.raises(DataError, match="expected .*MOESM3_ESM.csv"):
        read(NejmMedQa(), tmp_path)


def test_a_table_of_another_form_or_encoding(tmp_path):
    format_true.nejm_medqa(tmp_path)
    table = tmp_path / "41746_2024_1010_MOESM2_ESM.csv"
    table.write_text("question,answer\n" + "A man’s knee hurts.,Gout\n", encoding="utf-8-sig")
    assert read(NejmMedQa(), tmp_path, "medqa")[0]["test"][0].inputs["case"] == "A man’s knee hurts."
    table.write_bytes(b"question,answer\n\x81\x8d,Gout\n")
    with pytest.raises(DataError, match="is neither UTF-8 nor Windows-1252"):
        read(NejmMedQa(), tmp_path, "medqa")
    table.write_text("Title,Answer\nx,y\n")
    with pytest.raises(DataError, match="the column question is missing"):
        read(NejmMedQa(), tmp_path, "medqa")
