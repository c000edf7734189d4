"""Commands as others spell them: understood, or answered with what to give."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
from api_clients import answers, clients
from api_requests import requests
from api_server import said, serving

from mibe.cli.foreign_options import OPTIONS, SHORT
from mibe.cli.main import _parsers, main
from mibe.cli.model_spellings import model_here
from mibe.cli.options import data_use_of
from mibe.cli.parsing import parse
from mibe.cli.spellings import understood
from mibe.errors import UsageError
from mibe.models import parse_model_args
from mibe.models.arguments import write_model_args
from mibe.models.loading import BUILTIN, INSTEAD, load_model
from mibe.registry import TASKS, load_task, resolve
from mibe.run.evaluate import evaluate
from mibe.terminal.news import heard_by

DOCS = Path(__file__).resolve().parents[2] / "docs"

PAIR = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pairs(page):
    """Whole commands of a page: theirs, and ours in the next line."""
    for block in PAIR.findall((DOCS / page).read_text(encoding="utf-8")):
        theirs, ours = block.replace("\\\n", " ").splitlines()
        yield pytest.param(theirs, ours, id=theirs[:60])


def words_of(command):
    """The words after the program's name, which is several words."""
    words = shlex.split(command)
    while not words[0].startswith("-"):
        words.pop(0)
    return words


def parsed(*words):
    found = vars(parse(*_parsers(), words))
    # `mibe eval` keeps its parser with its command, which is another one each time.
    return found | {"command": getattr(found["command"], "func", found["command"])}


@pytest.mark.parametrize(("theirs", "ours"), [*pairs("from-me-llama.md"), *pairs("from-lm-eval.md")])
def test_a_command_of_others_is_the_one_that_the_page_shows(theirs, ours, capsys):
    assert shlex.split(ours)[:2] == ["mibe", "eval"] and theirs != ours
    expected = parsed("eval", *words_of(ours))
    assert capsys.readouterr().err == ""
    assert parsed("eval", *words_of(theirs)) == expected
    assert capsys.readouterr().err.count("mibe: understood: ") == 1


def test_every_option_of_lm_eval_and_of_the_released_code_has_an_answer(capsys):
    run = pytest.importorskip("lm_eval._cli.run")
    parser = run.Run(argparse.ArgumentParser().add_subparsers())._parser
    theirs = {option for action in parser._actions for option in action.option_strings}
    # `src/eval.py` of the released code.
    theirs |= {"--model_prompt", "--provide_description", "--data_sampling", "--no_cache", "--output_base_path"}
    theirs |= {"--decontamination_ngrams_path", "--description_dict_path"}
    own = set(_parsers()[1]["eval"]._option_string_actions)
    unanswered = {
        option
        for option in theirs
        if (dashed := SHORT.get(option, option.replace("_", "-"))) not in own and dashed not in OPTIONS
    }
    assert unanswered == set()


OPTIONS_OF_EVAL = frozenset(_parsers()[1]["eval"]._option_string_actions)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--output_path results.json", "--output-dir DIR"),
        ("--check_integrity", "mibe check TASK"),
        ("--include_path tasks", "mibe lm-eval --include_path"),
        ("--wandb_args project=a name=b", "--track wandb"),
        ("--gen_kwargs temperature=0 until=x", "until: no option here; there are --temperature"),
        ("--fewshot_as_multiturn false", "--protocol paper puts them into one"),
        ("--apply_chat_template tool_use", "chat_template=off"),
        ("--model_prompt finma_prompt", "chat_template=off"),
        ("--tasks pubmedqa medqa --limit 0.1", "this share is 50 of pubmedqa, 128 of medqa"),
        ("--limit 2.5", "a number of documents"),
        ("--limit 0.5 --data notes.csv", "count the rows of --data"),
        ("--gen_kwargs {top_p:1}", "begin as JSON and are none"),
        ("--limit 0.5 --tasks nothing", "unknown task 'nothing'"),
        ("--model hf --model_args use_accelerate=perhaps", "true or false"),
        ("--modle hf", "unknown option --modle; did you mean --model?"),
        ("--batchsize 4", "did you mean --batch-size?"),
    ],
)
def test_what_means_something_else_is_answered_with_what_to_give(words, message):
    reading = understood(shlex.split(words), OPTIONS_OF_EVAL)
    assert len(reading.wrong) == 1 and message in reading.wrong[0]


def test_all_that_is_wrong_is_told_at_once_and_before_the_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        parsed("eval", "--modle", "hf", "--check_integrity", "--tasks", "x", "--nothing-like-it=1")
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and lines[3].startswith("usage: mibe eval")
    assert [line.split()[1] for line in lines[:3]] == ["unknown", "--check_integrity:", "unknown"]
    with pytest.raises(SystemExit):
        parsed("score", "--task", "x")
    assert capsys.readouterr().err.startswith("mibe: the following arguments are required: --outputs\nusage: ")
    with pytest.raises(SystemExit):
        parsed("data", "prepare", "ddi", "--form", "x")
    assert "unknown option --form; did you mean --from?" in capsys.readouterr().err


