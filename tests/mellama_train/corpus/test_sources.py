"""Readers of the raw sources, on files in their official form: contents, odd cases, and damage."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("backports.zstd", reason="backports.zstd comes with the extra train")
pytest.importorskip("xxhash", reason="xxhash comes with the extra train")

from backports import zstd

from mellama_train.corpus.config import Input
from mellama_train.corpus.documents import Broken, Document
from mellama_train.corpus.sources import FORMATS
from mellama_train.corpus.streams import open_binary
from mellama_train.errors import CorpusError
from mibe.task import AccessLevel

ARTICLE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving and Interchange DTD v1.2 20190208//EN"
 "JATS-archivearticle1.dtd">
<article xmlns:xlink="http://www.w3.org/1999/xlink" article-type="research-article">
<front><journal-meta><journal-title>J Test</journal-title></journal-meta>
<article-meta><article-id pub-id-type="pmid">123</article-id><article-id pub-id-type="pmc">PMC456</article-id>
<title-group>
<article-title>Aspirin &amp; <italic>the</italic> heart<xref ref-type="fn">*</xref></article-title></title-group>
<abstract><title>Abstract</title><sec><title>Aim</title><p>We asked. <!-- a comment --></p></sec></abstract>
<abstract abstract-type="graphical"><p><graphic xlink:href="x"/></p></abstract>
</article-meta></front>
<body><sec><title>Methods</title>
<p>Given 10<sup>9</sup> cells/&micro;l [<xref ref-type="bibr" rid="b1">1</xref>] as
in <xref ref-type="fig" rid="F1">Fig. 1</xref>.<sup><xref ref-type="bibr" rid="b1">2</xref></sup></p>
<fig id="F1"><label>Figure 1</label><caption><p>A caption.</p></caption></fig>
<table-wrap><table><tr><td>17.3</td></tr></table></table-wrap>
<p>Formula <inline-formula><tex-math>\\alpha</tex-math></inline-formula> here.
<list><list-item><p>First</p></list-item></list>after</p>
</sec></body>
<back><ref-list><ref id="b1"><mixed-citation>Smith 2001</mixed-citation></ref></ref-list></back>
</article>
"""
ARTICLE_TEXT = (
    "Aspirin & the heart*\n\nAbstract\n\nAim\n\nWe asked.\n\nMethods\n\nGiven 10⁹ cells/µl as in Fig. 1.\n\n"
    "Formula here.\n\nFirst\n\nafter"
)

