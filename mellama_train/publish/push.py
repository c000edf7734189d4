"""A model folder to a hub, by huggingface_hub's own client; what learned from restricted data only by word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mibe
from mellama_train.errors import ExportError, one_line
from mellama_train.model.provenance import Lineage
from mibe.task import AccessLevel


@dataclass(frozen=True, slots=True)
class Destination:
    """A hub's repository ("owner/name"), and what permits a model that learned from restricted data to go there."""

    repository: str
    permission: str | None = None


def open_repository(to: Destination, lineage: Lineage) -> None:
    """Make the repository, private, unless it is there; ahead of a long export, so that a missing token costs none.

    Raises `ExportError` where the hub refuses, and for a model that learned from restricted data unless a permission
    is stated and the repository is private.
    """
    why = _restricted(lineage)
    if why and not to.permission:
        raise ExportError(
            f"--push {to.repository}: the model {why}; if what governs the data lets the model go there, state it: "
            "--permission TEXT, which the card will repeat"
        )
    with _hub(to) as api:
        api.create_repo(to.repository, private=True, exist_ok=True)
        if why and not api.model_info(to.repository).private:
            raise ExportError(
                f"--push {to.repository}: the model {why}, and everybody can read that repository; make it private, or "
                "choose another"
            )


def upload(folder: Path, to: Destination) -> str:
    """Send all files of the folder as one commit; returns its address. Raises `ExportError`; the folder stays."""
    with _hub(to, f"the model is in {folder}, and `hf upload {to.repository} {folder}` sends it") as api:
        done = api.upload_folder(
            repo_id=to.repository, folder_path=folder, commit_message=f"mellama-train export {mibe.__version__}"
        )
        return str(done.commit_url)


def _restricted(lineage: Lineage) -> str:
    """Why the model may not simply be handed on; empty where all it learned from is known and open enough."""
    known = {source.name for source in lineage.sources if source.access == AccessLevel.CREDENTIALED}
    if known:
        return f"learned from data under an agreement ({', '.join(sorted(known))})"
    silent = not lineage.stages or any(not stage.sources for stage in lineage.stages)
    unknown = {source.name for source in lineage.sources if source.is_restricted}
    if unknown:
        return f"learned from data whose access level was not recorded ({', '.join(sorted(unknown))})"
    return "has no record of what it learned from" if silent else ""


@contextmanager
def _hub(
    to: Destination, next_step: str = "look at the name, the network and the token (`hf auth login`)"
) -> Iterator[Any]:
    """The hub's client; what it raises is one line with what to do next."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise ExportError('--push needs huggingface_hub: pip install "mibe[hub]"') from None
    # The first base is the HTTP library's own error, which stands for a connection that breaks in the middle; the
    # library differs between versions of the client. No network is an OSError, a bad name a ValueError.
    transport_error = HfHubHTTPError.__mro__[1]
    try:
        yield HfApi(library_name="mellama-train")
    except (OSError, ValueError, transport_error) as error:
        raise ExportError(f"--push {to.repository}: {one_line(error)}; {next_step}") from error
