"""Preference tuning: the loss against one written from the paper, a run that equals itself, and what is learned."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("trl", reason="TRL comes with the extra rl")

import torch
import torch.nn.functional as F
import transformers
from launching import environment, rank_environment, torchrun
from preference_parts import figures, learnable, look_through_one_test_set, recipe, settings, train, written
from safetensors import SafetensorError
from safetensors.torch import load_file
from training_parts import make_model, make_tokenizer
from transformers import AutoModelForCausalLM

import mibe
from mellama_train.engines.ranks import Ranks
from mellama_train.loop.layout import newest_hf_checkpoint
from mellama_train.rl.dpo import open_trainer, order, table, tokens_seen
from mellama_train.rl.watching import Watch
from mellama_train.rows.pairs import PairSet, file_pairs

START = math.log(2)
"""The loss of a model that is its own reference."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return written(tmp_path_factory.mktemp("pairs") / "made.jsonl", learnable())


@pytest.fixture
def ranks():
    found = Ranks.join()
    yield found
    found.leave()


def encoded(file):
    how = {"tokenizer_sha256": "t", "context": 48, "form": "auto", "too_long": "error"}
    found, _ = PairSet.of(file_pairs([file]), make_tokenizer(), **how)
    return found


def log_probability(model, prompt, response):
    """Of a response behind a prompt: the sum over its tokens, each read alone in a sequence without padding."""
    tokens = torch.tensor([prompt + response])
    with torch.no_grad():
        chances = F.log_softmax(model(input_ids=tokens).logits[0].double(), dim=-1)
    places = range(len(prompt) - 1, len(prompt) + len(response) - 1)
    return sum(chances[place, tokens[0, place + 1]] for place in places)


def margins(policy, reference, some, beta):
    """β (log π / π_ref of the chosen − log π / π_ref of the rejected response): Rafailov et al. 2023, equation 7."""
    ratios = [
        [log_probability(policy, p.prompt, r) - log_probability(reference, p.prompt, r) for r in (p.chosen, p.rejected)]
        for p in some
    ]
    return torch.stack([beta * (chosen - rejected) for chosen, rejected in ratios])


