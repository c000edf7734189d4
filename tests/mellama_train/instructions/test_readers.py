"""Every source of the instruction set in its public form: what is read, and what is said when it cannot be."""

import gzip
import json
import re
from collections import Counter

import pytest

pytest.importorskip("xxhash", reason="xxhash comes with the extra train")
pytest.importorskip("openpyxl", reason="openpyxl comes with the extra train")

import instruction_files as made

from mellama_train.errors import TrainError
from mellama_train.instructions.cleaning import cleaned
from mellama_train.instructions.prompts import TABLE_A1
from mellama_train.instructions.readers import records as records_module
from mellama_train.instructions.readers.sentences import sentences
from mellama_train.instructions.sources import PRINTED, ROWS, SOURCES


def read(name, *paths):
    reader = SOURCES[name].reader
    files = [file for path in paths for file in reader.files(path)]
    assert files
    return list(reader.read(files))


def test_the_prompts_are_the_papers_word_for_word(shared):
    text = (shared / "paper" / "2024-02-arxiv-v1.txt").read_text(encoding="utf-8")
    table = text[text.index("Table A1. The prompt") : text.index("Table A2. The prompt for")]
    printed = dict(re.findall(r'^([^\t\n]+)\t"(.*)"$', table, re.MULTILINE))
    ours = {p.name: " ".join(re.sub(r"\{\w+\}", "{text}", p.template).split()) for p in TABLE_A1}
    assert ours == {name: prompt.replace("{Text}", "{text}") for name, prompt in printed.items()}
    assert len(TABLE_A1) == 21


def test_each_source_has_a_prompt_of_the_table_or_is_said_to_have_none():
    assert {s.name for s in SOURCES.values() if s.prompt.name is None} == {"causal"}
    assert {p.name for p in TABLE_A1} == {s.prompt.name for s in SOURCES.values()} - {None}


def test_the_sizes_are_those_of_the_papers_table(shared):
    text = (shared / "paper" / "2024-02-arxiv-v1.txt").read_text(encoding="utf-8")
    table = text[text.index("Table 5. The overall") : text.index("Training Details")]
    sizes = [int(size.replace(",", "")) for size in re.findall(r"\t([\d,]{3,})\t", table)]
    assert Counter(row.size for row in ROWS if row.size) == Counter(sizes)
    assert sum(sizes) == PRINTED == 219_484


@pytest.mark.parametrize("name", SOURCES)
def test_a_reader_fills_the_slots_of_its_prompt(name):
    """Each template can be laid out from the fields that the reader's items have (checked on tables by declaration)."""
    source = SOURCES[name]
    fields = getattr(getattr(source.reader, "read_file", None), "__self__", None)
    if fields is not None:
        assert set(fields.fields) == set(source.prompt.slots())


# The real files.


def test_medicationqa(shared):
    items = read("medication_qa", shared / "data/medication_qa/MedInfo2019-QA-Medications.xlsx")
    assert len(items) == 690
    assert items[0].fields == {"input": "how does rivatigmine and otc sleep medicine interact"}
    assert items[0].response.startswith("tell your doctor and pharmacist what prescription and nonprescription")


def test_liveqa_has_the_634_pairs_of_its_readme(shared):
    folder = shared / "data/liveqa2017"
    first = read("liveqa", folder / "TREC-2017-LiveQA-Medical-Train-1.xml")
    second = read("liveqa", folder / "TREC-2017-LiveQA-Medical-Train-2.xml")
    assert (len(first), len(second)) == (388, 246)
    assert len(read("liveqa", folder / "TREC-2017-LiveQA-Medical-Train-*.xml")) == 634
    assert first[1].id == "TREC-2017-LiveQA-Medical-Train-1.xml:Q1-2"
    assert first[0].fields["input"].startswith("Literature on Cardiac amyloidosis. Please let me know")
    assert first[1].response.startswith('The term "amyloidosis" refers not to a single disease')
    assert second[1].response == "Only one finger or toe or parts of one or more may be affected."


def test_mediqa_2019_takes_the_passages_judged_correct(shared):
    items = read("mediqa", shared / "data/mediqa2019/MEDIQA2019-Task3-QA-TrainingSet1-LiveQAMed.xml")
    # 138 answers of score 3 and 91 of score 4.
    assert len(items) == 229
    assert items[0].fields["input"].startswith("Noonan syndrome. What are the references")
    assert items[0].response in items[0].fields["context"]
    assert len(items[0].fields["context"]) > len(items[0].response)


