"""A run's figures and settings for trackers of experiments, by their own clients.

Figures and settings pass here, never text: no prompt, no output, no system prompt. Of a run with a credentialed task
numbers pass alone, under a name that tells neither model nor folder. TensorBoard's files lie in the run folder; the
other clients write where their own configuration says, which may be a service.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mibe.data_use import is_credentialed
from mibe.errors import RunError, UsageError, unknown
from mibe.metrics.base import is_main
from mibe.own.recorded import task_of
from mibe.results.draws import every_figure
from mibe.results.run import Run
from mibe.terminal.plain import printable

PROJECT = "mibe"
TENSORBOARD = "tensorboard"
"""The folder of TensorBoard's files in a run folder, as `tensorboard --logdir runs` finds them."""

TEXTS = frozenset({"system_prompt"})
"""Settings that are text which a person wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What a tracker gets: a name, settings by name, and figures by `task/figure`. The folder stays here."""

    name: str
    settings: Mapping[str, str | float | bool]
    figures: Mapping[str, float]
    folder: Path


def check_trackers(names: Sequence[str]) -> None:
    """Raise `UsageError` for a name that is no tracker's, and where the package of one is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
    if missing := [name for name in names if not _is_installed(name)]:
        raise UsageError(
            f"--track {','.join(missing)} needs a package that is not here: pip install {' '.join(missing)}"
        )


def _is_installed(name: str) -> bool:
    """Whether the package is there; a folder of this name, as clients make one where they are used, is none."""
    found = find_spec(name)
    return found is not None and found.origin is not None


def track(run: Run, name: str) -> None:
    """Hand a finished run to one of `TRACKERS`.

    Raises `UsageError` as `check_trackers`, and `RunError` where the client fails; the run itself stays as it is.
    """
    check_trackers([name])
    told = tracked(run)
    try:
        # Some clients print their news to standard output, which is for results.
        with redirect_stdout(sys.stderr):
            TRACKERS[name](told)
    except Exception as error:
        said = printable(f"{type(error).__name__}: {error}")
        raise RunError(f"{name} did not take the figures of {run.path}, which is whole ({said})", said=said) from error


def tracked(run: Run) -> Tracked:
    """What may be told of a run."""
    private = any(is_credentialed(task_of(run.record, name)) for name in run.record["tasks"])
    settings = dict(_settings(run.record))
    figures = dict(_figures(run.record))
    if not private:
        return Tracked(name=run.path.name, settings=settings, figures=figures, folder=run.path)
    digest = _digest(str(run.record["fingerprint"] or run.path.name))
    numbers = {name: value for name, value in settings.items() if not isinstance(value, str)}
    return Tracked(name=f"{PROJECT}-{digest[:12]}", settings=numbers, figures=figures, folder=run.path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _settings(record: Mapping[str, Any]) -> Iterator[tuple[str, str | float | bool]]:
    """The settings that are set, each as text, number or truth; what is known of the model is its name and identity."""
    identity = record["model"]["identity"]
    told = {
        "model": record["model"]["name"],
        "model_sha256": None if identity is None else _digest(json.dumps(identity, sort_keys=True)),
        "mibe_version": record["mibe_version"],
        "suite": record.get("suite"),
        "judge": (record.get("judge") or {}).get("name"),
    }
    for name, value in (told | dict(record["settings"])).items():
        if name in TEXTS or value is None:
            continue
        if isinstance(value, Mapping):
            # Worked examples by task, and switches of a chat template.
            yield from ((f"{name}/{key}", each) for key, each in value.items() if isinstance(each, str | int | float))
        else:
            yield name, printable(value) if isinstance(value, str) else value


def _figures(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Main figures with the ends of their intervals, shares of outcomes, and how many samples they are of."""
    for task, part in record["tasks"].items():
        if not part.get("figures"):
            continue
        figures = {name: figure for name, figure in every_figure(part).items() if is_main(name)}
        shares = {f"{name}_rate": figure for name, figure in part["rates"].items()}
        for name, figure in (figures | shares).items():
            for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                if math.isfinite(figure[end]):
                    yield f"{task}/{name}{suffix}", float(figure[end])
        yield f"{task}/samples", float(part["samples"])


def _wandb(told: Tracked) -> None:
    wandb = import_module("wandb")
    # Neither code, command line, console nor what else a client finds on a machine is sent.
    settings = wandb.Settings(
        console="off",
        save_code=False,
        disable_git=True,
        x_disable_meta=True,
        x_save_requirements=False,
        x_disable_stats=True,
    )
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    run = wandb.init(
        project=project, name=told.name, config=dict(told.settings), dir=str(told.folder), settings=settings
    )
    run.log(dict(told.figures))
    run.finish()


def _mlflow(told: Tracked) -> None:
    mlflow = import_module("mlflow")
    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    # The tag would else be the path of the program.
    with mlflow.start_run(run_name=told.name, tags={"mlflow.source.name": PROJECT}, log_system_metrics=False):
        mlflow.log_params({_plain(name): value for name, value in told.settings.items()})
        mlflow.log_metrics({_plain(name): value for name, value in told.figures.items()})


def _plain(name: str) -> str:
    """A name with the characters that MLflow takes in one."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _trackio(told: Tracked) -> None:
    trackio = import_module("trackio")
    trackio.init(project=PROJECT, name=told.name, config=dict(told.settings), auto_log_cpu=False, auto_log_gpu=False)
    trackio.log(dict(told.figures))
    trackio.finish()


def _tensorboard(told: Tracked) -> None:
    events = import_module("tensorboard.compat.proto.event_pb2")
    files = import_module("tensorboard.summary.writer.event_file_writer")
    scalars = import_module("tensorboard.plugins.scalar.summary_v2")
    hparams = import_module("tensorboard.plugins.hparams.summary_v2")
    writer = files.EventFileWriter(str(told.folder / TENSORBOARD))
    try:
        summaries = [hparams.hparams_pb(dict(told.settings), trial_id=told.name)]
        summaries += [scalars.scalar_pb(name, value) for name, value in told.figures.items()]
        for summary in summaries:
            writer.add_event(events.Event(step=0, summary=summary))
    finally:
        writer.close()


TRACKERS: Mapping[str, Callable[[Tracked], None]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "trackio": _trackio,
}
"""Name, which is that of the package → what hands a run to its client."""
