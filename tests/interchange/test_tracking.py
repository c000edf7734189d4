"""What trackers get of a run: figures and settings, and of a credentialed one numbers alone.

TensorBoard's files are read by its own reader. The others want a service, or a package that the tests are without:
in their place stand modules that keep what they are given, by the calls that the real ones take.
"""

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
from scripted import Scripted

import mibe
from mibe.cli.main import main
from mibe.errors import RunError, UsageError
from mibe.interchange import track
from mibe.interchange.tracking import TRACKERS, tracked
from mibe.task import credentialed

PROMPT = "You are careful, said nobody."


def scored(tmp_path, task="pubmedqa", **settings):
    model = Scripted(lambda prompt: "An answer in many words: yes.")
    model.can = frozenset({"temperature"})
    return mibe.evaluate(
        model=model,
        tasks=task,
        limit=10,
        resamples=20,
        output_dir=tmp_path / "runs",
        **settings,
    )


@pytest.fixture
def clients(monkeypatch):
    """The clients that are not here, and what they were given."""
    given = {}

    def module(name, **members):
        made = ModuleType(name)
        made.__spec__ = ModuleSpec(name, None, origin=f"{name}/__init__.py")
        made.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, made)

    class Context:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            given["mlflow"]["ended"] = True

    def start_run(run_name, tags, log_system_metrics):
        given["mlflow"] = {"name": run_name, "tags": tags, "system": log_system_metrics}
        return Context()

    def init(**arguments):
        given["wandb"] = arguments
        return SimpleNamespace(
            log=lambda figures: given["wandb"].update(figures=figures), finish=lambda: given["wandb"].update(ended=True)
        )

    module("wandb", Settings=lambda **settings: settings, init=init)
    module(
        "mlflow",
        set_experiment=lambda name: given.update(experiment=name),
        start_run=start_run,
        log_params=lambda params: given["mlflow"].update(config=params),
        log_metrics=lambda figures: given["mlflow"].update(figures=figures),
    )
    module(
        "trackio",
        init=lambda **arguments: print("* a dashboard is at …") or given.update(trackio=arguments),
        log=lambda figures: given["trackio"].update(figures=figures),
        finish=lambda: given["trackio"].update(ended=True),
    )
    return given


def expected(run, task="pubmedqa"):
    part = run.record["tasks"][task]
    figures = {f"{task}/samples": 10.0}
    for name, figure in {**part["figures"], **{f"{n}_rate": f for n, f in part["rates"].items()}}.items():
        if "[" not in name:
            figures |= {
                f"{task}/{name}{end}": figure[key] for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
    return figures


def test_tensorboard_has_every_main_figure_and_the_settings_beside_it(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data
    from tensorboard.util.tensor_util import make_ndarray

    run = scored(tmp_path, seed=77, system_prompt=PROMPT)
    track(run, "tensorboard")
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    found = {
        tag: float(make_ndarray(events.Tensors(tag)[0].tensor_proto))
        for tag in events.Tags()["tensors"]
        if not tag.startswith("_hparams_/")
    }
    assert found == pytest.approx(expected(run), rel=1e-6) and "pubmedqa/macro_f1_high" in found
    data = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = parse_session_start_info_plugin_data(data).hparams
    assert hparams["seed"].number_value == 77 and hparams["model"].string_value == "scripted"
    written = b"".join(path.read_bytes() for path in (run.path / "tensorboard").iterdir())
    assert b"careful" not in written and b"many words" not in written


def test_every_client_gets_the_same_and_no_text(tmp_path, clients, capsys):
    run = scored(tmp_path, system_prompt=PROMPT, num_fewshot={"pubmedqa": 1})
    for name in ("wandb", "mlflow", "trackio"):
        track(run, name)
        given = clients[name]
        assert given["ended"] and given["name"] == run.path.name
        assert given["figures"] == expected(run)
        assert given["config"]["model"] == "scripted" and given["config"]["num_fewshot/pubmedqa"] == 1
        assert not any(text in repr(given) for text in ("careful", "many words", "system_prompt"))
    assert clients["wandb"]["settings"] == {
        "console": "off", "save_code": False, "disable_git": True,
        "x_disable_meta": True, "x_disable_stats": True, "x_save_requirements": False,
    }  # fmt: skip
    assert (clients["wandb"]["project"], clients["trackio"]["project"], clients["experiment"]) == ("mibe",) * 3
    # Standard output is for results.
    out, err = capsys.readouterr()
    assert out == "" and "a dashboard is at" in err


def test_of_a_credentialed_run_numbers_alone(tmp_path, clients):
    notes = replace(
        mibe.load_task("pubmedqa"), name="notes", dataset="pubmedqa", access=credentialed("Hospital agreement 7")
    )
    mibe.register_task(notes)
    run = scored(tmp_path, "notes", reasoning_effort=None)
    track(run, "wandb")
    given = clients["wandb"]
    assert given["figures"] == expected(run, "notes")
    assert given["config"] and all(isinstance(value, int | float) for value in given["config"].values())
    assert given["name"].startswith("mibe-") and "scripted" not in given["name"]
    assert given["config"]["limit"] == 10
    assert not any("[" in name for name in given["figures"])


def test_names_that_mlflow_refuses_are_spelled_otherwise(tmp_path, clients):
    run = scored(tmp_path, repeats=2, temperature=0.7)
    assert any("@" in name for name in tracked(run).figures)
    track(run, "mlflow")
    assert "pubmedqa/accuracy_maj_2" in clients["mlflow"]["figures"]
    assert len(clients["mlflow"]["figures"]) == len(tracked(run).figures)


def test_a_client_that_fails_is_one_line_and_the_run_is_whole(tmp_path, clients, monkeypatch):
    def refuse(**_):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    run = scored(tmp_path)
    with pytest.raises(RunError, match=r"which is whole \(ConnectionError: no route to host\)"):
        track(run, "wandb")


def test_what_cannot_be_tracked_is_told_before_a_run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    # Where a client was used it leaves a folder of its name, which Python takes for a package.
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    for name, said in (("wandb", "pip install wandb"), ("wanb", "did you mean wandb?")):
        assert main(["eval", "--model", "dummy", "--tasks", "pubmedqa", "--track", name]) == 2
        error = capfd.readouterr().err
        assert said in error and error.count("\n") == 1
        with pytest.raises(UsageError, match=said[:10]):
            track(None, name)
    assert not (tmp_path / "runs").exists()


def test_the_command_hands_on_each_run_of_a_file(tmp_path, monkeypatch, clients, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(
        'tasks = "pubmedqa"\nlimit = 3\nresamples = 20\ntrack = ["trackio", "tensorboard"]\nmodel = "dummy"\n'
        "[[models]]\n[[models]]\nmodel-args.seed = 1\n"
    )
    assert main(["eval", "run.toml"]) == 0
    assert len(list((tmp_path / "runs").glob("*/tensorboard/events*"))) == 2
    assert clients["trackio"]["figures"]["pubmedqa/samples"] == 3
    assert set(TRACKERS) == {"wandb", "mlflow", "tensorboard", "trackio"}
    monkeypatch.setattr(sys.modules["trackio"], "init", lambda **_: 1 / 0)
    capfd.readouterr()
    assert main(["eval", "run.toml"]) == 2
    out, err = capfd.readouterr()
    assert err.count("trackio did not take the figures") == 2 and "own: dummy" in out
