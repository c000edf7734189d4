"""The protocol `paper`: what the released code does, statement by statement, with figures worked out by hand.

scikit-learn, seqeval and rouge-score, which that code calls, stand beside ours as oracles.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator
from seqeval.metrics import f1_score, precision_score, recall_score
from sklearn import metrics as sk

from mibe import protocols
from mibe.errors import ModelError, UsageError
from mibe.metrics.base import BootstrapMedian
from mibe.metrics.extraction import Entity
from mibe.metrics.score import score
from mibe.metrics.summarization import Rouge
from mibe.models.base import Response
from mibe.parsers.spans import Span, read_marks, write_marks
from mibe.prompting import layout, plain_text, stop_strings, template_sha256
from mibe.protocols import paper_marks
from mibe.protocols.paper import RULES, UNCHANGED
from mibe.protocols.paper_marks import align, chunks, tagged_words
from mibe.protocols.paper_metrics import AlignedEntities, CharacterScores, character_f1
from mibe.protocols.paper_parsing import MarkedWords
from mibe.registry import list_groups, list_tasks, load_task
from mibe.run.reading import judge_response
from mibe.run.scoring import score_rows
from mibe.run.settings import Settings
from mibe.task import Example

needs_marks = pytest.mark.skipif(
    not all(paper_marks.find_spec(name) for name in ("bs4", "spacy")), reason="the extra `paper` is not installed"
)
NAMES = tuple(RULES)


def paper(name):
    return protocols.apply("paper", load_task(name))


def scored(task, pairs):
    """Figures of (output, target) pairs, through the same door as `mibe score`."""
    rows = [
        {"id": str(i)}
        | judge_response(task, Example(str(i), {"text": "x"}, target), Response(text=output, finish_reason="stop"))
        for i, (output, target) in enumerate(pairs)
    ]
    return {name: figure["value"] for name, figure in score_rows(task, rows, resamples=20, seed=0)["figures"].items()}


# ── Applying a protocol ──────────────────────────────────────────────────────────────────────────────────────────────


def test_default_is_the_task_itself():
    task = load_task("ddi")
    assert protocols.apply("default", task) is task


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="known: default, paper"):
        protocols.apply("papre", load_task("ddi"))
    with pytest.raises(UsageError, match="released code has no task 'mine'"):
        protocols.apply("paper", replace(load_task("ddi"), name="mine"))
    with pytest.raises(UsageError, match="released code has no task 'mine'"):
        protocols.apply("paper", replace(load_task("ddi"), name="mine"), "table")


def test_every_task_has_a_rule_or_stays():
    assert set(list_tasks()) == set(RULES) | UNCHANGED


@pytest.mark.parametrize("name", NAMES)
def test_generation_is_greedy_to_256_tokens_and_only_the_end_token_stops(name):
    if name in ("i2b2", "bc5cdr"):
        pytest.importorskip("spacy")
    task = paper(name)
    assert task.max_new_tokens == 256
    assert stop_strings(task.prompt, chat=False) == ()
    assert task.headline in [figure for metric in task.metrics for figure in metric.names]
    assert template_sha256(task.prompt) != template_sha256(load_task(name).prompt)


# ── Answers that are one label ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "output", "answer"),
    [
        ("pubmedqa", "Yes.", "yes"),
        ("pubmedqa", "unknown", "no"),  # the word holds one
        ("pubmedqa", "No, not yes", "yes"),  # first of the choices, not of the output
        ("pubmedqa", "<think>yes or no</think> maybe", "yes"),
        ("pubmedqa", "perhaps", None),
        ("medqa", "According to the guideline, C", "A"),
        ("medqa", "the answer is c", None),
        ("medqa", "The answer is E", "E"),
        ("medqa", "Definitely (C)", "C"),
        ("medqa_4", "The answer is E", None),
        ("medmcqa", "Because of B", "B"),
        ("medmcqa", "E", None),
        ("mtsample", "Neurosurgery", "Surgery"),
        ("mtsample", "Neurology", "Urology"),
        ("mtsample", "IME-QME-WORK COMP ETC.", "IME-QME-Work Comp etc."),
        ("mtsample", "Cardiology", None),
        ("mmlu", "2", "C"),
        ("mmlu", "Option 3, not 1", "B"),
        ("mmlu", "C", None),
        ("ddi", "DDI-effect", "DDI-effect"),
        ("ddi", "ddi-effect", None),
        ("ddi", "DDI-effect, not DDI-int", None),
        ("ddi", "DDI-effect DDI-effect", "DDI-effect"),
        ("ddi", "DDI-advice", None),
    ],
)
def test_matching(name, output, answer):
    assert paper(name).parser(output) == answer


def test_nli_is_matched_in_the_order_of_the_released_choices():
    for name in ("mednli", "bionli"):
        parser = paper(name).parser
        assert parser("neither neutral nor a Contradiction, but Entailment") == "entailment"
        assert parser("neutral or contradiction") == "contradiction"
        assert parser("unclear") is None


def test_classification_figures():
    # Answers: yes, no (in "unknown"), missing, yes. F1 of yes 2·1/(2+2) = 1/2, of no 2·1/(1+1) = 1, of maybe 0.
    pairs = [("Yes", "yes"), ("unknown", "no"), ("perhaps", "yes"), ("yes and no", "maybe")]
    assert scored(paper("pubmedqa"), pairs) == pytest.approx(
        {"accuracy": 0.5, "missing": 0.25, "weighted_f1": 0.5, "macro_f1": 0.5}
    )


def test_macro_f1_is_over_the_gold_labels_alone():
    # "maybe" is answered once and never gold: yes 2·1/(1+2), no 1, averaged over two labels.
    figures = scored(paper("pubmedqa"), [("yes", "yes"), ("maybe", "yes"), ("no", "no")])
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


@given(st.data(), st.sampled_from(["pubmedqa", "medqa", "mtsample", "ddi"]))
def test_classification_figures_equal_scikit_learn(data, name):
    task = paper(name)
    words = st.lists(st.sampled_from([*task.labels, "missing it", "lower", "As", "unknown"]), max_size=3).map(" ".join)
    pairs = data.draw(st.lists(st.tuples(words, st.sampled_from(task.labels)), min_size=1, max_size=20))
    gold = [target for _, target in pairs]
    answers = [task.parser(output) or "missing" for output, _ in pairs]
    labels = list(set(gold))
    expected = {
        "accuracy": sk.accuracy_score(gold, answers),
        "missing": answers.count("missing") / len(answers),
        "weighted_f1": sk.f1_score(gold, answers, average="weighted", labels=labels, zero_division=0),
        "macro_f1": sk.f1_score(gold, answers, average="macro", labels=labels, zero_division=0),
    }
    assert scored(task, pairs) == pytest.approx(expected, abs=1e-12)


# ── Hallmarks of cancer ──────────────────────────────────────────────────────────────────────────────────────────────


def test_hoc_is_a_case_sensitive_substring_per_label():
    parser = paper("hoc").parser
    assert parser("It is not cellular energetics; Resisting cell death") == ["cellular energetics"]
    assert parser("none") == []


@given(st.data())
def test_hoc_macro_f1_equals_scikit_learn_over_ten_columns(data):
    task = paper("hoc")
    sets = st.sets(st.sampled_from(task.labels), max_size=3).map(sorted)
    pairs = data.draw(st.lists(st.tuples(sets, sets), min_size=1, max_size=12))
    columns = [[[label in found for label in task.labels] for found in side] for side in zip(*pairs, strict=True)]
    expected = sk.f1_score(np.array(columns[1]), np.array(columns[0]), average="macro", zero_division=0)
    figures = scored(task, [("; ".join(output), target) for output, target in pairs])
    assert figures["macro_f1"] == pytest.approx(expected, abs=1e-12)


# ── emrQA ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("output", "reference", "exact", "f1"),
    [
        ("lisinopril", "lisinopril", 1, 0.7),  # l i s n o p r: 7 of 10 characters
        ("Lisino pril.", "lisinopril", 1, 0.7),  # case, punctuation and white space do not count
        ("the abc", "abc", 0, 2 * 3 / (6 + 3)),  # articles stay
        ("xyz", "abc", 0, 0),
        ("...", " ", 1, 1),
        ("", "abc", 0, 0),
        ("abc\u200b", "abc", 0, 2 * 3 / (4 + 3)),  # a zero-width space is a character
        ("abc\u00a0", "abc", 1, 1),  # a non-breaking one is white space
    ],
)
def test_emrqa_scores_characters(output, reference, exact, f1):
    assert scored(paper("emrqa"), [(output, reference)]) == pytest.approx({"exact_match": exact, "f1": f1})


def test_emrqa_takes_the_first_of_several_references():
    assert CharacterScores().values(["b", None], [["a", "b"], ["a"]]).tolist() == [[0, 0], [0, 0]]


@given(st.text(max_size=30))
def test_character_f1_of_equal_texts_is_the_share_of_distinct_characters(text):
    normal = [c for c in text.lower() if not c.isspace() and c not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]
    assert character_f1(text, text) == pytest.approx(len(set(normal)) / len(normal) if normal else 1)


# ── Marked sentences ─────────────────────────────────────────────────────────────────────────────────────────────────

SENTENCE = "CT showed pneumonia, so levofloxacin (500mg) was started."
GOLD = [["test", 0, 2], ["problem", 10, 19], ["treatment", 24, 36]]
MARKED = (
    '<span class="test">CT</span> showed <span class="problem">pneumonia</span>, so '
    '<span class="treatment">levofloxacin</span> (500mg) was started.'
)


def entity_figures(outputs, sentence=SENTENCE, gold=GOLD):
    parser = MarkedWords()
    predictions = [parser(output, inputs={"text": sentence}) for output in outputs]
    figures = score([AlignedEntities()], predictions, [gold] * len(outputs), resamples=10)
    return {name: figure.value for name, figure in figures.items()}


@needs_marks
def test_the_gold_sentence_is_marked_as_the_released_data_are():
    assert write_marks(SENTENCE, [Span(*item) for item in GOLD]) == MARKED
    # Of marks within and across one another, the outer one that begins first is what the top level shows.
    nested = [Span("problem", 0, 9), Span("test", 0, 2), Span("treatment", 3, 19)]
    words = [["CT", "B-problem"], ["showed", "I-problem"], ["pneumonia", "O"]]
    assert tagged_words(write_marks("CT showed pneumonia", nested)) == words


@needs_marks
@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ('a <span class="problem">b c</span>', [["a", "O"], ["b", "B-problem"], ["c", "I-problem"]]),
        ('<span class="drug x">b</span>', [["b", "B-drug"]]),  # the first class; "drug" counts too
        ('<span class="x drug">b</span>', [["b", "O"]]),
        ('<span class="Problem">b</span>', [["b", "O"]]),
        ("<problem>b</problem>", [["b", "O"]]),
        ('<p>a <span class="test">b</span></p>', [["a", "O"], ["b", "O"]]),  # the top level alone counts
        ('<span class="test">a <b>b</b></span>', [["a", "B-test"], ["b", "I-test"]]),
        ('<span class="test">a b', [["a", "B-test"], ["b", "I-test"]]),  # never closed
        ("a (b), c", [["a", "O"], ["(b),", "O"], ["c", "O"]]),  # white space outside,
        ('<span class="test">(b)</span>', [["(", "B-test"], ["b", "I-test"], [")", "I-test"]]),  # spaCy inside
        ("a &lt; b", [["a", "O"], ["<", "O"], ["b", "O"]]),
        ("```html", [["```html", "O"]]),
        ("", []),
    ],
)
def test_words_and_tags(marked, words):
    assert tagged_words(marked) == words


def test_alignment():
    # "(500" begins "(500mg)", whose rest "mg)" is dropped with "x", as neither begins the other.
    predicted = [["a", "O"], ["(500", "B-test"], ["x", "O"], ["b", "O"]]
    gold = [["a", "O"], ["(500mg)", "B-problem"], ["b", "B-test"]]
    assert align(predicted, gold) == (["O", "B-test", "O"], ["O", "B-problem", "B-test"])
    # The rest of a longer word goes on as an inside tag.
    assert align([["ab", "B-test"]], [["a", "O"], ["b", "O"]]) == (["B-test", "I-test"], ["O", "O"])
    assert align([["ab", "O"]], [["a", "B-test"], ["b", "I-test"]]) == (["O", "O"], ["B-test", "I-test"])
    assert align([], gold) == ([], [])


tags = st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), max_size=12)


@given(tags)
def test_chunks_are_those_of_seqeval(sequence):
    from seqeval.metrics.sequence_labeling import get_entities

    assert chunks(sequence) == {Entity(kind, start, end + 1) for kind, start, end in get_entities(sequence)}


@needs_marks
@given(
    st.lists(st.lists(st.sampled_from([*MARKED.split(), "x", "</span>", "<b>"]), max_size=14), min_size=1, max_size=4)
)
@pytest.mark.filterwarnings("ignore")
def test_entity_figures_equal_seqeval(outputs):
    texts = [" ".join(words) for words in outputs]
    aligned = [align(tagged_words(text), tagged_words(MARKED)) for text in texts]
    predicted, gold = [p for p, _ in aligned], [g for _, g in aligned]
    expected = {
        "entity_f1": f1_score(gold, predicted),
        "entity_precision": precision_score(gold, predicted),
        "entity_recall": recall_score(gold, predicted),
    }
    assert entity_figures(texts) == pytest.approx(expected, abs=1e-12)


@needs_marks
def test_gold_beyond_a_truncated_output_is_no_miss():
    assert entity_figures([MARKED]) == pytest.approx(dict.fromkeys(AlignedEntities().names, 1.0))
    assert entity_figures([MARKED[: MARKED.index(", so")]]) == pytest.approx(
        dict.fromkeys(AlignedEntities().names, 1.0)
    )
    assert entity_figures([""])["entity_f1"] == 0


@needs_marks
def test_a_preface_shifts_the_words_and_loses_everything():
    assert entity_figures(["Sure! " + MARKED])["entity_f1"] == 0


@needs_marks
def test_figures_are_micro_averages_over_sentences():
    # One sentence with three hits of three, one with no mark: precision 1, recall 3/6.
    figures = entity_figures([MARKED, SENTENCE])
    assert figures == pytest.approx({"entity_precision": 1, "entity_recall": 0.5, "entity_f1": 2 / 3})


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(paper_marks, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "mibe\[paper\]"'):
        paper("i2b2")


# ── Summaries ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_summaries_are_scored_as_they_are():
    task = paper("pubmedsum")
    text = "<think>Alpha</think> beta"
    figures = scored(task, [(text, "think alpha think beta")])
    assert figures["rouge1"] == figures["rouge1_median"] == pytest.approx(1.0)


def test_rouge_medians_are_those_of_the_aggregator():
    rng = np.random.default_rng(0)
    words = np.array(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"])
    texts = [[" ".join(rng.choice(words, size=rng.integers(4, 14))) for _ in range(60)] for _ in range(2)]
    scorer, aggregator = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False), BootstrapAggregator()
    np.random.seed(0)
    for prediction, target in zip(*texts, strict=True):
        aggregator.add_scores(scorer.score(target, prediction))
    figures = score([Rouge(), BootstrapMedian(Rouge())], *texts)
    medians = {name: figures[f"{name}_median"].value for name in ("rouge1", "rouge2", "rougeL")}
    expected = {name: aggregate.mid.fmeasure for name, aggregate in aggregator.aggregate().items()}
    assert medians == pytest.approx(expected, abs=0.004)
    assert medians != {name: figures[name].value for name in medians}


# ── Prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pubmedqa_prompt():
    example = Example("1", {"question": "Is it?", "context": "One.\nTwo."}, "yes")
    query = (
        "As an expert doctor in clinical science and medical knowledge, can you tell me if the following statement is "
        "correct? Answer yes, no, or maybe.\nOne.\nTwo.\nIs it?\nThe answer is:\n"
    )
    prompt = paper("pubmedqa").prompt
    assert plain_text(prompt, (), example) == query
    assert plain_text(prompt, (example, example), example) == f"{query}yes\n\n{query}yes\n\n{query}"
    assert layout(prompt, (example,), example, chat=True) == ({"role": "user", "content": f"{query}yes\n\n{query}"},)


@pytest.mark.parametrize(("stem", "shown"), [("Why", "Why?"), ("Why?", "Why?"), ("It is.", "It is."), ("is:", "is:?")])
def test_examination_prompts(stem, shown):
    example = Example("1", {"question": stem}, "B", choices=("x", "y"))
    for name in ("medqa", "medqa_4", "medmcqa"):
        text = plain_text(paper(name).prompt, (), example)
        assert text.endswith(f"medical guidelines.\nQuestion: {shown}\n\nOptions:\nA. x\nB. y\n\nThe answer is\n")


def test_mmlu_prompt_asks_for_an_index():
    example = Example("1", {"question": "Why?"}, "C", choices=("w", "x", "y's", "z"))
    prompt = paper("mmlu").prompt
    text = plain_text(prompt, (), example)
    assert "Question: Why?\nChoices: ['w', 'x', \"y's\", 'z'].\nPlease respond with the index" in text
    assert prompt.answer(example) == "2"


def test_other_prompts():
    def text(task, inputs, target="x"):
        return plain_text(task.prompt, (), Example("1", inputs, target))

    assert text(paper("ddi"), {"text": "S"}).endswith("additional information\n###\nINPUT: S\nOUTPUT:\n")
    assert "DDI-advice" not in text(paper("ddi"), {"text": "S"})
    assert text(paper("hoc"), {"text": "S"}).endswith("relevant topics.\n    ###\n    INPUT: S\n    OUTPUT:\n")
    assert "are: 'Surgery', 'Allergy" in text(paper("mtsample"), {"text": "S"})
    emrqa = text(paper("emrqa"), {"context": "C", "question": "Q"})
    assert emrqa.startswith("\nTASK: Given") and emrqa.endswith("\n###\nContext: C\nQuestion Q\nAnswer:\n")
    summary = text(paper("pubmedsum"), {"text": "S"})
    assert summary.startswith("***TASK***\nthe task is") and summary.endswith("***EXAMPLES***\n\nInput: S\nOutput:\n")
    report = "Derive the impression from findings in the radiology report.\n    INPUT: S\n    OUTPUT:\n    "
    assert text(paper("mimic_cxr"), {"findings": "S"}) == report
    nli = text(paper("mednli"), {"premise": "P", "hypothesis": "H"})
    assert nli.endswith("\n###\nINPUT: [PRE] P [HYP] H\nOUTPUT:\n")


@needs_marks
def test_i2b2_prompt():
    example = Example("1", {"text": "CT now"}, [["test", 0, 2]])
    query = plain_text(paper("i2b2").prompt, (), example)
    assert query.endswith("to denote a test\nInput Text: CT now\nOutput Text:\n")
    shot = f'{query}<span class="test">CT</span> now\n\n{query}'
    assert plain_text(paper("i2b2").prompt, (example,), example) == shot


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"


def examples_on_the_page():
    """(task, cells of the row) for every example; the last two cells are those of `default` and `paper`."""
    names = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            names = line.removeprefix("### ").split(", ") if line.startswith("### ") else []
        elif names and line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            yield from ((name, cells) for name in names)


def outcome_on(protocol, name, cells, expected):
    """What the cell should say: a figure of this one output, or what is read from it."""
    task = protocols.apply(protocol, load_task(name))
    output, *reference = (cell.removeprefix("`").removesuffix("`") for cell in cells[:-2])
    choices = tuple("vwxyz"[: len(task.labels)]) if task.labels[:1] == ("A",) else ()
    if not reference:
        value = task.parser(output, choices=choices, inputs={"text": output})
        return "*missing*" if value is None else "; ".join(value) if isinstance(value, list) else value
    text, target = reference[0], reference[0]
    if name == "i2b2":
        text, spans = read_marks(reference[0], {kind: kind for kind in ("problem", "treatment", "test")})
        target = [[span.type, span.start, span.end] for span in spans]
    example = Example("1", {"text": text}, [target] if name == "nejm_cpc" else target)
    row = {"id": "1"} | judge_response(task, example, Response(text=output, finish_reason="stop"))
    figure = expected.split(" ")[0]
    value = score_rows(task, [row], resamples=2, seed=0)["figures"][figure]["value"]
    return f"{figure} {round(value, 3)}"


@needs_marks
@pytest.mark.parametrize(
    ("name", "cells"), [pytest.param(*found, id=f"{found[0]}-{n}") for n, found in enumerate(examples_on_the_page())]
)
def test_the_page_says_what_the_protocols_do(name, cells):
    for protocol, expected in zip(("default", "paper"), cells[-2:], strict=True):
        assert outcome_on(protocol, name, cells, expected) == expected


def test_the_page_has_an_example_of_each_task_in_which_the_protocols_differ():
    found = list(examples_on_the_page())
    assert {name for name, _ in found} == {*list_groups()["mibe"], "mmlu", "nejm_cpc"}
    differ = {name for name, cells in found if cells[-1] != cells[-2]}
    assert differ == {name for name, _ in found} - UNCHANGED


# ── Any text ─────────────────────────────────────────────────────────────────────────────────────────────────────────

anything = (
    st.text()
    | st.text(alphabet="<>/&!-[]?\"'= aspn\n;#x")
    | st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF))
)


@pytest.mark.parametrize("name", NAMES)
@given(output=anything)
def test_no_output_raises_and_predictions_are_legal(name, output):
    if name in ("i2b2", "bc5cdr"):
        pytest.importorskip("spacy")
    task = paper(name)
    value = task.parser(output, inputs={"text": "a < b"})
    if task.labels and isinstance(value, str | list):
        assert set([value] if isinstance(value, str) else value) <= set(task.labels)
    if name == "i2b2":
        AlignedEntities().statistics([value], [[["problem", 0, 1]]])
    if name == "emrqa":
        assert 0 <= CharacterScores().values([value], [output])[0, 1] <= 1


def fields_shown(prompt):
    """The words of a prompt alone, whatever stands around them."""
    return " ".join(f"{prompt.instruction} {prompt.input} {prompt.cue}".split())


@pytest.mark.parametrize("name", NAMES)
def test_words_and_scoring_are_chosen_apart(name):
    task = load_task(name)
    paper = protocols.apply("paper", task)
    assert protocols.apply("paper", task, "released") == paper and protocols.apply("default", task, "table") is task
    table = protocols.apply("paper", task, "table")
    assert fields_shown(table.prompt) == fields_shown(task.prompt)
    assert table.prompt.verbatim and table.max_new_tokens == 256 and table.metrics == paper.metrics
    if name.startswith("mmlu"):
        # Table A2's wording asks for a letter, the released one for an index.
        assert (table.parser("C"), table.parser("2")) == ("C", None)
        assert (paper.parser("C"), paper.parser("2")) == (None, "C")
        with pytest.raises(UsageError, match="index of an option, which --protocol paper alone reads"):
            protocols.apply("default", task, "released")
        return
    assert table.parser == paper.parser
    released = protocols.apply("default", task, "released")
    assert released.prompt == paper.prompt
    assert (released.parser, released.metrics, released.max_new_tokens) == (
        task.parser,
        task.metrics,
        task.max_new_tokens,
    )


def test_a_wording_that_is_none_and_a_task_without_a_released_one_are_refused():
    with pytest.raises(UsageError, match="unknown prompts 'tables'; known: table, released"):
        protocols.apply("paper", load_task("ddi"), "tables")
    with pytest.raises(UsageError, match="has no task 'mine'"):
        protocols.apply("default", replace(load_task("ddi"), name="mine"), "released")


def test_a_protocols_own_wording_is_the_same_run_where_it_is_named():
    assert Settings(protocol="paper", prompts="released").asked() == Settings(protocol="paper").asked()
    assert Settings(prompts="table").asked() == Settings().asked()
    assert Settings(prompts="released").asked()["prompts"] == "released"
