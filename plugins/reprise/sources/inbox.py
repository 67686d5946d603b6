"""List an inbox: which files had arrived by a date, and what their content is. As-of is applied here and only here."""

import datetime as dt
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprise.errors import BadInput
from reprise.settings import Settings
from reprise.sources import connection, filelist
from reprise.sources.stores import File, Store, absolute, is_local, open_store

UNDATED = "undated"
"""The one partition of an inbox without dates, unless the run says when it arrived."""

_REMEMBERED_AT_ONCE = 1000

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

Entry = dict[str, Any]
"""``path`` and ``size``; its content as ``sha256``, or as the ``etag`` of an object store, which a digest would have
to read whole; of a list also ``url`` and the list's own columns.

Only ``path`` is always there: nobody knows the size of a URL, or of a listed file that is missing, before it is read."""

Listing = dict[str, Any]
"""``{"partitions": {name: [Entry, ...]}}``, sorted."""


@dataclass(frozen=True)
class Total:
    """How much a listing holds."""

    dates: int
    files: int
    size: int | None
    """Bytes of all files; None if the size of one of them is unknown, as it is of a URL before it is fetched."""

    def __str__(self) -> str:
        size = "size unknown" if self.size is None else f"{self.size:,} bytes"
        return f"{self.dates} dates, {self.files} files, {size}"


def total(partitions: Mapping[str, list[Entry]]) -> Total:
    """Sum up the partitions of a listing."""
    entries = [entry for part in partitions.values() for entry in part]
    known = [entry["size"] for entry in entries if entry.get("size") is not None]
    return Total(len(partitions), len(entries), sum(known) if len(known) == len(entries) else None)


