"""Tasks of mibe as training data, a model fine-tuned on one, what is refused, and what a model has forgotten."""

import itertools
import json
import re

import pytest
import yaml

pytest.importorskip("peft", reason="peft comes with the extra train")

import format_true
from training_parts import save_chat_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import mibe
from mellama_train.cli import main
from mellama_train.recipe.stages import epochs_for
from mibe.data.prepare import prepare
from mibe.data.raw import RawFiles
from mibe.models.hf import load as load_hf
from mibe.task import Example

BY_HAND = {
    "ddi": [Example(label, {"text": f"@DRUG$ and @DRUG$ ({label})."}, label) for label in mibe.load_task("ddi").labels],
    "hoc": [
        Example(str(n), {"text": f"Abstract {n}."}, [label, *mibe.load_task("hoc").labels[n + 1 : n + 3]])
        for n, label in enumerate(mibe.load_task("hoc").labels)
    ],
}
"""Tasks whose official files need a package to be read: every label of theirs."""


def write_split(folder, name, split, examples):
    from mibe.data.schema import to_line

    path = folder / "data" / name / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(to_line(example) + "\n" for example in examples))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("model"))


def finetune(model, folder, *more):
    settings = ["context=512", "batch.rows=4", "steps=2", "reporting.tensorboard=false"]
    asked = [part for setting in settings for part in ("--set", setting)]
    return main(["finetune", "--model", str(model), "--output", str(folder), *asked, *more])


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def some_examples(task, raw):
    """Up to 60 examples: out of the package, by hand, or read from a small download in the official form."""
    if task.name in BY_HAND:
        return BY_HAND[task.name]
    if task.name in format_true.MAKERS:
        raw.mkdir()
        splits = task.source.read(RawFiles(format_true.MAKERS[task.name](raw)), variant=task.source.variants[0])
        return splits["test"]
    # Some transcriptions stand in the data twice, under two specialties.
    distinct = {tuple(example.inputs.values()): example for example in mibe.examples(task, "test")}
    return list(distinct.values())[:60]


@pytest.mark.parametrize("name", mibe.list_tasks())
def test_each_answer_is_read_as_the_target_after_the_prompt_of_an_evaluation(name, own_folders, tmp_path):
    """An oracle that knows the training samples gets a full score, and is asked about none of them in other words."""
    task = mibe.load_task(name)
    write_split(own_folders, task.data_name, "test", some_examples(task, tmp_path / "raw"))
    answers = {sample.messages[0]["content"]: sample.answer for sample in mibe.training_samples(task, "test")}

    def oracle(prompts):
        return [answers[prompt] for prompt in prompts]

    run = mibe.evaluate(model=oracle, tasks=[name], output_dir=tmp_path / "runs", resamples=10)
    assert run.record["tasks"][name]["outcomes"]["parsed"] == len(answers) > 0
    assert run.scores(name)[task.headline] == pytest.approx(1.0)


def test_samples_are_cut_as_an_evaluation_cuts_them(model):
    task = mibe.load_task("pubmedqa")
    with_window = load_hf({"pretrained": str(model), "device": "cpu", "dtype": "float32", "max_length": "400"})
    tokenizer = AutoTokenizer.from_pretrained(model)
    whole = list(mibe.training_samples(task, "valid"))
    cut = list(mibe.training_samples(task, "valid", tokenizer=tokenizer, context_window=400))
    assert not any(sample.cut for sample in whole) and any(sample.cut for sample in cut)
    for before, after in zip(whole, cut, strict=True):
        assert (before.id, before.answer) == (after.id, after.answer)
        tokens = with_window.count_tokens(with_window.render(after.messages))
        assert tokens + with_window.count_tokens(after.answer) < 400
        question = re.search(r"INPUT: (.*)\nCONTEXT", before.messages[0]["content"])[0]
        assert after.messages[0]["content"].startswith(before.messages[0]["content"][:100])
        assert question in after.messages[0]["content"] and ("[…]" in after.messages[0]["content"]) == after.cut


