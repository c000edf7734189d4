"""Own runs as rows of a leaderboard: found in folders, told apart by the model's identity, merged over tasks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mibe.cost.figures import Cost
from mibe.cost.recorded import cost_of
from mibe.errors import DataError, RunError, UsageError
from mibe.judge.verdicts import TOP_K
from mibe.memorisation.record import Memorisation, identity_of, load
from mibe.published.figures import HUMAN
from mibe.rating.scores import scores as scores_by_people
from mibe.results.draws import documents_scored, draws_of
from mibe.results.finding import find_memorised, find_runs, is_memorised
from mibe.results.run import Run, load_runs
from mibe.run.settings import changes_of, rule_of, style_of
from mibe.terminal.plain import printable

SAME = {
    "style": "way of asking (--prompt-style, --constrain)",
    "split": "split",
    "data": "content of the data",
    "version": "version of the task (mibe rescore RUN brings an older run up to date)",
    "prompt": "wording of the prompt",
    "shots": "number of worked examples",
    "scoring": "way of scoring",
    "rule": "rule by which likelihoods decide (mibe rescore RUN brings an older run up to date where it can)",
    "judge": "judge",
}
"""What the results of a task must share to stand in one column, and what to call it when they do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The scores of one task in one run: `part` is the task's part of the run record.

    `model` is a key that is the same for two runs of the same model whose text was generated in the same way and as
    often, which stands beside its name where it is not the usual one. `names` are all that the model's runs call it,
    `identity` is a digest of what tells it from others of these names, None where nothing does. `conditions` are those
    of `SAME`; `evidence` is what `mibe memorised` found, where it found the test set learned by heart. `versions` has
    what versions of documents tell, by way or attribute, in this run or others of the same key: that part of the
    record, and the folder of the `run` that it is of.
    """

    model: str
    name: str
    names: tuple[str, ...] = ()
    identity: str | None = None
    setting: str
    task: str
    protocol: str
    path: Path
    ended: str
    conditions: Mapping[str, Any]
    settings: Mapping[str, Any]
    part: Mapping[str, Any]
    cost: Cost | None = None
    versions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evidence: str = ""

    @property
    def scored(self) -> int:
        """Documents that have a score."""
        return documents_scored(self.part)

    @property
    def draws(self) -> int:
        """Draws of each document that the figures are the mean of."""
        return draws_of(self.part)

    @property
    def documents(self) -> int:
        """Documents in the whole split."""
        return int(self.part["data"]["of"])

    @property
    def partial(self) -> bool:
        """Whether documents of the split have no score, by a limit or by failed samples."""
        return self.scored < self.documents


def read_results(paths: Iterable[str | Path], *, protocol: str | None = None) -> tuple[list[Result], list[str]]:
    """One result for each model, number of draws, setting and task, and notes on what was left out.

    Of two runs of one task by one model in one setting with as many draws, that with more scored documents counts, then
    the later one.
    `protocol` leaves out the runs under any other.

    Raises
    ------
    RunError
        For a path without a run, one shard of a run that is not merged yet, and where no record can be read; beside
        sound ones, a damaged record is a note.
    UsageError
        For results that must not stand side by side: other protocols, or other `SAME` conditions in one column.
    """
    results: dict[tuple[str, ...], Result] = {}
    named: dict[str, dict[str, str]] = {}
    paths = list(paths)
    runs, notes = load_runs(find_runs(path for path in paths if not is_memorised(path)))
    for run in runs:
        path = run.path
        if protocol is not None and run.record.get("protocol") != protocol:
            notes.append(f"{path.name}: left out, its protocol is {run.record.get('protocol')}")
            continue
        for result in _results_of(run, notes):
            named.setdefault(result.model, {})[result.name] = result.names[0]
            key = (result.model, result.setting, result.task, result.conditions["style"])
            if key in results:
                kept, other = sorted((result, results[key]), key=lambda r: (r.scored, r.ended), reverse=True)
                notes.append(f"{kept.name}, {kept.task}: {kept.path.name} counts, not {other.path.name}")
                result = replace(kept, versions={**other.versions, **kept.versions}, cost=_measured(kept, other))
            results[key] = result
    found = _distinctly_named([_of_all_names(result, named[result.model]) for result in results.values()])
    refuse_mixture(found)
    found, heard = with_evidence(found, paths)
    return found, [printable(note) for note in (*notes, *_unidentified(found), *_unlike_versions(found), *heard)]


def _unlike_versions(results: Sequence[Result]) -> Iterator[str]:
    """A note on each way whose versions are not as many for all models, or were made by other rules."""
    made: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for result in results:
        for way, of in result.versions.items():
            how = ", ".join([*([f"{of['versions']} versions"] if "versions" in of else []), f"rules {of['rules']}"])
            made.setdefault((result.setting, result.task, way), {}).setdefault(how, []).append(result.name)
    for (_, task, way), models in made.items():
        if len(models) > 1:
            of_each = "; ".join(f"{how}: {', '.join(names)}" for how, names in models.items())
            yield f"{task}, {way}: versions are not the same for all models ({of_each}), nor are their figures alike"


def _measured(kept: Result, other: Result) -> Cost | None:
    """The cost of the run that counts; where all of its answers came from the cache, that of the other."""
    has_answers = kept.cost is not None and kept.cost.documents > 0
    return kept.cost if has_answers or other.cost is None else other.cost


def refuse_mixture(results: Sequence[Result]) -> None:
    """Raise `UsageError` where results cannot stand side by side, with what differs and in which run folders."""
    by_protocol = {result.protocol: result for result in results}
    if len(by_protocol) > 1:
        where = ", ".join(f"{name} in {result.path.name}" for name, result in sorted(by_protocol.items()))
        raise UsageError(
            f"the runs have different protocols ({where}), and their figures mean different things; "
            f"choose one: --protocol {min(by_protocol)}"
        )
    first: dict[tuple[str, str], Result] = {}
    for result in results:
        other = first.setdefault((result.setting, result.task), result)
        for key, what in SAME.items():
            if result.conditions[key] != other.conditions[key]:
                raise UsageError(
                    f"{result.task}: {other.path.name} and {result.path.name} differ in the {what}, "
                    f"so they cannot stand in one column; leave one of them out"
                )


def setting_of(record: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """The paper's setting that a task was run in; a fine-tuned model says so by the suite it is run with."""
    if record.get("suite") == "supervised":
        return "supervised"
    return "few_shot" if task["num_fewshot"] else "zero_shot"


