"""lm-eval's command line, run in this process with a task manager that knows mibe's tasks alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lm_eval.tasks
from lm_eval._cli import HarnessCLI
from lm_eval.config.evaluate_config import EvaluatorConfig
from lm_eval.utils import setup_logging, simple_parse_args_string

from mibe.harness.keeping import executed
from mibe.harness.task import LOCAL
from mibe.models.locality import (
    CLIENTS,
    IN_PROCESS,
    Reach,
    asks_this_machine,
    is_loopback,
    server_here,
    this_machine,
)

REMOTE_LOGGERS = ("wandb_args", "trackio_args", "hf_hub_log_args")


def run_lm_eval(argv: Sequence[str], definitions: Path) -> None:
    """Parse `argv` as lm-eval does and run it over the tasks in `definitions`."""

    def manager(include_path: str | None = None, **kwargs: Any) -> Any:
        paths = [str(definitions), *([include_path] if include_path else [])]
        return task_manager(include_path=paths, include_defaults=False, **kwargs)

    task_manager = lm_eval.tasks.TaskManager
    setup_logging()
    # lm-eval reads sys.argv, and offers no option that leaves its own tasks out.
    with _replaced(sys, "argv", ["lm-eval", *argv]), _replaced(lm_eval.tasks, "TaskManager", manager):
        cli = HarnessCLI()
        arguments = cli.parse_args()
        settings = _settings(vars(arguments))
        with _vouched(stays_here(settings)):
            executed(partial(cli.execute, arguments), str(settings.get("model") or "hf"), _reach(settings))


def stays_here(settings: Mapping[str, Any]) -> bool:
    """Whether neither the model nor a logger of these lm-eval settings is on another machine."""
    if any(settings.get(name) for name in REMOTE_LOGGERS):
        return False
    model = settings.get("model") or "hf"
    if model not in CLIENTS:
        return model in IN_PROCESS
    return asks_this_machine(_address(settings))


def _reach(settings: Mapping[str, Any]) -> Reach:
    """Where connections may go once credentialed text is here: to a local server that is named, or this machine."""
    address = _address(settings)
    return server_here(address) if is_loopback(urlsplit(address).hostname or "") else this_machine


def _address(settings: Mapping[str, Any]) -> str:
    given = settings.get("model_args") or {}
    model_args = simple_parse_args_string(given) if isinstance(given, str) else given
    return str(model_args.get("base_url", ""))


def _settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's settings: what the command line gives, over what its configuration file gives."""
    config = arguments.get("config")
    stored: dict[str, Any] = EvaluatorConfig.load_yaml_config(config) if config else {}
    return stored | {name: value for name, value in arguments.items() if value}


@contextmanager
def _vouched(local: bool) -> Iterator[None]:
    """Say to `MibeTask` for a while that prompts stay on this machine, if they do."""
    before = os.environ.get(LOCAL)
    if local:
        os.environ[LOCAL] = "1"
    try:
        yield
    finally:
        if local and before is None:
            del os.environ[LOCAL]


@contextmanager
def _replaced(holder: object, name: str, value: object) -> Iterator[None]:
    """An attribute replaced for a while."""
    kept = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, kept)
