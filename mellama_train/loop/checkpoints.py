"""Checkpoints on disk: written aside, sealed by a list of their files, renamed when whole, rotated.

A folder `step-00000500` holds `state.json` (the loop's position), `engine/` (weights and optimizer state) and
`COMPLETE.json` (size and SHA-256 of every file). All ranks must see the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException

from mellama_train.engines.ranks import Ranks
from mellama_train.errors import CheckpointError, one_line
from mellama_train.loop.layout import ENGINE, SEAL, STATE, folders_of, newest_folder

WRITE_ERRORS = (OSError, RuntimeError, CheckpointException, SafetensorError)
"""What a full disk looks like through torch.save, distributed checkpoints, DeepSpeed and safetensors."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint."""

    folder: Path
    state: Mapping[str, Any]
    passed_over: tuple[str, ...] = ()
    """Newer checkpoints that are damaged, each with what is wrong."""

    @property
    def engine(self) -> Path:
        """Where the engine's files are."""
        return self.folder / ENGINE


class Writing:
    """A checkpoint on its way to the disk: the engine's files, then their hashes, then the seal.

    The first two go on beside the training. All ranks together make one, and together `advance` it whenever each of
    them `is_ready`.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        state: Mapping[str, Any],
        save_engine: Callable[[Path], Future[Any]],
        *,
        keep: int,
        ranks: Ranks,
    ) -> None:
        """Begin with the state of `step`. Raises `CheckpointError` on all ranks where one of them cannot write."""
        self._folder, self.step, self._keep, self._ranks = folder, step, keep, ranks
        self._final = folder / f"step-{step:08d}"
        self._aside = self._final.with_suffix(".partial")
        self._work: Future[Any]
        self._hasher: ThreadPoolExecutor | None = None
        self._refuse(_attempt(lambda: _begin(self._aside, state), ranks, only_first=True))
        self._refuse(_attempt(lambda: self._start(save_engine), ranks))

    @property
    def is_ready(self) -> bool:
        """Whether what this rank does beside the training is done."""
        return self._work.done()

    def advance(self) -> bool:
        """Go on to the next piece of work, waiting for this rank's part of the last; returns whether it is whole.

        Raises `CheckpointError` on all ranks where one of them could not write; what was there before stays.
        """
        self._refuse(_attempt(lambda: self._work.result(), self._ranks))
        if self._hasher is None:
            self._hasher = ThreadPoolExecutor(max_workers=1)
            self._work = self._hasher.submit(_hashes, self._aside, self._ranks)
            self._hasher.shutdown(wait=False)
            return False
        seals = {name: seal for part in self._ranks.gather(self._work.result()) for name, seal in part.items()}
        self._refuse(_attempt(lambda: _finish(self._aside, self._final, seals), self._ranks, only_first=True))
        if self._ranks.is_first:
            for old in folders_of(self._folder)[: -self._keep]:
                shutil.rmtree(old, ignore_errors=True)
        return True

    def to_end(self) -> None:
        """Wait until it is whole. Raises as `advance`."""
        while not self.advance():
            pass

    def _start(self, save_engine: Callable[[Path], Future[Any]]) -> None:
        self._work = save_engine(self._aside / ENGINE)

    def _refuse(self, problem: str | None) -> None:
        if problem is None:
            return
        if self._ranks.is_first:
            shutil.rmtree(self._aside, ignore_errors=True)
        last = newest_folder(self._folder)
        kept = f"the last whole one is {last.name}" if last else "there is none yet"
        raise CheckpointError(
            f"cannot write the checkpoint of step {self.step}: {problem}; {kept}; make room and go on"
        )


def newest(folder: Path, ranks: Ranks) -> Checkpoint | None:
    """The newest checkpoint whose files are all as they were written; damaged ones are passed over, by all ranks.

    Raises `CheckpointError` where there are checkpoints and none is whole.
    """
    found = ranks.from_first(folders_of(folder))
    problems: list[str] = []
    for candidate in reversed(found):
        problem = _damage(candidate, ranks)
        if problem is None:
            return Checkpoint(candidate, json.loads((candidate / STATE).read_text()), tuple(problems))
        problems.append(f"{candidate.name}: {problem}")
    if problems:
        raise CheckpointError(f"no checkpoint in {folder} is whole ({'; '.join(problems)}); remove them to begin anew")
    return None


def opened(folder: Path, ranks: Ranks) -> Checkpoint:
    """The checkpoint in `folder`. Raises `CheckpointError` where it is not as it was written."""
    if problem := _damage(folder, ranks):
        raise CheckpointError(f"{folder} is not a whole checkpoint: {problem}; choose another one beside it")
    return Checkpoint(folder, json.loads((folder / STATE).read_text()))


def _begin(aside: Path, state: Mapping[str, Any]) -> None:
    # Those of runs that were killed while they wrote, too: one is written at a time.
    for old in aside.parent.glob("step-*.partial"):
        shutil.rmtree(old, ignore_errors=True)
    (aside / ENGINE).mkdir(parents=True)
    (aside / STATE).write_text(json.dumps(state, indent=1))


def _finish(aside: Path, final: Path, seals: Mapping[str, Any]) -> None:
    with (aside / SEAL).open("w") as stream:
        json.dump(seals, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)


def _hashes(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Relative name → size and SHA-256 of this rank's share of all files."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    return {
        str(name): {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in files[ranks.rank :: ranks.size]
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        # What is sealed is on the disk: without this a power cut could leave a whole-looking list of empty files.
        os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damage(folder: Path, ranks: Ranks) -> str | None:
    """What is wrong with a checkpoint, the same on all ranks, or None."""
    try:
        expected = json.loads((folder / SEAL).read_text())
    except (OSError, ValueError):
        return "it was never finished"
    found: dict[str, Any] = {}
    if problem := _attempt(lambda: found.update(_hashes(folder, ranks)), ranks):
        return problem
    found = {name: seal for part in ranks.gather(found) for name, seal in part.items()}
    wrong = [name for name, seal in expected.items() if found.get(name) != seal]
    return f"{wrong[0]} is missing, cut short or altered" if wrong else None


def _attempt(action: Callable[[], object], ranks: Ranks, *, only_first: bool = False) -> str | None:
    """Do it; returns the first problem that any rank had."""
    problem = None
    if ranks.is_first or not only_first:
        try:
            action()
        except WRITE_ERRORS as error:
            problem = one_line(error)
    return next((found for found in ranks.gather(problem) if found), None)