def _results_of(run: Run, notes: list[str]) -> Iterator[Result]:
    record = run.record
    if record["settings"].get("shard"):
        raise RunError(f"{run.path} is one shard of a run; mibe merge puts the shards together, then list the whole")
    changes = changes_of(record["settings"])
    by_people = _by_people(run, notes)
    for task in record.get("task_names", record["tasks"]):
        part = record["tasks"].get(task, {})
        if not part.get("figures"):
            notes.append(f"{run.path.name}: {task} has no scores yet")
            continue
        draws = draws_of(part)
        result = Result(
            **_row(run, [*changes, f"avg@{draws}"] if draws > 1 else changes),
            setting=setting_of(record, part),
            task=task,
            protocol=record["protocol"],
            path=run.path,
            ended=str(record["sessions"][-1].get("ended") or ""),
            conditions=_conditions(record, part),
            settings=record["settings"],
            part=part,
            cost=cost_of(record, [task]),
            versions={
                way: {**of, "run": run.path, "rules": part["variation"]["version"]}
                for kind in ("robustness", "fairness")
                for way, of in part.get(kind, {}).items()
            },
        )
        yield result
        if task in by_people:
            # People rate one draw, whatever number the run has.
            yield replace(_rated(result, by_people[task], notes), **_row(run, changes))


def _by_people(run: Run, notes: list[str]) -> dict[str, dict[str, Any]]:
    """The run's scores by people's ratings; where these cannot be read, as those of others often cannot, a note."""
    try:
        return scores_by_people(run)
    except (RunError, DataError, UsageError) as error:
        notes.append(f"{run.path.name}: without the ratings of people: {error}")
        return {}


