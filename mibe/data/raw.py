"""One view over the raw files of a download, however they lie: a folder, an archive, or a folder of archives.

Nothing is ever unpacked to disk. Names are POSIX paths below the folder or inside the archive; a file in an archive
that lies in a folder is named `archive.zip/path/inside`.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import tarfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from mibe.data.disk import open_plain
from mibe.errors import DataError

ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz")
MAX_BYTES = 2 << 30
"""The most that a file that is read as a whole, or one of an archive, or a gzip file, may hold once decompressed."""
MAX_LINE = 256 << 20
"""The longest line of a file that is read line by line."""

# A folder from which more files than this were read is one entry of the manifest. Where files of more than so many
# folders were read (MIMIC-CXR has one for each patient), each folder at the top is one, with all that is below it.
MAX_LISTED = 10
MAX_FOLDERS = 100

Opener = Callable[[], IO[bytes]]


class RawFiles:
    """The raw files at `path`. Remembers which were read, for the manifest; `notes` are for the reader to add to.

    Raises `DataError` when the path does not exist, an archive is damaged, or an archive holds a name that would lead
    out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._read: dict[Path, None] = {}
        if not path.exists():
            raise DataError(f"there is nothing at {path}; give the folder or the archive that was downloaded")
        if not path.is_dir() and not path.is_file():
            raise DataError(f"{path} is a pipe or a device; give the folder or the archive that was downloaded")

    def find(self, *patterns: str) -> list[str]:
        """Sorted names of which some trailing part matches one of the patterns (`*` also matches `/`).

        Archives in a folder are looked into only where no plain file matches, so that an archive that was unpacked
        beside itself does not count twice.
        """
        matching = [name for name in self._plain if _matches(name, patterns)]
        return sorted(matching or [name for name in self._archived if _matches(name, patterns)])

    def optional(self, *patterns: str) -> str | None:
        """The one name that matches the first pattern that any name matches, or None."""
        for pattern in patterns:
            names = self.find(pattern)
            if len(names) > 1:
                raise DataError(f"several files match {pattern} in {self.path}: {', '.join(names[:4])}; leave one")
            if names:
                return names[0]
        return None

    def one(self, *patterns: str) -> str:
        """As `optional`, but raises `DataError` when there is none."""
        name = self.optional(*patterns)
        if name is None:
            raise self.missing(patterns[0])
        return name

    def missing(self, expected: str) -> DataError:
        """The error for a file that is not there, with what is there instead."""
        names = [*self._plain, *self._archived]
        shown = ", ".join(names[:5]) + (f", … ({len(names):,} files)" if len(names) > 5 else "")
        return DataError(f"expected {expected} in {self.path}; found {shown or 'no files'}. Give the official download")

    def content(self, name: str) -> bytes:
        """The content of a file."""
        with _readable(name, self.path), self._open(name) as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _too_large(name)
        return content

    def text(self, name: str) -> str:
        """The content of a file as UTF-8 text, line ends as they are, without a byte order mark."""
        content = self.content(name)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _not_utf8(name, content.count(b"\n", 0, error.start) + 1) from None

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """Line number (from 1) and line of a UTF-8 text file, without line ends, read as they are asked for.

        Only LF and CRLF end a line: text may hold other marks that Python takes for line ends.
        """
        with _readable(name, self.path), self._open(name) as stream:
            for number, raw in enumerate(_lines(stream, name), 1):
                line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
                try:
                    yield number, line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    raise _not_utf8(name, number) from None

    @property
    def latest(self) -> str:
        """The file or archive on disk that was opened last."""
        return self._name(next(reversed(self._read), self.path))

    def sources(self) -> list[dict[str, Any]]:
        """What was read so far, for the manifest: file, bytes and sha256 of each file or archive on disk.

        Where many files of one folder were read, the folder is one entry with their number and total size; its sha256
        is that of the `sha256sum` listing of the files, sorted by name.
        """
        many = len({path.parent for path in self._read}) > MAX_FOLDERS
        by_folder: dict[Path, list[Path]] = defaultdict(list)
        for path in sorted(self._read):
            by_folder[self._top(path) if many else path.parent].append(path)
        return [entry for folder, paths in sorted(by_folder.items()) for entry in self._entries(folder, paths)]

    def _top(self, path: Path) -> Path:
        """The folder right below `self.path` that holds a file at any depth, or `self.path` itself."""
        return self.path.joinpath(*path.relative_to(self.path).parts[:-1][:1])

    def _entries(self, folder: Path, paths: list[Path]) -> list[dict[str, Any]]:
        files = [{"file": self._name(p), "bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in paths]
        if len(files) <= MAX_LISTED:
            return files
        names = [path.relative_to(folder).as_posix() for path in paths]
        listing = "".join(f"{file['sha256']}  {name}\n" for file, name in zip(files, names, strict=True))
        size = sum(p.stat().st_size for p in paths)
        sha256 = hashlib.sha256(listing.encode()).hexdigest()
        return [{"file": f"{self._name(folder)}/", "files": len(files), "bytes": size, "sha256": sha256}]

    def _name(self, path: Path) -> str:
        return path.name if path == self.path else path.relative_to(self.path).as_posix()

    def _open(self, name: str) -> IO[bytes]:
        path, opener = self._plain.get(name) or self._archived[name]
        self._read[path] = None
        return opener()

    @cached_property
    def _plain(self) -> dict[str, tuple[Path, Opener]]:
        return {
            name.removesuffix(".gz"): (path, _plain_opener(path))
            for name, path in self._on_disk.items()
            if not _is_archive(name)
        }

    @cached_property
    def _archived(self) -> dict[str, tuple[Path, Opener]]:
        members: dict[str, tuple[Path, Opener]] = {}
        for name, path in self._on_disk.items():
            if _is_archive(name):
                prefix = "" if path == self.path else f"{name}/"
                with _readable(name, self.path):
                    inside = _zip_members(path) if name.lower().endswith(ZIP) else _tar_members(path)
                members |= {prefix + member: (path, opener) for member, opener in inside.items() if _wanted(member)}
        return members

    @cached_property
    def _on_disk(self) -> dict[str, Path]:
        if self.path.is_file():
            return {self.path.name: self.path}
        found = {}
        for folder, _, files in os.walk(self.path):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self.path).as_posix()
                if _wanted(name):
                    found[name] = path
        return dict(sorted(found.items()))


class _readable:
    """Turns the ways in which a file can be unreadable into one `DataError` that names it."""

    def __init__(self, name: str, path: Path) -> None:
        self.where = name if path.name == name else f"{name} in {path}"

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        damaged = (EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile)
        if isinstance(error, damaged):
            raise DataError(f"{self.where} is damaged or incomplete ({error}); download it again") from None
        # zipfile has no class of its own for a password, an unknown compression, or a seek in a cut file.
        if isinstance(error, RuntimeError | NotImplementedError):
            raise DataError(f"{self.where} cannot be unpacked ({error}); unpack it and give the folder") from None
        if isinstance(error, OSError):
            raise DataError(f"cannot read {self.where}: {error.strerror or error}") from None


def file_sha256(path: Path) -> str:
    """The sha256 of a file as it lies on disk."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"*/{pattern}") for pattern in patterns)


def _is_archive(name: str) -> bool:
    return name.lower().endswith((*ZIP, *TAR))


def _wanted(name: str) -> bool:
    # What macOS leaves in folders and archives.
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _plain_opener(path: Path) -> Opener:
    return lambda: gzip.open(open_plain(path), "rb") if path.suffix == ".gz" else open_plain(path)  # type: ignore[return-value]


def _lines(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The lines of a file with their ends; a packed one holds no more than an archive may."""
    size, packed = 0, isinstance(cast(object, stream), gzip.GzipFile)
    while line := stream.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise DataError(f"{name} has a line of more than {MAX_LINE >> 20} MiB; is this the official file?")
        size += len(line)
        if packed and size > MAX_BYTES:
            raise _too_large(name)
        yield line


def _zip_members(path: Path) -> dict[str, Opener]:
    archive = zipfile.ZipFile(open_plain(path))
    members = [info for info in archive.infolist() if not info.is_dir()]
    for info in members:
        _check_member(path, info.filename, info.file_size)
    _check_once(path, [info.filename for info in members])
    return {info.filename: lambda info=info: archive.open(info) for info in members}  # type: ignore[misc]


def _tar_members(path: Path) -> dict[str, Opener]:
    # A compressed tar can only be read from its start: decompressed once into memory, its files are read in any order.
    with open_plain(path) as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        with gzip.open(stream, "rb") if compressed else stream as source:
            content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _too_large(path.name)
    archive = tarfile.TarFile(fileobj=io.BytesIO(content))
    members = archive.getmembers()
    for info in members:
        _check_member(path, info.name, info.size)
    _check_once(path, [info.name for info in members if info.isfile()])
    return {info.name: lambda info=info: archive.extractfile(info) for info in members if info.isfile()}  # type: ignore[misc]


def _check_member(path: Path, name: str, size: int) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":")):
        raise DataError(f"{path.name} holds the unsafe name {name!r}; it is not the official file, download it again")
    if size > MAX_BYTES:
        raise _too_large(path.name)


def _check_once(path: Path, names: list[str]) -> None:
    """Raise for a name that stands twice: programs differ in which of the two they take."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path.name} holds {twice[0]!r} twice; it is not the official file, download it again")


def _too_large(name: str) -> DataError:
    return DataError(
        f"{name} holds more than {MAX_BYTES >> 30} GiB; is this the official file? unpack it and give the folder"
    )


def _not_utf8(name: str, line: int) -> DataError:
    return DataError(f"{name}, line {line}: not UTF-8; download the file again, or save it as UTF-8")