def test_mediqa_answer_summaries(tmp_path):
    answer = {"answer_abs_summ": "short", "answer_ext_summ": "cut", "section": "part", "article": "page", "url": "u"}
    value = {"1": {"question": "Why?", "multi_abs_summ": "m", "multi_ext_summ": "m", "answers": {"1_Answer1": answer}}}
    items = read("mediqa", made.write_json(tmp_path / "question_driven.json", value))
    assert [(i.fields["context"], i.response) for i in items] == [
        ("page", "short"),
        ("page", "cut"),
        ("part", "short"),
        ("part", "cut"),
    ]
    assert items[0].id == "question_driven.json:1_Answer1/article/answer_abs_summ"


def test_mediqa_of_medical_meadow(tmp_path):
    row = {"instruction": "Answer the input medical question …", "input": "Why?\nBecause of it.", "output": "It."}
    (item,) = read("mediqa", made.write_json(tmp_path / "medical_meadow_mediqa.json", [row]))
    assert (item.fields, item.response) == ({"input": "Why?", "context": "Because of it."}, "It.")


def test_medquad_as_lines_and_as_xml(shared):
    lines = read("medquad", shared / "data/medquad/medquad_answered.jsonl")
    xml = read("medquad", shared / "data/medquad/example_0000001_1.xml")
    assert len(lines) == 16_407
    assert lines[0].fields == xml[0].fields == {"input": "What is (are) Adult Acute Lymphoblastic Leukemia ?"}
    assert " ".join(lines[0].response.split()) == xml[0].response


def test_alpaca_and_chatdoctor(shared):
    alpaca = read("alpaca", shared / "data/alpaca/alpaca_5000.json")
    assert len(alpaca) == 5000
    assert alpaca[1].fields == {"input": "Arrange the following musical notes", "context": "G, B, E"}
    assert alpaca[1].response == "E, G, B"
    assert len(read("alpaca", shared / "data/alpaca/alpaca_en_demo.json")) == 999
    doctor = read("chatdoctor5k", shared / "data/chatdoctor/chatdoctor5k.json")
    assert len(doctor) == 5452
    assert doctor[0].response.startswith("Well, based on what you're telling me")


def test_medinstruct_test_set_has_its_answers_by_gpt4(shared):
    items = read("medinstruct", shared / "data/medinstruct/MedInstruct-test.jsonl")
    assert len(items) == 216
    assert items[0].fields["input"].startswith("My sister has just returned") and items[0].fields["context"] == ""
    assert items[0].response.startswith("While I strongly recommend your sister")


def test_causal_sentences_and_their_labels(shared):
    items = read("causal", shared / "data/pubmed_causal/pubmed_causal_language_use.csv")
    # The counts of Yu et al. 2019, table 1.
    assert Counter(i.response for i in items) == {
        "No relation": 1356,
        "Causal": 494,
        "Conditional causal": 213,
        "Correlational": 998,
    }


def test_titles_and_key_words_of_pubmedqa(shared):
    path = shared / "data/pubmedqa/ori_pqal.json"
    titles, topics = read("titles", path), read("key_words", path)
    assert len(titles) == len(topics) == 1000
    assert titles[0].response.startswith("Do mitochondria play a role in remodelling lace plant leaves")
    assert topics[0].response == "Alismataceae; Apoptosis; Cell Differentiation; Mitochondria; Plant Leaves"
    assert topics[0].fields["input"].startswith(titles[0].response + "\nProgrammed cell death (PCD)")


def test_next_sentences_of_real_abstracts(shared):
    path = shared / "data/pretrain_medical/pubmedqa_nontest_abstracts.jsonl"
    items = read("next_sentence", path)
    whole = {json.loads(line)["id"]: json.loads(line)["text"] for line in path.open(encoding="utf-8")}
    assert len(items) == 500
    for item in items:
        parts = sentences(whole[item.id])
        place = parts.index(item.response)
        assert item.fields["input"] == " ".join(parts[:place]) != ""
    assert read("next_sentence", path) == items
    # The place of the cut is drawn, not always the first or the last.
    assert len({item.fields["input"].count(". ") for item in items}) > 5