def moved(model, names):
    """The model with noise on some of its weights."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if names in name:
                weight += 0.02 * torch.randn_like(weight)
    return model


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_the_loss_is_that_of_the_paper(model, pairs, tmp_path, ranks, lora):
    """On four pairs of unlike lengths, two a forward pass, after the policy has left its start."""
    wanted = recipe(model, pairs, tmp_path / "run", lora=lora, beta=0.3)
    some = encoded(pairs)
    trainer = open_trainer(wanted, ranks, some, {}, make_tokenizer(), Watch(wanted, ranks, None, None, None))
    policy = moved(trainer.model, "lora_" if lora else "weight").eval()
    batch = some.pairs[:4]
    with torch.no_grad():
        found = trainer.compute_loss(policy, trainer.data_collator(list(table(batch))))
    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    expected = -F.logsigmoid(margins(policy, reference, batch, 0.3)).mean()
    assert abs(float(expected) - START) > 0.01
    assert float(found) == pytest.approx(float(expected), abs=5e-5)


def test_a_run_learns_what_is_preferred_and_equals_itself_from_the_start_and_from_a_checkpoint(
    model, pairs, tmp_path, monkeypatch, capsys
):
    look_through_one_test_set(monkeypatch)
    data = {"pairs": [str(pairs)], "held_out": [str(pairs)]}
    changes = {"data": data, "epochs": 2, "held_out": {"every_steps": 6, "rows": 8}}
    assert train(model, pairs, tmp_path / "a", **changes) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a" / "final")
    lines = figures(tmp_path / "a")
    steps = [line for line in lines if "loss" in line]
    held_out = {line["step"]: line for line in lines if "held_out_loss/made" in line}
    # The model of the start is its own reference: no margin at all, and a loss of log 2.
    assert [line["step"] for line in steps] == list(range(1, 13)) and sorted(held_out) == [0, 6, 12]
    assert steps[0]["loss"] == pytest.approx(START, abs=1e-6) and steps[0]["rewards/margins"] == 0
    assert held_out[0]["held_out_loss/made"] == pytest.approx(START, abs=1e-6)
    assert held_out[12]["held_out_margin/made"] > held_out[6]["held_out_margin/made"] > 0.5
    assert held_out[12]["held_out_accuracy/made"] == 1
    # By transformers alone, on the folder that is handed over.
    trained, start = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for folder in (tmp_path / "a" / "final", model)
    )
    found = margins(trained, start, encoded(pairs).pairs[:8], 0.1)
    assert float(found.min()) > 0
    assert float(found.mean()) == pytest.approx(held_out[12]["held_out_margin/made"], abs=1e-4)

    # As a kill after step 4 would have left it.
    shutil.copytree(
        tmp_path / "a", tmp_path / "b", ignore=shutil.ignore_patterns("final", "checkpoint-8", "checkpoint-12")
    )
    assert train(model, pairs, tmp_path / "b", **changes) == 0
    assert "going on from" in capsys.readouterr().err
    assert train(model, pairs, tmp_path / "c", **changes) == 0
    whole = load_file(tmp_path / "a" / "final" / "model.safetensors")
    for again in ("b", "c"):
        other = load_file(tmp_path / again / "final" / "model.safetensors")
        assert all(torch.equal(whole[name], other[name]) for name in whole), again
        found = [line for line in figures(tmp_path / again) if "loss" in line]
        assert [(line["loss"], line["tokens"]) for line in found] == [(s["loss"], s["tokens"]) for s in steps], again
    # Two passes over the pairs, each response with its prompt, whatever the number of starts.
    assert steps[-1]["tokens"] == 2 * sum(encoded(pairs).tokens().values())

    # A checkpoint that was cut short is passed over, and so is one whose record never came to be written.
    shutil.rmtree(tmp_path / "b" / "final")
    last, before = (tmp_path / "b" / "checkpoints" / f"checkpoint-{step}" for step in (12, 8))
    for file in (last / "optimizer.pt", before / "run.json"):
        file.write_bytes(file.read_bytes()[:100] if file.suffix == ".pt" else b"")
    assert newest_hf_checkpoint(last.parent) == last.parent / "checkpoint-4"
    assert train(model, pairs, tmp_path / "b", **changes) == 0
    said = capsys.readouterr().err
    assert f"passed over {last}: optimizer.pt is missing or cut short" in said
    assert f"going on from {last.parent / 'checkpoint-4'}" in said
    other = load_file(tmp_path / "b" / "final" / "model.safetensors")
    assert all(torch.equal(whole[name], other[name]) for name in whole)

    # Another recipe does not go on with it, and the same one has nothing left to do.
    assert train(model, pairs, tmp_path / "b", **changes, beta=0.2) == 2
    assert "beta (0.1 → 0.2)" in capsys.readouterr().err
    assert train(model, pairs, tmp_path / "b", **changes) == 0
    assert "finished before" in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"steps": 2}, {"steps": 2, "reporting": {"every_steps": 5, "tensorboard": False}}])
def test_weights_that_become_no_numbers_are_not_handed_over(model, pairs, tmp_path, monkeypatch, capsys, changes):
    """After the last step too, and where no loss is reported."""
    look_through_one_test_set(monkeypatch)
    run = tmp_path / "run"
    assert train(model, pairs, run, **changes, optimizer={"learning_rate": 1e30}) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mellama-train: ")]
    assert len(said) == 1 and "no numbers any more; lower optimizer.learning_rate" in said[0]
    assert not (run / "final").exists() and newest_hf_checkpoint(run / "checkpoints") is None


@pytest.mark.slow
def test_a_disk_that_is_full_is_one_line_and_the_run_goes_on_when_there_is_room(
    model, pairs, tmp_path, monkeypatch, capsys
):
    """By the errors that a full disk looks like through safetensors, torch and Python."""
    look_through_one_test_set(monkeypatch)
    run = tmp_path / "run"
    keys = {"steps": 4, "checkpoints": {"every_steps": 2, "keep": 4}}

    def full(error, step):
        def save(self, *given):
            folder = run / "checkpoints" / f"checkpoint-{self.state.global_step}"
            if self.state.global_step == step:
                folder.mkdir(parents=True)
                (folder / "model.safetensors").write_bytes(b"half of it")
                raise error
            kept(self, *given)

        return save

    kept = transformers.Trainer._save_checkpoint
    said = []
    for error, step in (
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), 2),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"), 4),
    ):
        monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", full(error, step))
        assert train(model, pairs, run, **keys) == 2
        said += [line for line in capsys.readouterr().err.splitlines() if line.startswith("mellama-train: ")]
        assert not (run / "checkpoints" / f"checkpoint-{step}").exists()
    monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", kept)
    folder = run / "checkpoints"
    go_on = "make room, and the same command goes on"
    assert said == [
        f"mellama-train: cannot write {folder / 'checkpoint-2'}: Error while serializing: I/O error: No space left on "
        f"device (os error 28); there is none yet; {go_on}",
        f"mellama-train: cannot write {folder / 'checkpoint-4'}: [enforce fail at inline_container.cc:672] . "
        f"unexpected pos 64 vs 0; the last whole one is checkpoint-2; {go_on}",
    ]
    # A file of the right size with another content is found when it is read.
    optimizer = folder / "checkpoint-2" / "optimizer.pt"
    sound = optimizer.read_bytes()
    optimizer.write_bytes(bytes(len(sound)))
    assert train(model, pairs, run, **keys) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mellama-train: ")]
    assert line.startswith(f"mellama-train: cannot read {folder / 'checkpoint-2'}: ") and line.endswith(
        "remove it, and the run goes on from the one before"
    )
    optimizer.write_bytes(sound)
    assert train(model, pairs, run, **keys) == 0
    assert "going on from" in capsys.readouterr().err


@pytest.mark.slow
def test_two_ranks_make_one_run(model, pairs, tmp_path, monkeypatch):
    """The pairs of a step are the run's, whatever the number of ranks; so are its figures and weights."""
    look_through_one_test_set(monkeypatch)
    changes = {"steps": 4, "batch": {"rows": 4, "micro_rows": 1}}
    assert train(model, pairs, tmp_path / "one", **changes) == 0
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump(settings(model, pairs, tmp_path / "two", **changes)))
    done = subprocess.run(
        [*torchrun(2), str(Path(__file__).parents[2] / "helpers" / "one_dpo.py"), str(file)],
        env=rank_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = ([line["loss"] for line in figures(tmp_path / name) if "loss" in line] for name in ("one", "two"))
    assert two == pytest.approx(one, abs=1e-5)
    whole, halves = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(whole[name], halves[name], atol=1e-5) for name in whole)


