"""Where prepared data lives, and how examples are read from it.

A data set is a folder with one `<split>.jsonl` (or `.jsonl.gz`) a split and, unless it was made by hand, a
`manifest.json`. Folders lie in the user's data directory; the open sets that ship with the package lie beside this
module, and a user's own copy of the same name takes their place.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import os
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from mibe.data.parsing import parse_json
from mibe.data.schema import from_line
from mibe.data.seen import Seen
from mibe.errors import DataError, UsageError
from mibe.task import Example

Manifest: TypeAlias = dict[str, Any]
"""What `manifest.json` holds; its keys are listed in `docs/data.md`."""

MANIFEST = "manifest.json"
BUNDLED = Path(__file__).parent / "bundled"
SPLIT_ORDER = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class HeldSplit:
    """A split in memory: JSON lines as a file would have them, and the user's own file that they were made from."""

    path: Path
    content: bytes

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)


SplitFile: TypeAlias = Path | HeldSplit


class Held:
    """A data set that lies in memory and nowhere else, read from the user's own file when it is first asked for.

    `load` gives its splits and its manifest, and raises `DataError` where the file is not there or not what it was.
    """

    def __init__(self, path: Path, load: Callable[[], tuple[Mapping[str, HeldSplit], Manifest]]) -> None:
        self.path = path
        self._load = load

    @cached_property
    def loaded(self) -> tuple[Mapping[str, HeldSplit], Manifest]:
        """Splits and manifest."""
        return self._load()


_HELD: dict[str, Held] = {}


def hold(name: str, data: Held) -> None:
    """Make a data set in memory known for as long as this process lives; its name says what it holds."""
    _HELD.setdefault(name, data)


@dataclass(frozen=True, slots=True)
class PreparedData:
    """A data set that is here: its name, its folder, and whether it is the copy that ships with the package."""

    name: str
    path: Path
    bundled: bool

    @property
    def files(self) -> dict[str, SplitFile]:
        """Split → file, train, valid and test first."""
        found: dict[str, SplitFile] = {
            p.name.removesuffix(".gz").removesuffix(".jsonl"): p for p in _split_files(self.path)
        }
        if self.name in _HELD:
            found = dict(_HELD[self.name].loaded[0])
        order = [*(s for s in SPLIT_ORDER if s in found), *sorted(found.keys() - set(SPLIT_ORDER))]
        return {split: found[split] for split in order}


