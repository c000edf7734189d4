"""The report of a run: what its files hold, what they never hold, and where an answer was read."""

import json
import re

import pytest
from scripted import Scripted

import mibe
from mibe.cli import main
from mibe.data import store
from mibe.data_use import egress as data_use
from mibe.errors import RunError
from mibe.parsers.evidence import evidence
from mibe.parsers.labels import LabelSet, OneLabel
from mibe.parsers.options import OptionLetter
from mibe.parsers.plain import PlainText
from mibe.parsers.ranked import RankedDiagnoses
from mibe.parsers.spans import MarkedSpans
from mibe.registry import load_task
from mibe.report import page, samples
from mibe.report.histogram import histogram
from mibe.report.page import write_report
from mibe.report.prompts import CUT, DIFFERENT, NO_LAYOUT
from mibe.report.samples import in_order, index

# --- where an answer was read ---------------------------------------------------------------------------------------

OPTIONS = ("heart failure", "gout", "lupus", "sepsis")
YES_NO = OneLabel(("yes", "no", "maybe"), as_answer_only=("no", "maybe"))


@pytest.mark.parametrize(
    ("parser", "output", "found"),
    [
        (OptionLetter(), "B", "B"),
        (OptionLetter(), "C. A Venetian lens", "C"),
        (OptionLetter(), "**Gout** is right", "Gout"),
        (OptionLetter(), "\\boxed{C}", "C"),
        (OptionLetter(), '{"answer": "D", "why": "A is wrong"}', "D"),
        (YES_NO, "Well, Yes, it does.", "Yes"),
        (LabelSet(("cell death", "angiogenesis", "mutation")), "mutation; Angiogenesis. Bye", "mutation; Angiogenesis"),
        (RankedDiagnoses(), "Here:\n1. Gout\n2. Lupus\nNext steps: none", "Gout\n2. Lupus"),
        (PlainText(), "<think>hm</think> A short text.", "A short text."),
    ],
)
def test_the_part_with_the_answer_is_found(parser, output, found):
    value = parser(output, choices=OPTIONS)
    start, end = evidence(output, value, parser, choices=OPTIONS)
    assert output[start:end].endswith(found) and len(output[start:end]) <= len(found) + 3


def test_where_an_answer_stands_twice_it_is_the_one_that_decides():
    for output in (
        "<think>B maybe</think> It may be A or B. So the answer is B.",
        "A. Wait, no, B. Final answer: B",
    ):
        assert OptionLetter()(output, choices=OPTIONS) == "B"
        assert evidence(output, "B", OptionLetter(), choices=OPTIONS) == (output.rindex("B"), output.rindex("B") + 1)
    for output, part in (
        ("B or C could be it. The answer is B.", "answer is B"),
        ("(B) hm, (C) hm, so (B) is correct.", "B"),
    ):
        start, end = evidence(output, "B", OptionLetter(), choices=OPTIONS)
        assert output[start:end] == part and start > len(output) // 2
    # An invented next question does not decide.
    assert evidence("B\n\nQuestion: x\nAnswer: B", "B", OptionLetter(), choices=OPTIONS) == (0, 1)


@pytest.mark.parametrize(
    "output",
    [
        "It is not A. It is not C. I would go with lupus, since (B) makes no sense; so, C!",
        "Answer: (a) heart failure\n\nExplanation: B and C are wrong.",
        "I believe that the most likely answer is, after all, option D, sepsis.",
        "x " * 400 + "The answer is B. " + "y " * 400,
        "\u202eThe answer\u200b is: B",
    ],
)
def test_from_that_part_alone_the_same_is_read_and_not_without_its_last_word(output):
    value = OptionLetter()(output, choices=OPTIONS)
    start, end = evidence(output, value, OptionLetter(), choices=OPTIONS)
    part = output[start:end]
    assert OptionLetter()(part, choices=OPTIONS) == value
    words = list(re.finditer(r"\w+|[^\w\s]", part))
    assert OptionLetter()(part[: words[-1].start()], choices=OPTIONS) != value


def test_nothing_is_marked_where_nothing_was_read_or_something_else_is_today():
    marks = MarkedSpans(("problem",))
    assert evidence("no idea", None, OptionLetter(), choices=OPTIONS) is None
    assert evidence("", "A", OptionLetter(), choices=OPTIONS) is None
    assert evidence("B", "A", OptionLetter(), choices=OPTIONS) is None
    assert marks("No fever.", inputs={"text": "No fever."}) == []
    assert evidence("No fever.", [], marks, inputs={"text": "No fever."}) is None


