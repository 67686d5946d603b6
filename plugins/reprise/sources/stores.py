"""Where an inbox lies: a folder of this machine, or a prefix of an object store that fsspec reaches."""

import hashlib
import os
import re
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from unicodedata import normalize

from reprise.errors import BadInput

_PASSWORD = re.compile(r"[^:/]+://[^/@]*:[^/@]*@")


@dataclass(frozen=True)
class File:
    """A file as its store lists it, unread."""

    path: str
    """Relative to the store's root, with forward slashes."""
    size: int
    etag: str | None = None
    """What an object store calls the content; None where it has no name for it."""
    stamp: tuple[Any, ...] | None = None
    """As long as this stays the same, the content does; None where nothing says so."""


class Store(Protocol):
    """What listing an inbox needs."""

    def folders(self) -> list[str]:
        """Names of the folders directly below the root."""

    def files(self, below: str = "") -> Iterator[File]:
        """All files below a folder, in any order; hidden ones and those in hidden folders are passed over."""

    def find(self, paths: Collection[str]) -> dict[str, File]:
        """Those of the named files that exist, by the name that was given.

        A file whose own name differs in the composition of accents alone (NFC, NFD) is found too, if it is the only one.
        """

    def read(self, path: str) -> bytes:
        """A file's content."""

    def digest(self, path: str) -> str:
        """SHA-256 of a file's content."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    root: Path

    def folders(self) -> list[str]:
        with _readable(self.root):
            return [p.name for p in self.root.iterdir() if p.is_dir()]

    def files(self, below: str = "") -> Iterator[File]:
        root = os.path.join(self.root.resolve(), "")
        _refuse_way_out(root, root + below)
        todo = [root + below]
        while todo:
            folder = todo.pop()
            with _readable(folder), os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
            for entry in entries:
                if entry.is_symlink():
                    _refuse_way_out(root, entry.path)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif file := _file(root, entry.path.removeprefix(root)):
                    yield file

    def find(self, paths: Collection[str]) -> dict[str, File]:
        root = os.path.join(self.root.resolve(), "")
        names = cache(_names)  # of each folder that is looked into
        found = {}
        for path in paths:
            file = _file(root, path)
            if not file and (spelled := _as_spelled(root, path, names)):
                file = _file(root, spelled)
            if file:
                found[path] = file
                _refuse_way_out(root, root + file.path)
        return found

    def read(self, path: str) -> bytes:
        with self._open(path) as file:
            return file.read()

    def digest(self, path: str) -> str:
        with self._open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _open(self, path: str) -> BufferedReader:
        with _readable(self.root / path):
            return (self.root / path).open("rb")


def _file(root: str, path: str) -> File | None:
    """A file of this machine below ``root``, which ends in a slash; None where there is no regular one."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadInput(
            f"the name of {os.fsencode(path)!r} in the inbox {root} is no UTF-8, so that no listing can hold it",
            f"rename it, or all such: convmv -r -f latin1 -t utf8 --notest {root}",
        ) from None
    try:
        known = os.stat(root + path)
    except PermissionError as error:
        raise _unreadable(root + path, error) from error
    except (OSError, ValueError):  # a link to nowhere, or a name that no file can have
        return None
    stamp = (root + path, known.st_size, known.st_mtime_ns, known.st_ino)
    return File(path, known.st_size, stamp=stamp) if stat.S_ISREG(known.st_mode) else None


def _names(folder: str) -> list[str]:
    """Names in a folder; none where there is no such folder."""
    try:
        return os.listdir(folder)
    except PermissionError as error:
        raise _unreadable(folder, error) from error
    except (OSError, ValueError):
        return []


def _as_spelled(root: str, path: str, names: Callable[[str], list[str]]) -> str | None:
    """The only name below ``root`` that differs from ``path`` in the composition of accents alone."""
    if path.isascii():
        return None
    found = [""]
    for part in map(partial(normalize, "NFC"), PurePosixPath(path).parts):
        found = [f"{above}/{name}" for above in found for name in names(root + above) if normalize("NFC", name) == part]
    return found[0][1:] if len(found) == 1 else None


def _refuse_way_out(root: str, place: str) -> None:
    """Whoever fills an inbox must not reach other files through it; nor could a container, which sees nothing else.

    :raises BadInput: where a link on the way to ``place`` leads out of ``root``, which ends in a slash.
    """
    real = os.path.realpath(place)
    if not os.path.join(real, "").startswith(root):
        raise BadInput(
            f"{place} is a link that leads out of the inbox, to {real}: a stage's container sees the inbox alone",
            f"put the files themselves there, or remove it: rm {place}",
        )


