"""Judges of diagnoses: what they are asked, how often, how their answers are read, and what a run makes of it."""

import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mibe
from mibe.analysis.outputs import score_outputs
from mibe.analysis.rescore import rescore
from mibe.errors import DataUseError, UsageError
from mibe.judge.judges import Case, ExactJudge, ModelJudge, load_judge, question, read_verdict
from mibe.judge.verdicts import keep_verdicts
from mibe.metrics.diagnosis_names import accepted_names, same_diagnosis
from mibe.models.base import Response
from mibe.models.local.dummy import DummyModel
from mibe.parsers.ranked import RankedDiagnoses
from mibe.registry import TASKS, load_task
from mibe.results.cache import ResponseCache, cache_path
from mibe.results.log import latest_rows
from mibe.task import Category, credentialed
from mibe.terminal.progress import Silent


@pytest.mark.parametrize(
    ("predicted", "accepted", "same"),
    [
        ("gout", ["Gout"], True),
        ("Granulomatosis with polyangiitis (GPA)", ["GPA"], True),
        ("GPA", ["Granulomatosis with polyangiitis (GPA)"], True),
        ("GPA (granulomatosis with polyangiitis)", ["Granulomatosis with polyangiitis"], True),
        ("Mitral stenosis (MS)", ["Multiple sclerosis (MS)"], False),
        ("Crohn’s disease", ["Crohn disease"], True),
        ("Graves' disease", ["Graves disease"], True),
        ("The Sjögren syndrome", ["Sjogren's syndrome"], True),
        ("B-cell lymphoma", ["b cell lymphoma"], True),
        ("COVID-19", ["covid 19"], True),
        ("Pneumonia (bacterial)", ["Pneumonia"], False),
        ("Hepatitis A", ["Hepatitis"], False),
        ("Hepatitis C", ["Hepatitis B", "Hepatitis D"], False),
        ("Lupus", ["Cutaneous lupus", "Lupus."], True),
        ("", [""], False),
    ],
)
def test_spelling(predicted, accepted, same):
    assert same_diagnosis(predicted, accepted) is same


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=3))
def test_spelling_takes_any_text_and_either_order(name, names):
    assert isinstance(same_diagnosis(name, names), bool)
    assert all(same_diagnosis(name, [other]) == same_diagnosis(other, [name]) for other in names)


def test_accepted_names_are_a_list_or_a_text_with_semicolons():
    assert accepted_names("Gout; Gouty arthritis ;") == ("Gout", "Gouty arthritis")
    assert accepted_names(["Gout", " Pseudogout"]) == ("Gout", "Pseudogout")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        *[
            (text, True)
            for text in ("y", "Y", "yes", "Yes.", "[y]", "(y)", "**Yes**", "Answer: y", "The answer is yes.")
        ],
        *[(text, True) for text in ("Yes, both are gout.", "yes\n\nSame.", "Yes. There is no difference.")],
        *[(text, False) for text in ("n", "No", '"n"', "no\n", "No, gout is another disease.", "no — different")],
        ("<think>It could be no.</think>\nyes", True),
        *[(text, None) for text in ("", "y/n", "maybe", "Yes and no", "No idea", "No, wait: yes", "Yes … or no?")],
        *[
            (text, None)
            for text in ("I think yes", "nope", "not the same", "Is our predicted diagnosis correct (y/n)?")
        ],
        ("<think>yes", None),
    ],
)
def test_only_y_n_yes_and_no_are_verdicts(answer, verdict):
    assert read_verdict(answer) is verdict


@given(st.text(max_size=60))
def test_reading_a_verdict_never_fails(answer):
    assert read_verdict(answer) in (True, False, None)


class Asked(DummyModel):
    """Answers by a function of the question, and counts."""

    name = "asked"

    def __init__(self, reply, identity="asked"):
        super().__init__()
        self.reply = reply
        self.identity = identity and {"model": identity}
        self.questions = []

    def generate(self, requests):
        for index, request in reversed(list(enumerate(requests))):
            self.questions.append(request.text)
            assert request.sampling.temperature == 0
            reply = self.reply(request.text, request.sampling.seed)
            yield index, reply if isinstance(reply, Response) else Response(text=reply, finish_reason="stop")


def yes_to(*names):
    return lambda text, attempt: "y" if any(f"Predicted diagnosis: {name} True" in text for name in names) else "n"


def test_the_question_is_that_of_the_paper():
    assert question("Gout", ["Pseudogout", "CPPD"]) == (
        "Is our predicted diagnosis correct (y/n)? Predicted diagnosis: Gout True diagnosis: Pseudogout; CPPD "
        "Answer [y/n]."
    )


