"""Tables of each format, real files, and what is wrong with rows; every format gives the same rows."""

import csv
import gzip
import io
import json

import pytest

from mibe.errors import DataError, UsageError
from mibe.own.tables import Reading, read_table, read_tables

ROWS = [
    {"note": 'He said "no",\nand left; twice.', "urgency": "urgent"},
    {"note": "Größe 1,80 m\ttall", "urgency": "routine"},
]
USUAL = Reading()


def cells(table):
    return [dict(line.cells) for line in table.lines]


def as_csv(delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, ["note", "urgency"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", as_csv().encode()),
        ("bom.csv", as_csv().encode("utf-8-sig")),
        ("semicolons.csv", as_csv(";").encode()),
        ("bars.csv", as_csv("|").encode()),
        ("tabs.csv", as_csv("\t").encode()),
        ("a.tsv", as_csv("\t").encode()),
        ("excel-unicode.tsv", as_csv("\t").encode("utf-16")),
        ("packed.csv.gz", gzip.compress(as_csv().encode())),
        ("a.jsonl", "\r\n".join(json.dumps(row) for row in ROWS).encode()),
        ("blank-lines.ndjson", ("\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n").encode()),
        ("a.json", json.dumps(ROWS, indent=1).encode()),
        ("under-one-key.json", json.dumps({"version": 1, "data": ROWS}).encode()),
    ],
)
def test_text_formats_give_the_same_rows(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    table = read_table(path, USUAL)
    assert table.columns == ("note", "urgency") and cells(table) == ROWS and table.problems == ()


def test_a_parquet_file_a_workbook_and_a_saved_data_set_give_the_same_rows(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert cells(read_table(tmp_path / "a.parquet", USUAL)) == ROWS
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["note", "urgency"])
    for row in ROWS:
        book.active.append(list(row.values()))
    book.create_sheet("codes").append(["code"])
    book["codes"].append([7])
    book.save(tmp_path / "a.xlsx")
    table = read_table(tmp_path / "a.xlsx", USUAL)
    assert cells(table) == ROWS and [line.where for line in table.lines] == ["row 2", "row 3"]
    assert cells(read_table(tmp_path / "a.xlsx", Reading(sheet="codes"))) == [{"code": 7}]
    with pytest.raises(UsageError, match="has no sheet 'nothing'; it has Sheet, codes"):
        read_table(tmp_path / "a.xlsx", Reading(sheet="nothing"))


def test_a_saved_data_set_has_its_splits_and_the_names_of_its_classes(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"note": datasets.Value("string"), "urgency": datasets.ClassLabel(names=["routine", "urgent"])}
    )
    rows = {"note": [row["note"] for row in ROWS], "urgency": [1, 0]}
    one = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict(train=one.select([0]), validation=one.select([1]), test=one).save_to_disk(tmp_path / "saved")
    tables = read_tables(tmp_path / "saved", USUAL)
    assert sorted(tables) == ["test", "train", "valid"]
    assert cells(tables["test"]) == ROWS and cells(tables["valid"]) == ROWS[1:]
    one.save_to_disk(tmp_path / "alone")
    assert cells(read_tables(tmp_path / "alone", USUAL)["test"]) == ROWS


def test_a_folder_with_a_file_for_each_split(tmp_path):
    for name in ("train.csv", "dev.csv", "test.jsonl"):
        (tmp_path / name).write_text(as_csv() if name.endswith("csv") else json.dumps(ROWS[0]), encoding="utf-8")
    assert {split: len(t.lines) for split, t in read_tables(tmp_path, USUAL).items()} == {
        "train": 2,
        "valid": 2,
        "test": 1,
    }
    (tmp_path / "test.tsv").write_text(as_csv("\t"), encoding="utf-8")
    with pytest.raises(DataError, match="neither a folder saved by datasets nor one with a file for each split"):
        read_tables(tmp_path, USUAL)


