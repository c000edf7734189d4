"""Test sets in training text: what is caught, what is a chance match, and what a report may say."""

import json

import pytest

pytest.importorskip("xxhash", reason="xxhash comes with the extra train")

from hypothesis import given
from hypothesis import strategies as st

import mibe
from mellama_train.corpus.decontaminate import build_index, example_passages, report_line
from mellama_train.corpus.words import hashes, ngrams, words
from mellama_train.errors import CorpusError
from mibe.data.schema import to_line
from mibe.task import AccessLevel, Example

SENTENCE = "The patient, a 54-year-old man, was admitted with crushing chest pain radiating to his left arm and jaw."
OTHER = (
    "Troponin was elevated on arrival and an electrocardiogram had ST elevation in the inferior leads (II, III, aVF)."
)


def prepare(folder, name, *texts):
    """Test examples as a user prepares them by hand."""
    path = folder / "data" / name / "test.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"{name}-{i}", "inputs": {"text": t}, "target": "a"} for i, t in enumerate(texts)]
    path.write_text("\n".join(map(json.dumps, rows)))


def index(own_folders, tmp_path, *texts, name="ddi", **settings):
    prepare(own_folders, name, *texts)
    return build_index(tmp_path / "index", tasks=[name], **settings)


@pytest.mark.parametrize(
    "planted",
    [
        SENTENCE,
        SENTENCE.upper(),
        SENTENCE.replace(" ", "  \n\t "),
        SENTENCE.replace(",", "").replace("-", " - "),
        SENTENCE.replace("fi", "ﬁ").replace("54", "５４"),
        SENTENCE.replace("admitted", "ad\u00admitted").replace("pain", "pa\u200bin").replace("jaw", "ja\u0301w"),
        SENTENCE.replace("54-year-old", "54\u2011year old"),
    ],
)
def test_a_planted_sentence_is_caught_however_it_is_written(own_folders, tmp_path, planted):
    found = index(own_folders, tmp_path, f"{OTHER} {SENTENCE} {OTHER}").hits(f"Before it. {planted}\nAnd after it.")
    (hit,) = found
    assert (hit.task, hit.example, hit.coverage) == ("ddi", "ddi-0", 1.0)
    assert hit.span == " ".join(words(SENTENCE))


@pytest.mark.parametrize(
    "planted",
    [
        SENTENCE.replace("crushing chest", "<b>crushing</b> chest").replace("was", "<a href='x'>was</a>"),
        SENTENCE.replace(" with", "<br/>with").replace(" his", "<br />his"),
        SENTENCE.replace("54-year-old", "54&#45;year&#8209;old").replace("pain ", "pain&nbsp;"),
        SENTENCE.replace(" with", "\\nwith").replace(" left", "\\r\\nleft").replace("and ", "and\\t"),
        SENTENCE.replace("admitted", "admitted [12]").replace("pain", "pain[3, 5\u20137]"),
    ],
)
def test_markup_between_the_words_hides_nothing(own_folders, tmp_path, planted):
    built = index(own_folders, tmp_path, SENTENCE)
    (hit,) = built.hits(f"Before it. {planted} After it.")
    assert hit.coverage == 1.0
    # A text that is no markup stays whole: "<" and ">" are signs of comparison as well.
    (hit,) = built.hits(f"p <0.05. {SENTENCE} p> 0.01")
    assert hit.coverage == 1.0


def test_a_hyphen_may_be_left_out_or_break_a_word_at_the_end_of_a_line(own_folders, tmp_path):
    built = index(own_folders, tmp_path, SENTENCE)
    broken = SENTENCE.replace("54-year-old", "54year\u2010\nold").replace("crushing", "crush-\n  ing")
    (hit,) = built.hits(f"Before it. {broken} After it.")
    assert hit.coverage == 1.0 and " 54yearold man was admitted with crushing " in hit.span


def test_punctuation_may_be_left_out_of_numbers_and_words(own_folders, tmp_path):
    text = (
        "The patient's 3.5 mg/dl of 1,000 units and/or placebo (given i.v.) were stopped on day 2 of 7 by Dr. O'Neill."
    )
    (hit,) = index(own_folders, tmp_path, text).hits("".join(c for c in text if c not in ".,/'()"))
    assert hit.coverage == 1.0