def test_each_item_not_yet_decided_is_asked_about_once_and_none_after_a_match():
    model = Asked(yes_to("b", "x3"))
    cases = [
        Case(("a", "b", "c"), ("B prime",)),  # a, b
        Case(("Gout", "a"), ("gout",)),  # spelling decides
        Case(("x1", "x2", "x3", "Gout (G)", "x5"), ("gout",)),  # x1, x2, x3
        Case(("p", "q", "Gout"), ("gout",)),  # p, q
        Case((), ("gout",)),
        Case(tuple("stuvwxyz"), ("gout",)),  # five of eight
    ]
    found = [[v.match for v in judgement.verdicts] for judgement in ModelJudge(model).judge(cases)]
    assert found == [[False, True], [True], [False, False, True], [False, False, True], [], [False] * 5]
    assert sorted(model.questions) == sorted(
        [question(name, ["B prime"]) for name in "ab"]
        + [question(name, ["gout"]) for name in ["x1", "x2", "x3", "p", "q", *"stuvw"]]
    )


def test_verdicts_say_who_gave_them_and_in_what_words():
    (judgement,) = ModelJudge(Asked(lambda text, attempt: "No.")).judge([Case(("a", "gout"), ("Gout",))])
    first, second = judgement.verdicts
    assert (first.rank, first.diagnosis, first.match, first.raw, first.source) == (1, "a", False, "No.", "asked")
    assert (second.rank, second.diagnosis, second.match, second.raw, second.source) == (2, "gout", True, None, "exact")


def test_an_unreadable_verdict_is_asked_for_once_more_and_then_is_none():
    model = Asked(lambda text, attempt: "hm" if "stubborn" in text or not attempt else "yes")
    judgements = ModelJudge(model).judge([Case(("stubborn",), ("gout",)), Case(("shy",), ("gout",))])
    assert [[v.match for v in j.verdicts] for j in judgements] == [[None], [True]]
    assert judgements[0].verdicts[0].raw == "hm"
    assert len(model.questions) == 4


def test_verdicts_are_cached_by_judge_and_equal_questions_are_one(own_folders):
    def judge(model):
        return ModelJudge(model, ResponseCache(cache_path()))

    case = Case(("a",), ("gout",))
    first, again, other = Asked(yes_to("a")), Asked(yes_to()), Asked(yes_to(), "another")
    assert judge(first).judge([case, case])[1].verdicts[0].match is True
    assert first.questions == [question("a", ["gout"])]
    assert judge(again).judge([case])[0].verdicts[0].match is True
    assert again.questions == []
    assert judge(other).judge([case])[0].verdicts[0].match is False


def test_each_verdict_is_in_the_cache_before_the_next_is_asked_for(own_folders):
    """A kill in the midst of many cases, none of which is in a log yet, loses nothing that was paid for."""
    found = []

    class Watched(Asked):
        def generate(self, requests):
            for answer in super().generate(requests):
                found.append(kept())
                yield answer

    def kept():
        with closing(sqlite3.connect(cache_path())) as cache:
            return cache.execute("SELECT count(*) FROM responses").fetchone()[0]

    judge = ModelJudge(Watched(yes_to()), ResponseCache(cache_path()))
    judge.judge([Case((f"d{number}",), ("gout",)) for number in range(4)])
    assert found == [0, 1, 2, 3]


def test_a_failed_call_is_the_error_of_its_case_alone():
    broken = Response(text="", finish_reason="error", error="server gone")
    judgements = ModelJudge(Asked(lambda text, attempt: broken if "a " in text else "y")).judge(
        [Case(("a", "b"), ("gout",)), Case(("b",), ("gout",))]
    )
    assert [j.error for j in judgements] == ["judge asked: server gone", None]


def test_judges_by_name():
    assert isinstance(load_judge("exact"), ExactJudge)
    named = load_judge("dummy:answer=yes", use_cache=False)
    assert named.name == "dummy"
    assert named.judge([Case(("a",), ("gout",))])[0].verdicts[0].match is True
    assert load_judge(named) is named
    with pytest.raises(UsageError, match="no argument|unknown argument"):
        load_judge("dummy:gpt-4o")
    with pytest.raises(UsageError, match="names no model"):
        load_judge(":gpt-4o")
    with pytest.raises(UsageError, match="unknown model 'dumy'"):
        load_judge("dumy:x")


