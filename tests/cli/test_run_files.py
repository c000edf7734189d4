"""A run as a file: what a command asks for can be written, changed, read again, and asked of several models."""

import argparse
import json
import shlex
import sys
import tomllib

import pytest
from api_server import error, said, serving

import mibe
from mibe.cli.evaluate import RUN_FILE
from mibe.cli.known import Known
from mibe.cli.main import main, parser
from mibe.cli.options import names_of
from mibe.cli.run_file import read_run_file, runs_of, to_file
from mibe.models.arguments import parse_model_args, parse_template_args
from mibe.models.local import dummy


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """`mibe eval` in a folder of its own: exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, check=0):
        monkeypatch.setattr(sys, "argv", ["mibe", "eval", *arguments])
        code = main(["eval", *arguments])
        out, err = capfd.readouterr()
        assert code == check, err
        return out, err

    return run


@pytest.fixture
def known():
    return Known(eval_parser())


def eval_parser():
    """The parser of `mibe eval`."""
    return next(action.choices["eval"] for action in parser()._actions if isinstance(action.choices, dict))


def runs(folder):
    """The runs below a folder, in the order of their beginning."""
    found = [mibe.load_run(path.parent) for path in folder.glob("*/run.json")]
    return sorted(found, key=lambda run: (run.record["sessions"][0]["started"], len(run.path.name), run.path.name))


BASE = 'tasks = ["pubmedqa"]\nlimit = 8\nresamples = 20\n'


def test_every_model_is_run_with_every_one_of_the_settings(command, tmp_path, monkeypatch):
    loads = []
    real = dummy.load
    monkeypatch.setattr(dummy, "load", lambda args: loads.append(dict(args)) or real(args))
    (tmp_path / "run.toml").write_text(
        BASE
        + "[[settings]]\nnum-fewshot = 0\n[[settings]]\nnum_fewshot = 2\nseed = 7\n"
        + '[[models]]\nmodel = "dummy"\nmodel-args.answer = "yes"\n'
        + '[[models]]\nmodel = "dummy"\nmodel-args = { answer = "no" }\nlimit = 5\n'
    )
    out, err = command("run.toml", "--format", "json")
    found = [
        (r.record["model"]["identity"]["answer"], r.record["settings"]["num_fewshot"], r.record["settings"]["limit"])
        for r in runs(tmp_path / "runs")
    ]
    assert sorted(found) == [("no", 0, 5), ("no", 2, 5), ("yes", 0, 8), ("yes", 2, 8)]
    # Runs in a row that have a model in common load it once.
    assert [args["answer"] for args in loads] == ["yes", "no"]
    boards = json.loads(out)
    assert len(boards["boards"] if isinstance(boards, dict) else boards) == 2
    assert "run 4 of 4: dummy" in err


def test_a_run_folder_holds_the_file_that_repeats_it(command, tmp_path):
    command(
        "--model",
        "dummy",
        "--model-args",
        r"answer=yes\, it does",
        "--tasks",
        "pubmedqa",
        "--limit",
        "6",
        "--seed",
        "3",
    )
    [first] = runs(tmp_path / "runs")
    command(str(first.path / RUN_FILE), "--output-dir", "again")
    [second] = runs(tmp_path / "again")
    assert second.record["fingerprint"] == first.record["fingerprint"]
    assert second.record["model"]["identity"]["answer"] == "yes, it does"
    assert second.record["settings"]["seed"] == 3
    # And the file that repeats the second one says where that was.
    assert tomllib.loads((second.path / RUN_FILE).read_text())["output-dir"] == "again"


def test_an_option_that_may_stand_several_times_is_a_list_in_a_file(tmp_path):
    found = argparse.ArgumentParser()
    found.add_argument("run_file", nargs="?")
    found.add_argument("--set", action="append", default=[])
    found.add_argument("--include", action="append", default=[], metavar="FILE")
    known = Known(found)
    [(_, options)] = runs_of(found.parse_args(["--include", "a,b.py", "--include", "c.py"]), known)
    (tmp_path / "x.toml").write_text(to_file([options], known))
    [(_, again)] = runs_of(found.parse_args([str(tmp_path / "x.toml")]), known)
    assert found.parse_args(known.words(again)).include == ["a,b.py", "c.py"]
    [(_, one)] = runs_of(found.parse_args(["--set", "include=d.py"]), known)
    assert found.parse_args(known.words(one)).include == ["d.py"]


SAMPLES = {
    "model": "dummy",
    "model-args": 'pretrained="a, b=c",dtype=float16',
    "chat-template-args": 'enable_thinking=false,tools=[1,2],mode="1"',
    "tasks": "pubmedqa,medqa",
    "agreement": None,
    "allow-egress": None,
    "trusted-endpoint": None,
}
"""Values of options whose form says more than their type; None for those that no file holds."""


def test_every_option_is_the_same_once_it_was_in_a_file(tmp_path):
    """Those that another option keeps out come one after another."""
    found = eval_parser()
    known = Known(found)
    path = tmp_path / "one.toml"
    seen = set()
    for name, action in known._actions.items():
        value = SAMPLES.get(name, "")
        if value is None:
            continue
        if not value:
            by_type = {int: "3", float: "0.25"}
            names = names_of(action)
            value = sorted(map(str, names))[0] if names else by_type.get(action.type, 'a "b"\\ é')
        words = [f"--{name}"] if action.nargs == 0 else [f"--{name}={value}"]
        asked = found.parse_args(words)
        [(_, options)] = runs_of(asked, known)
        path.write_text(to_file([options], known))
        [(_, again)] = runs_of(found.parse_args([str(path)]), known)
        assert again == options and name in options
        parsed, direct = vars(found.parse_args(known.words(again))), vars(asked)
        if name == "model-args":
            assert parse_model_args(parsed.pop("model_args")) == parse_model_args(direct.pop("model_args"))
        if name == "chat-template-args":
            assert parse_template_args(parsed.pop("chat_template_args")) == parse_template_args(
                direct.pop("chat_template_args")
            )
        assert {k: v for k, v in parsed.items() if k != "command"} == {
            k: v for k, v in direct.items() if k != "command"
        }
        seen.add(name)
    assert len(seen) > 30 and {"limit", "judge", "no-cache", "system-prompt", "top-p"} <= seen


def test_all_that_is_wrong_is_told_with_its_line(command, tmp_path):
    (tmp_path / "run.toml").write_text(
        "limt = 20\n"
        'system-prompt = """\nlimit = 3\n"""\n'
        'temperature = "hot"\n'
        'tasks = "pubmedqa"\n'
        'suite = "zero_shot"\n'
        "\n"
        "[[models]]\n"
        'thinking = "perhaps"\n'
        "[[models]]\n"
        'model = "dumy"\n'
        'format = "json"\n'
        "skip-missing = 1\n"
        "limit = 1\n"
        "[models.chat-template-args]\n"
        "a = 2026-01-01\n"
        "[write]\n"
    )
    _, err = command("run.toml", check=2)
    told = err.removeprefix("mibe: run.toml: ").strip()
    assert told == (
        "line 1: tasks and suite exclude each other; give one of them; "
        "line 1: unknown key 'limt'; did you mean limit or split? "
        "line 5: temperature must be a number; "
        "line 9: no model is named; give model; "
        "line 10: thinking must be one of auto, on, off; "
        "line 12: unknown model 'dumy'; did you mean dummy or demo? "
        "line 13: format is of all models together; put it above the first [[models]]; "
        "line 14: skip-missing must be true or false; "
        "line 16: chat-template-args must be a table of arguments, or text; "
        "line 18: unknown key 'write'; did you mean suite?"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limit = \n", "no TOML: Invalid value (at line 1"),
        ("limit = 1\nlimit = 2\n", "no TOML: Cannot overwrite a value (at line 2"),
        ("max-errors = 1\nmax_errors = 2\n", "line 2: max-errors stands there twice"),
        ('models = "dummy"\n', "line 1: models are tables, each below a line [[models]]"),
        ("limit = true\n", "line 1: limit must be a whole number"),
        ('tasks = ["pubmedqa", 3]\n', "line 1: tasks must be text, or a list of texts"),
    ],
)
def test_other_files_are_one_line_too(text, said, command, tmp_path):
    (tmp_path / "run.toml").write_text(text)
    _, err = command("run.toml", check=2)
    assert said in err and err.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(command):
    assert "nothing.toml cannot be read: No such file or directory" in command("nothing.toml", check=2)[1]


def test_what_is_wrong_with_tasks_is_told_before_the_first_model_runs(command, tmp_path):
    (tmp_path / "run.toml").write_text(
        'limit = 3\n[[models]]\nmodel = "dummy"\ntasks = "pubmedqa"\n[[models]]\nmodel = "dummy"\ntasks = "pubmedqua"\n'
        '[[models]]\nmodel = "dummy"\ntasks = "medqa"\ntop-p = 0.5\nmax-cost = -1\n'
    )
    _, err = command("run.toml", check=2)
    assert "unknown task 'pubmedqua'" in err and "--max-cost" in err
    assert not (tmp_path / "runs").exists()


def test_the_command_line_counts_before_the_file_and_set_before_both(command, tmp_path):
    (tmp_path / "run.toml").write_text(
        BASE + 'seed = 7\nmodel-args = { answer = "no" }\n[[models]]\nmodel = "dummy"\nlimit = 5\nmodel-args.seed = 1\n'
    )
    # The seed is the usual one, and still what the command line says.
    command("run.toml", "--seed", "1234", "--limit", "4", "--set", "limit=3", "--set", "model-args.answer=yes")
    [run] = runs(tmp_path / "runs")
    assert (run.record["settings"]["seed"], run.record["settings"]["limit"]) == (1234, 3)
    assert run.record["model"]["identity"] == {"model": "dummy", "answer": "yes", "mode": None, "seed": 1}


def test_set_takes_any_option_and_tells_all_that_is_wrong(command, tmp_path):
    command("--set", "model=dummy", "--set", "tasks=pubmedqa", "--set", "skip-missing=true", "--set", "limit = 2",
            "--set", "shard=1/2", "--set", "reasoning_effort=3", "--write", "w.toml")  # fmt: skip
    assert tomllib.loads((tmp_path / "w.toml").read_text()) == {
        "model": "dummy", "tasks": "pubmedqa", "skip-missing": True, "limit": 2, "shard": "1/2", "reasoning-effort": "3"
    }  # fmt: skip
    _, err = command("--model", "dummy", "--set", "limit=ten", "--set", "foo", "--set", "limits=1", check=2)
    assert "--set limit: limit must be a whole number" in err and "--set foo: give KEY=VALUE" in err
    assert "--set limits: unknown key 'limits'; did you mean limit" in err and err.count("\n") == 1


def test_a_later_suite_takes_the_place_of_the_tasks(known, tmp_path):
    (tmp_path / "run.toml").write_text(BASE + '[[models]]\nmodel = "dummy"\nsuite = "zero_shot"\n')
    file = read_run_file(tmp_path / "run.toml", known)
    assert known.overlaid(file.shared, *file.models) == {
        "limit": 8, "resamples": 20, "model": "dummy", "suite": "zero_shot"
    }  # fmt: skip


def test_write_runs_nothing_and_its_file_runs_the_same(command, tmp_path):
    (tmp_path / "run.toml").write_text(
        BASE
        + "[[settings]]\nnum-fewshot = 0\n[[settings]]\nnum-fewshot = 1\n"
        + '[[models]]\nmodel = "dummy"\n[[models]]\nmodel = "dummy"\nmodel-args.mode = "first"\n'
    )
    _, err = command("run.toml", "--limit", "2", "--write", "whole.toml")
    assert "written: whole.toml" in err and not (tmp_path / "runs").exists()
    found = eval_parser()
    known = Known(found)
    one = runs_of(found.parse_args(["run.toml", "--limit", "2"]), known)
    two = runs_of(found.parse_args(["whole.toml"]), known)
    assert [options for _, options in two] == [options for _, options in one] and len(one) == 4
    assert tomllib.loads((tmp_path / "whole.toml").read_text())["limit"] == 2
    assert "unknown task" in command("--model", "dummy", "--tasks", "nope", "--write", "bad.toml", check=2)[1]
    _, err = command("run.toml", "--write", "nowhere/bad.toml", check=2)
    assert "--write nowhere/bad.toml: the file cannot be written (No such file or directory)" in err
    assert not (tmp_path / "bad.toml").exists()


def test_a_model_that_fails_takes_no_other_with_it(command, tmp_path):
    """The first server is not there, the second knows no such key, the third cannot be loaded, the last answers."""
    pytest.importorskip("openai")
    with serving() as gone:
        nowhere = gone.url
    with serving(lambda n, body: error(401, "no such key")) as strict, serving(lambda n, body: said("yes")) as server:
        (tmp_path / "run.toml").write_text(
            BASE
            + "".join(
                f'[[models]]\nmodel = "openai"\nmodel-args = {{ model = "{name}", base_url = "{url}", max_wait = 0.05, '
                f"deadline = 1 }}\n"
                for name, url in (("gone", nowhere), ("strict", strict.url))
            )
            + '[[models]]\nmodel = "dummy"\nmodel-args = { answer = "a", mode = "first" }\n'
            + f'[[models]]\nmodel = "openai"\nmodel-args = {{ model = "here", base_url = "{server.url}" }}\n'
        )
        out, err = command("run.toml", check=2)
    assert "openai strict was not scored: " in err and "dummy was not scored: the model 'dummy' takes answer=" in err
    assert "here" in out and "strict" not in out
    whole = [run for run in runs(tmp_path / "runs") if run.record["status"] == "finished"]
    assert [run.record["model"]["name"] for run in whole] == ["here"] and whole[0].failed == 0


def test_failed_samples_and_limits_are_1_and_the_others_go_on(command, tmp_path):
    pytest.importorskip("openai")
    with serving(lambda n, body: said("yes")) as server:
        (tmp_path / "prices.json").write_text(
            json.dumps({"date": "2026-01-31", "prices": {"127.0.0.1": {"m": {"prompt": 1e3, "completion": 1e3}}}})
        )
        (tmp_path / "run.toml").write_text(
            BASE
            + f'[[models]]\nmodel = "openai"\nmax-cost = 0.5\nmodel-args = {{ model = "m", base_url = "{server.url}", '
            + 'prices = "prices.json" }\n[[models]]\nmodel = "dummy"\n'
        )
        out, err = command("run.toml", check=1)
    assert "openai m was not scored: " in err and "dummy" in out


def test_what_nobody_foresaw_is_shown_where_it_happened(command, tmp_path, monkeypatch):
    real = dummy.DummyModel.generate

    def generate(self, requests):
        if self.identity["seed"] == 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return real(self, requests)

    monkeypatch.setattr(dummy.DummyModel, "generate", generate)
    (tmp_path / "run.toml").write_text(
        BASE + '[[models]]\nmodel = "dummy"\nmodel-args.seed = 1\n[[models]]\nmodel = "dummy"\nmodel-args.seed = 2\n'
    )
    out, err = command("run.toml", check=2)
    assert "Traceback" in err and "dummy was not scored: CUDA error" in err and "pubmedqa" in out


def test_settings_that_no_leaderboard_can_hold_together_have_one_each(command, tmp_path):
    (tmp_path / "run.toml").write_text(
        BASE
        + '[[models]]\nmodel = "dummy"\n[[models]]\nmodel = "dummy"\nmodel-args.mode = "first"\n'
        + '[[settings]]\nprotocol = "paper"\n[[settings]]\nprotocol = "default"\n'
    )
    out, _ = command("run.toml")
    paper, default = out.split('protocol = "default"')
    assert paper.startswith('protocol = "paper"')
    for board in (paper, default):
        assert "Zero-shot" in board and board.splitlines()[5].count("own: dummy") == 2


def test_runs_that_cannot_stand_side_by_side_at_all_have_a_table_each(command, tmp_path):
    (tmp_path / "run.toml").write_text(
        BASE + '[[models]]\nmodel = "dummy"\n[[models]]\nmodel = "dummy"\nmodel-args.seed = 1\nprotocol = "paper"\n'
    )
    out, err = command("run.toml")
    assert "no leaderboard: the runs have different protocols" in err and out.count("accuracy") == 2


KEY = "sk-very-secret-0123456789"


def test_no_key_is_written(command, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICE_API_KEY", KEY)
    with serving(lambda n, body: said("yes")) as server:
        url = server.url.replace("//", "//me:hunter2hunter2@")
        args = f"model=m,base_url={url},headers=x"
        command("--model", "dummy", "--tasks", "pubmedqa", "--set", "model-args.api_key=plain-password-1", "--set",
                f"model-args.base_url={url}", "--set", f"model-args.extra={KEY}", "--system-prompt", f"Say {KEY}.",
                "--model-args", args, "--write", "w.toml")  # fmt: skip
    text = (tmp_path / "w.toml").read_text()
    assert not any(secret in text for secret in (KEY, "plain-password-1", "hunter2"))
    assert "# Left out: model-args.api_key, which looks like a key; --set model-args.api_key=… gives it." in text
    assert tomllib.loads(text)["model-args"] == {"model": "m", "headers": "x"}


def test_no_key_stands_in_the_record_of_a_command(command, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICE_API_KEY", KEY)
    command("--model", "dummy", "--model-args", f"answer={KEY}", "--tasks", "pubmedqa", "--limit", "2", "--resamples",
            "20", "--no-cache", "--agreement", "api_key=plain-password-1 https://me:hunter2hunter2@host/x")  # fmt: skip
    [run] = runs(tmp_path / "runs")
    [session] = run.record["sessions"]
    written = session["command"]
    assert "--limit 2" in written and "[key]" in written
    assert not any(secret in written for secret in (KEY, "plain-password-1", "hunter2"))
    assert shlex.split(written)[0] == "mibe"
    assert KEY not in (run.path / RUN_FILE).read_text()


def test_what_lets_credentialed_text_leave_is_said_by_a_person(command, tmp_path):
    said_there = ("--agreement", "Addendum 7", "--allow-egress", "mednli", "--trusted-endpoint")
    command("--model", "dummy", "--tasks", "pubmedqa", *said_there, "--write", "w.toml")
    text = (tmp_path / "w.toml").read_text()
    assert "Addendum" not in text and "# Left out: allow-egress, which is said on the command line each time." in text
    for line in (
        'agreement = "x"',
        "allow-egress = []",
        "trusted-endpoint = true",
        "model-args.trusted_endpoint = true",
        'model-args = "trusted_endpoint=true"',
    ):
        (tmp_path / "run.toml").write_text(f'{BASE}model = "dummy"\n{line}\n')
        assert "said on the command line: --" in command("run.toml", check=2)[1]


def test_a_system_prompt_from_a_file_is_kept_as_its_text(command, tmp_path):
    (tmp_path / "system.txt").write_text('Say "yes".\nOr no.\n')
    command("--model", "dummy", "--tasks", "pubmedqa", "--system-prompt", "@system.txt", "--write", "w.toml")
    assert tomllib.loads((tmp_path / "w.toml").read_text())["system-prompt"] == 'Say "yes".\nOr no.'


def test_a_command_without_model_or_tasks_says_what_to_give(command):
    assert "name a model: --model hf" in command("--tasks", "pubmedqa", check=2)[1]
    assert "one of the arguments --tasks --suite --data is required" in command("--model", "dummy", check=2)[1]


def test_a_run_file_includes_its_tasks(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\nfrom mibe.registry import load_task, register_task\n"
        "register_task(replace(load_task('pubmedqa'), name='of_a_file', dataset='pubmedqa'))\n",
        encoding="utf-8",
    )
    path = tmp_path / "run.toml"
    said = f"tasks = 'of_a_file'\nmodel = 'dummy'\nlimit = 1\ninclude = ['{tmp_path / 'mine.py'}']\n"
    path.write_text(f"{said}output-dir = '{tmp_path / 'runs'}'\n", encoding="utf-8")
    assert main(["eval", str(path)]) == 0
