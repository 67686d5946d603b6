"""Files of the inbox, taken as the source listing describes them."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class Missing(Exception):
    """A listed file cannot be taken: `reason` is a slug, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Entry:
    """One line of the source listing."""

    path: str
    """Relative to the inbox, with forward slashes."""
    sha256: str
    size: int
    """Bytes."""

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{self.path!r} leads out of the inbox")


def _entry(fields: dict[str, str | int]) -> Entry:
    return Entry(**fields)  # type: ignore[arg-type]  # a wrong type or name is a TypeError


def listing(path: Path) -> dict[str, list[Entry]]:
    """The source listing: entries by partition, sorted. Raises SystemExit without a sound one."""
    try:
        partitions = sorted(json.loads(path.read_text())["partitions"].items())
        return {name: sorted(map(_entry, entries), key=lambda entry: entry.path) for name, entries in partitions}
    except FileNotFoundError:
        raise SystemExit(f"{path} is not here; it lists the inbox, and a run's first step writes it") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SystemExit(f"{path} is no source listing ({error}); write it again from the inbox") from None


def folder() -> Path:
    """The inbox, as the environment variable INBOX names it. Raises SystemExit where there is none."""
    name = os.environ.get("INBOX")
    if not name:
        raise SystemExit("INBOX is not set; name the folder that source.json lists: INBOX=FOLDER python download.py")
    path = Path(name)
    if not path.is_dir():
        raise SystemExit(f"INBOX={name} is not a folder; mount it, or set INBOX to the folder that source.json lists")
    return path


def identity(path: str, partition: str) -> str | None:
    """Who is in the photograph: the folder that directly holds it, None for one that lies loose."""
    folders = PurePosixPath(path).parts[:-1]
    if folders[:1] == (partition,):
        folders = folders[1:]
    return folders[-1] if folders else None


def take(inbox: Path, entry: Entry, max_bytes: int) -> bytes:
    """The bytes of a listed file.

    Raises Missing: empty, too_large, vanished (no file there now), unreadable, changed (other bytes).
    """
    if entry.size == 0:
        raise Missing("empty", "the file has no bytes")
    if entry.size > max_bytes:
        raise Missing("too_large", f"{entry.size} bytes, allowed are {max_bytes}")
    try:
        if not (inbox / entry.path).is_file() and (inbox / entry.path).exists():
            raise Missing("unreadable", "not a regular file")
        with (inbox / entry.path).open("rb") as file:
            data = file.read(entry.size + 1)  # one byte more shows that it grew
    except (FileNotFoundError, NotADirectoryError):
        raise Missing("vanished", "listed, but no longer in the inbox") from None
    except OSError as error:
        raise Missing("unreadable", error.strerror or type(error).__name__) from None
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise Missing("changed", "other bytes than when it was listed")
    return data