@pytest.mark.slow
def test_deepspeed_wants_no_launcher_for_one_process(model, pairs, tmp_path):
    pytest.importorskip("deepspeed", reason="deepspeed comes with the extra train")
    file = tmp_path / "one.yaml"
    keys = {"steps": 1, "engine": {"name": "deepspeed"}}
    file.write_text(yaml.safe_dump(settings(model, pairs, tmp_path / "run", **keys)))
    program = Path(__file__).parents[2] / "helpers" / "one_dpo.py"
    done = subprocess.run([sys.executable, str(program), str(file)], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in figures(tmp_path / "run") if "loss" in line]
    assert line["loss"] == pytest.approx(START, abs=1e-6)


def test_lora_has_its_start_for_reference_and_is_handed_over_with_its_terms(model, tmp_path, monkeypatch):
    """Beside a manifest the pairs' terms are known; the adapters merge, and the card says what was done."""
    from mellama_train.publish.export import export

    look_through_one_test_set(monkeypatch)
    file = written(tmp_path / "data" / "pairs.jsonl", learnable(8))
    terms = {"made": {"access": "credentialed", "agreement": "Ward agreement 7"}}
    (tmp_path / "data" / "manifest.json").write_text(json.dumps({"sources": terms}))
    changes = {"lora": {"rank": 4, "alpha": 8}, "optimizer": {"learning_rate": 1e-2}, "precompute_reference": True}
    assert train(model, file, tmp_path / "run", **changes) == 0
    steps = [line for line in figures(tmp_path / "run") if "loss" in line]
    assert steps[0]["loss"] == pytest.approx(START, abs=1e-5)
    final = tmp_path / "run" / "final"
    assert (final / "adapter_model.safetensors").is_file() and not (final / "model.safetensors").is_file()
    (stage,) = json.loads((final / "training.json").read_text())["stages"]
    (source,) = stage["sources"]
    assert (source["access"], source["agreements"]) == ("credentialed", ["Ward agreement 7"])
    # One pass over eight pairs: each response with its prompt.
    assert source["tokens"] == sum(encoded(file).tokens().values())
    assert stage["trainer"] == "dpo" and stage["test_sets"] == {"tasks": ["pubmedqa"], "found": 0, "left_out": 0}
    ranks = Ranks.join()
    try:
        merged = export(final, tmp_path / "merged", ranks=ranks, merge_lora=True)
    finally:
        ranks.leave()
    card = (merged.folder / "README.md").read_text()
    assert "Preference tuning on pairs of responses (DPO, by TRL)" in card and "Ward agreement 7" in card
    # What the trainer reads, and nothing of the other loop.
    settings_of = {
        cells[1].strip(): cells[2].strip() for line in card.splitlines() if len(cells := line.split("|")) > 3
    }
    assert (settings_of["trainer"], settings_of["beta"], settings_of["LoRA"].split(",")[0]) == (
        "`dpo`",
        "`0.1`",
        "rank 4",
    )
    assert not [key for key in settings_of if key.startswith(("spikes", "probe", "model.", "held_out", "reporting"))]


def test_each_pass_has_an_order_of_its_own_and_whole_steps(model, pairs, tmp_path):
    wanted = recipe(model, pairs, tmp_path / "run", epochs=3, batch={"rows": 10, "micro_rows": 2})
    found = order(wanted, 24)
    # 72 pairs make seven steps of ten.
    assert len(found) == 70 and sorted(found[:24]) == sorted(found[24:48]) == list(range(24))
    assert found[:24] != found[24:48] and found == order(wanted, 24)
    some = encoded(pairs)
    lengths = [2 * len(p.prompt) + len(p.chosen) + len(p.rejected) for p in some.pairs]
    assert tokens_seen(wanted, some, 2) == {"made": sum(lengths[number] for number in found[:20])}