CASES = {
    "c0": ("Gout; Gouty arthritis", "1. Gouty arthritis\n2. Sepsis"),
    "c1": ("Pseudogout (CPPD)", "1. Sepsis\n2. Calcium pyrophosphate disease\n3. CPPD"),
    "c2": ("Lyme disease", "1. Borreliosis\n2. Lyme disease"),
    "c3": ("Sepsis", "1. Gout\n2. Lupus\n3. Flu\n4. Measles\n5. Mumps\n6. Sepsis"),
    "c4": ("Sepsis", "I cannot answer that."),
}


@pytest.fixture
def cases(own_folders, monkeypatch):
    """A diagnosis task on five cases, its parser and nothing else of its own."""
    module = ModuleType("fake_cases")
    module.TASK = replace(
        load_task("pubmedqa"),
        name="cases",
        dataset="",
        category=Category.DIAGNOSIS,
        parser=RankedDiagnoses(),
        prompt=replace(load_task("pubmedqa").prompt, input="CASE: {case}"),
        metrics=(),
        labels=(),
        headline="top1_accuracy",
        access=credentialed("agreement of the cases"),
    )
    monkeypatch.setitem(sys.modules, "fake_cases", module)
    monkeypatch.setitem(TASKS, "cases", "fake_cases:TASK")
    path = own_folders / "data" / "cases" / "test.jsonl"
    path.parent.mkdir(parents=True)
    rows = [{"id": i, "inputs": {"case": i}, "target": target.split(";")} for i, (target, _) in CASES.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    yield module.TASK


def answers(prompts):
    return [next(output for i, (_, output) in CASES.items() if f"CASE: {i}\n" in prompt) for prompt in prompts]


def figures(run):
    return {name: round(f["value"], 3) for name, f in run.record["tasks"]["cases"]["figures"].items()}


def test_a_run_judged_by_spelling(cases, tmp_path):
    run = mibe.evaluate(model=answers, tasks="cases", judge="exact", output_dir=tmp_path)
    assert figures(run) == {f"top{k}_accuracy": v for k, v in zip(range(1, 6), [0.2, 0.4, 0.6, 0.6, 0.6], strict=True)}
    assert run.record["judge"] == {"name": "exact", "identity": "exact", "is_remote": False, "question": None}
    assert run.record["tasks"]["cases"]["scored"] == 5


def test_a_run_judged_by_a_model(cases, tmp_path, own_folders):
    model = Asked(lambda text, attempt: "?" if "Mumps" in text else yes_to("Borreliosis", "Calcium x")(text, attempt))
    run = mibe.evaluate(model=answers, tasks="cases", judge=model, output_dir=tmp_path)
    asked = ["Sepsis", "Calcium pyrophosphate disease", "Borreliosis", "Gout", "Lupus", "Flu", "Measles", "Mumps"]
    assert {re.search("diagnosis: (.*) True", text)[1] for text in model.questions} == set(asked)
    assert figures(run) == {
        "top1_accuracy": 0.4,
        "top2_accuracy": 0.4,
        "top3_accuracy": 0.6,
        "top4_accuracy": 0.6,
        "top5_accuracy": 0.6,
        "unreadable_verdicts": 0.125,
    }
    log = run.path / "samples" / "cases.jsonl"
    rows = {row["id"]: row for row in latest_rows(log)}
    assert rows["c3"]["verdicts"][4] == {
        "rank": 5,
        "diagnosis": "Mumps",
        "match": None,
        "raw": "?",
        "source": "asked",
    }
    assert rows["c4"]["verdicts"] == [] and rows["c4"]["outcome"] == "refused"
    assert rows["c1"]["scores"] == {f"top{k}_accuracy": float(k >= 3) for k in range(1, 6)}
    assert log.stat().st_mode & 0o777 == 0o600
    assert run.record["judge"]["identity"] == {"model": "asked"}
    assert run.record["judge"]["question"].startswith("Is our predicted diagnosis correct (y/n)?")
    before = figures(run)
    assert figures(rescore(run.path)) == before
    assert {row["id"]: row for row in latest_rows(log)} == rows


def test_a_run_goes_on_where_the_judge_failed(cases, tmp_path):
    broken = Response(text="", finish_reason="error", error="server gone")
    judge = Asked(lambda text, attempt: broken if "Borreliosis" in text else "n")
    model = Asked(lambda text, attempt: answers([text])[0], "the model")
    first = mibe.evaluate(model=model, tasks="cases", judge=judge, output_dir=tmp_path)
    assert first.record["status"] == "incomplete" and first.failed == 1
    assert first.record["tasks"]["cases"]["scored"] == 4
    judge.reply = yes_to("Borreliosis")
    judge.questions.clear()
    second = mibe.evaluate(model=model, tasks="cases", judge=judge, output_dir=tmp_path)
    assert second.path == first.path and second.record["status"] == "finished"
    assert judge.questions == [question("Borreliosis", ["Lyme disease"])]
    assert len(model.questions) == len(CASES)
    assert figures(second)["top1_accuracy"] == 0.4


def test_another_judge_is_another_run(cases, tmp_path):
    model = Asked(lambda text, attempt: answers([text])[0], "the model")
    runs = [
        mibe.evaluate(model=model, tasks="cases", judge=judge, output_dir=tmp_path).record["fingerprint"]
        for judge in ("exact", Asked(yes_to()), Asked(yes_to(), "another"))
    ]
    assert len(set(runs)) == 3


def test_nothing_of_a_credentialed_task_reaches_a_remote_judge_unasked(cases, tmp_path):
    judge = Asked(yes_to())
    judge.is_remote = True
    with pytest.raises(DataUseError, match="cases came under the agreement of the cases and asked is remote"):
        mibe.evaluate(model=answers, tasks="cases", judge=judge, output_dir=tmp_path)
    assert judge.questions == []
    allowed = {"allow_egress": ["cases"], "agreement": "signed"}
    run = mibe.evaluate(model=answers, tasks="cases", judge=judge, output_dir=tmp_path, **allowed)
    assert judge.questions
    (leaving,) = run.record["egress"]
    assert leaving["receiver"] == "asked" and leaving["agreement"] == "signed"
    asked = list(judge.questions)
    # Scored again, verdicts are kept: nobody is asked, and the permission stays on record.
    assert rescore(run.path).record["egress"] == run.record["egress"] and judge.questions == asked


def test_a_remote_judges_failure_quotes_nothing(cases, tmp_path):
    class Leaky(Asked):
        is_remote = True

        def generate(self, requests):
            raise RuntimeError(f"bad request: {requests[0].text}")

    with pytest.raises(mibe.errors.ModelError) as caught:
        mibe.evaluate(
            model=answers,
            tasks="cases",
            judge=Leaky(None),
            output_dir=tmp_path,
            allow_egress=["cases"],
            agreement="signed",
        )
    assert "diagnosis:" not in str(caught.value) and "RuntimeError" in str(caught.value)


def test_a_judge_without_a_diagnosis_task_is_refused(tmp_path):
    with pytest.raises(UsageError, match="none of the tasks is a diagnosis task"):
        mibe.evaluate(model=answers, tasks="pubmedqa", judge="exact", output_dir=tmp_path)


def test_verdicts_follow_their_diagnosis_when_the_output_is_parsed_anew():
    def verdict(rank, diagnosis, match):
        return {"rank": rank, "diagnosis": diagnosis, "match": match, "raw": "y", "source": "asked"}

    row = {"prediction": ["c", "b", "a"], "target": ["x"], "verdicts": [verdict(1, "a", False), verdict(2, "b", True)]}
    kept = keep_verdicts(row)["verdicts"]
    assert [(v["rank"], v["diagnosis"], v["match"], v["source"]) for v in kept] == [
        (1, "c", None, "unjudged"),
        (2, "b", True, "asked"),
    ]
    assert keep_verdicts({"prediction": ["a"], "target": ["x"]}) == {"prediction": ["a"], "target": ["x"]}


def test_text_generated_elsewhere_is_judged_too(cases, tmp_path):
    path = tmp_path / "outputs.jsonl"
    lines = [json.dumps({"id": i, "output": output}) + "\n" for i, (_, output) in CASES.items()]
    path.write_text("".join(lines), encoding="utf-8")
    scores = score_outputs(cases, path, judge=Asked(yes_to("Borreliosis")))
    assert scores["figures"]["top1_accuracy"]["value"] == 0.4
    remote = Asked(yes_to(), "remote")
    remote.is_remote = True
    with pytest.raises(DataUseError):
        score_outputs(cases, path, judge=remote)
    assert remote.questions == []
    assert (scores["judge"]["name"], scores["egress"]) == ("asked", [])
    said = []
    news = Silent()
    news.message = lambda text: said.append((text, list(remote.questions)))
    scores = score_outputs(cases, path, judge=remote, allow_egress=["cases"], agreement="signed", progress=news)
    terms = "agreement of the cases"
    assert scores["egress"] == [{"task": "cases", "terms": terms, "receiver": "asked", "agreement": "signed"}]
    assert scores["judge"]["is_remote"] and remote.questions
    assert said == [("text of cases goes to asked, which its user says is permitted: signed", [])], "before any is sent"
    with pytest.raises(UsageError, match="unknown task 'case'"):
        score_outputs(cases, path, judge=remote, allow_egress=["case"], agreement="signed")
