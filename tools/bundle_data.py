"""Makes the data sets that ship inside the package anew from their raw files: `python tools/bundle_data.py RAW`.

RAW holds one folder a data set: pubmedqa, medqa, medmcqa, mmlu and mtsamples, each with the files named in
`docs/data.md`. The same files give the same bytes. Only data whose licence lets it be passed on may be added here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mibe.data.prepare import read_splits, write
from mibe.data.readers.medmcqa import MedMcqa
from mibe.data.readers.medqa import MedQa
from mibe.data.readers.mmlu import Mmlu
from mibe.data.readers.mtsamples import MtSamples
from mibe.data.readers.pubmedqa import PubMedQa
from mibe.data.store import BUNDLED
from mibe.errors import DataError
from mibe.task import Source

# Name, source, variant, folder of the raw files.
DATA_SETS: tuple[tuple[str, Source, str, str], ...] = (
    ("pubmedqa", PubMedQa(), "official", "pubmedqa"),
    ("medqa", MedQa(options=5), "official", "medqa"),
    ("medqa_4", MedQa(options=4), "official", "medqa"),
    ("medmcqa", MedMcqa(), "official", "medmcqa"),
    ("mmlu", Mmlu(), "prerelease", "mmlu"),
    ("mtsample", MtSamples(), "excerpt", "mtsamples"),
)

CC0_NOTICE = """\
MTSamples (https://www.mtsamples.com), as compiled at https://www.kaggle.com/datasets/tboyle10/medicaltranscriptions:
the first 401 reports.

Dedicated to the public domain under CC0 1.0 Universal, https://creativecommons.org/publicdomain/zero/1.0/legalcode:
to the extent possible under law, all copyright and related or neighbouring rights to this work have been waived
worldwide. The work is offered as it is, without warranties of any kind.
"""


def bundle(raw: Path, target: Path) -> None:
    """Write every data set of `DATA_SETS` below `target`."""
    for name, source, variant, folder in DATA_SETS:
        splits, about = read_splits(name, source, raw / folder, variant=variant)
        # The time of making would make every run differ.
        manifest = write(target / name, splits, about | {"created": None}, compress=True)
        (target / name / "LICENSE").write_text(_licence(raw / folder, source), encoding="utf-8")
        size = sum(file.stat().st_size for file in (target / name).iterdir())
        print(f"{name}: {manifest['counts']}, {size:,} bytes")


def _licence(folder: Path, source: Source) -> str:
    if source.licence == "CC0-1.0":
        return CC0_NOTICE
    found = sorted(folder.glob("LICENSE*"))
    if source.licence != "MIT" or not found:
        raise DataError(f"{folder}: data under {source.licence} without its licence text cannot be shipped")
    return found[0].read_text(encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bundle(Path(sys.argv[1]), BUNDLED)
