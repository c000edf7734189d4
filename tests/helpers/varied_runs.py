"""Runs whose documents are asked in several versions, of models that know their answer or lean to a letter."""

import re
import zlib

from scripted import Scripted

import mibe

OPTION = re.compile(r"^([A-J])\. (.*)$", re.M)


def options_of(text):
    """The (letter, text) of the last question's options."""
    found = OPTION.findall(text)
    if not found:
        # The released code lists MMLU's options as Python does.
        return [("1", text[-80:])]
    return found[max(n for n, (letter, _) in enumerate(found) if letter == "A") :]


def steady(text):
    """The letter of the option whose text it likes best, wherever that stands."""
    return min(options_of(text), key=lambda option: zlib.crc32(option[1].encode()))[0]


def leaning(text):
    """The same, but A for a quarter of the prompts."""
    return "A" if zlib.crc32(text.encode()) % 4 == 0 else steady(text)


def varied_run(folder, answer=leaning, *, vary="options", tasks="medqa", limit=25, **settings):
    """A run of `answer`, a function of a prompt or a `Scripted`."""
    model = answer if isinstance(answer, Scripted) else Scripted(answer, identity=answer.__name__)
    arguments = {"resamples": 50, "use_cache": False} | settings
    return mibe.evaluate(model=model, output_dir=folder, tasks=tasks, vary=vary, limit=limit, **arguments)
