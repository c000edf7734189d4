"""Two runs that asked the same documents in the same versions: whose answers hold better, and by how much."""

from __future__ import annotations

from collections.abc import Sequence

from mibe.metrics.arrays import IntArray, np
from mibe.metrics.comparison import Halves, split_differences
from mibe.metrics.intervals import cluster_numbers, shared
from mibe.results.digests import cluster_of
from mibe.results.log import Row
from mibe.results.run import Run
from mibe.run.beside import Beside, beside
from mibe.run.columns import read_columns
from mibe.task import Task

OTHER_VERSIONS = "its documents were varied in different ways, so what versions tell is not compared"


def other_versions(a: Run, b: Run, task: str) -> bool:
    """Whether both runs varied a task's documents, and not in the same way by the same dice."""
    said = [
        (run.record["tasks"][task]["variation"], run.record["settings"]["seed"])
        for run in (a, b)
        if "variation" in run.record["tasks"][task]
    ]
    known = [(of["vary"], of["version"], seed) for of, seed in said]
    return len(known) == 2 and known[0] != known[1]


def version_differences(
    task: Task, joined: tuple[Sequence[Row], Sequence[Row]], resamples: int, seed: int
) -> list[tuple[str, Beside, Beside, IntArray | None, Halves]]:
    """Way, what it says in both runs of the documents that both have whole, their clusters, and the halves."""
    names = {row["variant"]["of"]: cluster_of(row) for rows in joined for row in rows if "variant" in row}
    ours, theirs = (beside(task, read_columns(rows, (), with_scores=False)) for rows in joined)
    found = []
    for way in (way for way in ours if way in theirs and ours[way].names == theirs[way].names):
        documents = [document for document in ours[way].documents if document in set(theirs[way].documents)]
        if not documents:
            continue
        a, b = (_only(one[way], documents) for one in (ours, theirs))
        clusters = shared(cluster_numbers([names[document] for document in documents]))
        lots = (seed, *task.name.encode(), *way.encode())
        halves = split_differences(a.table, b.table, a.figures, clusters=clusters, resamples=resamples, seed=lots)
        found.append((way, a, b, clusters, halves))
    return found


def _only(one: Beside, documents: Sequence[str]) -> Beside:
    place = {document: number for number, document in enumerate(one.documents)}
    return one._replace(
        documents=list(documents), table=one.table[np.array([place[document] for document in documents])]
    )
