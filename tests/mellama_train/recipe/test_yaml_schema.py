"""Recipes: what a YAML file may say, and the line that every mistake is told with."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("yaml")

from mellama_train.errors import RecipeError
from mellama_train.recipe.yaml_schema import FieldError, as_json, load, parse


class Access(StrEnum):
    OPEN = "open"
    CREDENTIALED = "credentialed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    lr: float
    betas: tuple[float, ...] = (0.9, 0.95)
    warmup_steps: int | None = None
    warmup_ratio: float | None = None

    def __post_init__(self):
        if self.warmup_steps is not None and self.warmup_ratio is not None:
            raise FieldError("warmup_ratio", "contradicts warmup_steps; give one of them")
        if self.lr <= 0:
            raise ValueError("lr must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    model: Path
    optimizer: Optimizer
    precision: Literal["bf16", "fp32", "off"] = "bf16"
    access: Access = Access.OPEN
    packed: bool = True
    weights: dict[str, float] | None = None
    steps: tuple[str | dict[str, int], ...] = ()
    stages: dict[str, Optimizer] | None = None


GOOD = """\
model: base/model   # a folder
optimizer:
  lr: 8e-6
  betas: [0.9, 1]
precision: off
access: credentialed
packed: no
weights: {pmc: 15, mimic: 1}
steps:
  - unicode
  - min_words: 20
stages:
  first: {lr: 0.1}
"""


def test_a_whole_file_is_read(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(path, Recipe) == Recipe(
        model=Path("base/model"),
        optimizer=Optimizer(lr=8e-6, betas=(0.9, 1.0)),
        precision="off",
        access=Access.CREDENTIALED,
        packed=False,
        weights={"pmc": 15.0, "mimic": 1.0},
        steps=("unicode", {"min_words": 20}),
        stages={"first": Optimizer(lr=0.1)},
    )


def test_a_recipe_as_json():
    data = as_json(parse(GOOD, Recipe, "x"))
    assert data["model"] == "base/model" and data["access"] == "credentialed"
    assert data["optimizer"]["betas"] == [0.9, 1.0] and data["steps"] == ["unicode", {"min_words": 20}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("precision: off", "precison: off", r"x:5: unknown key 'precison' in the file; did you mean precision\?"),
        ("  betas: [0.9, 1]", "  zzz: 1", r"x:4: unknown key 'zzz' in optimizer; known: betas, lr, warmup_ratio"),
        ("precision: off", "precision: bf17", r"x:5: precision is 'bf17', .* bf16, fp32, off; did you mean bf16\?"),
        ("access: credentialed", "access: closed", "x:6: access is 'closed', and should be one of open, credentialed"),
        ("  lr: 8e-6", "  lr: fast", "x:3: lr is 'fast', and should be a number"),
        ("  lr: 8e-6", '  lr: "8e-6"', "x:3: lr is '8e-6', and should be a number"),
        *(("  lr: 8e-6", f"  lr: {n}", "x:3: lr is .*, and should be a number") for n in ("nan", ".inf", "1e400")),
        ("  lr: 8e-6", "  lr: -1", "x:3: optimizer: lr must be positive"),
        ("  lr: 8e-6", "  lr:", "x:3: lr is nothing, and should be a number"),
        ("  lr: 8e-6\n", "", "x:3: optimizer lacks lr"),
        ("packed: no", "packed: 1", "x:7: packed is '1', and should be true or false"),
        ("packed: no", "packed: [yes]", "x:7: packed is a list, and should be true or false"),
        (
            "  - min_words: 20",
            "  - min_words: 2.5",
            r"x:11: steps\[1\].min_words is '2.5', and should be a whole number",
        ),
        ("  - min_words: 20", "  - [a]", r"x:11: steps\[1\] is a list, and should be a single value or keys with val"),
        ("weights: {pmc: 15, mimic: 1}", "weights: 3", "x:8: weights is '3', and should be keys with values"),
        ("weights: {pmc: 15, mimic: 1}", "weights: {pmc: 1, pmc: 2}", "x:8: pmc is given twice in weights"),
        ("packed: no", "packed: no\npacked: yes", "x:8: packed is given twice in the file"),
        ("packed: no", "packed: {no", "x:8: not YAML: "),
        ("model: base/model ", "model: $NO_SUCH_VARIABLE/x", "x:1: model is .* environment variable that is not set"),
        ("lr: 8e-6", "lr: 8e-6\n  warmup_steps: 3\n  warmup_ratio: 0.1", "x:5: warmup_ratio: contradicts warmup_steps"),
    ],
)
def test_a_mistake_is_told_with_its_line(old, new, message):
    assert old in GOOD
    with pytest.raises(RecipeError, match=message):
        parse(GOOD.replace(old, new), Recipe, "x")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(RecipeError, match=r"cannot read .*none\.yaml: No such file"):
        load(tmp_path / "none.yaml", Recipe)
    (tmp_path / "latin.yaml").write_bytes(b"model: caf\xe9")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load(tmp_path / "latin.yaml", Recipe)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(RecipeError, match=r":1: the file is empty; required: model, optimizer"):
        load(tmp_path / "empty.yaml", Recipe)


def test_paths_know_the_home_folder_and_variables(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("DATA", "/data")
    for written, meant in (("~/m", "/home/ada/m"), ("$DATA/m", "/data/m"), ("${DATA}/m", "/data/m")):
        assert parse(f"model: {written}\noptimizer: {{lr: 1}}", Recipe, "x").model == Path(meant)