def list_inbox(
    inbox: str,
    as_of: dt.datetime | None,
    hashes: Path,
    arrived: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Listing:
    """List the files of every arrival date that began before ``as_of``.

    The dates are the inbox's sub-folders, or a list's column. Without any the whole inbox is one partition. Hidden
    files and folders are passed over.

    :param inbox: a folder, a URL that fsspec reaches, or a list in either (``.csv``, ``.parquet``).
    :param as_of: end of the run's data interval, exclusive; None takes everything.
    :param hashes: folder that remembers content hashes by (path, size, mtime), so that none is computed twice.
    :param arrived: date on which an inbox without dates arrived; names its partition.
    :param options: fsspec's storage options.
    :raises BadInput: where the inbox is missing or wrong, or holds no file that had arrived.
    """
    if arrived and not _is_date(arrived):
        raise BadInput(f"the arrival date {arrived!r} is no date", "use one like 2026-11-01")
    root, name = split(inbox)
    store = open_store(root, options)
    found = _listed(store, name, hashes) if name else _in_folders(store, as_of, hashes)
    if arrived and UNDATED not in found:
        raise BadInput(f"the inbox {inbox} has dates of its own, it did not arrive on {arrived}", "leave ARRIVED out")
    if arrived:
        found = {arrived: found[UNDATED]}
    dated = UNDATED not in found
    taken = {d: _sorted(e) for d, e in sorted(found.items()) if e and (not dated or began(d, as_of))}
    if not taken:
        until = f" that had arrived by {as_of.date()}" if as_of and dated else ""
        raise BadInput(f"the inbox {inbox} holds no files{until}", f"look into it: ls -R {inbox} | head")
    return {"partitions": taken}


def look(settings: Settings, inbox: str, as_of: dt.datetime | None = None, arrived: str | None = None) -> Listing:
    """:func:`list_inbox` as this installation is set up."""
    given = connection.options(settings, split(inbox)[0])
    return list_inbox(inbox, as_of, settings.var / "hashes", arrived, given)


def split(inbox: str) -> tuple[str, str]:
    """The folder or prefix in which an inbox's files lie, and the list's name; empty where it is no list."""
    inbox = absolute(inbox)
    if not filelist.is_list(inbox):
        return inbox, ""
    root, _, name = inbox.rpartition("/")
    return root, name


def urls(listing: Listing) -> list[str]:
    """What a listing names on the web."""
    return [entry["url"] for entries in listing["partitions"].values() for entry in entries if "url" in entry]


def is_elsewhere(inbox: str, listing: Listing) -> bool:
    """Whether a network is needed to read what a listing of ``inbox`` names."""
    return not is_local(split(inbox)[0]) or bool(urls(listing))


def dump(listing: Listing) -> bytes:
    """The listing as the bytes of source.json: one line a field, so that git diffs it well."""
    return (json.dumps(listing, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _in_folders(store: Store, as_of: dt.datetime | None, hashes: Path) -> dict[str, list[Entry]]:
    """A partition per date folder, of those that can be wanted; the whole inbox is one where there are none."""
    dates = [name for name in store.folders() if _is_date(name)]
    if not dates:
        return {UNDATED: _entries(store, store.files(), hashes)}
    return {date: _entries(store, store.files(date), hashes) if began(date, as_of) else [] for date in dates}


def _listed(store: Store, name: str, hashes: Path) -> dict[str, list[Entry]]:
    """A partition per date in a list. Rows that name the same file in the same way count once."""
    rows = filelist.parse(name, store.read(name))
    beside = store.find({row.place for row in rows if not row.is_url})
    known = {entry["path"]: entry for entry in _entries(store, beside.values(), hashes)}
    found: dict[str, dict[str, Entry]] = defaultdict(dict)
    for row in rows:
        entry: Entry = {**row.labels, "path": row.place}
        if row.is_url:
            entry["url"] = row.place
        if row.place in beside:
            entry |= known[beside[row.place].path]
        if row.sha256 and entry.get("sha256", row.sha256) != row.sha256:
            entry["found"] = entry["sha256"]  # not what the list says: refused, until it is
        if row.sha256:
            entry["sha256"] = row.sha256
        found[row.date or UNDATED][json.dumps(entry, sort_keys=True)] = entry
    return {date: list(entries.values()) for date, entries in found.items()}


def _is_date(name: str) -> bool:
    try:
        return bool(_DATE.fullmatch(name)) and bool(dt.date.fromisoformat(name))
    except ValueError:
        return False


def began(date: str, as_of: dt.datetime | None) -> bool:
    """Whether the arrival date lies before ``as_of`` in the latter's time zone."""
    return as_of is None or dt.datetime.fromisoformat(date).replace(tzinfo=as_of.tzinfo) < as_of


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry["path"], json.dumps(entry, sort_keys=True)))


def _entries(store: Store, files: Iterable[File], hashes: Path) -> list[Entry]:
    """The files with what their content is: an ETag where the store gives one, else a digest, remembered by stamp."""
    found = list(files)
    digests = _digests(store, [file for file in found if not file.etag], hashes)
    return [
        {"path": file.path, "size": file.size} | ({"etag": file.etag} if file.etag else {"sha256": digests[file.path]})
        for file in found
    ]


def _digests(store: Store, files: list[File], hashes: Path) -> dict[str, str]:
    """SHA-256 by path. What is new is remembered every thousand files, so that a break costs no more."""
    import diskcache

    with diskcache.Cache(str(hashes)) as known, ThreadPoolExecutor(4) as pool:
        digests: dict[str, str] = {file.path: known.get(file.stamp, "") if file.stamp else "" for file in files}
        new = [file for file in files if not digests[file.path]]
        for start in range(0, len(new), _REMEMBERED_AT_ONCE):
            some = new[start : start + _REMEMBERED_AT_ONCE]
            computed = list(pool.map(lambda file: store.digest(file.path), some))
            with known.transact():
                for file, digest in zip(some, computed, strict=True):
                    digests[file.path] = digest
                    if file.stamp:
                        known.set(file.stamp, digest)
        return digests