def data_dir() -> Path:
    """The folder of prepared data: the environment variable MIBE_DATA_DIR, or `mibe/data` in the user's cache."""
    if chosen := os.environ.get("MIBE_DATA_DIR"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("mibe") / "data"


def previous(folder: Path) -> Path:
    """Where the old data of `folder` lies for the moment in which new data takes its place."""
    return folder.with_name(f".{folder.name}.previous")


def find(name: str) -> PreparedData | None:
    """The data set of this name, or None: the user's own copy first, then the one in the package."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise DataError(f"{name!r} cannot be the name of a data set; use letters, digits, '_', '-' and '.'")
    if name in _HELD:
        return PreparedData(name, _HELD[name].path, bundled=False)
    own = data_dir() / name
    # The second is there only after a kill between the two renames by which `prepare` puts new data in place.
    for folder in (own, previous(own)):
        if _split_files(folder):
            return PreparedData(name, folder, bundled=False)
    return PreparedData(name, BUNDLED / name, bundled=True) if _split_files(BUNDLED / name) else None


def splits(name: str) -> list[str]:
    """The splits that are here, train, valid and test first. Raises `DataError` when the data set is not here."""
    return list(require(name).files)


def iter_examples(name: str, split: str) -> Iterator[Example]:
    """The examples of a split, read line by line as they are asked for.

    Raises `DataError`, naming the file and the line, for a line that is not in the schema, an id that occurs twice, bad
    UTF-8 or a damaged file; and where the data set or the split is not here, saying how to get it.
    """
    return read_examples(_split_file(name, split))


def examples_at(name: str, split: str, places: Iterable[int]) -> Iterator[Example]:
    """The examples of a split at some places, ascending and counted from 0; the lines between them are passed over.

    Raises `DataError` as `iter_examples` does, for the lines that it reads.
    """
    path = _split_file(name, split)
    left = iter(places)
    wanted = next(left, None)
    for place, (number, _, line) in enumerate(_lines(path)):
        if place == wanted:
            yield _example(line, f"{path}, line {number}")
            wanted = next(left, None)


def load_examples(name: str, split: str) -> list[Example]:
    """All examples of a split at once; raises as `iter_examples` does."""
    return list(iter_examples(name, split))


class StoredSplit:
    """A split of which memory holds the places of the lines alone: an example is read when it is asked for.

    Iterating checks every line, as `iter_examples` does. Raises `DataError` as that does.
    """

    def __init__(self, name: str, split: str) -> None:
        self._path = _split_file(name, split)
        self._starts = array("Q", (start for _, start, _ in _lines(self._path)))

    def __iter__(self) -> Iterator[Example]:
        return read_examples(self._path)

    def __getitem__(self, index: int, /) -> Example:
        """The example at `index` of the split, counted from 0."""
        start = self._starts[index]
        try:
            with _open(self._path) as stream:
                stream.seek(start)
                line = stream.readline()
        except OSError as error:
            raise DataError(f"cannot read {self._path}: {error.strerror or error}") from None
        return _example(line, f"{self._path}, example {index + 1}")


def read_examples(path: SplitFile) -> Iterator[Example]:
    """The examples of one file of JSON lines; a byte order mark, CRLF line ends and blank lines are accepted."""
    seen = Seen()
    for number, _, line in _lines(path):
        example = _example(line, f"{path}, line {number}")
        if seen.add(example.id) and _occurs_before(path, number, example.id):
            raise DataError(f"{path}, line {number}: the id {example.id!r} occurs a second time; ids must be unique")
        yield example


def _occurs_before(path: SplitFile, number: int, ident: str) -> bool:
    """Whether a line before this one has the id: read anew, since two ids may share a hash."""
    before = takewhile(lambda line: line[0] < number, _lines(path))
    return any(_example(line, f"{path}, line {at}").id == ident for at, _, line in before)


def shipped_fingerprint(name: str, split: str) -> str | None:
    """The sha256 of a split of the copy in the package, whatever the user's own may be; None where none ships."""
    path = BUNDLED / name / MANIFEST
    splits = json.loads(path.read_text(encoding="utf-8"))["splits"] if path.exists() else {}
    return cast(str, splits[split]["sha256"]) if split in splits else None


def load_manifest(name: str) -> Manifest | None:
    """The manifest, or None for data made by hand. Raises `DataError` when the data is not here or it is damaged."""
    path = require(name).path / MANIFEST
    if name in _HELD:
        return _HELD[name].loaded[1]
    try:
        manifest = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise DataError(f"{path} is damaged (not JSON); {_again(name)}") from None
    if not isinstance(manifest, dict) or not {"counts", "splits", "variant"} <= manifest.keys():
        raise DataError(f"{path} is not a manifest of mibe; {_again(name)}")
    return manifest


def data_fingerprint(name: str, split: str) -> str:
    """The sha256 of a split's content (uncompressed), which tells two versions of the data apart."""
    path = _split_file(name, split)
    manifest = load_manifest(name) if require(name).bundled else None
    # Files in the package change with the package alone; a user's file may have been edited since it was written.
    return cast(str, manifest["splits"][split]["sha256"]) if manifest else _sha256(path)


def verify(name: str) -> list[str]:
    """What is wrong with a prepared data set, one sentence a finding; an empty list when it is sound.

    Every line is read, every file hashed again and compared with the manifest.
    """
    found = require(name)
    try:
        manifest = load_manifest(name)
    except DataError as error:
        return [str(error)]
    if manifest is None:
        kept = [f"no manifest: {found.path} was made by hand, so its content cannot be compared with the official data"]
        return kept + [finding for path in found.files.values() for finding in _check_lines(path)[1]]
    findings = [
        f"{path.name} is not in the manifest" for split, path in found.files.items() if split not in manifest["splits"]
    ]
    for split, expected in manifest["splits"].items():
        if split not in found.files:
            findings.append(f"the {split} split is missing; {_again(name)}")
            continue
        findings += _check_split(found.files[split], expected["sha256"], manifest["counts"].get(split), _again(name))
    return findings


def _check_split(path: SplitFile, sha256: str, count: int | None, again: str) -> list[str]:
    number, findings = _check_lines(path)
    if not findings and number != count:
        findings.append(f"{path.name} holds {number:,} examples where the manifest says {count:,}; {again}")
    if not findings and _sha256(path) != sha256:
        findings.append(f"{path.name} was changed since it was written (sha256 differs); {again}")
    return findings


def _check_lines(path: SplitFile) -> tuple[int, list[str]]:
    try:
        return sum(1 for _ in read_examples(path)), []
    except DataError as error:
        return 0, [str(error)]


def _again(name: str) -> str:
    return f"prepare it again: mibe data prepare {name} --from PATH"


def require(name: str) -> PreparedData:
    """The data set of this name. Raises `DataError`, saying how to get it, where it is not here."""
    found = find(name)
    if found is None:
        raise DataError(f"the data of {name} is not here. {how_to_get(name)}")
    return found


def how_to_get(name: str) -> str:
    """What to download for a data set and the command that brings it in."""
    # What to download is known to the task alone; it is looked up only once the data is found missing.
    from mibe.registry import load_task

    try:
        obtain = f"{load_task(name).source.obtain} Then: mibe data prepare {name} --from PATH"
    except UsageError:
        where = data_dir() / name / "test.jsonl"
        obtain = f"Put your own examples, one JSON object a line, in {where}, or add your table: mibe data add FILE"
    return obtain


def _split_file(name: str, split: str) -> SplitFile:
    found = require(name)
    if split not in found.files:
        raise DataError(f"{name} has no {split} split in {found.path}; it has {', '.join(found.files)}")
    return found.files[split]


def _split_files(folder: Path) -> list[Path]:
    # Plain files come last, so that of two files for one split the plain one counts.
    return [p for pattern in ("[!.]*.jsonl.gz", "[!.]*.jsonl") for p in sorted(folder.glob(pattern)) if p.is_file()]


def _open(path: SplitFile) -> BinaryIO:
    if isinstance(path, HeldSplit):
        return BytesIO(path.content)
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _example(line: bytes, where: str) -> Example:
    try:
        return from_line(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8") from None
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def _lines(path: SplitFile) -> Iterator[tuple[int, int, bytes]]:
    """Number, byte offset and content of each line that is not blank."""
    try:
        with _open(path) as stream:
            end = 0
            for number, raw in enumerate(stream, 1):
                end += len(raw)
                line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
                if line.strip():
                    yield number, end - len(line), line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path} is damaged (not a whole gzip file); prepare or install the data again") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _sha256(path: SplitFile) -> str:
    digest = hashlib.sha256()
    with _open(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
