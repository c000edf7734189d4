"""Tasks as environments of other trainers: the files that are written, by the packages that load them where these are
here, and by the calls that those make where they are not."""

import csv
import importlib.util
import io
import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mibe
from mibe.cli import env
from mibe.cli.main import main
from mibe.errors import DataUseError, UsageError
from mibe.interchange import ENVIRONMENTS, environment
from mibe.metrics.classification import MacroF1
from mibe.registry import load_task, register_task
from mibe.task import credentialed

TRAINERS = ("verifiers", "trl", "openrlhf")


def documents(task="pubmedqa", split="train"):
    """The documents of a split that stand in no test set."""
    left_out = mibe.also_in_test(load_task(task), split)
    return [example for example in mibe.examples(load_task(task), split) if example.id not in left_out]


def gold(examples, task="pubmedqa"):
    return [load_task(task).prompt.answer(example) for example in examples]


def loaded(tmp_path, to, task="pubmedqa", **settings):
    """The module of an environment, as its trainer imports it."""
    path = tmp_path / f"mibe_{task}_{to}.py"
    assert environment(task, to, output=path, **settings) is None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("to", TRAINERS)
def test_a_file_is_short_says_how_it_is_used_and_holds_no_text_of_the_data(to):
    text = environment("pubmedqa", to)
    assert len(text.splitlines()) <= 60
    compile(text, f"{to}.py", "exec")
    assert f"mibe_pubmedqa_{to}" in text
    assert "$" not in text
    for example in documents()[:50]:
        assert example.inputs["question"] not in text


def test_the_command_line_knows_the_environments(capsys):
    assert env.ENVIRONMENTS == ENVIRONMENTS
    assert main(["env", "pubmedqa", "--to", "trl"]) == 0
    assert capsys.readouterr().out == environment("pubmedqa", "trl")


def test_the_file_for_trl_is_its_dataset_and_its_reward_function(tmp_path):
    pytest.importorskip("datasets")
    module = loaded(tmp_path, "trl")
    rows = module.dataset()
    wanted = documents()
    assert rows["id"] == [example.id for example in wanted]
    first = rows[0]["prompt"]
    assert [turn["role"] for turn in first] == ["user"]
    assert wanted[0].inputs["question"] in first[0]["content"]
    # As GRPOTrainer calls it: by keyword, the columns beside, a turn for each completion.
    logged = {}
    completions = [[{"role": "assistant", "content": answer}] for answer in gold(wanted)]
    call = {"prompts": rows["prompt"], "id": rows["id"], "completion_ids": [[1]] * len(wanted), "trainer_state": None}
    scores = module.correct(completions=completions, log_metric=logged.__setitem__, log_extra=None, **call)
    assert scores == [1.0] * len(wanted)
    assert logged == {"answered": 1.0}
    nothing = [[{"role": "assistant", "content": "yes, no or maybe"}]] * len(wanted)
    assert module.correct(completions=nothing, **call) == [0.0] * len(wanted)


