"""Raw files lie in folders, archives, or archives in folders, and some are damaged."""

import gzip
import hashlib
import io
import tarfile
import zipfile

import pytest

from mibe.data.raw import RawFiles
from mibe.errors import DataError


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


FILES = {"repo/data/a.json": b'{"a": 1}\n', "repo/data/b.txt": "é\r\n".encode(), "repo/README": b"x"}


def as_folder(base):
    for name, content in FILES.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content)
    return base


def as_folder_of(make, name):
    def build(base):
        make(base / name, FILES)
        return base

    return build


@pytest.mark.parametrize(
    "build",
    [
        as_folder,
        lambda base: make_zip(base / "x.zip", FILES),
        lambda base: make_tar(base / "x.tar.gz", FILES),
        lambda base: make_tar(base / "x.tgz", FILES),
        lambda base: make_tar(base / "x.tar", FILES, "w"),
        as_folder_of(make_zip, "x.zip"),
        as_folder_of(make_tar, "x.tar.gz"),
    ],
)
def test_every_form_of_a_download_reads_the_same(tmp_path, build):
    raw = RawFiles(build(tmp_path))
    assert raw.text(raw.one("data/a.json")) == '{"a": 1}\n'
    assert raw.text(raw.one("b.txt")) == "é\r\n"
    assert list(raw.lines(raw.one("b.txt"))) == [(1, "é")]
    assert len(raw.find("data/*")) == 2
    assert raw.optional("c.json") is None
    with pytest.raises(DataError, match=r"expected c.json in .*; found .*README"):
        raw.one("c.json", "d.json")


def test_an_archive_that_was_unpacked_beside_itself_counts_once(tmp_path):
    make_zip(tmp_path / "x.zip", FILES)
    as_folder(tmp_path)
    assert RawFiles(tmp_path).find("a.json") == ["repo/data/a.json"]


def test_one_file_and_a_gzip_file(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    assert RawFiles(tmp_path / "a.csv").find("*.csv") == ["a.csv"]
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf2\n"))
    raw = RawFiles(tmp_path / "b.csv.gz")
    assert raw.text("b.csv") == "2\n"
    assert list(raw.lines("b.csv")) == [(1, "2")]


def test_what_macos_leaves_behind_is_not_seen(tmp_path):
    make_zip(tmp_path / "x.zip", {"a.xml": b"1", "__MACOSX/._a.xml": b"2", ".DS_Store": b"3", "d/._a.xml": b"4"})
    assert RawFiles(tmp_path).find("*") == ["x.zip/a.xml"]


def test_only_line_feeds_end_a_line(tmp_path):
    (tmp_path / "a.jsonl").write_bytes("a\u2028b\u0085c\r\nd".encode())
    assert list(RawFiles(tmp_path).lines("a.jsonl")) == [(1, "a\u2028b\u0085c"), (2, "d")]


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:/evil.txt"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path, make, name):
    path = make(tmp_path / ("x.zip" if make is make_zip else "x.tar.gz"), {name: b"1", "good.txt": b"2"})
    with pytest.raises(DataError, match="holds the unsafe name .*evil.txt"):
        RawFiles(path).find("good.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_links_in_a_tar_are_not_files(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("passwd.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert RawFiles(tmp_path).find("*.txt") == []


NOISE = {f"f{i}.txt": hashlib.sha256(str(i).encode()).digest() * 100 for i in range(30)}


@pytest.mark.parametrize(("make", "name"), [(make_zip, "x.zip"), (make_tar, "x.tar.gz")])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_truncated_archive_is_named(tmp_path, make, name, share):
    path = make(tmp_path / name, NOISE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=rf"{name}.* is damaged or incomplete .*; download it again"):
        RawFiles(tmp_path).find("*.txt")


def test_a_flipped_byte_in_a_zip_is_found(tmp_path):
    path = make_zip(tmp_path / "x.zip", NOISE)
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    raw = RawFiles(path)
    with pytest.raises(DataError, match=r"f0.txt in .*x.zip is damaged or incomplete"):
        raw.content("f0.txt")


def test_a_page_saved_under_the_name_of_an_archive_is_named(tmp_path):
    (tmp_path / "x.zip").write_text("<html>login</html>")
    with pytest.raises(DataError, match=r"x.zip in .* is damaged or incomplete"):
        RawFiles(tmp_path).find("*.txt")


def test_a_truncated_gzip_file_is_named(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(NOISE["f1.txt"])[:-9])
    with pytest.raises(DataError, match=r"a.csv.* damaged or incomplete"):
        RawFiles(tmp_path).text("a.csv")


def test_bad_encoding_is_named_with_its_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good\nbad \xe9\n")
    raw = RawFiles(tmp_path)
    with pytest.raises(DataError, match="a.txt, line 2: not UTF-8"):
        raw.text("a.txt")
    with pytest.raises(DataError, match="a.txt, line 2: not UTF-8"):
        list(raw.lines("a.txt"))


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="there is nothing at .*nowhere"):
        RawFiles(tmp_path / "nowhere")


def test_several_candidates_are_not_guessed_among(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text("")
    with pytest.raises(DataError, match="several files match a.csv .*one/a.csv, two/a.csv"):
        RawFiles(tmp_path).one("a.csv")


def test_sources_are_what_was_read(tmp_path):
    make_zip(tmp_path / "x.zip", {"a.txt": b"1"})
    (tmp_path / "b.txt").write_bytes(b"2")
    (tmp_path / "unread.txt").write_bytes(b"3")
    raw = RawFiles(tmp_path)
    raw.content(raw.one("a.txt"))
    raw.content("b.txt")
    archive = (tmp_path / "x.zip").read_bytes()
    assert raw.sources() == [
        {"file": "b.txt", "bytes": 1, "sha256": hashlib.sha256(b"2").hexdigest()},
        {"file": "x.zip", "bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest()},
    ]


def test_many_sources_of_one_folder_are_one_entry(tmp_path):
    (tmp_path / "dev").mkdir()
    for i in range(12):
        (tmp_path / "dev" / f"{i:02}.csv").write_bytes(b"ab")
    raw = RawFiles(tmp_path)
    for name in raw.find("*.csv"):
        raw.content(name)
    listing = "".join(f"{hashlib.sha256(b'ab').hexdigest()}  {i:02}.csv\n" for i in range(12))
    expected = hashlib.sha256(listing.encode()).hexdigest()
    assert raw.sources() == [{"file": "dev/", "files": 12, "bytes": 24, "sha256": expected}]


def test_sources_of_very_many_folders_are_one_entry_for_each_at_the_top(tmp_path):
    for number in range(120):
        path = tmp_path / "files" / f"p{number:03}" / "s1.txt"
        path.parent.mkdir(parents=True)
        path.write_text("x")
    (tmp_path / "split.csv").write_text("y")
    raw = RawFiles(tmp_path)
    for name in raw.find("*"):
        raw.content(name)
    listing = "".join(f"{hashlib.sha256(b'x').hexdigest()}  p{number:03}/s1.txt\n" for number in range(120))
    assert raw.sources() == [
        {"file": "split.csv", "bytes": 1, "sha256": hashlib.sha256(b"y").hexdigest()},
        {"file": "files/", "files": 120, "bytes": 120, "sha256": hashlib.sha256(listing.encode()).hexdigest()},
    ]
