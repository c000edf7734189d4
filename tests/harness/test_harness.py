"""The other front door: what lm-eval's own runner makes of our tasks is what `mibe eval` makes of them."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256

import pytest
from api_server import Answer, error, prompt_of, serving

import mibe
from mibe.errors import DataUseError
from mibe.harness import definitions, harness_path, prefixed
from mibe.harness.definitions import PREFIX
from mibe.metrics.base import is_main
from mibe.models.locality import hold_to, this_machine
from mibe.registry import list_groups, list_tasks, load_task
from mibe.results.log import latest_rows

lm_eval = pytest.importorskip("lm_eval")


def scripted(prompts):
    """Answers of every kind, chosen by the prompt alone: right, wrong, wordy, refused, empty, and too long."""
    return [OUTPUTS[int(sha256(p.encode()).hexdigest(), 16) % len(OUTPUTS)] for p in prompts]


OUTPUTS = [
    " yes",
    " no",
    "The answer is maybe.",
    " A",
    "(B) because the others are wrong",
    "Answer: C\n\nINPUT: another question",
    "I cannot help with that.",
    "",
    "Surgery",
    " Cardiovascular / Pulmonary",
    "DDI-effect",
    "The relation is DDI-advice.",
    "sustaining proliferative signaling; inducing angiogenesis",
    "resisting cell death",
    "word " * 700,
    'The <span class="problem">chest pain</span> was treated with <span class="treatment">aspirin</span>.',
    "chest pain",
    "1. Gout\n2. Pneumonia\n3. Sepsis",
    "entailment",
]


@pytest.fixture
def here(monkeypatch):
    """The user's word that the model is on this machine; what it does to the process ends with the test."""
    monkeypatch.setenv("MIBE_LM_EVAL_LOCAL", "1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    before = os.umask(0o022)
    yield
    os.umask(before)
    hold_to(None)


@pytest.fixture
def prepared(own_folders):
    """Small sets in the documented schema for tasks whose data cannot be in the package."""

    def write(name, examples):
        for split, half in (("train", examples[::2]), ("test", examples[1::2])):
            path = own_folders / "data" / name / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(e) + "\n" for e in half), encoding="utf-8")

    ddi = ["DDI-effect", "DDI-mechanism", "DDI-advise", "DDI-int", "DDI-false"]
    write("ddi", [_text(i, ddi[i % 5]) for i in range(60)])
    hallmarks = load_task("hoc").labels
    write("hoc", [_text(i, [hallmarks[i % 10], hallmarks[(i * 3 + 1) % 10]][: 1 + i % 2]) for i in range(60)])
    sentence = "The chest pain was treated with aspirin."
    spans = [["problem", 4, 14], ["treatment", 32, 39]]
    write("i2b2", [_text(i, spans[: i % 3], text=f"{sentence} Day {i}.") for i in range(60)])
    write("emrqa", [_text(i, ["chest pain", "pain"], context=sentence, question=f"What {i}?") for i in range(60)])
    write("mednli", [_text(i, "entailment", premise=sentence, hypothesis=f"Pain {i}.") for i in range(60)])
    write("pubmedsum", [_text(i, "A word was treated with aspirin.\nPain.", text=sentence * i) for i in range(60)])
    write("nejm_cpc", [_text(i, ["Pneumonia", "Gout"][: 1 + i % 2], case=f"Case {i}.") for i in range(60)])


def _text(number, target, **inputs):
    inputs = inputs or {"text": f"Sentence {number} about a drug."}
    return {"id": f"d{number}", "inputs": inputs, "target": target}


def through_lm_eval(task, *, outputs=scripted, **settings):
    """Results and prompts of one task by lm-eval's own evaluator, with a model that plays the script."""
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Scripted(LM):
        tokenizer_name = "script"

        def generate_until(self, requests, disable_tqdm=False):
            self.prompts = [request.args[0] for request in requests]
            answers = outputs(self.prompts)
            return [_until(a, r.args[1]["until"]) for a, r in zip(answers, requests, strict=True)]

        def loglikelihood(self, requests, disable_tqdm=False):
            raise AssertionError("our tasks generate")

        loglikelihood_rolling = loglikelihood

        def apply_chat_template(self, chat_history, add_generation_prompt=True):
            return json.dumps(chat_history) + ("<assistant>" if add_generation_prompt else "")

    model = Scripted()
    manager = TaskManager(include_path=str(harness_path()), include_defaults=False)
    results = lm_eval.simple_evaluate(model=model, tasks=[task], task_manager=manager, **settings)
    return results, model.prompts