def test_own_spellings_go_through_untouched():
    words = ["--model", "hf", "--model-args", 'pretrained="/a,b",dtype=auto', "--tasks", "a,b", "--limit", "-3", "-h"]
    reading = understood(words, OPTIONS_OF_EVAL)
    assert (reading.words, reading.said, reading.wrong) == (words, [], [])
    assert understood(["--max-new", "3"], OPTIONS_OF_EVAL).words == ["--max-new-tokens", "3"]
    assert understood(["--system-prompt=--x"], OPTIONS_OF_EVAL).words == ["--system-prompt=--x"]
    assert understood(["--tasks=a", "b"], OPTIONS_OF_EVAL).words == ["--tasks", "a", "b"]
    assert understood(["--", "--anything"], OPTIONS_OF_EVAL).words == ["--", "--anything"]


def test_a_judge_has_the_names_of_a_model():
    for judge in ("exact", "openai:gpt-4o", "dummy"):
        assert understood(["--judge", judge], OPTIONS_OF_EVAL).words == ["--judge", judge]
    assert understood(["--judge", "gpt-4o"], OPTIONS_OF_EVAL).words == ["--judge", "openai:model=gpt-4o"]


def test_lm_evals_own_command_line_is_not_read():
    assert parsed("lm-eval", "--model_args", "a=b", "--tasks", "c")["argv"] == ["--model_args", "a=b", "--tasks", "c"]


def test_names_of_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    for name, here, args in (
        ("hf", "hf", {}),
        ("dummy", "dummy", {}),
        ("lm_eval:mamba_ssm", "lm_eval:mamba_ssm", {}),
        ("hf-causal", "hf", {}),
        ("o3-mini", "openai", {"model": "o3-mini"}),
        ("checkpoint", "hf", {"pretrained": "checkpoint"}),
        ("./elsewhere", "hf", {"pretrained": "./elsewhere"}),
        ("meta-llama/Llama-2-7b", "hf", {"pretrained": "meta-llama/Llama-2-7b"}),
        ("openai:gpt-4o", "openai", {"model": "gpt-4o"}),
        ("openai-completions", "openai", {"api": "completions"}),
        ("hff", "hff", {}),
    ):
        found = model_here(name, {})
        assert (found.name, dict(found.args), bool(found.said)) == (here, args, name != here)


@pytest.mark.parametrize("value", ["a,b", " a", '"quoted"', 'a"b', "C:\\x", "", "k=v,w"])
def test_arguments_are_read_as_they_are_written(value):
    assert parse_model_args(write_model_args({"x": value, "y": "1"})) == {"x": value, "y": "1"}


def test_arguments_are_read_from_json_too():
    text = '{"pretrained": "a,b", "dtype": "bfloat16", "trust_remote_code": true, "max_length": 2048, "revision": null}'
    assert parse_model_args(text) == {
        "pretrained": "a,b",
        "dtype": "bfloat16",
        "trust_remote_code": "true",
        "max_length": "2048",
    }
    reading = understood(["--gen_kwargs", '{"temperature": 0.7}'], OPTIONS_OF_EVAL)
    assert reading.words == ["--temperature", "0.7"] and not reading.wrong


# The names in `src/tasks/__init__.py` of the released code, and lm-eval's.
NAMES = {name: name.lower() for name in ("PUBMEDQA", "MedQA", "MedMCQA", "EmrQA", "i2b2", "hoc", "MTSample")} | {
    "DDI2013": "ddi",
    "PUBMEDSUM": "pubmedsum",
    "MimicSum": "mimic_cxr",
    "BioNLI": "bionli",
    "MedNLI": "mednli",
    "medqa_4options": "medqa_4",
    "mibe_mmlu": "mmlu",
}


def test_names_of_tasks():
    heard = []
    with heard_by(heard.append):
        for name, here in NAMES.items():
            assert load_task(name) is load_task(here)
            assert load_task(name).name == here
    assert sorted(heard) == sorted(f"the task {name} is {here} here" for name, here in NAMES.items() if name != here)
    assert [task.name for task in resolve("MIBE_OPEN,PUBMEDQA")][:2] == ["pubmedqa", "medqa"]
    assert [task.name for task in resolve(["DDI2013", "ddi"])] == ["ddi"]
    assert {load_task(name).name for name in TASKS} == TASKS.keys()


