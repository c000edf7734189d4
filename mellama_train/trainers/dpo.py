"""Direct preference optimisation as a trainer: pairs of responses in files and data sets, by TRL."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellama_train.errors import DataError, listed
from mellama_train.recipe.problems import Problem
from mellama_train.recipe.stages import MAY_CHANGE
from mellama_train.rl.dpo_recipe import DpoRecipe
from mellama_train.trainers.contract import Trainer

if TYPE_CHECKING:
    from mellama_train.engines.ranks import Ranks
    from mellama_train.model.provenance import TestSets
    from mellama_train.plan.text import Plan
    from mellama_train.plan.work import Question
    from mellama_train.rows.pairs import Pair, PairSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """What a run reads: pairs to learn from, held-out ones by the name of their set, what was looked for of tests."""

    train: PairSet
    held_out: Mapping[str, PairSet]
    test_sets: TestSets
    tokenizer: Any


def read_pairs(recipe: DpoRecipe, *, speaks: bool = True) -> Pairs:
    """The pairs of a recipe as tokens; who `speaks` says what was left out.

    Raises `DataError` for what is malformed, too long, or of a test set.
    """
    from mellama_train.model.loading import load_tokenizer
    from mellama_train.model.provenance import TestSets
    from mellama_train.rows.pairs import doubtful, file_pairs
    from mellama_train.trainers.samples import of_altered

    tokenizer, data = load_tokenizer(recipe.model), recipe.data
    kept, of_tests, tasks = _outside_test_sets(file_pairs(data.pairs))
    said = list(_of_tests(of_tests))
    if said and data.test_documents == "error":
        raise DataError(f"{said[0]}; data.test_documents: skip leaves them out of the training")
    if not kept:
        raise DataError("every pair of the data holds a passage of a test set, so nothing is left to train on")
    train, too_long = _encoded(recipe, tokenizer, kept)
    held_out = {file.stem: _encoded(recipe, tokenizer, file_pairs([file]))[0] for file in data.held_out}
    lines = (*(f"{line}; left out" for line in (*said, *too_long)), *doubtful(train.pairs), *of_altered(data.pairs))
    for line in lines if speaks else ():
        print(line, file=sys.stderr)
    found = TestSets(tasks=tasks, found=len(of_tests), left_out=len(of_tests))
    return Pairs(train=train, held_out=held_out, test_sets=found, tokenizer=tokenizer)


def _encoded(recipe: DpoRecipe, tokenizer: Any, pairs: Iterable[Pair]) -> tuple[PairSet, list[str]]:
    """The pairs as tokens, and a line on those that are too long. Raises `DataError` where none is left."""
    from mellama_train.model.loading import tokenizer_sha256
    from mellama_train.rows.pairs import PairSet

    kept, left_out = PairSet.of(
        pairs,
        tokenizer,
        tokenizer_sha256=tokenizer_sha256(tokenizer),
        context=recipe.context,
        form=recipe.data.form,
        too_long=recipe.data.too_long,
    )
    if not len(kept):
        raise DataError(f"every pair is longer than the context of {recipe.context} tokens; raise context")
    what = f"{len(left_out)} pairs are longer than {recipe.context} tokens: {listed(left_out)}"
    return kept, [what] if left_out else []


def _outside_test_sets(pairs: Iterable[Pair]) -> tuple[list[Pair], list[str], tuple[str, ...]]:
    """(pairs without a passage of a prepared test set, places of the others with that of the passage, tasks compared).

    Passages are found as a corpus is decontaminated.
    """
    from mellama_train.corpus.decontaminate import index_of_all

    kept: list[Pair] = []
    places: list[str] = []
    with index_of_all() as index:
        for pair in pairs:
            if place := index.place_of(pair.texts()):
                places.append(f"{pair.place} (= {place})")
            else:
                kept.append(pair)
        return kept, places, tuple(sorted(index.about["tasks"]))


def _of_tests(places: Sequence[str]) -> Iterator[str]:
    if places:
        yield f"{len(places)} pairs hold a passage of a test set: {listed(places)}"


def _run(recipe: DpoRecipe, ranks: Ranks) -> Path:
    from mellama_train.model.provenance import file_sources
    from mellama_train.recipe.yaml_schema import as_json
    from mellama_train.rl.dpo import open_trainer, run_steps, tokens_by_step, tokens_seen
    from mellama_train.rl.running import Job, to_end
    from mellama_train.trainers.handover import hand_over

    pairs = read_pairs(recipe, speaks=ranks.is_first)

    def handed_over(folder: Path, steps: int, _: Mapping[str, int]) -> Path:
        return hand_over(
            folder,
            trainer=DPO,
            recipe=recipe,
            model=recipe.model.path,
            sources=file_sources(as_json(recipe)["data"]["pairs"], tokens_seen(recipe, pairs.train, steps)),
            test_sets=pairs.test_sets,
            steps=steps,
        )

    job = Job(
        rows=pairs.train.describe(),
        steps=run_steps(recipe, len(pairs.train)),
        open=lambda watch: open_trainer(recipe, ranks, pairs.train, pairs.held_out, pairs.tokenizer, watch),
        tokens=Counter(),
        hand_over=handed_over,
        tokens_at=tokens_by_step(recipe, pairs.train).__getitem__,
        ends=pairs.train.ends,
    )
    return to_end(recipe, ranks, job)


def _problems(recipe: DpoRecipe) -> Iterator[Problem]:
    from mellama_train.rl.trl import problem_of_trl
    from mellama_train.trainers.inputs import problems, problems_of_held_out, problems_of_samples

    yield from problems(recipe)
    yield from problems_of_samples(recipe.data.pairs, "data.pairs", "pair")
    yield from problems_of_held_out(recipe.data.held_out, "pair")
    if problem := problem_of_trl():
        yield Problem("trainer", problem)


def _preview(recipe: DpoRecipe) -> str:
    from mellama_train.rl.dpo import run_steps

    pairs = read_pairs(recipe)
    steps, train = run_steps(recipe, len(pairs.train)), pairs.train.pairs
    chosen, rejected = (sum(len(getattr(pair, name)) for pair in train) for name in ("chosen", "rejected"))
    longest = max(pair.length for pair in train)
    held_out = ", ".join(f"{name} {len(found):,}" for name, found in pairs.held_out.items()) or "none"
    return "\n".join(
        [
            f"pairs: {len(train):,} of up to {longest:,} tokens (context {recipe.context:,})",
            f"steps: {steps:,} of {recipe.batch.rows:,} pairs",
            f"tokens of a response: {chosen / len(train):,.1f} chosen, {rejected / len(train):,.1f} rejected (means)",
            f"test sets looked for: {len(pairs.test_sets.tasks)}; pairs left out: {pairs.test_sets.left_out}",
            f"held-out pairs: {held_out}",
            f"model: {recipe.model.path}; output: {recipe.output}",
        ]
    )


def _show(recipe: DpoRecipe, count: int, colour: bool) -> Iterator[str]:
    from mellama_train.trainers.preview import marked

    pairs = read_pairs(recipe)
    for number, pair in enumerate(pairs.train.pairs[:count], start=1):
        prompt, chosen, rejected = (
            pairs.tokenizer.decode(ids, skip_special_tokens=False) for ids in (pair.prompt, pair.chosen, pair.rejected)
        )
        shown = [marked(text, learned=False, colour=colour) for text in (prompt, rejected)]
        yield (
            f"--- {number}: {len(pair.prompt):,} tokens of prompt, {len(pair.chosen):,} chosen, {len(pair.rejected):,} "
            f"rejected\n{shown[0]}{marked(chosen, learned=True, colour=colour)}\n--- {number}, rejected\n{shown[1]}"
        )


def _forecast(recipe: DpoRecipe, question: Question) -> Plan:
    from mellama_train.rl.dpo_plan import forecast

    return forecast(recipe, question)


DPO = Trainer(
    name="dpo",
    about="preference tuning on pairs of responses (DPO, by TRL)",
    reads="pairs of a better and a worse response to a prompt, in files or data sets of a hub",
    recipe=DpoRecipe,
    run=_run,
    problems=_problems,
    preview=_preview,
    show=_show,
    forecast=_forecast,
    may_change=MAY_CHANGE,
)