def _until(text, stops):
    return text[: min([text.find(s) for s in stops if s in text], default=len(text))]


@pytest.mark.parametrize(
    ("name", "shots", "limit"),
    [
        ("pubmedqa", 0, 200),
        ("pubmedqa", 5, 40),
        ("medqa", 0, 100),
        ("mtsample", 3, 60),
        ("mmlu_medical", 2, 60),
        ("ddi", 5, None),
        ("hoc", 0, None),
        ("hoc", 2, 10),
        ("i2b2", 0, None),
        ("emrqa", 0, 25),
        ("mednli", 1, 20),
        ("pubmedsum", 1, None),
        ("nejm_cpc", 0, None),
    ],
)
def test_both_doors_give_the_same_prompts_predictions_and_scores(name, shots, limit, prepared, tmp_path, here):
    prompts = []

    def model(texts):
        prompts.extend(texts)
        return scripted(texts)

    ours = mibe.evaluate(
        model=model, tasks=[name], num_fewshot=shots, limit=limit, output_dir=tmp_path, max_new_tokens=10_000
    )
    theirs, seen = through_lm_eval(f"mibe_{name}", num_fewshot=shots or None, limit=limit)
    assert sorted(seen) == sorted(prompts)

    rows = {row["id"]: row for row in latest_rows(ours.path / "samples" / f"{name}.jsonl")}
    samples = theirs["samples"][f"mibe_{name}"]
    assert {sample["doc"]["id"] for sample in samples} == set(rows)
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(harness_path()), include_defaults=False)
    task = manager.load([f"mibe_{name}"])["tasks"][f"mibe_{name}"]
    for sample in samples:
        found = task.predict(sample["doc"], sample["filtered_resps"][0])
        row = rows[sample["doc"]["id"]]
        assert (found.value, found.outcome) == (row["prediction"], row["outcome"])
        for figure, value in row["scores"].items():
            assert sample[f"mibe_{figure}"] == value

    figures = theirs["results"][f"mibe_{name}"]
    expected = {k: v["value"] for k, v in ours.record["tasks"][name]["figures"].items() if is_main(k)}
    expected |= {k: ours.record["tasks"][name]["rates"][k]["value"] for k in ("unparsed", "refused")}
    assert {k: figures[f"mibe_{k},none"] for k in expected} == expected
    assert theirs["versions"][f"mibe_{name}"] == load_task(name).version
    assert len(set(expected.values())) > 1  # the script made a difference


def test_chat_turns_are_laid_out_as_for_a_chat_model_of_ours(own_folders):
    from mibe.data.documents import examples
    from mibe.prompting import Shots, layout

    settings = {"apply_chat_template": True, "fewshot_as_multiturn": True, "system_instruction": "Be brief."}
    results, prompts = through_lm_eval("mibe_pubmedqa", num_fewshot=2, limit=3, **settings)
    task = load_task("pubmedqa")
    test = {e.id: e for e in examples(task, "test")}
    shots = Shots.prepare(task, list(examples(task, "train")), test.values(), 2, seed=1234).choose("")
    for sample, prompt in zip(results["samples"]["mibe_pubmedqa"], prompts, strict=True):
        turns = layout(task.prompt, shots, test[sample["doc"]["id"]], chat=True)
        assert prompt == json.dumps([{"role": "system", "content": "Be brief."}, *turns]) + "<assistant>"
        assert sample["arguments"][0][1]["until"] == []


def test_one_turn_holds_the_worked_examples_where_lm_eval_wants_a_single_turn():
    settings = {"apply_chat_template": True, "fewshot_as_multiturn": False}
    _, prompts = through_lm_eval("mibe_pubmedqa", num_fewshot=2, limit=1, **settings)
    _, plain = through_lm_eval("mibe_pubmedqa", num_fewshot=2, limit=1)
    assert prompts == [json.dumps([{"role": "user", "content": plain[0]}]) + "<assistant>"]


def test_lm_evals_seed_chooses_the_worked_examples_as_ours_does(tmp_path):
    prompts = []

    def model(texts):
        prompts.extend(texts)
        return scripted(texts)

    mibe.evaluate(model=model, tasks="mtsample", num_fewshot=1, output_dir=tmp_path, seed=7, split="valid", limit=500)
    from mibe.harness.task import MibeTask

    task = MibeTask({"task": "mibe_mtsample", "dataset_name": "mtsample", "test_split": "valid"})
    task.set_fewshot_seed(7)
    assert task.fewshot_context(task.eval_docs[0], 1) in prompts