MEDLINE = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet SYSTEM "http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">
<PubmedArticleSet>
<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="1">1</PMID><Article PubModel="Print">
<ArticleTitle>Effect of <i>E. coli</i>.</ArticleTitle>
<Abstract>
<AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">CO<sub>2</sub> rose to 10<sup>-3</sup>.</AbstractText>
<AbstractText Label="RESULTS">It fell.</AbstractText><CopyrightInformation>(c) 2001</CopyrightInformation></Abstract>
</Article></MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pubmed">1</ArticleId></ArticleIdList></PubmedData>
</PubmedArticle>
<PubmedArticle><MedlineCitation><PMID Version="1">2</PMID><Article><ArticleTitle>No abstract.</ArticleTitle></Article>
</MedlineCitation></PubmedArticle>
<PubmedArticle><MedlineCitation><PMID Version="2">3</PMID><Article><ArticleTitle/>
<Abstract><AbstractText>Plain.</AbstractText></Abstract></Article></MedlineCitation>
</PubmedArticle>
<DeleteCitation><PMID Version="1">9</PMID></DeleteCitation>
</PubmedArticleSet>
"""

NOTEEVENTS = (
    '"ROW_ID","SUBJECT_ID","HADM_ID","CHARTDATE","CHARTTIME","STORETIME",'
    '"CATEGORY","DESCRIPTION","CGID","ISERROR","TEXT"\n'
    '174,22532,167853,2151-08-04,,,"Discharge summary","Report",,,'
    '"Admission Date:  [**2151-7-16**]\n\nHe said ""no"".\n"\n'
    '175,1,2,2151-08-04,,,"Nursing","Report",,1,"Entered in error"\n'
    '176,1,2,2151-08-04,,,"Nursing/other","Report",,,"Stable."\n'
)


def read(name, path):
    return list(FORMATS[name].read(Path(path)))


def texts(documents):
    return [d.text for d in documents if isinstance(d, Document)]


def test_an_article_is_its_running_text(tmp_path):
    (tmp_path / "PMC456.nxml").write_text(ARTICLE)
    (found,) = read("pmc", tmp_path / "PMC456.nxml")
    assert (found.id, found.text) == ("PMC456", ARTICLE_TEXT)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar", ".tar.zst"])
def test_an_archive_of_articles(tmp_path, suffix):
    path = tmp_path / f"oa_comm_xml.PMC000xxxxxx{suffix}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in (("PMC/a.xml", ARTICLE), ("PMC/notes.txt", "x"), ("PMC/b.xml", "<article><front>")):
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    data = packed.getvalue()
    pack = {".gz": gzip.compress, ".tgz": gzip.compress, ".zst": zstd.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))
    good, broken = read("pmc", path)
    assert good.text == ARTICLE_TEXT
    assert isinstance(broken, Broken) and broken.where == f"{path}:PMC/b.xml" and "not XML" in broken.reason
    path.write_bytes(pack(data)[: 700 if path.suffix == ".tar" else -9])
    with pytest.raises(CorpusError, match=f"{path.name} is damaged or cut short"):
        read("pmc", path)


def test_pubmed_abstracts(tmp_path):
    path = tmp_path / "pubmed25n0001.xml.gz"
    path.write_bytes(gzip.compress(MEDLINE.encode()))
    assert [(d.id, d.text) for d in read("pubmed", path)] == [
        ("pmid:1", "Effect of E. coli.\nBACKGROUND: CO2 rose to 10⁻³.\nRESULTS: It fell."),
        ("pmid:3", "Plain."),
    ]
    path.write_bytes(gzip.compress(MEDLINE.encode())[:-20])
    with pytest.raises(CorpusError, match=r"pubmed25n0001\.xml\.gz is damaged or cut short"):
        read("pubmed", path)
    path.write_bytes(gzip.compress(MEDLINE.encode()[:-40]))
    with pytest.raises(CorpusError, match="damaged or not MEDLINE XML"):
        read("pubmed", path)


def test_pubmed_is_read_in_flat_memory(tmp_path):
    head, article, tail = MEDLINE.partition("<PubmedArticle>")
    body = (article + tail).replace("</PubmedArticleSet>\n", "")
    small, large = tmp_path / "a.xml", tmp_path / "b.xml"
    small.write_text(head + body * 50 + "</PubmedArticleSet>")
    large.write_text(head + body * 1500 + "</PubmedArticleSet>")
    peaks = []
    for path in (small, large):
        tracemalloc.start()
        assert sum(1 for _ in FORMATS["pubmed"].read(path)) > 50
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000


PILE = [
    {"text": "An abstract.", "meta": {"pile_set_name": "PubMed Abstracts"}},
    {"text": "A page.", "meta": {"pile_set_name": "Pile-CC"}},
]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd.compress)],
)
def test_json_lines_compressed_or_not(tmp_path, suffix, pack):
    lines = "\r\n".join(json.dumps(line) for line in PILE)
    path = tmp_path / f"00.jsonl{suffix}"
    data = pack(b"\xef\xbb\xbf" + f"{lines}\r\n\r\n".encode())
    path.write_bytes(data)
    found = read("jsonl", path)
    assert texts(found) == ["An abstract.", "A page."]
    assert found[0].id == f"{path}:1" and found[0].fields == {"meta.pile_set_name": "PubMed Abstracts"}
    if suffix:
        for damaged in (data[:-6], data[:10] + b"\0\0\0\0" + data[14:]):
            path.write_bytes(damaged)
            with pytest.raises(CorpusError, match=f"{path.name} is damaged or cut short"):
                read("jsonl", path)


def test_json_lines_of_other_kinds_and_broken_ones(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [
        '{"text": "RedPajama", "meta": {"source": "github", "list": [1]}, "red_pajama_subset": "github"}',
        '{"text": "C4", "timestamp": "2019-04-25T12:57:54Z", "url": "https://a.b"}',
        '{"text": "half a li',
        '{"content": "no text"}',
        '{"text": null}',
        "[1]",
        '{"text": "own", "id": 7}',
    ]
    half = r'{"text": "a character cut in two: \ud83d"}'
    path.write_bytes("\n".join(lines).encode() + b'\n{"text": "caf\xe9"}\n' + half.encode())
    found = read("jsonl", path)
    assert texts(found) == ["RedPajama", "C4", "own"]
    assert [d.id for d in found if isinstance(d, Document)] == [f"{path}:1", "https://a.b", "7"]
    assert [b.where for b in found if isinstance(b, Broken)] == [f"{path}:{n}" for n in (3, 4, 5, 6, 8, 9)]
    assert found[-1].reason == r"`text` holds \ud83d, half a character"


@pytest.mark.parametrize("header", [str, str.lower])
def test_mimic_iii_notes(tmp_path, header):
    path = tmp_path / "NOTEEVENTS.csv.gz"
    first, _, rest = NOTEEVENTS.partition("\n")
    path.write_bytes(gzip.compress(f"{header(first)}\n{rest}".replace("\n174", "\r\n174").encode()))
    found = read("mimic-iii", path)
    assert [d.id for d in found] == ["mimic-iii:174", "mimic-iii:176"]
    assert found[0].text == 'Admission Date:  [**2151-7-16**]\n\nHe said "no".\n'
    assert found[0].fields["CATEGORY"] == "Discharge summary" and "TEXT" not in found[0].fields


def test_notes_that_are_cut_short_or_of_another_table(tmp_path):
    path = tmp_path / "NOTEEVENTS.csv"
    path.write_text(NOTEEVENTS[:-20])
    with pytest.raises(CorpusError, match=r"NOTEEVENTS\.csv:\d+: not a whole CSV table"):
        read("mimic-iii", path)
    path.write_text(NOTEEVENTS + "177,1\n")
    assert "2 fields where the header has 11" in read("mimic-iii", path)[-1].reason
    path.write_text('"ROW_ID","VALUE"\n1,2\n')
    with pytest.raises(CorpusError, match="lacks the column CATEGORY; it has ROW_ID, VALUE"):
        read("mimic-iii", path)


def test_mimic_iv_notes(tmp_path):
    path = tmp_path / "discharge.csv.gz"
    header = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"
    row = "10000032-DS-21,10000032,22595853,DS,21,2180-05-07 00:00:00,2180-05-09 15:26:00,"
    row += '" \nName:  ___  Unit No:   ___\n"\n'
    path.write_bytes(gzip.compress((header + row).encode()))
    (found,) = read("mimic-iv-note", path)
    assert (found.id, found.text) == ("mimic-iv:10000032-DS-21", " \nName:  ___  Unit No:   ___\n")
    assert found.fields["NOTE_TYPE"] == "DS"


def test_chest_x_ray_reports_in_a_folder_or_an_archive(tmp_path):
    report = "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n"
    folder = tmp_path / "files" / "p10" / "p10000032"
    folder.mkdir(parents=True)
    (folder / "s50414267.txt").write_text(report)
    (folder / "index.html").write_text("not a report")
    with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w") as archive:
        archive.writestr("files/p10/p10000032/s50414267.txt", report)
    for path in (tmp_path / "files", tmp_path / "mimic-cxr-reports.zip"):
        (file,) = Input(format="mimic-cxr", path=path).files()
        (found,) = read("mimic-cxr", file)
        assert (found.id, found.text) == ("mimic-cxr:s50414267", report)
    (tmp_path / "mimic-cxr-reports.zip").write_bytes((tmp_path / "mimic-cxr-reports.zip").read_bytes()[:80])
    with pytest.raises(CorpusError, match=r"mimic-cxr-reports\.zip is damaged"):
        read("mimic-cxr", tmp_path / "mimic-cxr-reports.zip")


def test_plain_text_as_one_document_or_one_a_line(tmp_path, monkeypatch):
    path = tmp_path / "book.txt"
    path.write_bytes("\ufeffOne.\r\n\r\nZwei é.\n".encode() + b"caf\xe9")
    assert texts(read("lines", path)) == ["One.", "Zwei é."] and isinstance(read("lines", path)[-1], Broken)
    assert isinstance(read("text", path)[0], Broken)
    path.write_bytes("\ufeffOne.\r\n\r\nZwei é.".encode())
    assert texts(read("text", path)) == ["One.\r\n\r\nZwei é."]
    monkeypatch.setattr("mellama_train.corpus.sources.text.LARGEST", 5)
    with pytest.raises(CorpusError, match="too large for one document"):
        read("text", path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CorpusError, match="no file of the format pubmed at"):
        Input(format="pubmed", path=tmp_path).files()
    with pytest.raises(CorpusError, match="cannot read .*: No such file"), open_binary(tmp_path / "none.gz"):
        pass


def test_files_of_a_folder_and_of_a_pattern(tmp_path):
    for name in ("b.jsonl.zst", "a.jsonl", "sub/c.json.gz", "readme.md", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.name for p in Input(format="jsonl", path=tmp_path).files()] == ["a.jsonl", "b.jsonl.zst", "c.json.gz"]
    assert [p.name for p in Input(format="jsonl", path=(tmp_path / "*.jsonl",)).files()] == ["a.jsonl"]
    assert [p.name for p in Input(format="jsonl", path=tmp_path / "**" / "*.gz").files()] == ["c.json.gz"]


def test_documents_are_chosen_by_their_fields(tmp_path):
    chosen = Input(format="jsonl", path=tmp_path, where={"meta.pile_set_name": ("PubMed Abstracts", "PubMed Central")})
    assert chosen.keeps({"meta.pile_set_name": "PubMed Central"})
    assert not chosen.keeps({"meta.pile_set_name": "Pile-CC"}) and not chosen.keeps({})


def test_clinical_notes_are_credentialed_whatever_the_recipe_says(tmp_path):
    for name in ("mimic-iii", "mimic-iv-note", "mimic-cxr"):
        notes = Input(format=name, path=tmp_path)
        assert notes.access_level is AccessLevel.CREDENTIALED and "PhysioNet" in notes.agreement_name
        with pytest.raises(ValueError, match="is credentialed data"):
            Input(format=name, path=tmp_path, access=AccessLevel.OPEN)
    own = Input(format="jsonl", path=tmp_path, access=AccessLevel.CREDENTIALED, agreement="our DUA")
    assert own.agreement_name == "our DUA"
