"""The command line as a user meets it: real processes, their output, exit codes, imports and errors."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from mibe.cli import main

HEAVY = ("torch", "transformers", "datasets", "lm_eval", "pandas", "sklearn", "numpy")


def mibe(*arguments, stdin="", check=None, **env):
    done = subprocess.run(
        [sys.executable, "-m", "mibe", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **env},
        timeout=300,
    )
    if check is not None:
        assert done.returncode == check, done.stderr
    return done


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["tasks"], ["eval", "--help"], ["compare", "--help"], ["leaderboard", "--help"], ["data", "list"]],
)
def test_light_commands_import_nothing_heavy(arguments):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['mibe', *{arguments!r}]\n"
        "try:\n    runpy.run_module('mibe', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_library_imports_nothing_heavy():
    code = f"import mibe, sys; mibe.evaluate; sys.exit(str([n for n in {HEAVY!r} if n in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_tasks_tells_what_each_task_is_and_how_to_get_its_data():
    text = mibe("tasks", "-v", check=0).stdout
    assert "pubmedqa  PubMedQA" in text and "train 450, valid 50, test 500" in text
    assert "MIT (open)" in text and "excerpt" in text
    assert "mibe data prepare ddi --from PATH" in text
    found = json.loads(mibe("tasks", "--format", "json", check=0).stdout)
    by_name = {task["name"]: task for task in found["tasks"]}
    assert by_name["mmlu"]["splits"] == {"train": 285, "valid": 1542, "test": 14042}
    assert by_name["ddi"]["splits"] == {"train": 27792, "test": 5716} and by_name["ddi"]["data"] == "not here"


def test_tasks_is_a_table_of_one_line_a_task_that_fits_the_terminal():
    table, groups, suites, more = mibe("tasks", check=0, COLUMNS="80").stdout.split("\n\n")
    header, rule, *rows = table.splitlines()
    assert header.split() == ["task", "headline", "test", "data", "what"] and set(rule) == {"-"}
    by_name = {row.split()[0]: row for row in rows}
    assert list(by_name)[:3] == ["pubmedqa", "medqa", "medqa_4"] and len(rows) == len(by_name) == 22
    assert by_name["pubmedqa"].split()[1:4] == ["accuracy", "500", "here"]
    assert by_name["mtsample"].split()[1:6] == ["accuracy", "80", "here,", "an", "excerpt"]
    assert by_name["mednli"].split()[2:6] == ["1,422", "needs", "a", "signature"]
    assert by_name["ddi"].split()[2:5] == ["5,716", "not", "here"]
    assert max(map(len, rows)) == 80 and by_name["bc5cdr"].endswith("…")
    assert groups.startswith("groups") and suites.startswith("suites") and more.startswith("mibe tasks -v")


def test_show_prints_the_exact_prompt_the_target_and_what_is_accepted():
    text = mibe("show", "pubmedqa", "--index", "3", "--num-fewshot", "2", check=0).stdout
    assert text.count("OUTPUT:") == 3 and "2 shots" in text
    assert "accepts: yes | no | maybe" in text
    assert "out of range; pubmedqa has 500 documents" in mibe("show", "pubmedqa", "--index", "500", check=2).stderr


def test_eval_prints_one_table_and_news_apart(tmp_path):
    arguments = ["eval", "--model", "dummy", "--model-args", "answer=yes", "--tasks", "pubmedqa", "--limit", "30"]
    done = mibe(*arguments, "--output-dir", str(tmp_path / "runs"), check=0)
    assert done.stdout.splitlines()[0].split() == [
        *("task", "metric", "value", "95", "%", "interval", "n", "unparsed", "truncated", "refused", "errors")
    ]
    assert "\033[" not in done.stdout and "100% of the answers are 'yes'" in done.stdout
    assert "run folder: " in done.stderr and "Only output yes, no, or maybe" in done.stderr
    for form in ("json", "csv", "markdown", "latex"):
        out = mibe(*arguments, "--output-dir", str(tmp_path / form), "--format", form, check=0).stdout
        if form == "json":
            value = json.loads(out)["pubmedqa"]["figures"]["accuracy"]["value"]
        elif form == "csv":
            rows = list(csv.DictReader(io.StringIO(out)))
            assert float(next(r for r in rows if r["metric"] == "accuracy")["value"]) == value
        else:
            assert f"{value:.3f}" in out and ("|" in out) == (form == "markdown")


def test_exit_code_counts_failed_samples(tmp_path):
    plugin = tmp_path / "plug"
    (plugin / "failing-1.dist-info").mkdir(parents=True)
    (plugin / "failing-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1\n")
    (plugin / "failing-1.dist-info" / "entry_points.txt").write_text("[mibe.models]\nfailing = failing:load\n")
    (plugin / "failing.py").write_text(
        "from mibe.models.base import Response\n"
        "from mibe.models.local.dummy import DummyModel\n"
        "class Failing(DummyModel):\n"
        "    name = 'failing'\n"
        "    def generate(self, requests):\n"
        "        for i, r in enumerate(requests):\n"
        "            yield i, Response(text='', finish_reason='error', error='no') if i == 0 else "
        "Response(text='yes', finish_reason='stop')\n"
        "def load(args):\n    return Failing()\n"
    )
    arguments = [
        "eval",
        "--model",
        "failing",
        "--tasks",
        "pubmedqa",
        "--limit",
        "5",
        "--output-dir",
        str(tmp_path / "r"),
    ]
    path = os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")])
    done = mibe(*arguments, check=1, PYTHONPATH=path)
    assert "1 samples failed and are not scored" in done.stdout
    mibe(*arguments, "--max-errors", "1", check=0, PYTHONPATH=path)


@pytest.mark.parametrize("code", ["import sys\nsys.exit(3)\n", "import none_such\n", "x = 1\n"])
def test_a_package_that_cannot_be_loaded_is_one_line_and_the_others_go_on(tmp_path, code):
    info = tmp_path / "plug" / "broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mibe.tasks]\nfractures = broken:TASK\n[mibe.models]\nown = broken:load\n")
    (tmp_path / "plug" / "broken.py").write_text(code)
    path = os.pathsep.join([str(tmp_path / "plug"), os.environ.get("PYTHONPATH", "")])
    listed = mibe("tasks", check=0, PYTHONPATH=path)
    assert "the entry point 'fractures' of the group mibe.tasks of the package broken cannot be loaded" in listed.stderr
    assert "pubmedqa" in listed.stdout and "fractures" not in listed.stdout
    given = ("--limit", "2", "--output-dir", str(tmp_path))
    for arguments in (("--model", "own", "--tasks", "pubmedqa"), ("--model", "dummy", "--tasks", "fractures")):
        refused = mibe("eval", *arguments, *given, check=2, PYTHONPATH=path)
        assert len(refused.stderr.splitlines()) == 1 and "cannot be loaded: " in refused.stderr
    mibe("eval", "--model", "dummy", "--tasks", "pubmedqa", *given, check=0, PYTHONPATH=path)


def test_score_reads_outputs_made_elsewhere(tmp_path):
    from mibe.data import store

    examples = store.load_examples("pubmedqa", "test")
    right = [{"id": e.id, "output": f"The answer is {e.target}."} for e in examples]
    file = tmp_path / "outputs.jsonl"
    file.write_text("\ufeff" + lines(right).replace("\n", "\r\n"))
    done = json.loads(mibe("score", "--task", "pubmedqa", "--outputs", str(file), "--format", "json", check=0).stdout)
    assert done["pubmedqa"]["figures"]["accuracy"]["value"] == 1.0

    def error(rows, *more):
        file.write_text(rows if isinstance(rows, str) else lines(rows))
        result = mibe("score", "--task", "pubmedqa", "--outputs", str(file), *more)
        assert result.returncode == 2 and result.stdout == "" and len(result.stderr.splitlines()) == 1
        return result.stderr

    assert "1 of 500 documents have no output" in error(right[1:]) and "--partial" in error(right[1:])
    assert "stands there twice" in error([*right, right[0]])
    assert "is not in the data" in error([*right, {"id": "nobody", "output": "yes"}])
    assert "line 2: not JSON" in error('{"id": "1", "output": ""}\n{"id"'.replace('"1"', json.dumps(examples[0].id)))
    assert "each line is" in error([{"id": examples[0].id}])
    assert "holds no outputs" in error("", "--partial")
    file.write_bytes(b'{"id": "\xff"}')
    assert "not UTF-8" in mibe("score", "--task", "pubmedqa", "--outputs", str(file), check=2).stderr
    file.write_text(lines(right[:10]))
    out = mibe("score", "--task", "pubmedqa", "--outputs", str(file), "--partial", "--format", "json", check=0).stdout
    assert json.loads(out)["pubmedqa"]["scored"] == 10


def test_a_score_file_may_be_a_table(tmp_path, capsys):
    from mibe.data import store

    examples = store.load_examples("pubmedqa", "test")
    answers = [f'So, the answer, as I\nread it, is "{e.target}".' for e in examples]

    def score(name, rows, *more, dialect="excel", header=("id", "output", "model"), code=0, **form):
        with (tmp_path / name).open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file, dialect, **form).writerows([header, *rows])
        arguments = ["--task", "pubmedqa", "--outputs", str(tmp_path / name), "--format", "json", "--resamples", "10"]
        found = main(["score", *arguments, *more]), *capsys.readouterr()
        assert found[0] == code, found
        return json.loads(found[1])["pubmedqa"]["figures"]["accuracy"]["value"] if code == 0 else found[2]

    right = [(e.id, answer, "m") for e, answer in zip(examples, answers, strict=True)]
    yes = sum(e.target == "yes" for e in examples)
    assert score("outputs.csv", right) == 1.0
    assert score("excel.CSV", [(e.id, "yes", "m") for e in examples], delimiter=";") == yes / 500
    assert score("outputs.tsv", right, dialect="excel-tab") == 1.0
    # A document without a word in its cell has an output, which cannot be read.
    assert score("outputs.csv", [*right[:-1], (examples[-1].id, "", "m")]) == 499 / 500
    long = f"<think>{'Hm. ' * 40_000}</think>{examples[0].target}"
    assert score("outputs.csv", [(examples[0].id, long, "m")], "--partial") == 1.0
    error = score("bad.csv", [*right[:2], (examples[2].id, "yes")], code=2)
    assert "bad.csv, line 6: 2 cells in a table of 3 columns" in error
    error = score("bad.csv", right, header=("id", "answer", "model"), code=2)
    assert "bad.csv, line 2: the columns are id and output" in error and "not id, answer, model" in error


def test_parse_prints_predictions_in_the_form_of_the_labelled_cases():
    stdin = lines(
        [{"output": "C) Metformin", "choices": ["a", "b", "Metformin"]}, {"output": "", "choices": ["a", "b"]}]
    )
    out = mibe("parse", "--task", "medqa", stdin=stdin, check=0).stdout
    assert [json.loads(line) for line in out.splitlines()] == [
        {"prediction": "C", "outcome": "parsed"},
        {"prediction": None, "outcome": "unparsed"},
    ]
    assert "line 1" in mibe("parse", "--task", "ddi", stdin='{"text": 1}\n', check=2).stderr


def test_the_paper_protocol_parses_scores_and_shows_as_the_released_code_did(tmp_path):
    stdin = lines(
        [
            {
                "output": "According to the guidelines, the answer is C.",
                "choices": ["Aspirin", "Heparin", "Metformin", "Insulin", "Rest"],
            }
        ]
    )
    out = mibe("parse", "--task", "medqa", "--protocol", "paper", stdin=stdin, check=0).stdout
    assert json.loads(out)["prediction"] == "A"
    assert json.loads(mibe("parse", "--task", "medqa", stdin=stdin, check=0).stdout)["prediction"] == "C"
    from mibe.data import store

    file = tmp_path / "outputs.jsonl"
    file.write_text(lines({"id": e.id, "output": "unknown"} for e in store.load_examples("pubmedqa", "test")))
    score = ["score", "--task", "pubmedqa", "--outputs", str(file), "--format", "json", "--protocol"]
    figures = [json.loads(mibe(*score, name, check=0).stdout)["pubmedqa"]["figures"] for name in ("paper", "default")]
    assert [f["accuracy"]["value"] for f in figures] == [169 / 500, 0]
    shown = mibe("show", "pubmedqa", "--protocol", "paper", "--num-fewshot", "1", check=0).stdout
    assert shown.count("As an expert doctor") == 2 and "Only output yes" not in shown


def test_a_suite_runs_and_two_runs_are_compared(tmp_path):
    arguments = ["eval", "--suite", "forgetting", "--limit", "20", "--output-dir", str(tmp_path), "--model", "dummy"]
    for mode in ("first", "random"):
        out = mibe(*arguments, "--model-args", f"mode={mode}", check=0).stdout
        assert "mmlu" in out and "medqa" in out
    runs = [str(path) for path in sorted(tmp_path.iterdir())]
    found = json.loads(mibe("compare", *runs, "--format", "json", check=0).stdout)
    assert {row["task"] for row in found["rows"]} == {"mmlu", "medqa"} and found["rows"][0]["n"] == 20
    listed = mibe("compare", *runs, "--list", "medqa", "--format", "csv", check=0).stdout
    assert listed.startswith("id,outcome_a,scores_a,prediction_a,outcome_b,scores_b,prediction_b,target\n")
    neither = mibe("eval", "--model", "dummy", check=2).stderr
    assert "one of the arguments --tasks --suite --data is required" in neither
    both = mibe("eval", "--model", "dummy", "--tasks", "mmlu", "--suite", "forgetting", check=2).stderr
    assert "not allowed with argument" in both


def test_agreement_of_two_files(tmp_path):
    rows = [{"id": i, "match": i < 3} for i in range(6)]
    (tmp_path / "a").write_text(lines(rows))
    (tmp_path / "b").write_text(lines([*rows[:5], {"id": 5, "match": True}]))
    out = mibe("agreement", str(tmp_path / "a"), str(tmp_path / "b"), check=0).stdout
    # 5 of 6 equal; kappa = (5/6 - 1/2) / (1 - 1/2).
    assert "0.833" in out and "0.667" in out and "6 ratings of 6 cases" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "--model", "dummy", "--tasks", "pubmedqa,mmul"], "unknown task 'mmul'; did you mean mmlu"),
        (["eval", "--model", "dumy", "--tasks", "pubmedqa"], "dummy"),
        (["eval", "--model", "dummy", "--model-args", "x", "--tasks", "pubmedqa"], "'x'"),
        (["eval", "--model", "dummy", "--tasks", "pubmedqa", "--limit", "-3"], "--limit -3 is out of range"),
        (["eval", "--model", "dummy", "--tasks", "pubmedqa", "--max-errors", "-1"], "--max-errors -1 is out of range"),
        (["eval", "--model", "dummy", "--tasks", "hoc"], "mibe data prepare hoc --from"),
        (
            ["eval", "--model", "hf", "--model-args", "pretrained=/nowhere/at/all", "--tasks", "pubmedqa"],
            "/nowhere/at/all",
        ),
        (["eval", "--model", "dummy", "--suite", "zeroshot"], "unknown suite 'zeroshot'; did you mean zero_shot"),
        (["eval", "--model", "dummy", "--tasks", "pubmedqa", "--protocol", "p"], "unknown protocol 'p'"),
        (["eval", "--model", "dummy", "--tasks", "pubmedqa", "--bertscore", "x"], "none of the tasks is a summar"),
        (["eval", "--model", "dummy", "--tasks", "pubmedqa", "--judge", "exact"], "none of the tasks is a diagnosis"),
        (["compare", "/nowhere", "/nowhere"], "not a run folder"),
        (["agreement", "/nowhere", "/nowhere"], "cannot read /nowhere"),
        (["rescore", "/nowhere"], "not a run folder"),
        (["score", "--task", "pubmedqa", "--outputs", "/nowhere"], "cannot read /nowhere"),
        (["data", "prepare", "ddi", "--from", "/nowhere"], "/nowhere"),
        (["data", "verify", "nothing"], "unknown task 'nothing'"),
    ],
)
def test_bad_usage_is_one_clear_line_and_exit_code_two(arguments, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mibe", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("mibe: ") and len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m mibe tasks -v | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("pubmedqa") and done.stderr == ""
