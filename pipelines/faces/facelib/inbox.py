"""Files of the inbox, taken as the source listing describes them."""

import errno
import hashlib
import json
import os
import unicodedata
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Protocol


class Missing(Exception):
    """A listed file cannot be taken: `reason` is a slug, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Entry:
    """One file of the source listing."""

    path: str
    """Relative to the inbox, with forward slashes; of a file on the web, its URL."""
    size: int | None = None
    """Bytes; None where the list names a file that the inbox does not have, and on the web."""
    sha256: str | None = None
    etag: str | None = None
    """What an object store called the content, where it is known by that and not by a digest."""
    url: str | None = None
    identity: str | None = None
    """Who is in the photograph, where a list says so."""

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if not self.url and (path.is_absolute() or ".." in path.parts):
            raise ValueError(f"{self.path!r} leads out of the inbox")


_FIELDS = {field.name for field in fields(Entry)}


def _entry(given: dict[str, Any]) -> Entry:
    """What concerns us of a line; a list may have columns of its own. A wrong type or name is a TypeError."""
    return Entry(**{name: value for name, value in given.items() if name in _FIELDS})


def listing(path: Path) -> dict[str, list[Entry]]:
    """The source listing: entries by partition, sorted. Raises SystemExit without a sound one."""
    try:
        partitions = sorted(json.loads(path.read_text())["partitions"].items())
        return {name: sorted(map(_entry, entries), key=lambda entry: entry.path) for name, entries in partitions}
    except FileNotFoundError:
        raise SystemExit(f"{path} is not here; it lists the inbox, and a run's first step writes it") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SystemExit(f"{path} is no source listing ({error}); write it again from the inbox") from None


def identity(entry: Entry, partition: str) -> str | None:
    """Who is in the photograph: as the list says, else the folder that directly holds it; None for a loose one."""
    folders = PurePosixPath(entry.path).parts[:-1]
    if folders[:1] == (partition,):
        folders = folders[1:]
    folder = folders[-1] if folders and not entry.url else None
    name = entry.identity or folder
    return unicodedata.normalize("NFC", name) if name else None  # a Mac writes Zoë in another way: it is one person


class Inbox(Protocol):
    """Where listed files lie."""

    def read(self, path: str, size: int) -> bytes:
        """A file's first `size` bytes and one more, which shows that it grew.

        Raises Missing: vanished, unreadable, changed.
        """

    def etag(self, path: str) -> str | None:
        """What the store calls the file's content now."""


@dataclass(frozen=True)
class Folder:
    """An inbox on this machine."""

    root: Path

    def read(self, path: str, size: int) -> bytes:
        file = self.root / path
        try:
            if not file.is_file() and file.exists():
                raise Missing("unreadable", "not a regular file")
            with file.open("rb") as content:
                return content.read(size + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise Missing("vanished", "listed, but no longer in the inbox") from None
        except OSError as error:
            raise Missing("unreadable", error.strerror or type(error).__name__) from None

    def etag(self, path: str) -> str | None:
        return None


@dataclass(frozen=True)
class Prefix:
    """An inbox on an object store; fsspec finds address and credentials in its own configuration."""

    fs: Any
    root: str

    def read(self, path: str, size: int) -> bytes:
        try:
            return bytes(self.fs.cat_file(f"{self.root}/{path}", start=0, end=size + 1))
        except FileNotFoundError:
            raise Missing("vanished", "listed, but no longer in the inbox") from None
        except PermissionError as error:
            raise Missing("unreadable", str(error)) from None
        except Exception as error:  # stores raise what they like; one that is away is no reason to reject a file
            if getattr(error, "errno", None) == errno.EINVAL:  # the range: fewer bytes than were listed
                raise Missing("changed", "other bytes than when it was listed") from None
            raise SystemExit(f"{self.root}/{path} cannot be read: {type(error).__name__}: {error}") from None

    def etag(self, path: str) -> str | None:
        try:
            info = self.fs.info(f"{self.root}/{path}")
        except FileNotFoundError:
            return None
        return str(info.get("ETag") or info.get("etag")).strip('"')


def open_inbox() -> Inbox:
    """The inbox, as the environment variable INBOX names it. Raises SystemExit where there is none."""
    place = os.environ.get("INBOX")
    if not place:
        raise SystemExit("INBOX is not set; name the folder or URL that source.json lists: INBOX=… python download.py")
    if "://" not in place:
        if not Path(place).is_dir():
            raise SystemExit(f"INBOX={place} is not a folder; mount it, or set INBOX to what source.json lists")
        return Folder(Path(place))
    from fsspec.core import url_to_fs

    try:
        return Prefix(*url_to_fs(place.rstrip("/"), use_listings_cache=False))
    except (ImportError, ValueError, TypeError) as error:
        raise SystemExit(f"INBOX={place} cannot be opened: {error}") from None


def take(inbox: Inbox, entry: Entry, max_bytes: int) -> tuple[bytes, str]:
    """The bytes of a listed file and their SHA-256.

    Raises Missing: empty, too_large, vanished (no file there now), unreadable, changed (other bytes).
    """
    if entry.size is None:
        raise Missing("vanished", "the list names it, the inbox did not have it")
    if entry.size == 0:
        raise Missing("empty", "the file has no bytes")
    if entry.size > max_bytes:
        raise Missing("too_large", f"{entry.size} bytes, allowed are {max_bytes}")
    data = inbox.read(entry.path, entry.size)
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) != entry.size or entry.sha256 not in (None, sha256):
        raise Missing("changed", "other bytes than when it was listed")
    # S3's ETag of an object put in one piece is its MD5; any other is asked for, after the bytes were read.
    if entry.etag and entry.etag not in (hashlib.md5(data).hexdigest(), inbox.etag(entry.path)):
        raise Missing("changed", "another object than when it was listed")
    return data, sha256
