"""What a corpus file names, looked at before anything is read: tokenizer, files, test sets. All is told at once."""

from __future__ import annotations

from collections.abc import Iterator

from mellama_train.corpus.config import CorpusConfig, Decontamination, Input
from mellama_train.corpus.decontaminate import problem_of_task
from mellama_train.corpus.tokens import DocumentTokenizer
from mellama_train.errors import CorpusError
from mellama_train.recipe.problems import Problem, problem_of_output


def problems(config: CorpusConfig) -> Iterator[Problem]:
    """Each thing that is not there, with its key."""
    if problem := problem_of_output(config.output):
        yield Problem("output", problem)
    try:
        DocumentTokenizer.load(config.tokenizer.path, eos=config.tokenizer.eos, bos=config.tokenizer.bos)
    except CorpusError as error:
        yield Problem("tokenizer", str(error))
    for name, source in config.sources.items():
        for number, chosen in enumerate(source.inputs):
            yield from _files(chosen, f"sources.{name}.inputs[{number}].path")
    yield from problems_of_tests(config.decontaminate)


def problems_of_tests(decontaminate: Decontamination | str) -> Iterator[Problem]:
    """Test sets to compare with that are unknown, or not here."""
    named = decontaminate.tasks if isinstance(decontaminate, Decontamination) else None
    for number, task in enumerate(named or ()):
        if problem := problem_of_task(task, "test"):
            yield Problem(f"decontaminate.tasks[{number}]", problem)


def _files(chosen: Input, key: str) -> Iterator[Problem]:
    keys = {path: f"{key}[{number}]" for number, path in enumerate(chosen.paths)} if len(chosen.paths) > 1 else {}
    for path in chosen.paths:
        try:
            chosen.files_at(path)
        except CorpusError as error:
            yield Problem(keys.get(path, key), str(error))
