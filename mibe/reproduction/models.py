"""The paper's models: where their weights are, on what terms, and what the user names to run them or others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mibe.errors import UsageError, unknown
from mibe.leaderboard.board import same_model
from mibe.models import list_models, parse_model
from mibe.reproduction.table import Reproduction, Row

LOADERS = ("hf", "vllm")
"""Models that load a folder or hub repository."""

LLAMA_2 = "Llama 2 licence: accept it on the hub, then `hf auth login`"
MELLAMA = "PhysioNet credentialed access, physionet.org/content/me-llama"
SNAPSHOT = "a snapshot of 2023; where it is no longer served, name another: --models {}:openai:MODEL"


@dataclass(frozen=True, slots=True)
class PaperModel:
    """One model of the paper: the hub repository of its weights or its name at an API (None: not public).

    `shape` is a name in `mibe.forecast.hardware.SHAPES` ("" for APIs), `terms` what must be accepted, signed or held.
    """

    source: str | None
    shape: str
    terms: str = ""


MODELS: Mapping[str, PaperModel] = {
    "LLaMA-7B": PaperModel("huggyllama/llama-7b", "llama2-7b", "LLaMA licence, for research"),
    "LLaMA2-7B": PaperModel("meta-llama/Llama-2-7b-hf", "llama2-7b", LLAMA_2),
    "LLaMA2-13B": PaperModel("meta-llama/Llama-2-13b-hf", "llama2-13b", LLAMA_2),
    "LLaMA2-70B": PaperModel("meta-llama/Llama-2-70b-hf", "llama2-70b", LLAMA_2),
    "LLaMA2-13B-chat": PaperModel("meta-llama/Llama-2-13b-chat-hf", "llama2-13b", LLAMA_2),
    "LLaMA2-70B-chat": PaperModel("meta-llama/Llama-2-70b-chat-hf", "llama2-70b", LLAMA_2),
    "PMC-LLaMA-7B": PaperModel("chaoyi-wu/PMC_LLAMA_7B", "llama2-7b"),
    "PMC-LLaMA-13B": PaperModel("chaoyi-wu/MedLLaMA_13B", "llama2-13b"),
    "PMC-LLaMA-13B-chat": PaperModel("axiong/PMC_LLaMA_13B", "llama2-13b"),
    "Medalpaca-13B": PaperModel("medalpaca/medalpaca-13b", "llama2-13b"),
    "AlpaCare-13B": PaperModel("xz97/AlpaCare-llama2-13b", "llama2-13b"),
    "Meditron-7B": PaperModel("epfl-llm/meditron-7b", "llama2-7b", LLAMA_2),
    "Meditron-70B": PaperModel("epfl-llm/meditron-70b", "llama2-70b", LLAMA_2),
    "Me-LLaMA-13B": PaperModel(None, "llama2-13b", MELLAMA),
    "Me-LLaMA-70B": PaperModel(None, "llama2-70b", MELLAMA),
    "Me-LLaMA-13B-chat": PaperModel(None, "llama2-13b", MELLAMA),
    "Me-LLaMA-70B-chat": PaperModel(None, "llama2-70b", MELLAMA),
    "ChatGPT": PaperModel("gpt-3.5-turbo-0301", "", SNAPSHOT.format("ChatGPT")),
    "GPT-4": PaperModel("gpt-4-0314", "", SNAPSHOT.format("GPT-4")),
}
"""The paper names models and, for APIs, snapshots; the repositories are ours to choose. Of PMC-LLaMA 13B its authors
publish a pretrained model under the name MedLLaMA and an instruction-tuned one under its own. LLaMA 1 has the sizes of
LLaMA 2, so it has its shapes here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model to be run: its place in the table, and how it is loaded.

    `row` is the paper's line or column that it stands beside (None: the paper does not have it there). A value in
    `args` may hold "{task}": each task then has weights of its own. `missing` says what is wanted before it can run.
    """

    name: str
    suite: str
    model: str
    args: Mapping[str, str]
    row: Row | None = None
    shape: str = ""
    terms: str = ""
    missing: str = ""

    @property
    def weights(self) -> str:
        """What is loaded, for people to read."""
        return self.args.get("pretrained") or self.args.get("model") or self.model

    @property
    def is_by_task(self) -> bool:
        """Whether each task has weights of its own."""
        return any("{task}" in value for value in self.args.values())

    def args_for(self, task: str) -> dict[str, str]:
        """The arguments for one task."""
        return {name: value.replace("{task}", task) for name, value in self.args.items()}


def choose(
    table: Reproduction,
    named: Sequence[str] = (),
    *,
    weights: Mapping[str, str] | None = None,
    model_args: Mapping[str, str] | None = None,
    loader: str = "hf",
) -> list[Entry]:
    """The models to run: those of the table, or those named.

    Parameters
    ----------
    named:
        Models of the table or of the paper, models of mibe such as "demo", or NAME:MODEL:ARGUMENTS.
    weights:
        Model of the paper → a folder or hub repository in place of its own. It may hold "{task}".
    model_args:
        Further arguments for all models that are loaded by `loader`.

    Raises
    ------
    UsageError
        For a name that is nobody's, weights for a model that is not to run, and a model named twice.
    """
    given = dict(weights or {})
    entries = [
        _with_weights(_named(text, table), table, given, model_args or {}, loader)
        for text in named or [row.model for row in table.rows]
    ]
    names = [entry.name for entry in entries]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--models: {twice[0]} is named twice; give NAME:MODEL:ARGUMENTS to tell two apart")
    if given:
        raise UsageError(f"--weights: {next(iter(given))} is none of the models to run, {', '.join(names)}")
    return entries


def _named(text: str, table: Reproduction) -> Entry:
    name, colon, spelled = text.partition(":")
    row = next((row for row in table.rows if same_model(name, row.model)), None)
    paper = next((model for model in MODELS if same_model(name, model)), None)
    suite = table.suite if row is None else row.suite
    if colon:
        if "=" in spelled.split(":")[0]:
            raise UsageError(f"--models {text}: give NAME:MODEL:ARGUMENTS, such as mine:hf:pretrained=PATH")
        model, args = parse_model(spelled)
        return Entry(name=row.model if row else name, suite=suite, model=model, args=args, row=row)
    if paper is not None:
        about = MODELS[paper]
        return Entry(name=paper, suite=suite, model="", args={}, row=row, shape=about.shape, terms=about.terms)
    if name in list_models():
        return Entry(name=name, suite=suite, model=name, args={})
    raise unknown("model", name, [*(row.model for row in table.rows), *list_models()])


def _with_weights(
    entry: Entry, table: Reproduction, given: dict[str, str], model_args: Mapping[str, str], loader: str
) -> Entry:
    """The entry with how it is loaded, and without its weights in `given`."""
    if entry.model:
        return replace(entry, args={**model_args, **entry.args}) if entry.model in LOADERS else entry
    about = MODELS[entry.name]
    if not about.shape:
        return replace(entry, model="openai", args={"model": str(about.source)})
    named = next((name for name in given if same_model(name, entry.name)), None)
    if named is not None:
        path = given.pop(named)
        missing = _absent(path)
        return replace(entry, model=loader, args={"pretrained": path, **model_args}, terms="", missing=missing)
    if entry.row is not None and table.is_fine_tuned(entry.row):
        base = about.source or f"{entry.name} ({about.terms})"
        return replace(
            entry,
            model=loader,
            args={},
            missing=(
                f"--weights {entry.name}=PATH, fine-tuned on each data set ({{task}} in PATH is its name); "
                f"mellama-train finetune makes such checkpoints from {base}"
            ),
        )
    if about.source is None:
        return replace(entry, model=loader, args={}, missing=f"--weights {entry.name}=PATH ({about.terms})")
    return replace(entry, model=loader, args={"pretrained": about.source, **model_args})


def _absent(path: str) -> str:
    """Why weights that are given by a path cannot be had; "" for a folder that is here, a hub name and a pattern."""
    is_local = path.startswith((".", "/", "~")) or path.count("/") != 1
    return f"the folder {path}, which is not here" if is_local and "{" not in path and not Path(path).exists() else ""