def test_the_file_for_openrlhf_writes_its_prompts_and_scores_its_queries(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    module = loaded(tmp_path, "openrlhf")
    monkeypatch.setattr(sys, "argv", ["mibe_pubmedqa_openrlhf.py", str(tmp_path / "prompts.jsonl")])
    runpy.run_path(str(tmp_path / "mibe_pubmedqa_openrlhf.py"), run_name="__main__")
    rows = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    wanted = documents()
    assert [row["id"] for row in rows] == [example.id for example in wanted]
    # Prompts come back laid out by a chat template, queries with its special tokens.
    prompts = [f"<|im_start|>user\n{row['prompt'][0]['content']}<|im_end|>\n<|im_start|>assistant\n" for row in rows]
    queries = [f"{prompt}{answer}<|im_end|>" for prompt, answer in zip(prompts, gold(wanted), strict=True)]
    labels = [row["id"] for row in rows]
    given = module.reward_func(queries, prompts, labels, metas=None)
    assert given["rewards"].dtype == torch.float32
    assert given["rewards"].tolist() == given["scores"].tolist() == [1.0] * len(rows)
    # A prompt whose head was cut off is still told from the response; its own text is no answer.
    cut = [query[len(query) // 2 :] for query in queries]
    assert module.reward_func(cut, prompts, labels)["rewards"].tolist() == [1.0] * len(rows)
    bare = module.reward_func([f"{prompt}<|im_end|>" for prompt in prompts], prompts, labels)
    assert bare["rewards"].sum() == bare["extra_logs"]["answered"].sum() == 0


@pytest.mark.slow
def test_verifiers_own_validation_takes_every_gold_answer(tmp_path):
    pytest.importorskip("verifiers.v1", reason="pip install verifiers: the package that validates its environments")
    environment("pubmedqa", "verifiers", output=tmp_path / "mibe_pubmedqa.py")
    path = os.pathsep.join([str(tmp_path), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    options = f"--output-dir {tmp_path / 'out'} --runtime.type subprocess -n 40 -c 8 --no-rich".split()
    command = [sys.executable, "-m", "verifiers.v1.cli.validate", "mibe_pubmedqa", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    (results,) = (tmp_path / "out").rglob("results.jsonl")
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    # Gold: the answer gets 1.0; noop: no answer gets nothing.
    assert len(rows) == 40, done.stderr
    assert {(row["gold"]["reason"], row["noop"]["reason"]) for row in rows} == {("valid", "valid")}
    assert {row["noop"]["reward"] for row in rows} == {0.0}


@pytest.mark.slow
def test_grpo_trainer_takes_the_file_as_it_stands(tmp_path):
    trl = pytest.importorskip("trl", reason='pip install "mibe[rl]": the trainer that the file is for')
    from tiny_llama import save_tiny_llama

    module = loaded(tmp_path, "trl")
    settings = {"max_completion_length": 4, "num_generations": 2, "per_device_train_batch_size": 2, "max_steps": 1}
    args = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True, bf16=False, logging_steps=1, **settings
    )
    model = save_tiny_llama(tmp_path / "model")
    rows = module.dataset().select(range(4))
    trainer = trl.GRPOTrainer(model=str(model), reward_funcs=module.correct, train_dataset=rows, args=args)
    trainer.train()
    (logged,) = (log for log in trainer.state.log_history if "rewards/correct/mean" in log)
    assert 0 <= logged["rewards/correct/mean"] <= 1


def test_a_table_has_prompts_and_answers_that_score_all(tmp_path):
    environment("pubmedqa", "csv", output=tmp_path / "train.csv")
    rows = list(csv.DictReader((tmp_path / "train.csv").open(newline="", encoding="utf-8")))
    wanted = documents()
    assert [row["id"] for row in rows] == [example.id for example in wanted]
    assert all(example.inputs["question"] in row["prompt"] for row, example in zip(rows, wanted, strict=True))
    assert mibe.reward("pubmedqa")(None, [row["answer"] for row in rows], wanted) == [1.0] * len(rows)


def prepared(folder, name, splits, **fields):
    """A task like PubMedQA, known to this process, with these questions in its splits."""
    task = replace(load_task("pubmedqa"), name=name, **fields)
    (folder / "data" / name).mkdir(parents=True)
    for split, questions in splits.items():
        rows = [{"id": f"{split}-{n}", "inputs": {"question": q, "context": q}} for n, q in enumerate(questions)]
        lines = "".join(json.dumps(row | {"target": "yes"}) + "\n" for row in rows)
        (folder / "data" / name / f"{split}.jsonl").write_text(lines)
    register_task(task)
    return task


@pytest.mark.parametrize("to", ["csv", "trl"])
def test_what_stands_in_a_test_set_is_in_no_environment(own_folders, tmp_path, to):
    prepared(own_folders, "own", {"train": ["Does it help?", "Does it harm?"], "test": ["Does it  HELP?"]})
    if to == "csv":
        ids = [row["id"] for row in csv.DictReader(io.StringIO(environment("own", "csv")))]
    else:
        ids = [sample.id for sample in loaded(tmp_path, to, "own").samples()]
    assert ids == ["train-1"]
    assert environment("own", "csv", split="test").count("test-0") == 1


def test_no_text_in_the_table_is_a_formula_to_a_spreadsheet(own_folders):
    prompt = replace(load_task("pubmedqa").prompt, instruction="=HYPERLINK(A1)", answer=lambda example: "@SUM(1)")
    prepared(own_folders, "odd", {"train": ["Is it?"], "test": ["Is it not?"]}, prompt=prompt)
    (row,) = csv.DictReader(io.StringIO(environment("odd", "csv")))
    assert row["prompt"].startswith("'=HYPERLINK")
    assert row["answer"] == "'@SUM(1)"


NURSE = "You are a nurse; answer in one word."


@pytest.mark.parametrize("to", ENVIRONMENTS)
def test_the_system_prompt_of_a_task_goes_along(own_folders, tmp_path, monkeypatch, to):
    prompt = replace(load_task("pubmedqa").prompt, system=NURSE)
    prepared(own_folders, "ward", {"train": ["Is it?"], "test": ["Is it not?"]}, prompt=prompt)
    if to == "csv":
        (row,) = csv.DictReader(io.StringIO(environment("ward", "csv")))
        assert list(row) == ["id", "system", "prompt", "answer"] and row["system"] == NURSE
        (plain, *_) = csv.DictReader(io.StringIO(environment("pubmedqa", "csv")))
        assert list(plain) == ["id", "prompt", "answer"]
        return
    if to == "verifiers":
        pytest.importorskip("verifiers.v1", reason="pip install verifiers: the package that loads its environments")
        module = loaded(tmp_path, to, "ward")
        (task,) = module.MibeTaskset(module.vf.TasksetConfig()).load()
        assert task.data.system_prompt == NURSE and NURSE not in task.data.prompt
        return
    if to == "trl":
        pytest.importorskip("datasets")
        (turns,) = loaded(tmp_path, to, "ward").dataset()["prompt"]
    else:
        pytest.importorskip("torch")
        loaded(tmp_path, to, "ward")
        monkeypatch.setattr(sys, "argv", ["mibe_ward_openrlhf.py", str(tmp_path / "prompts.jsonl")])
        runpy.run_path(str(tmp_path / "mibe_ward_openrlhf.py"), run_name="__main__")
        turns = json.loads((tmp_path / "prompts.jsonl").read_text())["prompt"]
    assert [turn["role"] for turn in turns] == ["system", "user"] and turns[0]["content"] == NURSE


WORD = "zq7notetext"


@pytest.fixture
def secret(own_folders):
    """A credentialed task whose data is here."""
    splits = {"train": [f"{WORD} train?"], "test": [f"{WORD} test?"]}
    return prepared(own_folders, "secret", splits, access=credentialed("Notes Agreement 2"))


@pytest.mark.parametrize("to", ENVIRONMENTS)
def test_credentialed_text_is_handed_to_no_other_program_unasked(secret, to, tmp_path, capsys):
    with pytest.raises(DataUseError, match=f"secret came under the Notes Agreement 2, and {to} is another program"):
        environment("secret", to, output=tmp_path / "out.py")
    assert main(["env", "secret", "--to", to, "--allow-egress", "secret", "--output", str(tmp_path / "out.py")]) == 2
    assert not list(tmp_path.iterdir())
    text = environment("secret", to, allow_egress=["secret"], agreement="Amendment\n4")
    if to == "csv":
        assert WORD in text
    else:
        assert WORD not in text
        assert "# Terms of the data: Notes Agreement 2; handed on by: Amendment 4\n" in text
    environment("secret", to, output=tmp_path / "out.py", allow_egress=["secret"], agreement="Amendment 4")
    assert (tmp_path / "out.py").stat().st_mode & 0o777 == 0o600
    assert WORD not in capsys.readouterr().err


def test_tasks_of_a_file_are_found_by_the_environment_too(tmp_path, capsys):
    own = tmp_path / "own.py"
    own.write_text(
        "from dataclasses import replace\nfrom mibe.tasks.pubmedqa import TASK as OPEN\n"
        'TASK = replace(OPEN, name="yes_no", dataset="pubmedqa")\n'
    )
    output = tmp_path / "yes_no_csv.py"
    command = ["env", "yes_no", "--to", "openrlhf", "--output", str(output), "--include", str(own)]
    assert main(command) == 0
    assert f"\nmibe.include({str(own)!r})\n" in output.read_text()


def test_what_cannot_be_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="medqa has no train split here; it has test"):
        environment("medqa", "trl")
    assert "EXAMPLES" in environment("medqa", "trl", split="test")
    corpus = replace(load_task("pubmedqa"), metrics=(MacroF1(("yes", "no")),), headline="macro_f1")
    with pytest.raises(UsageError, match="has figures of all documents together alone"):
        environment(corpus, "trl")
    with pytest.raises(UsageError, match="unknown environment 'gym'; known: verifiers, trl, openrlhf, csv"):
        environment("pubmedqa", "gym")
    for name in ("my-env.py", "environment", "2.py"):
        with pytest.raises(UsageError, match="give one such as --output mibe_pubmedqa_verifiers.py"):
            environment("pubmedqa", "verifiers", output=tmp_path / name)
