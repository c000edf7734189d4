"""Recipes: what a YAML file may say, and the line that every mistake is told with."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest

pytest.importorskip("yaml")

from mellama_train.errors import RecipeError
from mellama_train.recipe.problems import FieldError, Problem, refuse
from mellama_train.recipe.ranges import Count, Positive, Range
from mellama_train.recipe.yaml_schema import as_json, load, parse, read, read_text, text_under


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
        *(
            (
                "  - min_words: 20",
                f"  - min_words: {n}",
                r"x:11: steps\[1\].min_words is .*, and should be a whole number",
            )
            for n in ("1:30", "0b_", "0x_", "9" * 5000)
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


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (r'"a\0b"', "which holds a NUL character"),
        (r'"\ud83d"', "which holds half a character"),
        ("~no-such-user/m", "and there is no such home folder"),
        ("' '", "which is empty; give a path"),
    ],
)
def test_a_path_that_no_file_system_takes_is_one_line(written, problem):
    with pytest.raises(RecipeError, match=rf"x:1: model is .*, {problem}$"):
        parse(f"model: {written}\noptimizer: {{lr: 1}}", Recipe, "x")


def test_a_name_that_is_too_long_for_a_file_is_one_line(monkeypatch):
    monkeypatch.setenv("NOTHING", "")
    for written, problem in (("m/" + "ä" * 128, "has a name of more than 255 bytes"), ("${NOTHING}", "is empty")):
        with pytest.raises(RecipeError, match=rf"x:1: model .*{problem}"):
            parse(f"model: {written}\noptimizer: {{lr: 1}}", Recipe, "x")
    assert parse("model: " + "a" * 255 + "\noptimizer: {lr: 1}", Recipe, "x").model == Path("a" * 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    rows: Count = 1
    factor: Annotated[float, Range(above=1, below=10, why="is a multiple")] = 2.0
    weights: dict[str, Positive] | None = None
    shares: tuple[Annotated[float, Range(at_least=0, at_most=1)], ...] = ()
    patience: Count | None = None

    def __post_init__(self):
        refuse(FieldError(name, "is odd") for name in ("rows", "patience") if (getattr(self, name) or 0) % 2)


def refused(text, changes=(), schema=Numbers):
    with pytest.raises(RecipeError) as caught:
        parse(text, schema, "x", changes)
    return str(caught.value).splitlines()


def test_numbers_lie_within_what_their_type_declares():
    bounds = {"factor: 1.01": 1.01, "factor: 9.99": 9.99}
    for text, value in bounds.items():
        assert parse(f"rows: 2\n{text}", Numbers, "x").factor == value
    for value in ("1", "10", "-3"):
        assert refused(f"factor: {value}") == [
            f"x:1: factor: is a multiple; must be above 1 and below 10, and is {float(value)}"
        ]
    assert refused("weights: {pmc: 3, mimic: -1}") == ["x:1: weights.mimic: must be above 0, and is -1.0"]
    assert refused("shares: [0, 1, 1.5]") == ["x:1: shares[2]: must be at least 0 and at most 1, and is 1.5"]
    assert refused("patience: 0") == ["x:1: patience: must be at least 1, and is 0"]
    assert parse("rows: 2\npatience:", Numbers, "x").patience is None


def test_all_mistakes_are_told_at_once_each_with_its_place():
    assert refused(
        "rwos: 1\nrows: 0\nfactor: x\nweights:\n  a: 1\n  b: .inf\n", [("patience", "0"), ("steps", "3")]
    ) == [
        "x:1: unknown key 'rwos' in the file; did you mean rows?",
        "--set steps:1: unknown key 'steps' in the file; known: factor, patience, rows, shares, weights",
        "x:2: rows: must be at least 1, and is 0",
        "x:3: factor is 'x', and should be a number",
        "x:6: weights.b is '.inf', and should be a number",
        "--set patience:1: patience: must be at least 1, and is 0",
    ]
    assert refused("rows: 3\npatience: 5\n") == ["x:1: rows: is odd", "x:2: patience: is odd"]
    nested = "optimizer: {lr: fast, betas: 3}\nprecision: bf17\n"
    assert [line.split(" ")[1] for line in refused(nested, schema=Recipe)] == ["the", "lr", "betas", "precision"]


def test_an_option_without_a_value_is_null():
    assert parse("rows: 2\npatience: 4", Numbers, "x", [("patience", "")]).patience is None
    assert refused("rows: 2", [("rows", "")]) == ["--set rows:1: rows is nothing, and should be a whole number"]
    assert refused("rows: 2", [("weights.a", "")]) == [
        "--set weights.a:1: weights.a is nothing, and should be a number"
    ]


def test_what_is_found_later_has_its_place_too():
    found = read_text(GOOD, Recipe, "x", [("weights.mimic", "2"), ("model", "m")], {"model": "--model"})
    problems = [
        Problem(key, "is no good")
        for key in ("model", "weights.mimic", "weights.pmc", "steps[1]", "optimizer.betas[7]", "absent")
    ]
    with pytest.raises(RecipeError) as caught:
        found.refuse(problems)
    places = [line.removesuffix(": is no good") for line in str(caught.value).splitlines()]
    assert places == [
        "--model: model",
        "--set weights.mimic:1: weights.mimic",
        "x:8: weights.pmc",
        "x:11: steps[1]",
        "x:4: optimizer.betas[7]",
        "x: absent",
    ]
    found.refuse([])


def test_a_key_may_say_what_a_file_is_and_is_no_part_of_its_schema(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text("trainer: mine\n" + GOOD)
    found = read(file, Recipe, fixed={"trainer": "mine"})
    assert found.value == parse(GOOD, Recipe, "r.yaml")
    with pytest.raises(RecipeError, match=r"r.yaml:1: trainer is 'mine', and this is read as one of another"):
        read(file, Recipe, fixed={"trainer": "another"})
    with pytest.raises(RecipeError, match=r"r.yaml:1: unknown key 'trainer'"):
        read(file, Recipe)
    assert text_under(file.read_text(), "trainer") == "mine"
    assert text_under(file.read_text(), "trainer", [("trainer", "two")]) == "two"
    assert [text_under(text, "trainer") for text in ("", "a: 1", "trainer: [1]", "trainer:", "{")] == [None] * 5