def test_every_unknown_name_is_told_at_once(tmp_path):
    with pytest.raises(UsageError) as told:
        evaluate(model="dumy", tasks="pubmedq,pubmedqa,medqq", output_dir=tmp_path)
    assert all(name in str(told.value) for name in ("'dumy'", "'pubmedq'", "'medqq'"))
    with pytest.raises(UsageError, match=r"'dytpe'; did you mean dtype\? .*'devise'; did you mean device"):
        evaluate(model="demo", model_args={"dytpe": "x", "devise": "y"}, tasks="pubmedqa", output_dir=tmp_path)


def test_the_key_of_the_released_code_is_sent(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_SECRET_KEY", "of-old-12345")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    heard = []
    with serving(lambda number, body: said("yes")) as server, clients() as make:
        with heard_by(heard.append):
            answers(make(server), requests(1))
        assert heard == ["the key comes from OPENAI_API_SECRET_KEY; its name here is OPENAI_API_KEY"]
        monkeypatch.setenv("OPENAI_API_KEY", "of-today-12345")
        answers(make(server), requests(1))
        assert [headers["authorization"] for _, headers, *_ in server.requests] == [
            "Bearer of-old-12345",
            "Bearer of-today-12345",
        ]


def test_text_that_may_leave_is_named_as_others_do():
    arguments = parse(*_parsers(), ["eval", "--model", "dummy", "--tasks", "emrqa", "--allow-egress", "EmrQA,mednli,x"])
    assert data_use_of(arguments)["allow_egress"] == ("emrqa", "mednli", "x")


@pytest.mark.parametrize(("prompts", "line"), [("table", "Question: {question}"), ("released", "Question {question}")])
def test_the_template_of_a_task_whose_data_is_not_here_is_shown(prompts, line, capsys):
    assert main(["show", "emrqa", "--prompts", prompts]) == 0
    shown = capsys.readouterr().out
    assert "Context: {context}\n" + line + "\nAnswer:" in shown
    assert "its data is not here. Sign the agreement" in shown and "mibe data prepare emrqa --from PATH" in shown
    assert main(["show", "hoc", "--index", "7", "--system-prompt", "You are a physician."]) == 0
    shown = capsys.readouterr().out
    assert "You are a physician." in shown and "INPUT:{text}" in shown.replace("INPUT: {", "INPUT:{")
    assert "sustaining proliferative signaling | evading growth suppressors" in shown


@pytest.mark.parametrize("name", ["list", "list_groups"])
def test_tasks_are_listed_by_a_command_of_their_own(name):
    (answer,) = understood(["--tasks", name], OPTIONS_OF_EVAL).wrong
    assert "`mibe tasks` lists" in answer


def test_patterns_stand_for_the_tasks_that_match_them():
    heard = []
    with heard_by(heard.append):
        assert [task.name for task in resolve("pubmed*,mmlu")] == ["pubmedqa", "pubmedsum", "mmlu"]
        assert [task.name for task in resolve(["MIBE_MMLU*", "medqa?4"])] == ["mmlu", "mmlu_medical", "medqa_4"]
    assert heard[0] == "the tasks pubmed* are pubmedqa, pubmedsum"
    with pytest.raises(UsageError, match=r"unknown task 'nothing\*'"):
        resolve("nothing*")


def test_every_class_of_lm_eval_has_a_name_here():
    models = pytest.importorskip("lm_eval.models")
    for name in models.MODEL_MAPPING:
        if name in INSTEAD:
            with pytest.raises(UsageError, match=f"no model is called '{name}' here: .*--model "):
                load_model(name)
        else:
            here = model_here(name, {}).name
            assert here in BUILTIN or here == f"lm_eval:{name}"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("sglang", "--model lm_eval:sglang"),
        ("GGUF", "gguf_file=FILE"),
        ("ollama", "base_url=http://127.0.0.1:11434/v1"),
    ],
)
def test_what_serves_models_elsewhere_is_answered_with_what_does_the_same(name, advice, capsys, tmp_path):
    assert main(["eval", "--model", name, "--tasks", "pubmedqa", "--output-dir", str(tmp_path)]) == 2
    assert advice in capsys.readouterr().err


def test_wrong_names_of_all_kinds_are_told_in_one_go(tmp_path, capsys):
    wrong = ["--protocol", "papre", "--prompt-style", "cott", "--scoring", "likely", "--vary", "wordin"]
    named = ["--model", "dumy", "--tasks", "pubmedq", *wrong, "--output-dir", str(tmp_path)]
    assert main(["eval", *named]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for name in ("'dumy'", "'pubmedq'", "'papre'", "'cott'", "'likely'", "'wordin'"):
        assert name in told
    assert main(["show", "pubmedqa", "--prompt-style", "cott", "--thinking", "maybe"]) == 2
    told = capsys.readouterr().err
    assert "unknown prompt style 'cott'; known: direct, cot" in told and "unknown thinking 'maybe'" in told
