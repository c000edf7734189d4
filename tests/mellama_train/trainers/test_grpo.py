"""`mellama-train train grpo` on a tiny model: what it learns, writes, goes on from, and refuses."""

import json
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import mibe
from mellama_train.cli import main
from mellama_train.loop.layout import hf_step, newest_hf_checkpoint
from mibe.task import Example

pytest.importorskip("peft", reason="peft comes with the extra train")

from launching import environment, rank_environment, torchrun
from rl_parts import metrics, pubmedqa_documents, recipe, settings, small_pubmedqa, train, write_split
from safetensors.torch import load_file
from training_parts import save_chat_model

NEEDS_TRL = "TRL comes with the extra rl"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_chat_model(folder)
    return folder


@pytest.fixture
def data(own_folders, monkeypatch):
    small_pubmedqa(own_folders / "data", monkeypatch)
    return own_folders / "data"


@pytest.fixture
def rewarded(monkeypatch):
    """A reward that a random model can earn: the share of letters in what it wrote, by the task's own call."""
    from mibe.rewards.reward import Reward, Rewarded
    from mibe.task import Outcome

    def judge(self, responses, examples, **_):
        shares = [sum(c.isalpha() for c in text) / (len(text) or 1) for text in responses]
        return [Rewarded(share, Outcome.PARSED, "yes", share, 0.0, 0.0) for share in shares]

    monkeypatch.setattr(Reward, "judge", judge)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_it_is_a_trainer_like_any_other(capsys):
    assert main(["trainers"]) == 0
    assert "reinforcement learning from right answers (GRPO, by TRL)" in capsys.readouterr().out


def test_without_trl_it_says_in_one_line_what_to_install(model, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mellama_train.rl.trl.importlib.util.find_spec", lambda name: None)
    assert train(model, tmp_path / "run") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].endswith('trainer: this trainer runs on TRL, which is not here: pip install "mibe[rl]"')


def test_a_task_without_a_train_split_is_refused(model, own_folders, tmp_path, capsys):
    write_split(own_folders / "data", "pubmedqa", "test", pubmedqa_documents(3))
    assert train(model, tmp_path / "run", "--dry-run") == 2
    said = capsys.readouterr().err
    assert "data.tasks: pubmedqa has no train split here, only test" in said


def test_an_unknown_task_and_a_model_that_is_not_there_are_said_at_once(tmp_path, data, capsys):
    assert train(tmp_path / "none", tmp_path / "run", "--dry-run", data={"tasks": ["pubmedqe"]}) == 2
    said = capsys.readouterr().err
    assert "data.tasks: unknown task 'pubmedqe'; did you mean pubmedqa" in said
    assert "model.path: there is no folder" in said


def test_a_group_of_one_is_refused(model, data, tmp_path, capsys):
    assert train(model, tmp_path / "run", rollouts={"group": 1}) == 2
    assert "group: 1 answer of a prompt has no other to be better than" in capsys.readouterr().err