def test_a_task_is_learned_by_its_own_prompts(model, tmp_path, capsys):
    assert finetune(model, tmp_path / "run", "--task", "pubmedqa") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run" / "final")
    recipe = json.loads((tmp_path / "run" / "final" / "recipe.json").read_text())
    assert (recipe["data"]["task"], recipe["optimizer"]["learning_rate"], recipe["epochs"]) == ("pubmedqa", 1e-5, None)
    history = json.loads((tmp_path / "run" / "final" / "training.json").read_text())
    (source,) = history["stages"][-1]["sources"]
    assert (source["name"], source["access"]) == ("pubmedqa", "open") and source["tokens"] > 0
    # The validation split is what the loss is held against, before and after.
    assert [line["step"] for line in metrics(tmp_path / "run") if "held_out_loss/pubmedqa" in line] == [0, 2]
    run = mibe.evaluate(
        model="hf",
        model_args={"pretrained": str(tmp_path / "run" / "final")},
        tasks=["pubmedqa"],
        limit=3,
        output_dir=tmp_path / "runs",
    )
    assert run.record["tasks"]["pubmedqa"]["samples"] == 3


def test_what_is_trained_on_is_what_an_evaluation_asks(model, tmp_path):
    """Token for token: the model's own rendering of the evaluation's prompt, the answer, the end of the turn."""
    from mellama_train.recipe.stages import FinetuneRecipe
    from mellama_train.recipe.yaml_schema import parse
    from mellama_train.trainers.finetune import finetuning_data

    keys = {
        "model": {"path": str(model)},
        "data": {"task": "pubmedqa"},
        "output": str(tmp_path),
        "batch": {"rows": 1},
        "context": 2048,
    }
    data = finetuning_data(parse(yaml.safe_dump(keys), FinetuneRecipe, "r"))
    asked = load_hf({"pretrained": str(model), "device": "cpu", "dtype": "float32"})
    tokenizer = AutoTokenizer.from_pretrained(model)
    task = mibe.load_task("pubmedqa")
    wanted = {
        tuple(tokenizer(asked.render(s.messages) + s.answer + "<|end|>", add_special_tokens=False)["input_ids"])
        for s in mibe.training_samples(task)
    }
    row = data.rows[0]
    starts = [*(row.positions == 0).nonzero()[0], len(row.tokens)]
    found = [tuple(row.tokens[a:b]) for a, b in itertools.pairwise(starts)]
    whole = [sample for sample in found if sample in wanted]
    assert whole and len(whole) >= len(found) - 1  # the last one is padding
    kept = [tokenizer.decode(row.tokens[a:b][row.labels[a:b] != -100]) for a, b in itertools.pairwise(starts)]
    assert set(kept) <= {"yes<|end|>", "no<|end|>", "maybe<|end|>", ""} and kept[0]
    # 450 documents, five passes each (fewer than 10,000).
    assert data.rows.describe()["epochs"] == epochs_for(450) == 5
    assert epochs_for(9_999) == 5 and epochs_for(10_000) == 3


