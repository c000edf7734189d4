"""The hub's test sets, from a local folder laid out as a hub repository: finished prompts turned back into fields."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_splits import splits_of

from mibe import protocols
from mibe.data import store
from mibe.data.download import SPLITTERS, download, download_release
from mibe.data.readers.ddi import LABELS as DDI
from mibe.data.readers.hoc import LABELS as HALLMARKS
from mibe.data.readers.medmcqa import MedMcqa
from mibe.errors import DataError
from mibe.prompting import plain_text
from mibe.registry import list_tasks, load_task
from mibe.task import OPEN, AccessLevel, letter


@dataclass(frozen=True)
class Hub:
    licence: str = "MIT"
    homepage: str = "https://example.org"
    obtain: str = "Download it from https://example.org."
    hub: str | None = "clinicalnlplab/DDI2013_test"
    counts: dict = field(default_factory=lambda: {"test": 2})
    variants: tuple = ("official",)
    version: int = 1


def task(name, labels=(), source=None):
    """The part of a task that downloading looks at."""
    return SimpleNamespace(name=name, data_name=name, source=source or Hub(), labels=labels, access=OPEN)


def repository(base, records, form="jsonl"):
    (base / "data").mkdir(parents=True, exist_ok=True)
    (base / "README.md").write_text("---\nconfigs: []\n---\n")
    if form == "jsonl":
        (base / "data" / "test-00000-of-00001.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(
            pa.Table.from_pylist(records), base / "data" / "test-00000-of-00001.parquet"
        )
    return base


def ddi(number, gold, text):
    query = f"TASK: The input is a sentence where the drug is labeled as @DRUG$.\nINPUT: {text}\nOUTPUT: "
    return {"id": f"ddi{number}", "query": query, "answer": DDI[gold], "choices": list(DDI), "gold": gold}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_classification_set(tmp_path, form):
    records = [ddi(1, 2, "Avoid @DRUG$ with @DRUG$."), ddi(2, 4, "URINE OUTPUT: @DRUG$, @DRUG$.")]
    manifest = download(task("ddi", DDI), repository(tmp_path, records, form))
    first, second = store.iter_examples("ddi", "test")
    assert (first.id, first.inputs, first.target) == ("ddi1", {"text": "Avoid @DRUG$ with @DRUG$."}, "DDI-advise")
    assert (second.inputs, second.target) == ({"text": "URINE OUTPUT: @DRUG$, @DRUG$."}, "DDI-false")
    assert manifest["variant"] == "hub" and manifest["counts"] == {"test": 2}
    assert manifest["sources"][0]["file"] == f"data/test-00000-of-00001.{form}"
    assert manifest["notes"] == ["from the hub repository clinicalnlplab/DDI2013_test"]
    assert store.verify("ddi") == []


def test_another_size_than_the_official_one_is_noted(tmp_path):
    manifest = download(task("ddi", DDI), repository(tmp_path, [ddi(1, 0, "x")]))
    assert "test: 1 examples where the official release has 2" in manifest["notes"]


def hallmarks(gold, answer, **more):
    return {"id": "1", "query": "… INPUT: An abstract. OUTPUT:", "answer": answer, "gold": gold, **more}


def test_several_labels(tmp_path):
    two = [0, 0, 1, 0, 0, 0, 0, 0, 1, 0]
    answer = "cellular energetics; resisting cell death"
    records = [hallmarks(two, answer), hallmarks([0] * 10, "", choices=list(HALLMARKS)) | {"id": "2"}]
    download(task("hoc", HALLMARKS), repository(tmp_path, records, "parquet"))
    assert [e.target for e in store.iter_examples("hoc", "test")] == [
        ["resisting cell death", "cellular energetics"],
        [],
    ]


def test_the_two_forms_of_a_question_with_context():
    split = SPLITTERS["pubmedqa"]
    paper = "Your task is … as answer. INPUT: Is it so? CONTEXT: One.\nTwo. OUTPUT:"
    assert split(paper) == ({"question": "Is it so?", "context": "One.\nTwo."}, ())
    released = "… Answer yes, no, or maybe.\nOne.\nTwo.\nIs it so?\nThe answer is:"
    assert split(released) == ({"question": "Is it so?", "context": "One.\nTwo."}, ())
    assert split("… Answer yes, no, or maybe. One. Is it so? The answer is:") is None, "which sentence is the question?"


def test_the_two_forms_of_a_question_with_options():
    split = SPLITTERS["medqa"]
    expected = ({"question": "What now?\nSay."}, ("Wait", "Act (B. too)"))
    assert split("You are a doctor. Question: What now?\nSay.\nOptions:\nA. Wait\nB. Act (B. too)\nAnswer:") == expected
    assert split("You are a doctor. Question: What now?\nSay.\nA. Wait\nB. Act (B. too)\nThe answer is") == expected
    assert split("You are a doctor. Question: What now?\nSay. Options: A. Wait B. Act Answer:") is None
    assert split("Question: What now?\nA. Wait\nC. Act\nAnswer:") is None
    assert split("What now?\nA. Wait\nB. Act\nAnswer:") is None, "where does the instruction end?"


def test_a_multiple_choice_set(tmp_path):
    query = "You are a doctor. Question: What now?\nOptions:\nA. Wait\nB. Act\nAnswer:"
    record = {"id": 7, "query": query, "answer": "B", "choices": ["A", "B"], "gold": 1}
    download(task("medqa"), repository(tmp_path, [record]))
    (example,) = store.iter_examples("medqa", "test")
    assert (example.id, example.choices, example.target) == ("7", ("Wait", "Act"), "B")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": None}, "row|line 1 of clinicalnlplab/DDI2013_test: query must be a text"),
        (
            {"query": "Which interaction?"},
            "cannot tell the parts of the prompt apart .* mibe data prepare ddi --from PATH",
        ),
        ({"answer": None}, "answer must be a text"),
        ({"gold": 3}, "gold 3 .* and answer 'DDI-effect' do not agree"),
        ({"gold": 9}, "gold 9 .* do not agree"),
        ({"answer": "DDI-advice", "gold": None}, "the answer 'DDI-advice' is not one of DDI-effect"),
    ],
)
def test_a_record_with_something_wrong(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        download(task("ddi", DDI), repository(tmp_path, [ddi(1, 0, "x") | change]))
    assert store.find("ddi") is None


@pytest.mark.parametrize("gold", [[1] + [0] * 9, [1, 1] + [0] * 8])
def test_labels_that_do_not_agree(tmp_path, gold):
    record = hallmarks(gold, "cellular energetics; resisting cell death", choices=list(HALLMARKS))
    with pytest.raises(DataError, match="do not agree"):
        download(task("hoc", HALLMARKS), repository(tmp_path, [record]))


def test_repositories_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"holds no test\*.parquet or test\*.jsonl. Instead: Download it"):
        download(task("ddi", DDI), tmp_path)
    repository(tmp_path, [ddi(1, 0, "x")], "parquet")
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match="parquet is damaged or incomplete"):
        download(task("ddi", DDI), tmp_path)


ON_HUB = [name for name in list_tasks() if load_task(name).source.hub]


def test_the_sets_on_the_hub_are_those_of_the_authors_and_all_can_be_read():
    assert {load_task(name).source.hub.split("/")[1] for name in ON_HUB} == {
        "pubmedqa_test", "medQA_test", "medMCQA_test", "emrqa_test", "DDI2013_test", "HoC_test", "MTSample_test",
        "PubmedSumm_test", "MIMIC_SUM_test", "BioNLI_test", "MedNLI_test",
    }  # fmt: skip
    assert set(SPLITTERS) == {load_task(name).data_name for name in ON_HUB}


def record(task, prompt, example):
    """An example as a record of the hub: a finished prompt, and the answer as text and as index or 0/1 list."""
    target = example.target
    common = {"id": example.id, "query": plain_text(prompt, (), example)}
    labels = [letter(i) for i in range(len(example.choices))] or list(task.labels)
    if not labels:
        return common | {"answer": target if isinstance(target, str) else target[0]}
    several = isinstance(target, list)
    gold = [int(label in target) for label in labels] if several else labels.index(target)
    return common | {"answer": ";".join(target) if several else target, "choices": labels, "gold": gold}


@pytest.mark.parametrize("protocol", ["default", "paper"])
@pytest.mark.parametrize("name", ON_HUB)
def test_every_set_on_the_hub_becomes_the_examples_it_was_made_of(name, protocol, tmp_path):
    """Records with prompts in the wording of table A2, and of the released builder."""
    task = load_task(name)
    prompt = protocols.apply(protocol, task).prompt
    examples = splits_of(name, tmp_path)["test"][:50]
    records = [record(task, prompt, example) for example in examples]
    download(task, repository(tmp_path / "hub", records, "jsonl"))
    found = store.load_examples(task.data_name, "test")
    one_reference = [replace(e, target=e.target[:1]) if name == "emrqa" else e for e in examples]
    shown = [with_question_mark(e) if protocol == "paper" and e.choices else e for e in one_reference]
    assert [plain(e) for e in found] == [plain(e) for e in shown]
    if task.access.level is AccessLevel.CREDENTIALED:
        assert (store.data_dir() / name / "test.jsonl").stat().st_mode & 0o77 == 0


def with_question_mark(example):
    question = example.inputs["question"]
    return example if question.endswith(("?", ".")) else replace(example, inputs={"question": question + "?"})


def plain(example):
    """Without what a prompt does not show: metadata, and white space around fields."""
    inputs = {field: text.strip() for field, text in example.inputs.items()}
    return example.id, inputs, example.target, tuple(choice.strip() for choice in example.choices)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("mednli", "INPUT: [PRE] He said [HYP] twice. [HYP] Ill. OUTPUT:"),
        ("mednli", "INPUT: He is ill. OUTPUT:"),
        ("emrqa", "Context: A note. Question: Which? Answer:"),
        ("pubmedsum", "Summarise: a text."),
    ],
)
def test_prompts_whose_parts_cannot_be_told_apart(name, query):
    assert SPLITTERS[name](query) is None


def test_a_note_may_hold_lines_that_begin_like_the_question():
    query = "…\nContext: A.\nQuestion of sepsis.\nAnswer: none.\nQuestion Which drug?\nAnswer:\n"
    expected = {"context": "A.\nQuestion of sepsis.\nAnswer: none.", "question": "Which drug?"}
    assert SPLITTERS["emrqa"](query) == (expected, ())


def test_an_empty_text_is_no_answer(tmp_path):
    record = {"id": "1", "query": "INPUT: The lungs are clear. OUTPUT:", "answer": " "}
    with pytest.raises(DataError, match="line 1 of clinicalnlplab/MIMIC_SUM_test: the answer is empty"):
        download(load_task("mimic_cxr"), repository(tmp_path, [record]))


def test_a_gated_set_says_where_to_accept_its_terms(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub.errors import GatedRepoError

    def refuse(*args, **kwargs):
        raise GatedRepoError("403", response=SimpleNamespace(headers={}, request=None, status_code=403))

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(DataError, match=r"terms: do so at https://huggingface.co/datasets/clinicalnlplab/BioNLI_test"):
        download(load_task("bionli"))


@pytest.mark.parametrize("name", [name for name in list_tasks() if name not in ON_HUB])
def test_sets_that_are_nowhere_on_the_hub_name_their_official_source(name):
    with pytest.raises(DataError) as error:
        download(load_task(name))
    source = load_task(name).source
    assert str(error.value).startswith(f"{name} has no prepared test set on the hub. {source.obtain} Then: mibe data")


def test_sets_that_are_not_on_the_hub():
    with pytest.raises(DataError, match="has no prepared test set on the hub. Download it .* mibe data prepare mmlu"):
        download(task("mmlu", source=replace(Hub(), hub=None)))
    with pytest.raises(DataError, match="the prompts on the hub cannot be split"):
        download(task("other"))


def test_without_a_network_the_other_way_is_named(monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as error:
        download(task("ddi", DDI))
    assert str(error.value).startswith("cannot download clinicalnlplab/DDI2013_test from the hub (")
    assert str(error.value).endswith(
        "Instead: Download it from https://example.org. Then: mibe data prepare ddi --from PATH"
    )
    assert "\n" not in str(error.value)


LONG = 50_000
HOSTILE = {
    "blank lines": "Question: " + "\n " * LONG,
    "options without an end": "Question: " + "\nA. x" * LONG,
    "questions without an end": "Context: " + "\nQuestion: a" * LONG,
    "openings": "INPUT: CONTEXT: [PRE]" * LONG,
    "ends": "INPUT: CONTEXT: [PRE][HYP]" + "OUTPUT:" * LONG + "x",
    "spaces": "Question: " + " " * LONG + "x",
    "instructions": "yes, no, or maybe. " * LONG + "\n?" * LONG,
    "letters": "Question: x" + "\nA." * LONG + "\n" * LONG + "Answer:",
}


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE)
def test_a_query_of_any_form_is_read_in_linear_time(query):
    """With patterns that try every way to place their marks, a third of these took minutes at a tenth of the length."""
    for split in SPLITTERS.values():
        assert split(query) is None


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.text(max_size=3) | st.just("DDI-int"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


RECORDS = st.fixed_dictionaries(
    {"answer": st.sampled_from(DDI) | ODD}, optional=dict.fromkeys(("choices", "gold", "id"), ODD)
)


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(
        {"answer": st.sampled_from(DDI) | ODD}, optional=dict.fromkeys(("choices", "gold", "id"), ODD)
    )
)
def test_a_hostile_copys_records_are_read_or_named_in_one_line(record):
    with TemporaryDirectory() as folder:
        records = [{"query": "INPUT: a \ud800 OUTPUT:"} | record]
        try:
            download(task("ddi", DDI), repository(Path(folder), records))
        except DataError as error:
            assert len(str(error).splitlines()) == 1


def test_the_official_release_comes_with_its_train_split(tmp_path, monkeypatch):
    """The hub's copy of MedMCQA as its repository is laid out, by a hub that gives the files that are asked for."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    hub = pytest.importorskip("huggingface_hub")
    revision = tmp_path / "91c6572"
    (revision / "data").mkdir(parents=True)
    for split, count in (("train", 40), ("validation", 8)):
        rows = [
            {"id": f"{split}{i}", "question": f"{split} {i}?", "cop": i % 4, "subject_name": "Anatomy"}
            | {option: f"{option} {i}" for option in ("opa", "opb", "opc", "opd")}
            for i in range(count)
        ]
        parquet.write_table(pa.Table.from_pylist(rows), revision / "data" / f"{split}-00000-of-00001.parquet")
    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda *args, **kwargs: asked.append((args, kwargs)) or revision)
    sizes = {"train": 36, "valid": 4, "test": 8}
    monkeypatch.setattr(MedMcqa, "counts", sizes)
    manifest = download_release(load_task("medmcqa"))
    assert manifest["counts"] == sizes
    assert manifest["notes"][-1] == "from the hub repository openlifescienceai/medmcqa, revision 91c6572"
    [((repository,), options)] = asked
    assert repository == "openlifescienceai/medmcqa" and options["repo_type"] == "dataset"
    assert options["allow_patterns"] == ["data/train-*.parquet", "data/validation-*.parquet"]
    assert store.verify("medmcqa") == []
    # A release of another size is not taken for the official one.
    monkeypatch.setattr(MedMcqa, "counts", sizes | {"train": 35})
    with pytest.raises(DataError, match="expected 35 train examples, found 36"):
        download_release(load_task("medmcqa"), revision)
    with pytest.raises(DataError, match="the hub has no copy of the whole ddi"):
        download_release(load_task("ddi"))
