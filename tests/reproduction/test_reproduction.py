"""The reproduction scripts: each plans, runs and shows what the paper prints; nobody is sent what he must not have."""

import csv
import io
import json
import os
import re
import runpy
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import platformdirs
import pytest
from scripted import Scripted

import mibe
from mibe.data import store
from mibe.data.prepare import prepare
from mibe.errors import DataError, DataUseError, ModelError, UsageError
from mibe.forecast.amounts import Throughput
from mibe.forecast.hardware import SHAPES
from mibe.leaderboard.runs import read_results
from mibe.models.local.demo import gguf_file
from mibe.published.figures import BACKBONES, VERSIONS
from mibe.rating.cases import database_of, listed_in
from mibe.rating.store import Ratings
from mibe.registry import load_task, register_task
from mibe.reproduction import main, running
from mibe.reproduction.filled import fill
from mibe.reproduction.forecasting import Hardware
from mibe.reproduction.models import MODELS, choose
from mibe.reproduction.ratings import marks_of, rated
from mibe.reproduction.running import Options, choose_tasks, refuse_unpermitted
from mibe.reproduction.table import Reproduction
from mibe.suites import load_suite

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "leaderboard"
NAMES = [
    *("table_4_v2", "table_5_v2", "table_6_v2", "figure_2_v2", "figure_3_v2", "figure_4_v2"),
    *("table_1_v1", "table_2_v1", "table_3_v1", "table_4_v1", "figure_1_v1", "figure_2_v1"),
]
DIAGNOSES = ("figure_3_v2", "figure_4_v2")
CASES = [
    {"id": "case-1", "case": "A man of 50 has a hot swollen toe.", "diagnosis": "Gout;Gouty arthritis"},
    {"id": "case-2", "case": "A woman of 30 has fever, rash and neck stiffness.", "diagnosis": "Meningitis"},
    {"id": "case-3", "case": "A child has a barking cough.", "diagnosis": "Croup"},
]


def table_of(name) -> Reproduction:
    return runpy.run_path(str(FOLDER / f"{name}.py"))["TABLE"]


@pytest.fixture
def cases(tmp_path):
    """Own cases, prepared as nejm_cpc."""
    raw = tmp_path / "cases.jsonl"
    raw.write_text("".join(json.dumps(case) + "\n" for case in CASES), encoding="utf-8")
    task = load_task("nejm_cpc")
    prepare("nejm_cpc", task.source, raw, variant=None, access=task.access)


def records(capsys):
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_there_is_a_script_for_each_table_and_figure_and_it_is_named_after_it():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(NAMES)
    for name in NAMES:
        table = table_of(name)
        assert table.name == name and name.endswith(table.version)
        assert set(table.tasks) <= set(load_suite(table.suite).tasks)
        assert {row.model for row in table.rows} <= MODELS.keys()


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("table")])
def test_a_table_shows_each_figure_that_the_paper_prints_and_no_other(name, capsys):
    table = table_of(name)
    assert main(table, ["--published", "--format", "csv"]) == 0
    shown = {(row["dataset"], row["metric"], row["model"]): row["published"] for row in records(capsys)}
    text = files("mibe.published").joinpath("published.csv").read_text(encoding="utf-8")
    printed = [
        row
        for row in csv.DictReader(text.splitlines())
        if (row["source"], row["table"]) == (VERSIONS[table.version], table.table)
    ]
    assert len(shown) == len(printed) > 30
    for row in printed:
        assert float(shown[row["dataset"], row["metric"], row["model"]]) == float(row["value"])
    # Models and data sets stand in the paper's order.
    assert tuple(row.model for row in table.rows) == tuple(dict.fromkeys(row["model"] for row in printed))
    assert list(table.figures) == list(dict.fromkeys(row["dataset"] for row in printed))