def test_lora_on_a_recipe_that_the_command_line_completes(model, tmp_path):
    recipe = {
        "context": 512,
        "precision": "fp32",
        "batch": {"rows": 4},
        "steps": 1,
        "lora": {"rank": 2},
        "data": {"task": "mtsample", "too_long": "skip"},
        "reporting": {"tensorboard": False},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    named = ["--task", "pubmedqa", "--model", str(model), "--output", str(tmp_path / "run")]
    assert main(["finetune", "--recipe", str(tmp_path / "recipe.yaml"), *named, "--set", "lora.rank=3"]) == 0
    kept = json.loads((tmp_path / "run" / "final" / "recipe.json").read_text())
    assert (kept["data"]["task"], kept["lora"]["rank"], kept["data"]["too_long"]) == ("pubmedqa", 3, "skip")
    assert (tmp_path / "run" / "final" / "adapter_config.json").is_file()


def test_documents_of_a_test_set_are_refused_with_their_ids(model, own_folders, tmp_path, capsys):
    task = mibe.load_task("pubmedqa")
    train, test = list(mibe.examples(task, "train"))[:20], list(mibe.examples(task, "test"))[:20]
    twin = {key: f"  {value.upper()}\n" for key, value in test[3].inputs.items()}
    elsewhere = Example("from-ddi", {"text": "Aspirin and warfarin interact."}, "yes")
    planted = [*train, Example("planted", twin, "no"), test[5], elsewhere]
    write_split(own_folders, "pubmedqa", "train", planted)
    write_split(own_folders, "pubmedqa", "test", test)
    write_split(own_folders, "ddi", "test", [Example("d1", {"text": "aspirin AND warfarin interact."}, "DDI-int")])
    expected = {
        "planted": f"pubmedqa/{test[3].id}",
        test[5].id: f"pubmedqa/{test[5].id}",
        "from-ddi": "ddi/d1",
    }
    assert mibe.also_in_test(task) == expected
    write_split(own_folders, "pubmedqa", "train", planted[:-1])
    assert finetune(model, tmp_path / "run", "--task", "pubmedqa") == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert f"2 documents of the train split also stand in a test set: planted (= pubmedqa/{test[3].id})" in said
    assert test[5].id in said and "data.test_documents: skip" in said
    assert not (tmp_path / "run" / "final").exists()
    assert finetune(model, tmp_path / "run", "--task", "pubmedqa", "--set", "data.test_documents=skip") == 0
    assert "planted" in (said := capsys.readouterr().err) and "left out" in said
    assert not re.search("held_out", (tmp_path / "run" / "metrics.jsonl").read_text()), "there is no valid split"
    # Who gets the model can read what was looked for, and a checkpoint that becomes a model says the same.
    looked = json.loads((tmp_path / "run" / "final" / "training.json").read_text())["stages"][-1]["test_sets"]
    assert (looked["found"], looked["left_out"]) == (2, 2) and {"pubmedqa", "ddi", "medqa"} <= {*looked["tasks"]}
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert json.loads((newest / "state.json").read_text())["test_sets"] == looked
    assert main(["export", str(newest), "--to", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "training.json").read_text())["stages"][-1]["test_sets"] == looked


def test_credentialed_terms_go_with_the_model(model, own_folders, tmp_path, capsys):
    task = mibe.load_task("i2b2")
    (tmp_path / "raw").mkdir()
    prepare("i2b2", task.source, format_true.i2b2(tmp_path / "raw"), access=task.access)
    skip = ["--set", "data.test_documents=skip", "--set", "data.too_long=skip"]
    assert finetune(model, tmp_path / "run", "--task", "i2b2", *skip) == 0
    assert "i2b2 is credentialed (n2c2 Data Use" in capsys.readouterr().err
    # And on to a model that is tuned on open data next.
    assert finetune(tmp_path / "run" / "final", tmp_path / "next", "--task", "pubmedqa") == 0
    stages = json.loads((tmp_path / "next" / "final" / "training.json").read_text())["stages"]
    sources = [source for stage in stages for source in stage["sources"]]
    assert [(source["name"], source["access"]) for source in sources] == [
        ("i2b2", "credentialed"),
        ("pubmedqa", "open"),
    ]
    assert sources[0]["agreements"] == ["n2c2 Data Use and Confidentiality Agreement"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--task", "medqa"], "medqa has no train split here, only test; prepare data that has one"),
        (["--task", "pubmedq"], "unknown task 'pubmedq'; did you mean pubmedqa"),
        (["--task", "bionli"], "the data of bionli is not here"),
        (["--task", "pubmedqa", "--set", "context=64"], "tokens and the context is 64"),
        (
            ["--task", "pubmedqa", "--set", "batch.rows=many"],
            "--set batch.rows:1: rows is 'many', and should be a whole",
        ),
        (["--task", "pubmedqa", "--set", "optimiser.betas=1"], "unknown key 'optimiser'"),
        (["--task", "pubmedqa", "--set", "context.rows=1"], "context is '512', and should be keys with values"),
        ([], "finetune needs --task and --model, or a --recipe that names them"),
    ],
)
def test_bad_input_gets_one_line(model, tmp_path, capsys, arguments, problem):
    assert finetune(model, tmp_path / "run", *arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and problem in said[0] and said[0].startswith("mellama-train: ")
    assert not (tmp_path / "run" / "final").exists()


@pytest.mark.parametrize("part", ["context", "answer"])
def test_half_a_character_in_a_task_is_one_line_with_its_document(part, model, own_folders, tmp_path, capsys):
    texts = {"context": "An article.", "answer": "A summary."}
    split = own_folders / "data" / "pubmedsum" / "train.jsonl"
    write_split(own_folders, "pubmedsum", "train", [Example("a1", {"text": texts["context"]}, texts["answer"])])
    # As JSON has it, where a text was cut in the midst of a character.
    whole = split.read_text()
    broken = whole.replace(texts[part], texts[part] + "\\ud83d").replace('"a1"', '"a2"')
    split.write_text(whole + broken)
    assert finetune(model, tmp_path / "run", "--task", "pubmedsum", "--set", "context=2048") == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "pubmedsum, train split, document a2 holds \\ud83d, half a character" in said


def test_a_setting_is_a_key_with_a_value(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["pretrain", "recipe.yaml", "--set", "steps"])
    assert "'steps' is not of the form KEY=VALUE" in capsys.readouterr().err


def write_questions(folder):
    letters = "ABCD"
    for name, count in (("mmlu", 12), ("medqa", 8)):
        questions = [
            Example(
                f"q{n}", {"question": f"Which is {n}?"}, letters[n % 4], ("a", "b", "c", "d"), {"subject": "anatomy"}
            )
            for n in range(count)
        ]
        write_split(folder, name, "test", questions)


def test_forgetting_shows_the_change_of_both_tasks(model, own_folders, tmp_path, capsys):
    import torch

    write_questions(own_folders)
    changed = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    changed.save_pretrained(tmp_path / "tuned")
    for file in model.glob("*token*"):
        (tmp_path / "tuned" / file.name).write_bytes(file.read_bytes())
    more = ["--scoring", "loglikelihood", "--output", str(tmp_path / "runs")]
    assert main(["forgetting", str(model), str(tmp_path / "tuned"), "--format", "json", *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["metric"], row["n"]) for row in found["rows"]] == [
        (task, figure, n)
        for task, n in (("mmlu", 12), ("medqa", 8))
        for figure in ("accuracy", "weighted_f1", "macro_f1")
    ]
    # The figures are those of the run folders, the change is tuned minus base.
    base, tuned = mibe.load_run(found["base"]), mibe.load_run(found["tuned"])
    for row in found["rows"]:
        assert row["b"] == pytest.approx(base.scores(row["task"])[row["metric"]])
        assert row["a"] == pytest.approx(tuned.scores(row["task"])[row["metric"]])
        assert row["difference"] == pytest.approx(row["a"] - row["b"])
    assert main(["forgetting", str(model), str(tmp_path / "tuned"), "--limit", "4", *more]) == 0
    table = capsys.readouterr().out
    first = next(line for line in table.splitlines() if line.startswith("mmlu"))
    assert re.search(r"mmlu +accuracy +0\.\d{3} +0\.\d{3} +[+-]\d+\.\d % .* 4 ", first)


def test_forgetting_takes_an_adapter_beside_its_base(model, own_folders, tmp_path, capsys):
    write_questions(own_folders)
    assert finetune(model, tmp_path / "run", "--task", "pubmedqa", "--set", "lora.rank=2") == 0
    capsys.readouterr()
    command = ["forgetting", str(model), str(tmp_path / "run" / "final"), "--output", str(tmp_path / "runs")]
    assert main([*command, "--scoring", "loglikelihood", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 6


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["{model}", "/nowhere/at/all"], "cannot load the configuration of /nowhere/at/all"),
        (["/nowhere/at/all", "{model}"], "cannot load the configuration of /nowhere/at/all"),
        (["{model}", "{model}", "--limit", "0"], "--limit 0 is out of range"),
        (["{model}", "{model}", "--model-args", "colour=red"], "colour"),
    ],
)
def test_forgetting_refuses_in_one_line(model, tmp_path, capsys, command, problem):
    filled = [part.format(model=model) for part in command]
    assert main(["forgetting", *filled, "--output", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert problem in said[-1] and said[-1].startswith("mellama-train: ")
