"""What training left becomes one folder that others load: merged equals unmerged, and the card tells its origin."""

import json
import re
import resource
import signal
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("peft", reason="peft comes with the extra train")

from launching import launch, written
from training_parts import CHAT, FormulaRows, make_model, make_tokenizer, recipe, recipe_text, train_here
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from mellama_train.cli import main
from mellama_train.publish.export import probe_logits

ROWS = FormulaRows(24)
LORA = {"lora": {"rank": 4}, "optimizer": {"learning_rate": 0.02, "schedule": "constant"}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, model):
    """The output folder of a LoRA run."""
    return train_here(recipe(tmp_path_factory.mktemp("tuned"), model, **LORA), ROWS).parent


def unmerged(model, adapter):
    import peft

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(base, adapter)


def exported(*arguments):
    assert main(["export", *map(str, arguments)]) == 0


def logits(folder, dtype=torch.float32):
    return probe_logits(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype))


def same(found, wanted):
    """1e-5 in float32, of the largest logit where that is above 1."""
    return float((found - wanted).abs().max()) < 1e-5 * max(1.0, float(wanted.abs().max()))


def card(folder):
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), body


def test_merged_is_unmerged(model, tuned, tmp_path):
    wanted = probe_logits(unmerged(model, tuned / "final"))
    assert float((wanted - logits(model)).abs().max()) > 0.1, "nothing was learned"
    newest = max((tuned / "checkpoints").glob("step-*"))
    for number, source in enumerate((tuned, tuned / "final", newest)):
        exported(source, "--merge-lora", "--to", tmp_path / f"{number}")
        assert same(logits(tmp_path / f"{number}"), wanted)
    names = {path.name for path in (tmp_path / "0").iterdir()}
    assert {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "README.md"} <= names
    config = json.loads((tmp_path / "2" / "config.json").read_text())
    assert config["use_cache"] and config["dtype"] == "float32"
    assert AutoTokenizer.from_pretrained(tmp_path / "0").get_vocab() == make_tokenizer().get_vocab()


def test_bf16_is_rounded_once_and_said(model, tuned, tmp_path, capsys):
    exported(tuned, "--merge-lora", "--precision", "bf16", "--to", tmp_path / "out")
    assert "rounded to bf16" in capsys.readouterr().err and "rounded to bf16" in card(tmp_path / "out")[1]
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    whole = unmerged(model, tuned / "final").merge_and_unload().state_dict()
    assert all(torch.equal(value, whole[name].bfloat16()) for name, value in found.items())