@contextmanager
def _readable(place: Path | str) -> Iterator[None]:
    """Turn what the file system refuses into ours: what cannot be read must not look as if it were not there."""
    try:
        yield
    except OSError as error:
        raise _unreadable(place, error) from error


def _unreadable(place: Path | str, error: OSError) -> BadInput:
    return BadInput(f"{place} cannot be read: {error.strerror}", f"ls -ld {place}")


@dataclass(frozen=True)
class Prefix:
    """A prefix of an object store, or anything else that fsspec reaches."""

    url: str
    fs: Any
    """An ``fsspec.AbstractFileSystem``."""
    root: str
    """The prefix as ``fs`` writes it."""

    def folders(self) -> list[str]:
        with _as_ours(self.url):
            found = self.fs.ls(self.root, detail=True)
        return [PurePosixPath(info["name"]).name for info in found if info["type"] == "directory"]

    def files(self, below: str = "") -> Iterator[File]:
        with _as_ours(self.url):
            found = self.fs.find(f"{self.root}/{below}".rstrip("/"), detail=True)
        for name, info in found.items():
            path = name.removeprefix(self.root).lstrip("/")
            if path and not any(part.startswith(".") for part in path.split("/")):
                yield File(path, int(info["size"] or 0), etag(info))

    def find(self, paths: Collection[str]) -> dict[str, File]:
        if not paths:
            return {}
        there: dict[str, File] = {}
        alike: dict[str, list[File]] = defaultdict(list)
        wanted, forms = set(paths), {normalize("NFC", path) for path in paths}
        for file in self.files():
            if file.path in wanted:
                there[file.path] = file
            if (form := normalize("NFC", file.path)) in forms:
                alike[form].append(file)
        composed = {path: alike[normalize("NFC", path)] for path in wanted - there.keys()}
        return there | {path: files[0] for path, files in composed.items() if len(files) == 1}

    def read(self, path: str) -> bytes:
        with _as_ours(f"{self.url}/{path}"):
            return bytes(self.fs.cat_file(f"{self.root}/{path}"))

    def digest(self, path: str) -> str:
        with _as_ours(f"{self.url}/{path}"), self.fs.open(f"{self.root}/{path}", "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def etag(info: Mapping[str, Any]) -> str | None:
    """What an object store calls an object's content: S3's and HTTP's ETag, GCS's and Azure's ``etag``."""
    found = info.get("ETag") or info.get("etag")
    return str(found).strip('"') if found else None


def is_local(place: str) -> bool:
    """Whether a place is a path of this machine rather than a URL."""
    return "://" not in place


def absolute(place: str) -> str:
    """A path from the root of this machine, without ``file://``; another URL as it is, without a slash at its end."""
    place = place.removeprefix("file://")
    if not is_local(place):
        return place.rstrip("/")
    path = Path(place).expanduser().absolute()
    return str(path.resolve() if ".." in path.parts else path)


def open_store(place: str, options: Mapping[str, Any] | None = None) -> Store:
    """The store of a folder or URL.

    :param options: fsspec's storage options (endpoint, credentials); the environment's hold where there are none.
    :raises BadInput: where there is no such folder, nothing that reaches such a URL is installed, or it has a password.
    """
    place = absolute(place)
    if _PASSWORD.match(place):
        raise BadInput(
            "the address of the inbox holds a password, which logs and records would show",
            "name it without; docs/inboxes.md says where address and keys come from",
        )
    if is_local(place):
        if Path(place).is_file():
            raise BadInput(
                f"the inbox {place} is a file and no list, which would end in .csv or .parquet",
                "name a folder or a list: make run INBOX=FOLDER (docs/inboxes.md)",
            )
        if not Path(place).is_dir():
            raise BadInput(f"the inbox {place} does not exist", "make photos, or name another: make run INBOX=FOLDER")
        return Folder(Path(place))
    from fsspec.core import url_to_fs

    try:
        # What was listed a minute ago is not what is there now.
        fs, root = url_to_fs(place, **{"use_listings_cache": False, "skip_instance_cache": True, **(options or {})})
    except (ImportError, ValueError, TypeError) as error:
        raise BadInput(
            f"the inbox {place} cannot be opened: {error}", "use a URL such as s3://BUCKET/PREFIX"
        ) from error
    return Prefix(place, fs, root.rstrip("/"))


@contextmanager
def _as_ours(url: str) -> Iterator[None]:
    """Turn what a store raises into ours: the thing, what the store said, where its address and keys come from."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except FileNotFoundError:
        raise BadInput(f"the inbox {url} does not exist", "name another: make run INBOX=URL") from None
    except (OSError, BotoCoreError) as error:
        raise BadInput(
            f"the inbox {url} cannot be read: {error}", "see docs/inboxes.md for where address and keys come from"
        ) from error