def test_the_letter_of_an_equal_option_is_right_through_this_door_too():
    from mibe.harness.task import MibeTask

    task = MibeTask({"task": "mibe_medmcqa", "dataset_name": "medmcqa"})
    (doc,) = (d for d in task.test_docs() if d["id"] == "6946c04c-eee9-4b9d-ad2d-dbf5ccd40b94")
    assert doc["choices"][1] == doc["choices"][3] and doc["target"] == "B"
    assert [task.process_results(doc, [letter])["mibe_accuracy"] for letter in "ABCD"] == [0, 1, 0, 1]


def test_there_is_a_definition_for_every_task_and_group_and_it_holds_references_alone():
    files = definitions()
    assert set(files) == {f"{prefixed(name)}.yaml" for name in [*list_tasks(), *list_groups()]}
    for name, text in files.items():
        assert name.startswith(PREFIX) or name == "mibe.yaml"
        assert "{" not in text
        assert ("!function mibe.harness.task.MibeTask" in text) == (not text.startswith("group"))


def test_no_name_is_one_of_lm_evals_own():
    from lm_eval.api.registry import AGGREGATION_REGISTRY, METRIC_REGISTRY

    for name in list_tasks():
        for metric in load_task(name).metrics:
            for figure in filter(is_main, metric.names):
                assert prefixed(figure) not in METRIC_REGISTRY
                assert prefixed(figure) not in AGGREGATION_REGISTRY


def test_definitions_are_written_once_and_mended_when_one_is_gone():
    path = harness_path()
    (path / "mibe_pubmedqa.yaml").unlink()
    kept = (path / "mibe_medqa.yaml").stat().st_mtime_ns
    assert harness_path() == path
    assert (path / "mibe_pubmedqa.yaml").exists()
    assert (path / "mibe_medqa.yaml").stat().st_mtime_ns == kept
    assert sorted(p.name for p in path.iterdir()) == sorted(definitions())


def test_lm_evals_command_line_runs_our_tasks_alone(tmp_path, capsys):
    from lm_eval.tasks import TaskManager as before

    from mibe.harness import run

    run(["ls", "tasks"])
    listed = capsys.readouterr().out
    assert set(re.findall(r"^\|(mibe_\w+) *\|", listed, re.M)) >= {prefixed(name) for name in list_tasks()}
    assert "hellaswag" not in listed

    from lm_eval.tasks import TaskManager as after

    assert after is before


def test_credentialed_text_needs_a_word_that_the_model_is_here(prepared, monkeypatch):
    monkeypatch.delenv("MIBE_LM_EVAL_LOCAL", raising=False)
    with pytest.raises(DataUseError, match="mednli is under an agreement \\(PhysioNet"):
        through_lm_eval("mibe_mednli")


def test_files_of_a_run_on_credentialed_text_are_the_users_alone(prepared, here):
    from mibe.harness.task import MibeTask

    MibeTask({"dataset_name": "nejm_cpc"})
    assert os.umask(0o022) == 0o022
    MibeTask({"dataset_name": "mednli"})
    assert os.umask(0o022) == 0o077


def test_from_the_first_credentialed_task_on_the_process_connects_to_this_machine_alone(prepared, here, caplog):
    from mibe.harness.task import MibeTask

    MibeTask({"dataset_name": "nejm_cpc"})
    with serving() as server:
        with pytest.raises(OSError, match="timed out|unreachable|in progress|refused"):
            socket.create_connection(("192.0.2.1", 80), timeout=0.05)
        MibeTask({"dataset_name": "mednli"})
        with pytest.raises(ConnectionRefusedError, match=r"192\.0\.2\.1:80 is not the server that was named"):
            socket.create_connection(("192.0.2.1", 80), timeout=0.05)
        socket.create_connection(("127.0.0.1", server.server_port)).close()
        assert os.environ["no_proxy"] == "*"


def test_a_run_that_does_without_what_was_refused_is_none_the_worse(prepared, here):
    from mibe.harness.keeping import executed
    from mibe.harness.task import MibeTask

    def asks_the_hub():
        MibeTask({"dataset_name": "mednli"})
        with suppress(ConnectionRefusedError):
            socket.create_connection(("192.0.2.1", 443), timeout=0.05)
        done.append(os.environ["no_proxy"])

    done = []
    executed(asks_the_hub, "hf", this_machine)
    assert done == ["*"] and os.environ["no_proxy"] == ""
    with pytest.raises(OSError, match="timed out|unreachable|in progress|refused") as free:
        socket.create_connection(("192.0.2.1", 443), timeout=0.05)
    assert "not the server that was named" not in str(free.value)


def note_in_words(number, body):
    return error(500, prompt_of(body))