def test_a_sentence_of_a_bundled_test_set_is_caught(tmp_path):
    example = next(e for e in mibe.examples(mibe.load_task("pubmedqa"), "test"))
    sentence = next(p for p in example_passages(example, 13))
    found = build_index(tmp_path, tasks=["pubmedqa"]).hits(" ... ".join(word.title() for word in sentence))
    assert (found[0].example, found[0].coverage) == (example.id, 1.0)


def test_a_chance_phrase_is_reported_with_a_low_coverage(own_folders, tmp_path):
    long = " ".join(f"word{i}" for i in range(60))
    found = index(own_folders, tmp_path, long).hits(
        "other text and then " + " ".join(f"word{i}" for i in range(20, 33))
    )
    (hit,) = found
    # One run of 13 words, of the 48 in 60 words.
    assert hit.coverage == pytest.approx(1 / 48) and hit.span.startswith("word20 ") and hit.span.endswith(" word32")


def test_text_of_its_own_has_no_hits(own_folders, tmp_path):
    built = index(own_folders, tmp_path, SENTENCE)
    assert built.hits(OTHER) == [] and built.hits("short") == [] and built.hits("") == []
    # Twelve words in a row are not thirteen.
    assert built.hits(" ".join(words(SENTENCE)[:12])) == []


def test_what_a_document_has_twice_counts_once(own_folders, tmp_path):
    long = " ".join(f"word{i}" for i in range(26))
    half = " ".join(f"word{i}" for i in range(13))
    (hit,) = index(own_folders, tmp_path, long).hits(f"{half} and {half} and {half}")
    assert hit.coverage == pytest.approx(1 / 14)


def test_boilerplate_of_many_examples_does_not_count(own_folders, tmp_path):
    boilerplate = "Which of the following is the most likely diagnosis in this patient given these findings today?"
    texts = [f"{boilerplate} {OTHER.replace('Troponin', f'Marker{i}')}" for i in range(4)]
    built = index(own_folders, tmp_path, *texts, common=3)
    assert built.hits(boilerplate) == []
    assert built.hits(OTHER.replace("Troponin", "Marker2"))[0].example == "ddi-2"


def prepare_pairs(folder, pairs, *texts):
    """Sentences of which each makes as many examples as `pairs` says, with two words masked, as DDI's."""
    path = folder / "data" / "ddi" / "test.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"s{n}.p{i}", "inputs": {"text": f"@DRUG$ {text} @DRUG${i}"}, "target": "DDI-false", "source": text}
        for n, text in enumerate(texts)
        for i in range(pairs)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


def test_a_sentence_that_the_prompt_shows_masked_is_caught_as_its_release_has_it(own_folders, tmp_path):
    source = "The combination of quinidine and verapamil should be used with caution in patients with low pressure."
    prepare(own_folders, "ddi", source.replace("quinidine", "@DRUG$").replace("verapamil", "@DRUG$"))
    assert build_index(tmp_path / "masked", tasks=["ddi"]).hits(source) == []
    prepare_pairs(own_folders, 1, source)
    (hit,) = build_index(tmp_path / "both", tasks=["ddi"]).hits(f"Before it. {source} After it.")
    assert (hit.example, hit.coverage) == ("s0.p0", 1.0)


def test_the_many_examples_of_one_document_do_not_make_it_boilerplate(own_folders, tmp_path):
    # 30 pairs of one sentence are one document; of 11 documents that share a sentence that is boilerplate.
    prepare_pairs(own_folders, 30, SENTENCE)
    found = build_index(tmp_path / "one", tasks=["ddi"]).hits(SENTENCE)
    assert len(found) == 30 and found[0].coverage == 1.0
    prepare_pairs(own_folders, 1, *(f"{SENTENCE} Number {n}." for n in range(11)))
    assert build_index(tmp_path / "eleven", tasks=["ddi"]).hits(SENTENCE) == []


