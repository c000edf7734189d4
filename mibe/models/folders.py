"""Model folders: what is checked before anything is loaded, so that a missing file is an answer at once."""

from __future__ import annotations

from pathlib import Path

from mibe.errors import ModelError

WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model")


def check_exists(argument: str, source: str) -> None:
    """Raise `ModelError` for a folder that is not there. A hub name is "name" or "owner/name", never a deeper path."""
    path = Path(source)
    looks_local = path.is_absolute() or source.startswith(".") or len(path.parts) > 2
    if path.is_file():
        raise ModelError(f"{argument}={source} is a file; give the folder that holds the model")
    if looks_local and not path.exists():
        raise ModelError(f"{argument}={source}: there is no such folder")


def check_folder(folder: Path, *, own_tokenizer: bool = True) -> None:
    """Raise `ModelError` naming what is missing in a model folder: configuration, weights or tokenizer."""
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHTS):
        raise ModelError(f"{folder} holds no weights (*.safetensors, *.bin); is the model in a folder below it?")
    if next(folder.glob("*.gguf"), None):
        return
    if not (folder / "config.json").is_file():
        hint = "; an adapter goes into peft=, its base model into pretrained=" if _is_adapter(folder) else ""
        raise ModelError(f"{folder} holds no config.json{hint}")
    if own_tokenizer and not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelError(f"{folder} holds no tokenizer; save it there, or name another folder by tokenizer=")


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()