HOSTILE = {
    # what the server answers, whether the environment names a proxy and the user vouches, what is said
    "a redirect": (
        lambda other: lambda number, body: Answer(307, {}, {"Location": f"{other.url}/completions"}),
        False,
        "what was meant for this machine was led to 127.0.0.1",
    ),
    "a proxy, and its own words": (
        lambda other: note_in_words,
        True,
        "local-completions failed on mednli (HTTPError at",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_local_server_gets_no_note_off_this_machine_or_onto_the_terminal(kind, prepared):
    script, proxied, says = HOSTILE[kind]
    with serving() as other, serving() as server:
        server.script = script(other)
        args = f"model=m,base_url={server.url}/completions,tokenizer_backend=None,max_retries=1"
        command = ["lm-eval", "--tasks", "mibe_mednli", "--limit", "2", "--model", "local-completions"]
        plain = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), other.url.removesuffix("/v1"))
        own = {**proxies, "MIBE_LM_EVAL_LOCAL": "1"} if proxied else {}
        done = subprocess.run(
            [sys.executable, "-m", "mibe", *command, "--model_args", args],
            env={**plain, "HF_HUB_OFFLINE": "1", **own},
            capture_output=True,
            text=True,
        )
        assert other.requests == [] and "chest pain" not in done.stdout + done.stderr
        told = [line for line in done.stderr.splitlines() if line.startswith("mibe: ")]
        assert done.returncode == 2 and len(told) == 1 and told[0].startswith(f"mibe: {says}"), done.stderr


@pytest.mark.slow
def test_mibe_lm_eval_vouches_for_local_models_alone(prepared, tmp_path):
    # A process of its own, as lm-eval sets up the logging of the whole process.
    def lm_eval_with(*model):
        command = [sys.executable, "-m", "mibe", "lm-eval", "--tasks", "mibe_mednli", "--limit", "3", "--model", *model]
        env = {**os.environ, "HF_HUB_OFFLINE": "1"}
        env.pop("MIBE_LM_EVAL_LOCAL", None)
        return subprocess.run(command, env=env, capture_output=True, text=True)

    remote = lm_eval_with("dummy", "--hf_hub_log_args", "details_repo_name=elsewhere")
    assert remote.returncode == 2
    assert remote.stderr.splitlines()[-1].startswith("mibe: mednli is under an agreement")
    assert "chest pain" not in remote.stdout + remote.stderr
    local = lm_eval_with("dummy", "--output_path", str(tmp_path), "--log_samples")
    assert local.returncode == 0 and "mibe_macro_f1" in local.stdout
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.json*")} == {0o600}


@pytest.mark.parametrize(
    ("settings", "local"),
    [
        ({}, True),
        ({"model": "vllm"}, True),
        ({"model": "openai-chat-completions"}, False),
        ({"model": "a-plugin"}, False),
        ({"model": "local-completions", "model_args": {"base_url": "http://localhost:8000/v1/completions"}}, True),
        ({"model": "local-completions", "model_args": "base_url=http://127.0.0.1:1/v1,model=x"}, True),
        ({"model": "local-completions", "model_args": {"base_url": "http://localhost.evil.example/v1"}}, False),
        ({"model": "local-chat-completions"}, False),
        ({"model": "nemo_lm"}, True),
        ({"model": "gguf", "model_args": "base_url=http://127.0.0.2:8000"}, True),
        ({"model": "gguf", "model_args": "base_url=http://gguf.example:8000"}, False),
        ({"model": "hf", "wandb_args": {"project": "x"}}, False),
        ({"model": "hf", "hf_hub_log_args": {"push_samples_to_hub": True}}, False),
    ],
)
def test_what_counts_as_on_this_machine(settings, local):
    from mibe.harness.runner import stays_here

    assert stays_here(settings) is local


def test_a_proxy_before_localhost_is_another_machine(monkeypatch):
    from mibe.harness.runner import stays_here

    settings = {"model": "local-completions", "model_args": {"base_url": "http://127.0.0.1:8000/v1/completions"}}
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert stays_here(settings)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert not stays_here(settings)


def test_commands(capsys):
    from mibe import cli

    assert cli.main(["lm-eval-path"]) == 0
    assert capsys.readouterr().out.strip() == str(harness_path())
    passed = ["--model", "hf", "--tasks", "mibe_pubmedqa", "--help", "-x", "--model_args", "a=b"]
    assert cli.parser().parse_args(["lm-eval", *passed]).argv == passed
    assert cli.main(["lm-eval", "ls", "groups"]) == 0
    assert "mibe_open" in capsys.readouterr().out