def test_a_question_is_caught_as_the_prompt_writes_it(own_folders, tmp_path):
    path = own_folders / "data" / "mmlu" / "test.jsonl"
    path.parent.mkdir(parents=True)
    options = ["plain blue cotton", "rough red wool", "fine white silk", "thick black felt"]
    path.write_text(
        json.dumps({"id": "q", "inputs": {"question": "Which cloth is meant?"}, "target": "B", "choices": options})
    )
    built = build_index(tmp_path / "index", tasks=["mmlu"])
    lettered = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", options, strict=True))
    assert built.hits(f"Question: Which cloth is meant?\nOptions:\n{lettered}\nAnswer: B")[0].coverage == 1.0
    assert built.hits(f"Which cloth is meant? {' '.join(options)}")[0].coverage == 1.0


@pytest.mark.slow
def test_every_sentence_of_ddis_release_is_caught(shared, own_folders, tmp_path):
    from mibe.data.raw import RawFiles

    examples = mibe.load_task("ddi").source.read(RawFiles(shared / "data" / "ddi2013"), variant="official")["test"]
    path = own_folders / "data" / "ddi" / "test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(map(to_line, examples)))
    built = build_index(tmp_path / "index", tasks=["ddi"])
    long = {e.source for e in examples if len(words(e.source)) >= 13}
    assert len(long) > 600
    caught = [text for text in long if (hits := built.hits(text)) and hits[0].coverage >= 0.5]
    assert len(caught) / len(long) >= 0.99


def test_passages_are_sentences_and_short_ones_are_joined():
    example = Example(
        "1",
        {"context": f"Short one. {SENTENCE}", "question": "What is the most likely diagnosis?"},
        "A",
        choices=("Acute myocardial infarction of the inferior wall", "Pulmonary embolism"),
    )
    assert list(example_passages(example, 13)) == [
        words(SENTENCE),
        words("What is the most likely diagnosis? Acute myocardial infarction of the inferior wall"),
    ]


def test_a_summary_is_looked_for_as_well():
    example = Example("1", {"text": "too short"}, SENTENCE)
    assert list(example_passages(example, 13)) == [words(SENTENCE)]


@given(st.lists(st.sampled_from(["ab", "cd", "ef", "gh"]), max_size=40), st.integers(1, 15))
def test_equal_runs_of_words_have_equal_hashes_and_others_not(some_words, n):
    found = ngrams(hashes(some_words), n).tolist()
    runs = [tuple(some_words[i : i + n]) for i in range(len(some_words) - n + 1)]
    assert len(found) == len(runs)
    assert len(set(found)) == len(set(runs)) == len(set(zip(found, runs, strict=True)))


def test_all_prepared_tasks_are_looked_at_and_those_on_the_same_data_once(own_folders, tmp_path):
    prepare(own_folders, "ddi", SENTENCE)
    tasks = build_index(tmp_path).about["tasks"]
    assert {"ddi", "pubmedqa", "medqa", "medmcqa", "mmlu"} <= tasks.keys()
    assert not any(name.startswith("mmlu_") for name in tasks) and "hoc" not in tasks
    assert tasks["pubmedqa"]["examples"] == 500 and tasks["mmlu"]["examples"] == 14042
    assert tasks["ddi"] == {"access": "non-commercial", "examples": 1, "passages": 1, "too_short": 0}


def test_a_task_that_is_named_must_be_prepared(tmp_path):
    with pytest.raises(CorpusError, match="the test set of hoc is not prepared.*mibe data prepare hoc"):
        build_index(tmp_path, tasks=["pubmedqa", "hoc"])


def test_the_report_has_no_text_of_credentialed_data(own_folders, tmp_path):
    for name, access, shown in (
        ("ddi", AccessLevel.OPEN, True),
        ("ddi", AccessLevel.CREDENTIALED, False),
        ("mednli", AccessLevel.OPEN, False),
    ):
        built = index(own_folders, tmp_path, SENTENCE, name=name)
        (hit,) = built.hits(SENTENCE)
        line = report_line(built, hit, document="d1", source="s", access=access, removed=True)
        assert ("crushing" in line) is shown
        kept = json.loads(line)
        assert (kept["task"], kept["document"], kept["coverage"], kept["removed"]) == (name, "d1", 1.0, True)
        assert (kept["span"] is None) is not shown