def test_a_drawn_figure_is_not_given_numbers(capsys):
    for name in ("figure_3_v2", "figure_4_v2", "figure_2_v1"):
        assert main(table_of(name), ["--published"]) == 0
        out = capsys.readouterr().out
        assert "not printed" in out and "the paper says" in out
        assert not re.search(r"\b0\.\d{3}\b", out)
    assert main(table_of("figure_2_v2"), ["--published", "--format", "csv"]) == 0
    by_model = {(row["model"], row["dataset"]): row["published"] for row in records(capsys)}
    # Table 5 and table 4 of the preprint; ROUGE-1 and the commercial models are printed nowhere.
    assert by_model["Me-LLaMA-70B-chat zero-shot", "pubmedqa"] == "0.768"
    assert by_model["Me-LLaMA-70B task-specific", "ddi"] == "0.779"
    assert not [key for key in by_model if key[0] in ("ChatGPT", "GPT-4") or key[1] == "pubmedsum"]
    assert main(table_of("figure_1_v1"), ["--published", "--format", "csv"]) == 0
    by_model = {(row["model"], row["dataset"]): row["published"] for row in records(capsys)}
    # Table 1 of the first version.
    assert by_model["Me-LLaMA-70B-chat", "pubmedqa"] == "0.768" and by_model["Me-LLaMA-13B-chat", "bionli"] == "0.195"
    assert not [key for key in by_model if key[0] in ("ChatGPT", "GPT-4") or key[1] == "pubmedsum"]


def test_the_pairs_of_the_forgetting_table_are_the_papers(capsys):
    table = table_of("table_4_v1")
    assert dict(table.changes) == BACKBONES
    filled = fill(table, [], {})
    changes = {(c.model, c.figure): c.published for c in filled.changes}
    # As printed in parentheses: −2.7 %, +5.1 %, +1.0 %, +2.6 %.
    for model, dataset, percent in (
        ("PMC-LLaMA-7B", "mmlu", -2.7),
        ("Meditron-7B", "medqa", 5.1),
        ("Me-LLaMA-13B", "mmlu", 1.0),
        ("Me-LLaMA-13B", "medqa", 2.6),
    ):
        assert changes[model, (dataset, "accuracy")] * 100 == pytest.approx(percent, abs=0.051)