def test_it_works_for_any_parser():
    def last_number(output, *, choices=(), inputs=None):
        found = re.findall(r"\d+", output)
        return found[-1] if found else None

    assert evidence("from 3 to 17 of 20, so 42.", "42", last_number) == (23, 25)


# --- histograms -----------------------------------------------------------------------------------------------------


def test_steps_are_round_and_outliers_stand_in_the_last():
    found = histogram([*range(100), 5000], whole=True)
    assert (found.step, found.n, sum(found.counts), found.median) == (5.0, 101, 101, 50)
    assert found.counts == (*[5] * 19, 6)
    assert histogram([0.031, 0.032], whole=False).step == pytest.approx(0.002)
    assert histogram([3, 3, 3], whole=True).counts == (0, 0, 0, 3)
    assert histogram([]) is None and histogram([0.0, 0.0]) is None


# --- files ----------------------------------------------------------------------------------------------------------


def handed_over(path):
    """The name and the data of a file of data."""
    text = path.read_text(encoding="utf-8")
    name, data = re.fullmatch(r'mibeData\("([^"]+)",(.*)\);\n', text, re.S).groups()
    return name, json.loads(data)


def all_of(folder, number, kind):
    paths = sorted((folder / "data" / str(number)).glob(f"{kind}-*.js"), key=lambda p: int(p.stem.split("-")[1]))
    return [item for path in paths for item in handed_over(path)[1]]


def evaluated(tmp_path, model, **settings):
    arguments = {"tasks": "pubmedqa", "limit": 12, "resamples": 50} | settings
    return mibe.evaluate(model=model, output_dir=tmp_path / "runs", use_cache=False, **arguments)


class Chat(Scripted):
    """A model with a chat template and a window."""

    is_chat = True

    def render(self, messages):
        return "<s>" + "".join(f"[{m['role']}]{m['content']}[/]" for m in messages) + "[assistant]"


def test_columns_outputs_and_details_of_every_sample(tmp_path):
    done = evaluated(tmp_path, lambda prompts: ["I say yes." if "CONTEXT" in p else "?" for p in prompts])
    folder = write_report(done).parent
    assert folder == done.path / "report"
    name, index = handed_over(folder / "data" / "0" / "index.js")
    rows = {row["id"]: row for row in done.samples("pubmedqa").to_dict("records")}
    assert name == "0/index" and index["ids"] == sorted(rows, key=int) and index["labels"] == ["yes", "no", "maybe"]
    for ident, right, gold, read in zip(*(index[key] for key in ("ids", "right", "gold", "read")), strict=True):
        assert right == rows[ident]["scores"]["accuracy"]
        assert gold == [index["labels"].index(rows[ident]["target"])] and read == [0]
    assert all_of(folder, 0, "outputs") == [["I say ", "yes", "."]] * 12
    detail = all_of(folder, 0, "details")[0]
    assert detail["prediction"] == "yes" and detail["prompt"].startswith("Your task is to answer biomedical questions")