def test_adapters_can_stay_adapters(model, tuned, tmp_path):
    exported(tuned, "--to", tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()
    again = probe_logits(unmerged(model, tmp_path / "out"))
    assert torch.equal(again, probe_logits(unmerged(model, tuned / "final")))
    assert card(tmp_path / "out")[0]["library_name"] == "peft"


def test_tied_weights_stay_tied_and_a_chat_template_goes_along(tmp_path):
    base = make_model(tmp_path / "base", tied=True)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(base)
    run = train_here(recipe(tmp_path, base, **LORA), ROWS).parent
    # The loop was given its own tokenizer; a checkpoint takes that of the model.
    newest = max((run / "checkpoints").glob("step-*"))
    exported(newest, "--merge-lora", "--to", tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert loaded.config.tie_word_embeddings
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert same(probe_logits(loaded), probe_logits(unmerged(base, run / "final")))
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == tokenizer.chat_template


def test_adapters_on_tied_weights_are_not_merged_wrongly(tmp_path, capsys):
    base = make_model(tmp_path / "base", tied=True)
    lora = LORA | {"lora": {"rank": 4, "layers": ["lm_head", "q_proj"]}}
    run = train_here(recipe(tmp_path, base, **lora), ROWS).parent
    assert main(["export", str(run), "--merge-lora", "--to", str(tmp_path / "out")]) == 2
    assert "would give other logits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_all_weights(model, tmp_path):
    run = train_here(recipe(tmp_path, model, optimizer={"learning_rate": 0.01}), ROWS).parent
    newest = max((run / "checkpoints").glob("step-*"))
    exported(newest, "--to", tmp_path / "out")
    assert torch.equal(logits(tmp_path / "out"), logits(run / "final"))
    (run / "final").rename(tmp_path / "elsewhere")
    exported(run, "--to", tmp_path / "newest")
    assert torch.equal(logits(tmp_path / "newest"), logits(tmp_path / "elsewhere"))


@pytest.mark.slow
def test_checkpoints_of_deepspeed_on_two_ranks(model, tmp_path):
    if not find_spec("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    stages = {f"zero{stage}": {"engine": {"name": "deepspeed", "zero": stage}} for stage in (1, 2, 3)}
    runs = stages | {"lora3": stages["zero3"] | LORA}
    launch(2, [written(tmp_path / name, model, **changes) for name, changes in runs.items()], rows=24)
    for name in runs:
        run = tmp_path / name / "run"
        newest = max((run / "checkpoints").glob("step-*"))
        merge = ("--merge-lora",) if name == "lora3" else ()
        exported(newest, *merge, "--to", tmp_path / f"{name}-out")
        exported(run, *merge, "--to", tmp_path / f"{name}-final")
        difference = logits(tmp_path / f"{name}-out") - logits(tmp_path / f"{name}-final")
        assert float(difference.abs().max()) < 1e-6, name


def test_mibe_reads_it_and_its_scores_enter_the_card(tuned, tmp_path):
    import mibe

    exported(tuned, "--merge-lora", "--to", tmp_path / "first")
    run = mibe.evaluate(
        model="hf",
        model_args={"pretrained": str(tmp_path / "first")},
        tasks=["pubmedqa"],
        limit=2,
        max_new_tokens=2,
        output_dir=tmp_path / "runs",
    )
    exported(tuned, "--merge-lora", "--mibe-run", run.path, "--to", tmp_path / "second")
    front, body = card(tmp_path / "second")
    result = front["model-index"][0]["results"][0]
    assert result["dataset"]["name"] == "pubmedqa"
    assert {m["type"]: m["value"] for m in result["metrics"]} == run.scores("pubmedqa")
    assert "the first 2 documents of each task" in body and "| pubmedqa | accuracy" in body


def test_the_card_names_credentialed_data_of_every_stage(model, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    sources = {
        "first": {"weight": 4, "access": "credentialed", "agreements": ["PhysioNet DUA 1.5.0"]},
        "second": {"weight": 1, "access": "open", "agreements": []},
    }
    (corpus / "manifest.json").write_text(json.dumps({"sources": sources}))
    from mellama_train.model import provenance

    pretrained = train_here(recipe(tmp_path / "a", model), ROWS)
    about = json.loads((pretrained / "recipe.json").read_text()) | {"data": {"folder": str(corpus), "weights": None}}
    grown = provenance.grown(about, steps=6, tokens={"first": 100, "second": 20})
    provenance.write(pretrained, grown)
    # The corpus may be gone by the time the model is tuned and exported.
    (corpus / "manifest.json").unlink()
    run = train_here(recipe(tmp_path / "b", pretrained, **LORA), ROWS).parent
    exported(run, "--merge-lora", "--to", tmp_path / "out")
    loaded = hub.ModelCard.load(tmp_path / "out" / "README.md")
    assert loaded.data.license_name == "data-use-agreement" and "model-index" not in loaded.data.to_dict()
    text = " ".join(loaded.text.split())
    assert "- first: PhysioNet DUA 1.5.0" in text and "| first | 4 | 100 | credentialed | PhysioNet DUA 1.5.0 |" in text
    assert "For research only" in text and "1. Continual pretraining" in text and "2. LoRA tuning" in text
    assert "rank 4, alpha 32" in text
    # Nothing was recorded of the rows by formula: that is said, and not taken for open.
    assert "was not recorded" in text
    assert (
        text.count("| test sets | nobody looked for their documents in the data, or nothing is recorded of it |") == 2
    )
    assert provenance.lineage(str(tmp_path / "out")).stages[0] == grown.stages[0]


def test_adapters_of_another_trainer_are_merged_though_not_all_layers_have_them(model, tmp_path):
    """Their recipe says no precision, and peft was told to leave the second layer out."""
    import peft

    from mellama_train.trainers.contract import Trainer
    from mellama_train.trainers.handover import hand_over, received

    @dataclass(frozen=True)
    class Recipe:
        output: Path
        answers: int = 8

    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[0], init_lora_weights=False)
    adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), settings)
    folder = tmp_path / "run" / "final"
    adapted.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    trainer = Trainer(name="other", about="what it does", reads="", recipe=Recipe, run=lambda recipe, ranks: folder)
    recipe = Recipe(tmp_path / "run")
    hand_over(folder, trainer=trainer, recipe=recipe, model=str(model), sources=[], test_sets=None)
    assert len(received(trainer, folder)) == 2
    exported(folder, "--merge-lora", "--to", tmp_path / "out")
    assert same(logits(tmp_path / "out"), probe_logits(unmerged(model, folder)))
    _, body = card(tmp_path / "out")
    assert "## 1. What it does" in body and re.search(r"\| trainer +\| `other` +\|", body)
    assert re.search(r"\| answers +\| `8` +\|", body) and "| output" not in body


def test_what_cannot_be_exported_is_refused(model, tuned, tmp_path, capsys):
    def refused(*arguments):
        assert main(["export", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        return error

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "not empty" in refused(tuned, "--to", tmp_path / "full")
    assert "is no folder" in refused(tmp_path / "none", "--to", tmp_path / "out")
    assert "neither a model nor a checkpoint" in refused(tmp_path / "full", "--to", tmp_path / "out")
    newest = max((tuned / "checkpoints").glob("step-*"))
    assert f"give the folder around it: {newest}" in refused(newest / "engine", "--to", tmp_path / "out")
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero" / "latest").write_text("global_step5")
    assert "deepspeed.utils.zero_to_fp32" in refused(tmp_path / "zero", "--to", tmp_path / "out")
    assert "cannot load" in refused(tuned, "--base", tmp_path / "gone", "--merge-lora", "--to", tmp_path / "out")
    assert "is itself an adapter" in refused(tuned, "--base", tuned / "final", "--to", tmp_path / "out")
    assert "is not a run folder" in refused(tuned, "--mibe-run", tmp_path, "--to", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_that_is_wrong_with_an_export_is_told_at_once(model, tuned, tmp_path, capsys):
    whole = train_here(recipe(tmp_path / "whole", model), ROWS)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    wrong = ("--merge-lora", "--base", tmp_path / "gone", "--mibe-run", tmp_path, "--to", tmp_path / "full")
    capsys.readouterr()
    assert main(["export", *map(str, (whole, *wrong))]) == 2
    said = [line.removeprefix("mellama-train: ") for line in capsys.readouterr().err.splitlines()]
    assert [line.split(" ")[0] for line in said] == [
        "--merge-lora:",
        "--base:",
        str(tmp_path / "full"),
        "--base:",
        "--mibe-run:",
    ]
    assert said[0] == f"--merge-lora: {whole} has no adapters, so there is nothing to merge; leave it out"
    for left in (whole.parent, max((whole.parent / "checkpoints").glob("step-*"))):
        assert main(["export", str(left), "--merge-lora", "--to", str(tmp_path / "out")]) == 2
        assert "has no adapters" in capsys.readouterr().err


OTHERS = {
    "narrow": ({"hidden_size": 32}, ("is 128 × 32 in it, and 128 × 64 in the checkpoint", "and the adapters 64")),
    "short": ({"num_hidden_layers": 1}, ("the checkpoint has model.layers.1.", "it has no layer model.layers.1.")),
    "deep": ({"num_hidden_layers": 3}, ("it has model.layers.2.", "it has model.layers.2.")),
    "mute": ({"vocab_size": 50}, ("is 50 × 64 in it", "it knows 50 tokens, and the tokenizer has 98")),
}


def test_a_base_of_another_shape_is_one_line(model, tuned, tmp_path, capsys):
    """For a checkpoint of all weights, one of adapters, and finished adapters."""
    whole = train_here(recipe(tmp_path / "whole", model), ROWS).parent
    checkpoint, adapters = (max((run / "checkpoints").glob("step-*")) for run in (whole, tuned))
    for name, (change, (of_weights, of_adapters)) in OTHERS.items():
        other = tmp_path / name
        config = LlamaConfig(**{**AutoModelForCausalLM.from_pretrained(model).config.to_dict(), **change})
        LlamaForCausalLM(config).save_pretrained(other)
        make_tokenizer().save_pretrained(other)
        for left, problem in {checkpoint: of_weights, adapters: "", tuned / "final": of_adapters}.items():
            capsys.readouterr()
            assert main(["export", str(left), "--base", str(other), "--to", str(tmp_path / "out")]) == 2, name
            lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mellama-train: ")]
            assert len(lines) == 1 and f"{left} was not made of {other}: " in lines[0] and problem in lines[0]
            assert lines[0].endswith("; --base names the model it began with")


def test_a_damaged_checkpoint_is_not_exported(tuned, tmp_path, capsys):
    import shutil

    shutil.copytree(max((tuned / "checkpoints").glob("step-*")), tmp_path / "step")
    victim = max((tmp_path / "step" / "engine").iterdir(), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1])
    assert main(["export", str(tmp_path / "step"), "--to", str(tmp_path / "out")]) == 2
    assert "is not a whole checkpoint" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_behind(tuned, tmp_path, capsys):
    """The file-size limit of the process stands for the disk's end."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        assert main(["export", str(tuned), "--merge-lora", "--to", str(tmp_path / "out")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot write" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_ends_a_turn_is_told_to_who_generates(tmp_path):
    """The model came with </s> as its end; its template ends a turn with another token, which is learned."""
    folder, tokenizer = make_model(tmp_path / "model"), make_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|end|>"]})
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    ends = [1, tokenizer.convert_tokens_to_ids("<|end|>")]
    assert GenerationConfig.from_pretrained(folder).eos_token_id == 1
    (tmp_path / "samples.jsonl").write_text(json.dumps({"prompt": "q", "response": "Yes, it is."}) + "\n")
    for name, keys in {"whole": {}, "tuned": {"lora": {"rank": 2}}}.items():
        out = tmp_path / name
        out.mkdir()
        files = {"data": {"files": [str(tmp_path / "samples.jsonl")]}}
        (out / "recipe.yaml").write_text(yaml.safe_dump(recipe_text(out, folder, **files, **keys)))
        assert main(["instruct", str(out / "recipe.yaml")]) == 0
        last = max((out / "run" / "checkpoints").iterdir())
        merge = ("--merge-lora",) if keys else ()
        exported(out / "run", "--to", out / "exported", *merge)
        exported(last, "--to", out / "from-checkpoint", *merge)
        exported(out / "run", "--to", out / "as-it-is")
        for written_to in (out / "run" / "final", out / "exported", out / "from-checkpoint", out / "as-it-is"):
            assert GenerationConfig.from_pretrained(written_to).eos_token_id == ends, written_to