@pytest.mark.parametrize("name", NAMES)
def test_each_script_plans_without_loading_or_sending_anything(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--dry-run", "--limit", "3", "--output-dir", "nowhere"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    table = table_of(name)
    for row in table.rows:
        assert re.search(rf"^{re.escape(row.model)} ", done.stdout, flags=re.M), row.model
    for task in table.tasks:
        assert re.search(rf"^{task}( \(missing\))? ", done.stdout, flags=re.M), task
    assert "GPU hours" in done.stdout and "prompt tokens" in done.stdout
    if any(row.model.startswith("Me-LLaMA") for row in table.rows):
        assert re.search(r"Me-LLaMA-\S+: --weights Me-LLaMA-\S+=PATH", done.stdout)
    if any(row.model == "GPT-4" for row in table.rows):
        assert "GPT-4: api.openai.com/v1 wants a key" in done.stdout
    if name == "table_5_v2":
        assert "emrqa (signed: n2c2 Data Use and Confidentiality Agreement)" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_each_script_runs_whole(name, tmp_path, cases, capsys):
    table = table_of(name)
    arguments = ["--models", "dummy", "--limit", "3", "--resamples", "20", "--output-dir", str(tmp_path)]
    assert main(table, [*arguments, "--format", "csv"]) == 0
    rows = records(capsys)
    own = {(row["dataset"], row["metric"]): row for row in rows if row["model"] == "dummy"}
    here = choose_tasks(table, table.suite).tasks
    assert {dataset for dataset, _ in own} == set(here) and here
    assert all(row["n"] == "3" and row["published"] == "" for row in own.values())
    assert main(table, [*arguments, "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert "| dummy" in out or "|        dummy" in out or "dummy |" in out
    assert len(list(tmp_path.glob(f"{name}/*/*/run.json"))) == 1


def test_a_finished_run_is_taken_as_it_is_and_another_request_is_another_run(tmp_path, capsys, monkeypatch):
    table = table_of("table_5_v2")
    arguments = ["--models", "dummy", "--tasks", "pubmedqa", "--output-dir", str(tmp_path), "--resamples", "20"]
    assert main(table, [*arguments, "--limit", "3"]) == 0
    first = list(tmp_path.glob("table_5_v2/*/*/run.json"))
    with monkeypatch.context() as without_runs:
        without_runs.setattr(running, "evaluate", lambda **_: pytest.fail("ran again"))
        assert main(table, [*arguments, "--limit", "3"]) == 0
    assert main(table, [*arguments, "--limit", "4"]) == 0
    assert len(first) == 1 and len(list(tmp_path.glob("table_5_v2/*/*/run.json"))) == 2


def scripted(monkeypatch, answer="yes", *, is_remote=False):
    """Every model that a script loads is this one; returns it and the (name, arguments) asked for."""
    model = Scripted(lambda _: answer)
    model.is_remote = is_remote
    loaded = []

    def load(name, args):
        loaded.append((name, dict(args or {})))
        model.identity = {"model": name, "args": dict(args or {})}
        return model

    monkeypatch.setattr(running, "as_model", load)
    return model, loaded


def test_a_papers_model_stands_beside_its_published_figures_with_an_answer(tmp_path, capsys, monkeypatch):
    _, loaded = scripted(monkeypatch)
    arguments = [
        "--models",
        "llama-2-13b-chat-hf:dummy:answer=yes",
        "--tasks",
        "pubmedqa",
        "--output-dir",
        str(tmp_path),
    ]
    table = table_of("table_5_v2")
    with pytest.raises(UsageError, match="unknown model"):
        choose(table, ["llama-9-13b"])
    arguments[1] = "llama2-13b-CHAT:dummy:answer=yes"
    assert main(table, [*arguments, "--format", "csv"]) == 0
    (row,) = [row for row in records(capsys) if row["own"] and row["metric"] == "accuracy"]
    # "yes" to all 500: 276 are right, and 0.546 is what the paper prints.
    assert (row["model"], row["published"], float(row["own"])) == ("LLaMA2-13B-chat", "0.546", 276 / 500)
    assert (row["n"], row["consistent"]) == ("500", "True")
    assert loaded == [("dummy", {"answer": "yes"})]
    assert main(table, arguments) == 0
    out = capsys.readouterr().out
    assert "0.552" in out and re.search(r"consistent\? +yes", out)


def test_each_data_set_can_have_weights_of_its_own(tmp_path, capsys, monkeypatch):
    _, loaded = scripted(monkeypatch)
    table = table_of("table_4_v2")
    arguments = ["--models", "LLaMA2-13B", "--tasks", "pubmedqa,medqa", "--limit", "2", "--output-dir", str(tmp_path)]
    assert main(table, arguments) == 2
    assert "mellama-train finetune" in capsys.readouterr().err and not loaded
    assert main(table, [*arguments, "--weights", "llama2-13b=org/ft-{task}", "--model-args", "dtype=float16"]) == 0
    plain = {"dtype": "float16", "chat_template": "off"}
    assert loaded == [("hf", {"pretrained": f"org/ft-{task}"} | plain) for task in ("pubmedqa", "medqa")]
    (path, _) = tmp_path.glob("table_4_v2/*/*/run.json")
    assert json.loads(path.read_text())["suite"] == "supervised"


def test_nothing_runs_before_all_that_is_missing_is_named(tmp_path, capsys):
    assert main(table_of("table_6_v2"), ["--output-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "nothing was run" in error and "--weights Me-LLaMA-13B=PATH" in error and "PhysioNet" in error
    folder = str(tmp_path / "none")
    assert main(table_of("table_6_v2"), ["--models", "Me-LLaMA-13B", "--weights", f"Me-LLaMA-13B={folder}"]) == 2
    assert f"the folder {folder}, which is not here" in capsys.readouterr().err
    assert main(table_of("figure_3_v2"), ["--models", "dummy"]) == 2
    assert "none of the data is here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "lama"], "unknown model 'lama'"),
        (["--models", "openai:model=gpt-4o"], "give NAME:MODEL:ARGUMENTS"),
        (["--models", "dummy", "dummy"], "dummy is named twice"),
        (["--models", "dummy", "--weights", "Me-LLaMA-13B-chat=x/y"], "is none of the models to run, dummy"),
        (["--models", "dummy", "--weights", "Me-LLaMA-13B-chat"], "is not of the form --weights NAME=PATH"),
        (["--models", "dummy", "--tasks", "mmlu"], "mmlu is not in table_5_v2; it has pubmedqa"),
        (["--models", "dummy", "--tasks", "pubmedqa", "--limit", "0"], "--limit 0 is out of range"),
        (["--models", "dummy", "--tasks", "pubmedqa", "--limit", "1", "--backbone", "dummy=x"], "there is no model x"),
        (["--models", "dummy", "--tasks", "pubmedqa", "--limit", "1", "--ratings", "dummy=x"], "cannot read x"),
        (
            ["--models", "dummy", "--tasks", "pubmedqa", "--limit", "1", "--ratings", "x=y"],
            "there is no model x to run",
        ),
    ],
)
def test_wrong_use_is_one_line(arguments, message, tmp_path, capsys):
    assert main(table_of("table_5_v2"), [*arguments, "--output-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and not list(tmp_path.iterdir())
    assert error.startswith("table_5_v2.py: ") and message in error


def signed_data():
    """A credentialed set, MedNLI, as if it were here (of invented sentences)."""
    folder = store.data_dir() / "mednli"
    folder.mkdir(parents=True)
    line = {
        "id": "1",
        "inputs": {"premise": "He has a cough.", "hypothesis": "He is ill."},
        "target": "entailment",
    }
    (folder / "test.jsonl").write_text(json.dumps(line) + "\n")


def test_a_remote_model_gets_the_eight_permitted_sets_and_nothing_else(tmp_path, capsys, monkeypatch):
    signed_data()
    model, _ = scripted(monkeypatch, is_remote=True)
    arguments = ["--models", "GPT-4", "--limit", "1", "--output-dir", str(tmp_path), "--resamples", "20"]
    for extra in ([], ["--tasks", "mednli"], ["--tasks", "pubmedqa,mednli", "--allow-egress", "mednli"]):
        assert main(table_of("table_5_v2"), [*arguments, *extra]) == 2
        assert "mednli" in capsys.readouterr().err
    assert main(table_of("table_4_v1"), arguments) == 2
    assert "may get the eight data sets of the suite commercial alone, not mmlu" in capsys.readouterr().err
    assert model.asked == [] and not list(tmp_path.glob("**/run.json"))
    assert main(table_of("figure_2_v2"), [*arguments, "--bertscore", "none"]) == 0
    permitted = [task for task in load_suite("commercial").tasks if store.find(task)]
    assert len(model.asked) == len(permitted) > 3


def test_own_cases_go_to_a_remote_model_by_their_users_word(tmp_path, capsys, monkeypatch, cases):
    model, _ = scripted(monkeypatch, "1. Gout", is_remote=True)
    arguments = ["--models", "GPT-4", "--judge", "exact", "--output-dir", str(tmp_path)]
    assert main(table_of("figure_3_v2"), arguments) == 2
    assert "--allow-egress nejm_cpc" in capsys.readouterr().err and model.asked == []
    assert main(table_of("figure_3_v2"), [*arguments, "--allow-egress", "nejm_cpc", "--format", "csv"]) == 0
    rows = {row["metric"]: row for row in records(capsys)}
    assert float(rows["top1_accuracy"]["own"]) == pytest.approx(1 / 3) and len(model.asked) == 3


@pytest.mark.parametrize("task", ["emrqa", "i2b2", "mimic_cxr", "mednli"])
def test_the_rule_itself_knows_every_credentialed_set(task):
    remote = Scripted(lambda _: "")
    refuse_unpermitted(remote, [task])
    remote.is_remote = True
    for allowed in ([], [task], ["nejm_cpc"]):
        with pytest.raises(DataUseError, match=task):
            refuse_unpermitted(remote, [task], allowed)
    refuse_unpermitted(remote, load_suite("commercial").tasks)


def test_a_clinicians_ratings_make_a_figure_of_their_own(tmp_path, capsys, monkeypatch, cases):
    scripted(monkeypatch, "1. Sepsis\n2. Viral croup\n3. Asthma")
    file = tmp_path / "ratings.jsonl"
    # The third case is right at rank 2; the first has no match; of the second rank 3 is not rated.
    marks = [
        ("case-1", 1, False),
        ("case-1", 2, False),
        ("case-1", 3, False),
        ("case-2", 1, False),
        ("case-2", 2, False),
    ]
    marks += [("case-3", 1, False), ("case-3", 2, True)]
    lines = [json.dumps({"id": i, "rank": r, "match": m}) + "\n" for i, r, m in marks]
    file.write_text("".join(lines))
    arguments = ["--models", "Me-LLaMA-70B-chat:dummy", "--ratings", f"Me-LLaMA-70B-chat={file}"]
    table = table_of("figure_4_v2")
    assert main(table, [*arguments, "--output-dir", str(tmp_path), "--format", "csv"]) == 0
    rows = {(row["dataset"], row["metric"]): row for row in records(capsys)}
    by_people = [rows["nejm_cpc_human", metric] for metric in ("top1_accuracy", "top5_accuracy")]
    assert [(float(row["own"]), row["n"], row["of"]) for row in by_people] == [(0.0, "2", "3"), (0.5, "2", "3")]
    assert float(rows["nejm_cpc", "top5_accuracy"]["own"]) == 0.0
    file.write_text('{"id": "another", "rank": 1, "match": true}\n')
    assert main(table, [*arguments, "--output-dir", str(tmp_path)]) == 2
    assert "rates no case of" in capsys.readouterr().err


def test_ratings_given_on_the_rating_page_need_no_file(tmp_path, capsys, monkeypatch, cases):
    scripted(monkeypatch, "1. Sepsis\n2. Viral croup\n3. Asthma")
    arguments = ["--models", "Me-LLaMA-70B-chat:dummy", "--output-dir", str(tmp_path / "runs"), "--format", "csv"]
    table = table_of("figure_4_v2")
    assert main(table, arguments) == 0
    assert "nejm_cpc_human" not in {row["dataset"] for row in records(capsys) if row["own"]}
    (record,) = (tmp_path / "runs").rglob("run.json")
    run = mibe.load_run(record.parent)
    ratings = Ratings(database_of(run, "nejm_cpc"))
    for number, listed in enumerate(listed_in(run, "nejm_cpc")):
        ratings.confirm("ann", listed, matches=[number + 1], unsure=False, comment="")
    ratings.close()
    assert main(table, arguments) == 0
    rows = {(row["dataset"], row["metric"]): row for row in records(capsys)}
    own = [float(rows["nejm_cpc_human", f"top{k}_accuracy"]["own"]) for k in (1, 5)]
    assert own == [pytest.approx(1 / 3, abs=1e-3), 1.0]


def test_an_empty_list_is_a_miss_and_a_gap_is_no_rating():
    ratings = {("a", 1): False, ("a", 3): True, ("b", 1): True}
    assert marks_of("a", 0, ratings) == []
    assert marks_of("a", 3, ratings) is None and marks_of("a", 1, ratings) == [False]
    assert marks_of("b", 9, ratings) == [True]
    six = {("c", rank): rank == 6 for rank in range(1, 7)}
    assert marks_of("c", 6, six) == [False] * 5


def test_ratings_of_no_case_are_refused_even_where_every_list_is_empty(tmp_path, cases):
    run = mibe.evaluate(model=lambda prompts: [""] * len(prompts), tasks="nejm_cpc", output_dir=tmp_path)
    (result,) = read_results([run.path])[0]
    file = tmp_path / "ratings.jsonl"
    file.write_text("")
    with pytest.raises(DataError, match="rates no case"):
        rated(result, file)


def test_runs_made_elsewhere_take_their_places(tmp_path, capsys):
    settings = {"tasks": "mmlu,medqa", "protocol": "paper", "limit": 30, "output_dir": tmp_path, "resamples": 100}
    before, after = Scripted(lambda p: "0", identity="before"), Scripted(lambda p: "1", identity="after")
    before.name, after.name = "Llama2-13B", "me-llama-13b"
    runs = [str(mibe.evaluate(model=model, suite="forgetting", **settings).path) for model in (before, after)]
    table = table_of("table_4_v1")
    assert main(table, ["--runs", *runs]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^Me-LLaMA-13B − LLaMA2-13B +MMLU +accuracy +\+0\.010 +[+−]0\.\d{3}", out, flags=re.M)
    assert "Meditron-7B − LLaMA2-7B" not in out
    assert "published" in out and re.search(r"consistent\? +(yes|no)\*", out)
    assert main(table_of("figure_2_v1"), ["--runs", *runs]) == 2
    assert "was run with 0 worked examples, figure_2_v1 has 5" in capsys.readouterr().err


def test_failed_samples_are_an_exit_code(tmp_path, capsys, monkeypatch):
    from mibe.models.base import Response

    model, _ = scripted(monkeypatch, Response(text="", finish_reason="error", error="gone"))
    arguments = ["--models", "dummy", "--tasks", "pubmedqa", "--limit", "3", "--output-dir", str(tmp_path)]
    assert main(table_of("table_5_v2"), arguments) == 1
    assert "dummy: 3 samples got no answer" in capsys.readouterr().out
    model.answer = lambda _: "yes"
    assert main(table_of("table_5_v2"), arguments) == 0
    assert len(list(tmp_path.glob("table_5_v2/*/*/run.json"))) == 1


def test_a_stand_in_is_named_as_such(tmp_path, capsys, shared):
    raw = shared / "data" / "diagnosis_cases" / "medqa_diagnosis_cases.jsonl"
    if not raw.exists():
        pytest.skip("the diagnosis cases are not beside this checkout")
    task = load_task("diagnosis_open")
    prepare("diagnosis_open", task.source, raw, variant=None, access=task.access)
    table = table_of("figure_3_v2")
    assert choose_tasks(table, "diagnosis").stand_ins == {"nejm_cpc": "diagnosis_open"}
    assert main(table, ["--models", "dummy", "--limit", "2", "--output-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "diagnosis_open stands in for nejm_cpc, whose data is not here" in out
    assert re.search(r"^diagnosis_open +top1_accuracy", out, flags=re.M)


def test_gpu_hours_follow_from_the_size_and_are_the_users_where_he_knows():
    shape = SHAPES["llama2-70b"]
    assumed = Hardware(gpu_bytes=80 * 2**30).throughput_of(shape, 2)
    # 2 × 312 TFLOP/s by 2 × 68.98e9 operations a token.
    assert assumed.prefill == pytest.approx(0.4 * 4523, rel=1e-3)
    assert assumed.decode == pytest.approx(0.1 * 4523, rel=1e-3)
    own = Throughput(prefill=8000, decode=2000)
    assert Hardware(gpu_bytes=1, throughput=own).throughput_of(shape, 2) == own


def test_the_papers_models_have_shapes_and_a_place_to_get_them():
    assert {about.shape for about in MODELS.values()} <= {"", *SHAPES}
    without = {name for name, about in MODELS.items() if about.source is None}
    assert without == {name for name in MODELS if name.startswith("Me-LLaMA")}
    entries = {entry.name: entry for entry in choose(table_of("figure_2_v2"))}
    assert entries["GPT-4"].model == "openai" and entries["GPT-4"].args == {"model": "gpt-4-0314"}
    assert "PhysioNet" in entries["Me-LLaMA-70B-chat"].missing
    chosen = choose(table_of("table_5_v2"), ["AlpaCare-13B"], loader="vllm", model_args={"dtype": "float16"})
    assert (chosen[0].model, chosen[0].args) == ("vllm", {"pretrained": "xz97/AlpaCare-llama2-13b", "dtype": "float16"})


def test_the_encoder_is_asked_for_only_where_the_table_has_bertscore():
    summaries = [load_task("pubmedsum")]
    assert Options().settings(summaries)["bertscore"] == "bert-base-multilingual-cased"
    assert Options().settings([load_task("pubmedqa")])["bertscore"] is None


@pytest.mark.slow
def test_the_demo_model_runs_a_whole_table(tmp_path):
    for needed in ("torch", "lm_eval", "gguf"):
        pytest.importorskip(needed)
    cache = os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe")
    try:
        gguf_file()
    except ModelError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [sys.executable, str(FOLDER / "table_5_v2.py"), "--models", "demo", "--limit", "1", "--resamples", "20"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MIBE_CACHE_DIR": cache},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^PubMedQA +accuracy +published +0\.546", done.stdout, flags=re.M)
    assert re.search(r"own .*\d\.\d{3}\*", done.stdout)


def test_the_tour_of_the_library_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "library_tour.py"), str(tmp_path / "runs")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "predictions differ" in done.stdout and "Letter:" in done.stdout and "own: dummy" in done.stdout
    assert len(list(tmp_path.glob("runs/*/run.json"))) == 4


def test_a_registered_task_is_known_by_name_and_takes_no_others_name():
    from dataclasses import replace

    task = replace(load_task("pubmedqa"), name="pubmedqa_again", dataset="pubmedqa")
    register_task(task)
    register_task(task)
    assert load_task("pubmedqa_again") is task and "pubmedqa_again" in mibe.list_tasks()
    for name in ("pubmedqa", "mibe", "pubmedqa_again"):
        with pytest.raises(UsageError, match=f"the name '{name}' is taken"):
            register_task(replace(task, name=name, title="Another"))