def test_several_processes_find_the_same_answers_in_the_same_order(tmp_path, monkeypatch):
    done = evaluated(
        tmp_path, lambda prompts: [f"{n}: I say {'yes' if n % 3 else 'no'}" for n, _ in enumerate(prompts)]
    )
    alone = all_of(write_report(done, tmp_path / "alone").parent, 0, "outputs")
    in_workers = []
    begun = samples.ProcessPoolExecutor
    monkeypatch.setattr(samples, "ProcessPoolExecutor", lambda *a: in_workers.append(a[0]) or begun(*a))
    monkeypatch.setattr(samples, "MANY", 1)
    monkeypatch.setattr(samples.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(samples.threading, "active_count", lambda: 1)
    assert all_of(write_report(done, tmp_path / "together").parent, 0, "outputs") == alone
    assert in_workers == [2] and len(alone) == 12 and all(len(output) == 3 for output in alone)
    # Other threads of this process would be missing in its copies.
    monkeypatch.setattr(samples.threading, "active_count", lambda: 2)
    write_report(done, tmp_path / "again")
    assert in_workers == [2]


@pytest.mark.parametrize("kind", [Scripted, Chat])
@pytest.mark.parametrize("settings", [{}, {"num_fewshot": 2}, {"num_fewshot": 2, "tasks": "mmlu_medical"}])
def test_prompts_are_those_that_the_model_got(tmp_path, kind, settings):
    model = kind(lambda _: "A")
    folder = write_report(evaluated(tmp_path, model, **settings)).parent
    details = all_of(folder, 0, "details")
    assert len(details) == 12 and sorted(d["prompt"] for d in details) == sorted(model.asked)


def test_a_prompt_that_cannot_be_had_again_is_not_shown_and_the_page_says_why(tmp_path, monkeypatch):
    small = Scripted(lambda _: "yes")
    small.context_window = 1500
    cut = evaluated(tmp_path, small)
    kept = [
        row["cut"] for row in cut.samples("pubmedqa").sort_values("id", key=lambda c: c.astype(int)).to_dict("records")
    ]
    shown = all_of(write_report(cut).parent, 0, "details")
    assert any(kept) and all(
        d["problem"] in {CUT, NO_LAYOUT} for d, was_cut in zip(shown, kept, strict=True) if was_cut
    )
    done = evaluated(tmp_path, lambda prompts: ["yes"] * len(prompts))

    def problems():
        details = all_of(write_report(done).parent, 0, "details")
        assert all(d["prompt"] is None for d in details)
        return {d["problem"] for d in details}

    log = done.samples_path("pubmedqa")
    first = done.record["tasks"]["pubmedqa"]["first_prompt_sha256"]
    text = log.read_text()
    log.write_text(re.sub(rf'"prompt_sha256": "(?!{first})\w+"', '"prompt_sha256": "0"', text))
    assert len({d["problem"] for d in all_of(write_report(done).parent, 0, "details")} & {DIFFERENT}) == 1
    log.write_text(text)
    monkeypatch.setattr(store, "data_fingerprint", lambda *_: "another")
    assert "another content" in problems().pop()
    monkeypatch.setattr(store, "find", lambda _: None)
    assert "the data of pubmedqa is not here" in problems().pop()


def test_text_of_credentialed_tasks_is_in_no_file(tmp_path, monkeypatch):
    secret = "Zyzzogeton is what the model wrote, so yes"
    done = evaluated(tmp_path, lambda prompts: [secret] * len(prompts), tasks="pubmedqa,medqa")
    monkeypatch.setattr(page, "is_credentialed", lambda task: task.name == "pubmedqa")
    folder = write_report(done).parent
    # What the task whose text may be shown has is there, so the search below would find the other's.
    assert "Zyzzogeton" in "".join(p.read_text() for p in (folder / "data" / "1").iterdir())
    questions = {e.inputs["question"] for e in store.iter_examples("pubmedqa", "test")}
    for path in [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "1"]:
        content = path.read_text(encoding="utf-8")
        assert "Zyzzogeton" not in content, path
        assert not any(question in content for question in questions), path
    assert sorted(p.name for p in (folder / "data" / "0").iterdir()) == ["details-0.js", "index.js"]
    index = handed_over(folder / "data" / "0" / "index.js")[1]
    assert len(index["ids"]) == 12 and index["labels"] == [] and index["gold"] == index["read"] == [[]] * 12
    assert all(set(detail) == {"scores"} for detail in all_of(folder, 0, "details"))
    assert "Credentialed, so ids and scores alone" in (folder / "index.html").read_text()


def test_credentialed_is_what_the_tasks_say():
    assert page.is_credentialed is data_use.is_credentialed


def test_a_second_report_leaves_nothing_of_the_first_and_touches_nothing_else(tmp_path):
    two = evaluated(tmp_path, lambda prompts: ["first"] * len(prompts), tasks="pubmedqa,medqa")
    one = evaluated(tmp_path, lambda prompts: ["yes"] * len(prompts))
    write_report(two, tmp_path / "site")
    (tmp_path / "site" / "data" / "mine.js").write_text("mine")
    write_report(one, tmp_path / "site")
    assert sorted(p.name for p in (tmp_path / "site" / "data").rglob("*.js")) == [
        "details-0.js",
        "index.js",
        "mine.js",
        "outputs-0.js",
    ]


def test_text_that_utf8_cannot_hold_is_shown_without_it(tmp_path):
    done = evaluated(tmp_path, lambda prompts: ["yes"] * len(prompts))
    log = done.samples_path("pubmedqa")
    log.write_text(log.read_text().replace('"output": "yes"', '"output": "\\ud800 </script>"'))
    folder = write_report(done).parent
    assert all_of(folder, 0, "outputs")[0] == ["\ufffd </script>"]
    assert "</script>" not in (folder / "data" / "0" / "outputs-0.js").read_text()


def test_the_accelerators_of_a_run_are_among_its_facts(tmp_path):
    done = evaluated(tmp_path, lambda prompts: ["yes"] * len(prompts))
    record = done.record | {"hardware": {"cpu": "a CPU", "cores": 4, "accelerators": ["NVIDIA A", "NVIDIA A"]}}
    (done.path / "run.json").write_text(json.dumps(record))
    assert "a CPU, 4 cores, NVIDIA A, NVIDIA A" in write_report(done.path).read_text()


def test_what_a_reader_must_not_overlook_is_said(tmp_path):
    done = evaluated(tmp_path, lambda prompts: ["yes"] * len(prompts))
    record = done.record | {
        "status": "interrupted",
        "task_names": ["pubmedqa", "medqa"],
        "skipped": {"i2b2": "no data"},
    }
    record["tasks"]["pubmedqa"]["outcomes"]["error"] = 3
    (done.path / "run.json").write_text(json.dumps(record))
    text = write_report(done.path).read_text()
    for said in ("interrupted", "Not scored yet: medqa", "3 samples failed", "pubmedqa 12 of 500", "i2b2 was skipped"):
        assert said in text


def test_a_run_without_scores_and_a_folder_that_is_none_are_refused(tmp_path):
    done = evaluated(tmp_path, lambda prompts: ["yes"] * len(prompts))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is not a folder"):
        write_report(done, tmp_path / "file")
    described = {name: value for name, value in done.record["tasks"]["pubmedqa"].items() if name != "figures"}
    (done.path / "run.json").write_text(json.dumps(done.record | {"tasks": {"pubmedqa": described}}))
    with pytest.raises(RunError, match="no scores yet"):
        write_report(done.path)


def test_the_command_says_where_the_page_is(tmp_path, capsys):
    done = evaluated(tmp_path, lambda prompts: ["yes"] * len(prompts))
    assert main(["report", str(done.path), "--html", str(tmp_path / "site")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "site" / "index.html")
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2
    assert "run.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "target", "prediction", "labels", "gold", "read"),
    [
        ("ddi", "DDI-int", None, ["DDI-effect", "DDI-mechanism", "DDI-advise", "DDI-int", "DDI-false"], [3], []),
        ("medqa", "C", None, ["A", "B", "C", "D", "E"], [2], []),
        ("bc5cdr", [["problem", 0, 5]], [["problem", -1, -1]], [], [], []),
        ("diagnosis_open", "Gout", ["Gout", "Lupus"], [], [], []),
        ("sumpubmed", "A summary.", "A", [], [], []),
    ],
)
def test_labels_are_those_of_closed_sets_and_other_answers_have_none(task, target, prediction, labels, gold, read):
    row = {"id": "1", "outcome": "parsed", "target": target, "prediction": prediction, "scores": {}}
    columns = index(load_task(task), [row], private=False)
    assert (columns["labels"], columns["gold"], columns["read"]) == (labels, [gold], [read])
    assert columns["right"] == [None]


def test_ids_are_in_the_order_of_their_numbers():
    ids = ["b/2", "a/10", "a/9", "7", "a/9/x", "10", ""]
    assert [row["id"] for row in in_order([{"id": each} for each in ids])] == sorted(
        ids, key=["", "a/9", "a/9/x", "a/10", "b/2", "7", "10"].index
    )


def test_the_paper_protocol_has_a_report_too(tmp_path):
    model = Scripted(lambda _: "the answer is unknown to me")
    done = evaluated(tmp_path, model, protocol="paper")
    folder = write_report(done).parent
    # "unknown" holds "no": the released code reads it so, and the page shows where.
    assert all_of(folder, 0, "outputs")[0] == ["the answer is ", "unknown", " to me"]
    assert sorted(d["prompt"] for d in all_of(folder, 0, "details")) == sorted(model.asked)