def test_a_copy_of_a_hubs_repository_with_splits_in_pieces(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("test-00000-of-00002.csv", "test-00001-of-00002.csv", "validation-00000-of-00001-0123abcd.csv"):
        (data / name).write_text(as_csv(), encoding="utf-8")
    (tmp_path / "README.md").write_text("A data set.")
    found = read_tables(tmp_path, USUAL)
    assert {split: cells(table) for split, table in found.items()} == {"test": ROWS + ROWS, "valid": ROWS}
    assert [line.where for line in found["test"].lines][1:3] == [
        "test-00000-of-00002.csv, line 4",
        "test-00001-of-00002.csv, line 2",
    ]
    assert cells(read_tables(data, USUAL)["test"]) == ROWS + ROWS
    (data / "test-00001-of-00002.csv").write_text("note\nx\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"test-00001-of-00002.csv has other columns than test-00000-of-00002.csv"):
        read_tables(tmp_path, USUAL)


def test_lines_are_those_of_an_editor_whatever_cells_hold(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('note,urgency\n"one\ntwo\nthree",urgent\n\nfour,routine,more\nfive,routine\n', encoding="utf-8")
    table = read_table(path, USUAL)
    assert [line.where for line in table.lines] == ["line 2", "line 7"]
    assert table.problems == ("line 6: 3 cells where the header has 2",)


def test_a_quote_that_is_never_closed_swallows_no_rows_unsaid(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('note,urgency\nfine,urgent\n"open,urgent\nlost,routine\n', encoding="utf-8")
    assert read_table(path, USUAL).problems == ("line 3: a quote is opened here and never closed",)
    path.write_text('note,urgency\n"a" b,urgent\nfine,routine\n', encoding="utf-8")
    table = read_table(path, USUAL)
    assert len(table.lines) == 1 and table.problems[0].startswith("line 2: a quoted cell goes on after its closing")


def test_a_long_note_is_read_whole(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("note,urgency\n" + "x" * 200_000 + ",urgent\n", encoding="utf-8")
    assert len(read_table(path, USUAL).lines[0].cells["note"]) == 200_000


def test_bad_json_lines_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"note": "a"}\n{"note": \n[1]\n{"note": "b", "more": 1}\n', encoding="utf-8")
    table = read_table(path, USUAL)
    assert table.columns == ("note", "more") and len(table.lines) == 2
    assert [problem.split(":")[0] for problem in table.problems] == ["line 2", "line 3"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.docx", b"x", "its format is not known"),
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"note,urgency\n", "has no rows"),
        ("a.csv", b"note,note\na,b\n", "two columns are named 'note'"),
        ("a.csv", "note\nGröße\n".encode("cp1252"), r"line 2: not utf-8; give its --encoding \(cp1252"),
        ("a.csv.gz", b"\x1f\x8b\x08", "damaged"),
        ("a.json", b'{"a": [', "not JSON|no rows"),
        ("a.json", b"3", "expected a list of objects"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((DataError, UsageError), match=why):
        table = read_table(path, USUAL)
        raise DataError(table.problems[0])


def test_what_is_no_parquet_file_or_workbook_is_one_line(tmp_path):
    for name, package, why in (("a.parquet", "pyarrow", "no Parquet file"), ("a.xlsx", "openpyxl", "no Excel work")):
        pytest.importorskip(package)
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(DataError, match=why):
            read_table(tmp_path / name, USUAL)


def test_an_encoding_that_is_named_is_used(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("note\nGröße\n".encode("cp1252"))
    assert cells(read_table(path, Reading(encoding="cp1252"))) == [{"note": "Größe"}]
    with pytest.raises(UsageError, match="unknown encoding 'cp12'"):
        read_table(path, Reading(encoding="cp12"))


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match="needs openpyxl, which is not installed: pip install openpyxl"):
        read_table(tmp_path / "a.xlsx", USUAL)