def test_a_look_says_what_would_be_done(model, data, tmp_path, capsys):
    pytest.importorskip("trl", reason=NEEDS_TRL)
    assert train(model, tmp_path / "run", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "prompts of a pass: pubmedqa 6" in said
    assert "steps: 4 of 1 prompts × 4 answers" in said
    assert train(model, tmp_path / "run", "--show", "1") == 0
    shown = capsys.readouterr().out
    assert "--- 1: pubmedqa, document 0" in shown and "right: yes" in shown
    assert "Does drug 0 help?" in shown and shown.rstrip().endswith("<|assistant|>")
    assert not (tmp_path / "run").exists()


class Breaking:
    """A trainer of TRL's whose training ends in an error."""

    state = SimpleNamespace(global_step=2)

    def __init__(self, fails):
        self._fails = fails

    def train(self, resume_from_checkpoint):
        self._fails()


def test_probabilities_that_are_no_numbers_are_one_line():
    """By the error of torch itself, where it is to draw from them."""
    import torch

    from mellama_train.errors import DivergenceError
    from mellama_train.rl.running import _train

    with pytest.raises(DivergenceError, match=r"^step 3: the model's probabilities are no numbers any more; lower"):
        _train(Breaking(lambda: torch.multinomial(torch.tensor([math.nan, 0.5]), 1)), None)
    with pytest.raises(RuntimeError, match="size"):
        _train(Breaking(lambda: torch.zeros(2) + torch.zeros(3)), None)


@pytest.mark.slow
def test_a_run_hands_over_a_model_that_learned_and_is_evaluated(model, data, tmp_path, rewarded, capsys):
    """What is rewarded becomes more frequent; the folder has its provenance, and mibe evaluates it."""
    pytest.importorskip("trl", reason=NEEDS_TRL)
    run = tmp_path / "run"
    more = {"rollouts": {"group": 16, "tokens": 6}, "batch": {"rows": 32, "micro_rows": 32}, "epochs": 20}
    assert train(model, run, steps=12, beta=0.0, **more, optimizer={"learning_rate": 3e-2}) == 0
    assert capsys.readouterr().out.strip() == str(run / "final")
    lines = metrics(run)
    rewards = [line["reward"] for line in lines if "reward" in line]
    assert len(rewards) == 12
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.1
    assert lines[0]["rewards/pubmedqa/mean"] == pytest.approx(rewards[0])
    assert lines[0]["outcomes/pubmedqa/parsed"] == 1.0
    assert not same(weights(run / "final"), weights(model))
    about = json.loads((run / "final" / "training.json").read_text())
    (stage,) = about["stages"]
    assert about["origin"] == str(model)
    assert (stage["trainer"], stage["steps"]) == ("grpo", 12)
    assert stage["about"] == "group-relative policy optimisation on pubmedqa"
    (source,) = stage["sources"]
    assert (source["name"], source["access"]) == ("pubmedqa", "open")
    assert source["tokens"] == lines[-1]["tokens"]
    assert stage["test_sets"] == {"tasks": ["pubmedqa"], "found": 0, "left_out": 0}
    scored = mibe.evaluate(
        model="hf",
        model_args={"pretrained": str(run / "final")},
        tasks=["pubmedqa"],
        limit=2,
        output_dir=tmp_path / "scored",
        progress=mibe.Silent(),
    )
    assert len(scored.samples("pubmedqa")) == 2
    assert main(["export", str(run), "--to", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## 1. Group-relative policy optimisation on pubmedqa" in card
    assert "rollouts.group" in card and "`16`" in card and "spikes" not in card


@pytest.mark.slow
def test_a_seeded_run_equals_itself_and_one_that_was_stopped_goes_on_as_if_it_had_not_been(
    model, data, tmp_path, rewarded, capsys
):
    pytest.importorskip("trl", reason=NEEDS_TRL)
    one, again, other = (tmp_path / name for name in ("one", "again", "other"))
    for run in (one, again):
        assert train(model, run) == 0
    assert same(weights(one / "final"), weights(again / "final"))
    assert train(model, other, seed=1) == 0
    assert not same(weights(one / "final"), weights(other / "final"))
    # As a kill after the second step would have left it, in the midst of writing a later checkpoint.
    shutil.rmtree(again / "final")
    (again / "checkpoints" / "checkpoint-4" / "run.json").unlink()
    assert train(model, again) == 0
    assert f"going on from {again / 'checkpoints' / 'checkpoint-2'}" in capsys.readouterr().err
    assert same(weights(one / "final"), weights(again / "final"))
    assert [line["step"] for line in metrics(again) if "loss" in line] == [1, 2, 3, 4]
    tokens = [json.loads((run / "final" / "training.json").read_text())["stages"][0]["sources"] for run in (one, again)]
    assert tokens[0] == tokens[1]
    # It is finished; and no other recipe is taken for it.
    assert train(model, again) == 0
    assert "finished before" in capsys.readouterr().err
    assert train(model, again, beta=0.5) == 2
    assert "beta (0.04 → 0.5)" in capsys.readouterr().err


@pytest.mark.slow
def test_adapters_are_trained_and_a_checkpoint_is_exported_with_its_provenance(model, data, tmp_path, rewarded):
    pytest.importorskip("trl", reason=NEEDS_TRL)
    run = tmp_path / "run"
    assert train(model, run, lora={"rank": 4, "alpha": 8}, optimizer={"learning_rate": 1e-2}) == 0
    adapters = load_file(run / "final" / "adapter_model.safetensors")
    assert any(weight.abs().sum() > 0 for name, weight in adapters.items() if "lora_B" in name)
    # With adapters the reference is the model with them switched off: the divergence grows from 0.
    divergence = [line["kl"] for line in metrics(run) if "kl" in line]
    assert divergence[0] == pytest.approx(0, abs=1e-6) and divergence[-1] > 1e-6
    shutil.rmtree(run / "final")
    for place in (run, run / "checkpoints" / "checkpoint-2"):
        exported = tmp_path / f"out-{place.name}"
        assert main(["export", str(place), "--merge-lora", "--to", str(exported)]) == 0
        stages = json.loads((exported / "training.json").read_text())["stages"]
        assert (stages[0]["trainer"], stages[0]["steps"]) == ("grpo", 4 if place == run else 2)


@pytest.mark.slow
def test_equal_rewards_are_said_and_teach_nothing(model, data, tmp_path, capsys):
    """A random model never answers yes, no or maybe: all rewards are 0, and so are all advantages."""
    pytest.importorskip("trl", reason=NEEDS_TRL)
    run = tmp_path / "run"
    assert train(model, run, beta=0.0) == 0
    said = capsys.readouterr().err
    assert said.count("all answers to each prompt were rewarded alike (0 in the mean)") == 1
    lines = metrics(run)
    assert [line["frac_reward_zero_std"] for line in lines if "loss" in line] == [1.0] * 4
    assert all(line["loss"] == 0 for line in lines if "loss" in line)
    assert same(weights(run / "final"), weights(model))


@pytest.mark.slow
def test_terms_of_credentialed_data_are_said_and_kept(model, own_folders, tmp_path, monkeypatch, capsys):
    pytest.importorskip("trl", reason=NEEDS_TRL)
    small_pubmedqa(own_folders / "data", monkeypatch)
    notes = [Example(str(n), {"premise": f"Note {n}.", "hypothesis": "Ill."}, "neutral") for n in range(4)]
    write_split(own_folders / "data", "mednli", "train", notes)
    run = tmp_path / "run"
    both = {"tasks": {"pubmedqa": 1, "mednli": 1}, "too_long": "skip"}
    assert train(model, run, data=both, context=512, steps=2) == 0
    said = capsys.readouterr().err
    assert "mednli is credentialed" in said
    sources = json.loads((run / "final" / "training.json").read_text())["stages"][0]["sources"]
    assert {source["name"]: source["access"] for source in sources} == {"pubmedqa": "open", "mednli": "credentialed"}
    (notes_of,) = [source for source in sources if source["name"] == "mednli"]
    assert notes_of["agreements"] == [mibe.load_task("mednli").access.agreement] and notes_of["weight"] == 1.0
    kept = [*run.rglob("*.json"), *run.rglob("*.jsonl")]
    assert kept and not any("Note 1." in file.read_text() for file in kept)


@pytest.mark.slow
def test_a_run_tells_nobody_of_itself(model, data, tmp_path, monkeypatch):
    """TRL would send model family and device to its makers."""
    pytest.importorskip("trl", reason=NEEDS_TRL)
    from trl.trainer import base_trainer

    sent = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(base_trainer, "send_telemetry", lambda **about: sent.append(about))
    assert train(model, tmp_path / "run", steps=1) == 0
    assert sent == []


@pytest.mark.slow
def test_a_signal_ends_a_run_with_a_checkpoint(model, data, own_folders, tmp_path):
    pytest.importorskip("trl", reason=NEEDS_TRL)
    import yaml

    run = tmp_path / "run"
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(settings(model, run, steps=4000, epochs=4000, reporting={"every_steps": 1})))
    begun = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[2] / "helpers" / "one_grpo.py"), str(file)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in begun.stderr:
        if line.startswith("step "):
            begun.send_signal(signal.SIGTERM)
            break
    rest = begun.stderr.read()
    assert begun.wait() == 75, rest[-2000:]
    assert "the same command goes on from there" in rest
    kept = newest_hf_checkpoint(run / "checkpoints")
    assert kept is not None and (kept / "training.json").is_file()
    assert f"after step {hf_step(kept)};" in rest


@pytest.mark.slow
def test_two_ranks_make_one_run(model, data, tmp_path):
    """Groups lie on both ranks; the model is one, and the tokens of both are counted."""
    pytest.importorskip("trl", reason=NEEDS_TRL)
    import yaml

    run = tmp_path / "run"
    file = tmp_path / "run.yaml"
    changes = {"batch": {"rows": 8, "micro_rows": 2}, "steps": 2, "epochs": 2}
    file.write_text(yaml.safe_dump(settings(model, run, **changes)))
    done = subprocess.run(
        [*torchrun(2), str(Path(__file__).parents[2] / "helpers" / "one_grpo.py"), str(file)],
        env=rank_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in metrics(run) if "loss" in line]
    (source,) = json.loads((run / "final" / "training.json").read_text())["stages"][0]["sources"]
    assert [line["step"] for line in lines] == [1, 2]
    assert source["tokens"] == lines[-1]["tokens"]


def test_the_recipe_of_a_run_is_kept_as_it_was(model, tmp_path):
    found = recipe(model, tmp_path / "run")
    assert (found.rollouts.group, found.context, found.batch.rows) == (4, 128, 4)
