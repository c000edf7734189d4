"""Run folders by whatever names them, and the commands that take a folder of runs as they take one."""

import json

import pytest

import mibe
from mibe.cli import main
from mibe.errors import RunError, UsageError
from mibe.results.finding import find_runs, one_run, runs_at, some_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs in a folder that holds other things too, and one in another."""
    base = tmp_path_factory.mktemp("runs")

    def run(folder, answer, limit=20):
        return mibe.evaluate(
            model=lambda prompts: [answer] * len(prompts),
            tasks="pubmedqa",
            limit=limit,
            output_dir=folder,
            resamples=10,
        ).path

    (base / "many" / "notes").mkdir(parents=True)
    return base, run(base / "many", "yes"), run(base / "many", "no"), run(base / "single", "maybe")


def test_a_folder_of_runs_names_those_below_it(runs, monkeypatch):
    base, first, second, alone = runs
    assert find_runs([base / "many", first]) == [first.resolve(), second.resolve()]
    assert find_runs([base / "*"]) == [first.resolve(), second.resolve(), alone.resolve()]
    assert one_run(base / "single") == alone.resolve()
    assert some_runs([first, first], 2) == [first, first]
    with pytest.raises(UsageError, match=f"needs 1 run, and there are 2; choose from {first.name}, {second.name}"):
        one_run(base / "many")
    with pytest.raises(UsageError, match="needs 2 runs, and there are 3"):
        some_runs([base], 2)
    with pytest.raises(RunError, match="notes: no run folder there"):
        runs_at(base / "many" / "notes")
    # A run folder stays as its user named it.
    monkeypatch.chdir(first.parent)
    assert [str(path) for path in runs_at(first.name)] == [first.name]


def test_commands_take_a_folder_of_runs(runs, tmp_path, capsys):
    base, first, second, alone = runs
    many, single = str(base / "many"), str(base / "single")

    def told(*arguments, code=0):
        assert main(list(arguments)) == code
        return capsys.readouterr()

    assert (
        told("compare", many, "--format", "json").out
        == told("compare", str(first), str(second), "--format", "json").out
    )
    assert "needs 2 runs, and there are 3" in told("compare", many, single, code=2).err
    assert told("report", many, "--html", str(tmp_path)).out.split() == [
        str(tmp_path / run.name / "index.html") for run in (first, second)
    ]
    assert told("report", single, "--html", str(tmp_path / "one")).out.split() == [str(tmp_path / "one" / "index.html")]
    assert [found["run"] for found in json.loads(told("verify", many, "--format", "json").out)] == [
        str(first.resolve()),
        str(second.resolve()),
    ]
    assert json.loads(told("verify", single, "--format", "json").out)["holds"]
    assert told("verify", many).out.startswith(f"{first.name}\n\n")
    assert told("export", single, "--to", "csv").out == told("export", str(alone), "--to", "csv").out
    told("export", many, "--to", "csv", "--output", str(tmp_path / "{run}.csv"))
    assert (tmp_path / f"{second.name}.csv").read_text() == told("export", str(second), "--to", "csv").out
    assert "holds 2 runs; name one, or give --output with {run}" in told("export", many, "--to", "csv", code=2).err
    assert "needs 1 run, and there are 2" in told("rescore", many, code=2).err