# Files in the exact form of releases that are not open, or not here.


def test_dolly(tmp_path):
    row = {"instruction": "When did it start?", "context": "It began in 2000.", "response": "2000", "category": "qa"}
    (item,) = read("dolly", made.write_lines(tmp_path / "databricks-dolly-15k.jsonl", [row]))
    assert (item.fields, item.response) == ({"input": "When did it start?", "context": "It began in 2000."}, "2000")


def test_sharegpt_keeps_whole_exchanges(tmp_path):
    def turns(*pairs):
        return [{"from": speaker, "value": value} for speaker, value in pairs]

    conversations = [
        turns(("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "Bye!")),
        turns(("gpt", "… rest of an answer"), ("human", "A"), ("human", "B"), ("gpt", "C"), ("human", "unanswered")),
        turns(("system", "Be kind"), ("human", "A"), ("gpt", "B"), ("human", ""), ("gpt", "C")),
        turns(("human", "never answered")),
        [],
    ]
    rows = [{"id": f"x_{n}", "conversations": c} for n, c in enumerate(conversations)]
    items = read("sharegpt", made.write_json(tmp_path / "sharegpt.json", rows))
    assert [(i.fields["input"], i.response, i.follow_up) for i in items] == [
        ("Hi", "Hello", (("Bye", "Bye!"),)),
        ("A\n\nB", "C", ()),
        ("A", "B", ()),
        ("", "", ()),
        ("", "", ()),
    ]


def test_icliniq_takes_the_doctors_answer(tmp_path):
    row = {"input": "q", "answer_icliniq": "a", "answer_chatgpt": "b", "answer_chatdoctor": "c"}
    (item,) = read("icliniq", made.write_json(tmp_path / "iCliniq.json", [row]))
    assert (item.fields["input"], item.response) == ("q", "c")


@pytest.mark.parametrize("name", ["healthcaremagic", "flash_cards", "wikidoc_patient"])
def test_sources_of_input_and_output(tmp_path, name):
    row = {"instruction": "Answer this question truthfully", "input": "What is it?", "output": "It is that."}
    (item,) = read(name, made.write_json(tmp_path / "medical_meadow.json", [row]))
    assert (item.fields, item.response) == ({"input": "What is it?"}, "It is that.")


def test_guidelines(tmp_path):
    (item,) = read("guideline_qa", made.write_lines(tmp_path / "g.jsonl", [{"question": "q", "answer": "a"}]))
    assert (item.fields, item.response) == ({"input": "q"}, "a")
    paragraphs = [f"Paragraph {n} of the guideline recommends something." for n in range(4)]
    row = {"id": "g1", "source": "who", "title": "T", "clean_text": "# Heading\n\n" + "\n\n".join(paragraphs)}
    (part,) = read("next_guideline", made.write_lines(tmp_path / "open_guidelines.jsonl", [row]))
    place = paragraphs.index(part.response)
    assert part.fields["input"] == "\n".join(paragraphs[:place])


def test_health_advice(tmp_path):
    path = tmp_path / "annotations_unstructured_abstract.csv"
    path.write_text(
        'label,pmid,sentence,rel_loc\n2,1,"Give it, always.",0.9\n1,1,Consider it.,0.5\n0,1,We gave it.,0.1\n'
    )
    assert [(i.fields["input"], i.response) for i in read("advice", path)] == [
        ("Give it, always.", "Strong Advice"),
        ("Consider it.", "Weak Advice"),
        ("We gave it.", "No Advice"),
    ]


def test_umls_relations_are_picked_out_of_pmc_llamas_instructions(tmp_path):
    rows = [
        {"source": "umls_relation", "instruction": "…", "input": "How are a and b related?", "output": "a treats b"},
        {"source": "medmcqa", "instruction": "…", "input": "Which?", "output": "B"},
    ]
    (item,) = read("umls", made.write_lines(tmp_path / "train.jsonl", rows))
    assert item.response == "a treats b"


def test_medline_gives_titles_topics_and_next_sentences(tmp_path):
    path = tmp_path / "pubmed25n0001.xml.gz"
    path.write_bytes(gzip.compress(made.MEDLINE.encode()))
    abstract = (
        "METHODS: We gave aspirin to 40 patients for a year.\n"
        "RESULTS: Ten percent vs. twelve percent of them died in that year."
    )
    (title,), (topics,), (sentence,) = read("titles", path), read("key_words", path), read("next_sentence", path)
    assert (title.id, title.fields["input"], title.response) == (
        "pmid:123",
        abstract,
        "Aspirin after myocardial infarction",
    )
    assert topics.fields["input"] == f"Aspirin after myocardial infarction\n{abstract}"
    assert topics.response == "Aspirin; Humans"
    assert [sentence.fields["input"], sentence.response] == abstract.split("\n")


def test_pubmed_central_gives_titles(tmp_path):
    (tmp_path / "PMC77.nxml").write_text(made.JATS)
    (item,) = read("titles", tmp_path)
    assert (item.id, item.response) == ("PMC77", "Statins in the elderly")
    assert item.fields["input"].splitlines() == [
        "Background",
        "Statins lower cholesterol in most adults.",
        "Results",
        "They did so in 90 of 100 elderly patients.",
    ]
    with pytest.raises(TrainError, match="no MeSH terms; take MEDLINE"):
        read("key_words", tmp_path)


@pytest.mark.parametrize("write", [made.write_mimic3, made.write_mimic4])
def test_the_tasks_on_notes_of_mimic(tmp_path, write):
    folder = write(tmp_path / "mimic")
    (radiology,) = read("mimic_radiology", folder)
    assert (radiology.fields["input"], radiology.response) == (made.FINDINGS, made.IMPRESSION)
    assert [i.response for i in read("mimic_mortality", folder)] == ["No", "Yes", "No"]
    own = [[made.ICD9[code] for code in codes] for codes, _ in made.STAYS.values()]
    assert [i.response for i in read("mimic_disease_qa", folder)] == ["; ".join(titles) for titles in own]
    for item, titles in zip(read("mimic_disease_choice", folder), own, strict=True):
        options = {letter.upper(): item.fields[letter] for letter in "abcd"}
        assert [letter for letter, disease in options.items() if disease in titles] == [item.response]
    for item, titles in zip(read("mimic_disease_binary", folder), own, strict=True):
        assert item.response == str(all(d in titles for d in item.fields["diseases"].split("; ")))
    assert "[**" not in "".join(i.fields["input"] for i in read("mimic_mortality", folder))


def test_choices_of_mimic_do_not_prefer_a_letter_or_an_answer(tmp_path, monkeypatch):
    codes = list(made.ICD9)
    stays = {str(100_000 + n): ([codes[n % 5]], "0") for n in range(400)}
    monkeypatch.setattr(made, "STAYS", stays)
    folder = made.write_mimic4(tmp_path)
    letters = Counter(i.response for i in read("mimic_disease_choice", folder))
    truths = Counter(i.response for i in read("mimic_disease_binary", folder))
    # 400 draws: six standard deviations about the mean.
    assert set(letters) == set("ABCD") and all(48 <= n <= 152 for n in letters.values())
    assert set(truths) == {"True", "False"} and all(140 <= n <= 260 for n in truths.values())


def test_manual_questions_on_notes(tmp_path):
    row = {"note": "Name: ___", "question": "Who?", "answer": "The patient."}
    (item,) = read("mimic_manual_qa", made.write_lines(tmp_path / "qa.jsonl", [row]))
    source = SOURCES["mimic_manual_qa"]
    assert source.prompt.render(item.fields).endswith("Please answer the question: Who?\nINPUT: Name: ___\nOUTPUT:")
    assert source.access.agreement == "PhysioNet Credentialed Health Data Use Agreement 1.5.0"


# What cannot be read.


def check_error(name, path, match):
    with pytest.raises(TrainError, match=match) as caught:
        read(name, path)
    assert "\n" not in str(caught.value)


def test_wrong_columns_and_broken_lines(tmp_path):
    check_error("dolly", made.write_lines(tmp_path / "a.jsonl", [{"text": "x"}]), r"a.jsonl:1: no column 'instruction'")
    path = tmp_path / "b.jsonl"
    path.write_text('{"instruction": "a", "context": "", "response": "b"}\n{"instruction": "a", \n')
    check_error("dolly", path, r"b.jsonl:2: not JSON .* mend the line")
    path = tmp_path / "c.json"
    path.write_text('[{"instruction": "a", "output": "b"},\n {"instruction": ]')
    check_error("alpaca", path, r"c.json:record 2: not JSON")
    path.write_text('[{"instruction": "a", "output": "b"}')
    check_error("alpaca", path, r"c.json: the list is cut short after record 1")
    path.write_text('[{"instruction": "a", "output": ["b"]}]')
    check_error("alpaca", path, r"record 1: output holds a list, not text")
    path.write_text(r'[{"instruction": "a", "output": "cut \ud83d"}]')
    check_error("alpaca", path, r"record 1: output holds \\ud83d, half a character; mend the text")
    path = tmp_path / "d.csv"
    path.write_text("sentence,label\nIt helps.,7\n")
    check_error("causal", path, r"d.csv:2: the label is '7', and should be one of 0, 1, 2, 3")
    path.write_text("sentence,label\nIt, helps.,1\n")
    check_error("causal", path, r"d.csv:2: 3 fields where the header has 2")


def test_wrong_encoding_is_named(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"question": "Méniêre?", "answer": "x"}'.encode("latin-1"))
    check_error("guideline_qa", path, r"latin.jsonl:1: not UTF-8")
    path = tmp_path / "latin.csv"
    path.write_bytes("sentence,label\nMéniêre,1\n".encode("latin-1"))
    check_error("causal", path, r"latin.csv is not UTF-8 text")


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "x.xlsx"
    path.write_bytes(b"not a zip")
    check_error("medication_qa", path, r"x.xlsx: no whole .xlsx file")
    path = tmp_path / "x.xml"
    path.write_text("<a><NLM-QUESTION></a>")
    check_error("liveqa", path, r"x.xml: not XML, or cut short")
    path.write_text("<a/>")
    check_error("liveqa", path, r"no <NLM-QUESTION> in it")
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    check_error("flash_cards", path, r"x.parquet: no form of this source; known: .json, .jsonl, .csv, .xlsx")


def test_entities_that_grow_without_end_are_refused(tmp_path):
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    path = tmp_path / "laughs.xml"
    path.write_text(f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><a><Question>&e12;</Question></a>')
    check_error("mediqa", path, "limit on input amplification")


def test_a_release_of_mimic_without_a_table(tmp_path):
    folder = made.write_mimic3(tmp_path)
    (folder / "ADMISSIONS.csv.gz").unlink()
    check_error("mimic_mortality", folder, "the table admissions.csv.gz is missing; get it from PhysioNet")
    made.write_mimic4(tmp_path)
    check_error("mimic_mortality", tmp_path, "holds both releases; give the folder of each")


def test_records_of_a_list_are_found_across_the_chunks_that_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "CHUNK", 7)
    rows = [{"instruction": f'[{n}] é{{}}, \\ "x"', "output": "]" * n} for n in range(1, 30)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
    assert [dict(record) for _, record in records_module.records(path)] == rows


def test_nulls_and_contexts_that_are_not_there():
    alpaca = SOURCES["alpaca"]
    from mellama_train.instructions.items import Item

    def clean(input, context, response):
        return cleaned(Item("1", {"input": input, "context": context}, response), alpaca.prompt)

    assert clean("a", "", "") is None and clean(" ", "c", "b") is None and clean("a", "", "<nooutput>") is None
    assert clean("a", "", "nan") is None
    # "None" is an answer, and no context.
    kept = clean("How many?", "<noinput>", "None")
    assert kept.response == "None"
    assert alpaca.prompt.render(kept.fields).endswith("the request.\nINPUT: How many?\nOUTPUT:")
    kept = clean("a {context}", "c", "b\ud83d\u0000")
    assert alpaca.prompt.render(kept.fields).endswith("INPUT: a {context}\nCONTEXT: c\nOUTPUT:")
    assert kept.response == "b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We grew E. coli in broth. It grew well in it, i.e. fast.", 2),
        ("METHODS\nWe gave aspirin to the patients.\nRESULTS\nNone of them died that year.", 2),
        ("Was it better (p < 0.05)? Yes, it was much better.", 2),
        ("lower case starts a sentence here. and this is the next one.", 2),
        ("", 0),
    ],
)
def test_sentences(text, expected):
    assert len(sentences(text)) == expected
