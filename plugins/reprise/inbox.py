"""List an inbox: which files had arrived by a date, with their hashes. The as-of date is applied here and only here."""

import datetime as dt
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reprise.errors import BadInput

UNDATED = "undated"
"""The one partition of an inbox without date folders."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

Listing = dict[str, Any]
"""``{"partitions": {name: [{"path", "sha256", "size"}, ...]}}``, sorted."""


def list_inbox(inbox: Path, as_of: dt.datetime | None, hashes: Path) -> Listing:
    """List the files of every arrival date that began before ``as_of``, a sub-folder per date.

    Without date folders the whole inbox is one partition. Hidden files and folders are passed over.

    :param as_of: end of the run's data interval, exclusive; None takes everything.
    :param hashes: folder that remembers content hashes by (path, size, mtime), so that none is computed twice.
    :raises BadInput: where the inbox is missing or holds no file that had arrived.
    """
    if not inbox.is_dir():
        raise BadInput(f"the inbox {inbox} does not exist", "make photos, or name another: make run INBOX=FOLDER")
    dates = sorted(p.name for p in inbox.iterdir() if p.is_dir() and _is_date(p.name))
    taken = [date for date in dates if as_of is None or _began(date, as_of)]
    folders = {date: inbox / date for date in taken} if dates else {UNDATED: inbox}
    partitions = {name: _list_partition(inbox, folder, hashes) for name, folder in folders.items()}
    partitions = {name: entries for name, entries in partitions.items() if entries}
    if not partitions:
        until = f" that had arrived by {as_of.date()}" if as_of and dates else ""
        raise BadInput(f"the inbox {inbox} holds no files{until}", f"ls -R {inbox} | head")
    return {"partitions": partitions}


def dump(listing: Listing) -> bytes:
    """The listing as the bytes of source.json: one line a file, so that git diffs it well."""
    return (json.dumps(listing, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _is_date(name: str) -> bool:
    try:
        return bool(_DATE.fullmatch(name)) and bool(dt.date.fromisoformat(name))
    except ValueError:
        return False


def _began(date: str, as_of: dt.datetime) -> bool:
    """Whether the arrival date lies before ``as_of`` in the latter's time zone."""
    return dt.datetime.fromisoformat(date).replace(tzinfo=as_of.tzinfo) < as_of


def _list_partition(inbox: Path, folder: Path, hashes: Path) -> list[dict[str, Any]]:
    import diskcache

    files = sorted(
        p for p in folder.rglob("*") if p.is_file() and not any(s.startswith(".") for s in p.relative_to(inbox).parts)
    )
    with diskcache.Cache(str(hashes)) as known, ThreadPoolExecutor(4) as pool:
        digests = pool.map(lambda p: _sha256(p, known), files)
        return [
            {"path": file.relative_to(inbox).as_posix(), "sha256": digest, "size": file.stat().st_size}
            for file, digest in zip(files, digests, strict=True)
        ]


def _sha256(file: Path, known: Any) -> str:
    stat = file.stat()
    key = (str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    digest = known.get(key)
    if digest is None:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        known.set(key, digest)
    return str(digest)
