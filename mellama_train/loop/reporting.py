"""What is seen of a run: a line of figures in `metrics.jsonl`, TensorBoard, other trackers, and the screen."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mellama_train.errors import EngineError, TrainError
from mellama_train.recipe.config import Reporting

METRICS = "metrics.jsonl"

Figures = Mapping[str, float]


class Sink(Protocol):
    """Takes the figures of steps. Numbers alone pass here: no text of any sample can reach a remote service."""

    def write(self, step: int, figures: Figures) -> None:
        """The figures after `step` steps."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class JsonLines:
    """`metrics.jsonl`: one object a line, flushed at once. On resume, lines after `step` are dropped."""

    def __init__(self, file: Path, step: int) -> None:
        self._file = file
        with self._writing():
            if file.is_file():
                kept = [line for line in file.read_text().splitlines() if _step(line) <= step]
                file.write_text("".join(f"{line}\n" for line in kept))
            self._stream = file.open("a", buffering=1)

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """See `Sink`; events may hold text of our own. Raises `TrainError` where the disk is full."""
        with self._writing():
            self._stream.write(json.dumps({"step": step, **figures}) + "\n")

    def close(self) -> None:
        """See `Sink`."""
        with self._writing():
            self._stream.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainError(
                f"cannot write {self._file}: {error.strerror}; make room, and the same command goes on"
            ) from error


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        # A line that a kill cut short.
        return float("inf")


class TensorBoard:
    """Event files under `tensorboard/`; on resume, what came after `step` is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise EngineError("reporting.tensorboard needs `pip install tensorboard`, or set it to false") from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, figures: Figures) -> None:
        """See `Sink`."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Sink`."""
        self._writer.close()


class WandB:
    """Weights & Biases, a remote service."""

    def __init__(self, project: str, folder: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise EngineError("reporting.wandb needs `pip install wandb`") from error
        # The id makes a resumed run one run there, too; neither code, arguments nor console are sent.
        settings = wandb.Settings(console="off", save_code=False, disable_git=True, x_disable_meta=True)
        self._run = wandb.init(
            project=project, dir=str(folder), id=folder.name, name=folder.name, resume="allow", settings=settings
        )

    def write(self, step: int, figures: Figures) -> None:
        """See `Sink`."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """See `Sink`."""
        self._run.finish()


class MLflow:
    """MLflow at MLFLOW_TRACKING_URI."""

    def __init__(self, project: str, folder: Path) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise EngineError("reporting.mlflow needs `pip install mlflow`") from error
        self._mlflow = mlflow
        mlflow.set_experiment(project)
        mlflow.start_run(run_name=folder.name)

    def write(self, step: int, figures: Figures) -> None:
        """See `Sink`."""
        self._mlflow.log_metrics(dict(figures), step=step)

    def close(self) -> None:
        """See `Sink`."""
        self._mlflow.end_run()


class Reporter:
    """The first rank's voice: figures to all sinks, messages and a bar on the screen."""

    def __init__(self, reporting: Reporting, folder: Path, *, step: int, steps: int) -> None:
        """`step` steps of `steps` are done."""
        self._log = JsonLines(folder / METRICS, step)
        self._sinks: list[Sink] = [self._log]
        if reporting.tensorboard:
            self._sinks.append(TensorBoard(folder / "tensorboard", step))
        if reporting.wandb:
            self._sinks.append(WandB(reporting.wandb, folder))
        if reporting.mlflow:
            self._sinks.append(MLflow(reporting.mlflow, folder))
        self._steps, self._bar = steps, None
        self._spoke = 0.0
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=step, unit=" steps", file=sys.stderr, dynamic_ncols=True)

    def figures(self, step: int, figures: Figures) -> None:
        """The figures after `step` steps: to the sinks, and in short to the screen."""
        for sink in self._sinks:
            sink.write(step, figures)
        if "loss" not in figures:
            return
        short = _short(figures)
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(short)
        elif time.monotonic() - self._spoke > 10 or step == self._steps:
            self._spoke = time.monotonic()
            print(f"step {step}/{self._steps}  {short}", file=sys.stderr, flush=True)

    def event(self, step: int, name: str, text: str) -> None:
        """Something out of the ordinary, for the log and the screen; it never leaves this machine."""
        self._log.write(step, {"event": name, "text": text})
        self.message(f"step {step}: {text}")

    def message(self, text: str) -> None:
        """A line for the screen."""
        if self._bar is not None:
            self._bar.clear()
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End all sinks."""
        if self._bar is not None:
            self._bar.close()
        for sink in self._sinks:
            sink.close()


class Mute:
    """What the other ranks report to."""

    def figures(self, step: int, figures: Figures) -> None:
        """Dropped."""

    def event(self, step: int, name: str, text: str) -> None:
        """Dropped."""

    def message(self, text: str) -> None:
        """Dropped."""

    def close(self) -> None:
        """Nothing to end."""


def _short(figures: Figures) -> str:
    parts = [
        f"{name} {figures[name]:.4g}" for name in ("loss", "gradient_norm", "tokens_per_second") if name in figures
    ]
    if "mfu" in figures:
        parts.append(f"MFU {figures['mfu']:.1%}")
    if "seconds_left" in figures:
        minutes, seconds = divmod(int(figures["seconds_left"]), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left")
    return "  ".join(parts)