def _rated(result: Result, rated: Mapping[str, Any], notes: list[str]) -> Result:
    """The same task by people's ratings: a data set of its own, since no judge's figure stands beside a person's."""
    people = f"{rated['raters']} {'person' if rated['raters'] == 1 else 'people'}"
    without = f", {rated['left_out']} times that a case is left out for a wrong reference" if rated["left_out"] else ""
    notes.append(f"{result.name}, {result.task}: rated by {people}{without} ({result.path.name})")
    return replace(
        result,
        task=f"{result.task}{HUMAN}",
        versions={},
        conditions={**result.conditions, "judge": "people"},
        part={"data": result.part["data"], "answers": result.part.get("answers"), **rated},
    )


def _conditions(record: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    judged = TOP_K.names[0] in part["figures"]
    return {
        "style": style_of(record["settings"]),
        "split": part["data"]["split"],
        "data": part["data"]["sha256"],
        "version": part["version"],
        "prompt": part["prompt_template_sha256"],
        "shots": part["num_fewshot"],
        "scoring": record["settings"]["scoring"],
        "rule": rule_of(record["settings"], part),
        "judge": (record.get("judge") or {}).get("name") if judged else None,
    }


def _row(run: Run, marks: Sequence[str]) -> dict[str, Any]:
    """`model`, `name` and `names` of a result: the key is the same for two runs of one model with the same marks, which
    say what is unusual in how its text was generated. Nothing shows that two runs are of one model where it has no
    identity, as a function has none: then the run is the model."""
    model = run.record["model"]
    known = [model["identity"] or {"run": str(run.path)}, *marks]
    return {
        "model": hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest(),
        "name": f"{model['name']} ({', '.join(marks)})" if marks else str(model["name"]),
        "names": (str(model["name"]),),
        "identity": identity_of(model["identity"]),
    }


def _of_all_names(result: Result, named: Mapping[str, str]) -> Result:
    """The result under every name of its model: `named` are these as rows are called, each with the bare name."""
    return replace(result, name=", also ".join(named), names=tuple(dict.fromkeys(named.values())))


def _distinctly_named(results: Sequence[Result]) -> list[Result]:
    """The results, with the first figures of the key behind a name that two models share."""
    models: dict[str, set[str]] = {}
    for result in results:
        models.setdefault(result.name, set()).add(result.model)
    return [
        replace(result, name=f"{result.name} ({result.model[:6]})") if len(models[result.name]) > 1 else result
        for result in results
    ]


def _unidentified(results: Sequence[Result]) -> list[str]:
    """A note for each model that stands for itself because nothing tells whether it is another of its name."""
    shared = Counter(name for _, name in {(result.model, name) for result in results for name in result.names})
    return list(
        dict.fromkeys(
            f"{result.name} has no identity, so nothing shows that runs are of one model: its row is {result.path.name}"
            for result in results
            if result.identity is None and any(shared[name] > 1 for name in result.names)
        )
    )


def with_evidence(results: Sequence[Result], paths: Iterable[str | Path]) -> tuple[list[Result], list[str]]:
    """The results, those with evidence whose test set their model was found to have learned, and notes on the others.

    A record of `mibe memorised` is of a result where model, task and content of the data are the same. Of several the
    one of most questions counts, then the latest.
    """
    records, notes = [], []
    for folder in find_memorised(paths):
        try:
            records.append(load(folder))
        except RunError as error:
            notes.append(f"left out: {error}")
    told = []
    for result in results:
        own = [each for each in records if _is_of(each, result)]
        if not own:
            told.append(result)
            continue
        found = max(own, key=lambda each: (each.questions(result.task), each.record["created"]))
        told.append(replace(result, evidence=found.evidence(result.task) if found.is_memorised(result.task) else ""))
        if not found.is_memorised(result.task):
            notes.append(f"{result.name}, {result.task}: not shown to be memorised ({found.evidence(result.task)})")
    return told, list(dict.fromkeys(notes))


def _is_of(found: Memorisation, result: Result) -> bool:
    part = found.record["tasks"].get(result.task)
    return (
        result.identity is not None
        and part is not None
        and bool(part["tests"])
        and identity_of(found.record["model"]["identity"]) == result.identity
        and part["data"]["sha256"] == result.conditions["data"]
    )
