"""The best model of a run, when a run is given up, and a trace of its steps."""

import gzip
import json
import math
import shutil

import pytest
import torch
from training_parts import FormulaRows, make_model, recipe, train_here
from transformers import AutoModelForCausalLM

from mellama_train.errors import DataError
from mellama_train.loop.best import Best
from mellama_train.recipe.config import BestPlan


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("base") / "model")


def looks(run):
    """Step → perplexity of the first source."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["perplexity/first"] for line in lines if "perplexity/first" in line}


def steps_of(folder):
    return json.loads((folder / "training.json").read_text())["stages"][-1]["steps"]


@pytest.mark.parametrize(("figure", "values"), [("probe/medqa", [0.2, 0.3, 0.3, 0.1]), ("perplexity/a", [9, 8, 8, 12])])
def test_what_is_better_and_when_it_is_given_up(figure, values):
    best = Best(BestPlan(figure=figure, patience=2))
    # The model as it came is to be beaten, and is not kept itself.
    assert [best.improves({figure: value}) for value in values] == [False, True, False, False]
    assert best.value == values[1] and best.given_up
    again = Best(best.plan, **json.loads(json.dumps(best.state())))
    assert again == best
    assert again.improves({figure: 0.9 if "probe" in figure else 1.0}) and not again.given_up
    assert not again.improves({"probe/other": 1.0})
    with pytest.raises(DataError, match=f"best.figure: {figure} is not among probe/other of this run"):
        Best(best.plan).improves({"probe/other": 1.0})


def test_the_best_model_is_kept_as_the_run_goes_on(model, tmp_path):
    """At a learning rate that is far too high later on, the last model is not the best."""
    run = recipe(
        tmp_path,
        model,
        steps=8,
        optimizer={"learning_rate": 0.1, "schedule": "constant", "warmup_ratio": 1.0},
        held_out={"every_steps": 1, "rows": 2},
        best={"figure": "perplexity/first"},
        spikes={"factor": 1e9},
    )
    held_out = FormulaRows(2, seed=5)
    final = train_here(run, FormulaRows(32), {"held": held_out})
    seen = looks(run.output)
    at = min(seen, key=seen.get)
    assert 0 < at < 8 and steps_of(run.output / "best") == at and steps_of(final) == 8
    # The folder holds the weights of that step: they have its perplexity.
    loaded = AutoModelForCausalLM.from_pretrained(run.output / "best")
    row = held_out[0]
    ids, positions, labels = (torch.tensor(part)[None] for part in (row.tokens, row.positions, row.labels))
    logits = loaded(input_ids=ids, position_ids=positions, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:])
    assert math.exp(loss.item()) == pytest.approx(seen[at], rel=1e-4)


def test_a_run_without_progress_is_given_up_and_is_finished(model, tmp_path):
    run = recipe(
        tmp_path,
        model,
        steps=8,
        optimizer={"learning_rate": 1.0},
        held_out={"every_steps": 1, "rows": 2},
        best={"figure": "perplexity/first", "patience": 2},
        spikes={"factor": 1e9},
    )
    final = train_here(run, FormulaRows(32), {"held": FormulaRows(2, seed=5)})
    assert steps_of(final) == 2 and not (run.output / "best").exists()
    assert train_here(run, FormulaRows(32), {"held": FormulaRows(2, seed=5)}) == final


def test_a_run_that_goes_on_by_another_figure_begins_to_compare_anew(model, tmp_path):
    """What one figure was says nothing of another; a look without the new one ends nothing."""

    def run(steps, figure):
        return recipe(
            tmp_path,
            model,
            steps=steps,
            optimizer={"learning_rate": 1e-2, "schedule": "constant"},
            held_out={"every_steps": 2, "rows": 2},
            checkpoints={"every_steps": 2},
            best={"figure": figure},
        )

    held_out = {"held": FormulaRows(2, seed=5)}
    first = run(4, "held_out_loss/first")
    train_here(first, FormulaRows(16), held_out)
    for folder in ("final", "best", "checkpoints/step-00000004"):
        shutil.rmtree(first.output / folder)
    # Losses of the first run lie far below any perplexity: held against them, none would be better.
    train_here(run(4, "perplexity/first"), FormulaRows(16), held_out)
    assert steps_of(first.output / "best") == 4


def test_steps_are_traced(model, tmp_path):
    run = recipe(tmp_path, model, steps=5, reporting={"tensorboard": False, "profile_steps": 2})
    train_here(run, FormulaRows(20))
    with gzip.open(run.output / "profile" / "rank-0.json.gz", "rt") as stream:
        names = [event.get("name", "") for event in json.load(stream)["traceEvents"]]
    # One span for each traced step, and the products of the layers in it.
    assert sum(name.startswith("ProfilerStep#") and name[-1] in "23" for name in names) >= 2
    assert "aten::mm" in names
