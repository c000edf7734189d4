"""Several models, or several settings of one, one after another into one leaderboard."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.errors import DataError, LimitReached, MibeError, ModelError, RunError, UsageError
from mibe.terminal.plain import printable

if TYPE_CHECKING:
    from mibe.models.base import Model
    from mibe.results.run import Run

SETTLED = ("tasks", "suite", "skip_missing", "allow_egress", "agreement", "max_cost")
LOADED = ("model", "model_args", "output_dir", "use_cache", "judge")
"""Arguments of `mibe.evaluate` that are no settings: those that are settled without the model, and the others."""

Arguments = Mapping[str, Any]
"""Arguments of `mibe.evaluate`; the model is a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One run of several: what its user calls it, the settings that it has in common with those of other models, its
    arguments, what scores these with a model that is loaded, and what is done with the scored run."""

    name: str
    settings: str
    arguments: Arguments
    score: Callable[[Arguments], Run]
    after: Callable[[Run], None]


def check(asked: Sequence[Arguments]) -> None:
    """Raise `UsageError` with all that is wrong in what these runs ask for, so far as no model is needed to tell.

    Nothing is loaded and nothing is sent.
    """
    from mibe.run.settle import check_names_together, settle

    problems: dict[str, None] = {}
    for arguments in asked:
        settings = {name: value for name, value in arguments.items() if name not in (*SETTLED, *LOADED)}
        settled = {name: arguments[name] for name in SETTLED}
        try:
            check_names_together(arguments["model"], arguments["tasks"], arguments["suite"], settings)
            settle(**settled, settings=settings, has_judge=arguments["judge"] is not None)
        except (UsageError, DataError, ModelError) as error:
            problems[str(error)] = None
    if problems:
        raise UsageError("; ".join(problems).replace("?; ", "? "))


def score_all(wanted: Sequence[Wanted], *, max_errors: int, form: str) -> int:
    """Score one after another and print the leaderboard of all; returns the exit code.

    A run that fails is a line, behind where it happened if nobody foresaw it, and does not take the others with it: the
    code is then 2, or 1 where no more happened than that a limit was met, or more than `max_errors` samples failed.
    """
    from mibe.models import ranks
    from mibe.results.table import render
    from mibe.terminal.streams import show

    code, models = 0, _Models()
    done: list[tuple[str, Run]] = []
    for number, each in enumerate(wanted, start=1):
        print(f"run {number} of {len(wanted)}: {each.name}", file=sys.stderr)
        try:
            run = each.score({**each.arguments, "model": models.of(each.arguments), "model_args": None})
        except Exception as error:
            # Whatever ended it: the others are still to be scored.
            models.close()
            if ranks.current().count > 1:
                # The other processes wait for this one: a launcher ends them all when it does.
                raise
            code = max(code, _said(each.name, error))
            continue
        except KeyboardInterrupt:
            models.close()
            raise
        done.append((each.settings, run))
        code = max(code, int(run.failed > max_errors))
        if ranks.current().is_first:
            print(render(run.record["tasks"], "text", skipped=run.record.get("skipped", {})), file=sys.stderr)
        try:
            each.after(run)
        except RunError as error:
            print(f"mibe: {printable(str(error))}", file=sys.stderr)
            code = 2
    models.close()
    if done and ranks.current().is_first:
        show(_board(done, form))
    return code


class _Models:
    """The model of the run under way. Runs in a row that have it in common load it once."""

    def __init__(self) -> None:
        self._key = ""
        self._model: Model | None = None

    def of(self, arguments: Arguments) -> Model:
        """The model of a run, loaded; raises as `load_model`."""
        from mibe.models import load_model
        from mibe.models.service import Service
        from mibe.run.settings import arguments_under

        name = arguments["model"]
        args = arguments_under(arguments["protocol"], name, arguments["model_args"])
        key = json.dumps([name, args], sort_keys=True)
        # What one behind an API counts, and costs, is of one run.
        if self._model is None or key != self._key or isinstance(self._model, Service):
            self.close()
            self._model, self._key = load_model(name, args), key
        return self._model

    def close(self) -> None:
        """Free it, before another is loaded."""
        model, self._model = self._model, None
        if model is not None:
            model.close()


def _said(name: str, error: Exception) -> int:
    """Tell of a run that failed; the exit code that it makes."""
    if not isinstance(error, MibeError):
        traceback.print_exception(error)
    print(f"mibe: {name} was not scored: {printable(str(error))}", file=sys.stderr)
    return 1 if isinstance(error, LimitReached) else 2


def _board(done: Sequence[tuple[str, Run]], form: str) -> str:
    """The leaderboard of the runs, or one for each of their settings where a model would have two rows in one.

    Where runs cannot stand side by side at all, a line says why and each has its own table.
    """
    from mibe.leaderboard.board import leaderboard
    from mibe.leaderboard.tables import render
    from mibe.results import table

    groups: dict[str, list[Path]] = {}
    for settings, run in done:
        groups.setdefault(settings, []).append(run.path)
    try:
        if len(groups) == 1 or _has_all([run for _, run in done]):
            return render(leaderboard([run.path for _, run in done], published="none"), form)
        boards = {name: render(leaderboard(paths, published="none"), form) for name, paths in groups.items()}
    except MibeError as error:
        print(f"mibe: no leaderboard: {printable(str(error))}", file=sys.stderr)
        return "\n\n".join(table.render(run.record["tasks"], form) for _, run in done)
    headed = form in ("text", "markdown")
    return "\n\n".join(f"{name}\n\n{board}" if headed else board for name, board in boards.items())


def _has_all(runs: Sequence[Run]) -> bool:
    """Whether one leaderboard would show each of these runs."""
    from mibe.leaderboard.runs import read_results

    try:
        shown = {result.path for result in read_results([run.path for run in runs])[0]}
    except UsageError:
        return False
    return all(run.path.resolve() in shown for run in runs)