@pytest.mark.parametrize("choice", ["error", "skip"])
def test_pairs_with_a_passage_of_a_test_set_are_refused_or_left_out(model, tmp_path, monkeypatch, capsys, choice):
    look_through_one_test_set(monkeypatch)
    document = next(mibe.examples(mibe.load_task("pubmedqa"), "test"))
    lines = [*learnable(4), {"prompt": document.inputs["context"], "chosen": "yes", "rejected": "no"}]
    file = written(tmp_path / "pairs.jsonl", lines)
    data = {"pairs": [str(file)], "test_documents": choice, "too_long": "skip"}
    code = train(model, file, tmp_path / "run", "--dry-run", data=data)
    said = capsys.readouterr()
    place = f"1 pairs hold a passage of a test set: {file}:5 (= pubmedqa/{document.id})"
    if choice == "error":
        assert code == 2
        assert said.err == f"mellama-train: {place}; data.test_documents: skip leaves them out of the training\n"
    else:
        assert code == 0 and f"{place}; left out" in said.err
        assert "pairs: 4 of up to" in said.out and "steps: 1 of 4 pairs" in said.out


def test_pairs_that_are_not_those_of_their_manifest_are_told(model, tmp_path, monkeypatch, capsys):
    look_through_one_test_set(monkeypatch)
    file = written(tmp_path / "pairs.jsonl", learnable(4))
    of_file = {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"pairs.jsonl": of_file}, "sources": {}}))
    assert train(model, file, tmp_path / "run", "--dry-run") == 0
    assert "manifest" not in capsys.readouterr().err
    file.write_text(file.read_text().replace("yes 1", "yes 22"))
    assert train(model, file, tmp_path / "run", "--dry-run") == 0
    told = f"{file} is not as the manifest.json beside it says; its data counts as of unknown access"
    assert told in capsys.readouterr().err


def test_pairs_are_shown_with_both_responses(model, pairs, tmp_path, monkeypatch, capsys):
    look_through_one_test_set(monkeypatch)
    assert train(model, pairs, tmp_path / "run", "--show", "1") == 0
    shown = capsys.readouterr().out.replace(" ", "")
    assert "say0⟦yes0</s>⟧" in shown and "---1,rejected\nno,0</s>" in shown


@pytest.mark.parametrize(
    ("changes", "line", "what"),
    [
        ({}, {"prompt": "a", "chosen": "b", "rejected": "b"}, "pairs.jsonl:5: chosen and rejected are the same"),
        ({}, {"prompt": "a", "chosen": "b" * 60, "rejected": "c"}, "pairs.jsonl:5: the pair has 63 tokens"),
        ({"batch": {"rows": 64}}, learnable(1)[0], "5 pairs make no step of 64 (batch.rows)"),
        ({"steps": 3}, learnable(1)[0], "the pairs make 1 steps, and 3 are asked for"),
        ({"data": {"pairs": ["empty.jsonl"]}}, learnable(1)[0], "data.pairs[0]: empty.jsonl holds no pair"),
        ({"data": {"pairs": ["gone.jsonl"]}}, learnable(1)[0], "data.pairs[0]: there is no file gone.jsonl"),
        ({"beta": 0}, learnable(1)[0], "beta: must be above 0"),
        ({"spikes": {"action": "skip"}}, learnable(1)[0], "spikes: is of the stages that this package's own loop"),
        ({"engine": {"sharding": "fsdp"}}, learnable(1)[0], "accelerate launch"),
    ],
)
def test_what_is_wrong_is_one_line(model, tmp_path, monkeypatch, capsys, changes, line, what):
    look_through_one_test_set(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    file = written(tmp_path / "pairs.jsonl", [*learnable(4), line])
    assert train(model, file, tmp_path / "run", **changes) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mellama-train: ")]
    assert len(said) == 1 and what in said[0], said


def test_dropout_of_adapters_counts_and_the_last_step_is_reported(model, pairs, tmp_path, monkeypatch):
    look_through_one_test_set(monkeypatch)
    adapters = []
    for name, dropout in (("without", 0.0), ("with", 0.3)):
        lora = {"rank": 4, "alpha": 8, "dropout": dropout}
        reporting = {"every_steps": 4, "tensorboard": False}
        assert train(model, pairs, tmp_path / name, lora=lora, steps=6, epochs=2, reporting=reporting) == 0
        assert [line["step"] for line in figures(tmp_path / name) if "loss" in line] == [4, 6]
        adapters.append(load_file(tmp_path / name / "final" / "adapter_model.safetensors"))
    assert not all(torch.equal(weight, adapters[1][key]) for key, weight in adapters[0].items())
