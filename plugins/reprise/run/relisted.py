"""What became of arrival dates that an earlier run took: a past that changes is told, not silently read again."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from reprise.pipeline.manifest import LISTING
from reprise.pipeline.stages import Pipeline
from reprise.settings import Settings
from reprise.sources.inbox import UNDATED, Entry, Listing, began
from reprise.sources.stores import absolute

_NAMED = 20
"""Names kept of each kind; the counts are complete."""

_LOOKED_AT = 50
"""Latest records that are asked; each costs two git processes."""

Differences = dict[str, dict[str, Any]]
"""``{partition: {kind: {"count", "paths"}}}`` for the kinds ``added``, ``changed`` and ``vanished`` that occur."""


def since_records(
    settings: Settings, pipeline: Pipeline, inbox: str, listing: Listing, as_of: dt.datetime | None
) -> Differences:
    """Each partition, one that is gone included, against the latest record that took it from the same inbox."""
    from reprise.run import records

    now = listing["partitions"]
    seen: set[str] = set()
    found: Differences = {}
    read: set[str] = set()  # runs with other parameters share a listing, which is large
    for record in list(records.every(settings.origin, pipeline.path))[: -_LOOKED_AT - 1 : -1]:
        if now.keys() <= seen:
            break
        blob = record.blob(LISTING)
        if blob not in read and absolute(record.about.get("inbox") or "") == absolute(inbox):
            read.add(blob)
            for name, before in record.listing.items():
                wanted = name in now or name == UNDATED or began(name, as_of)
                if name not in seen and wanted and (differs := compare(before, now.get(name, []))):
                    found[name] = differs
                seen.add(name)
    return dict(sorted(found.items()))


def compare(before: list[Entry], now: list[Entry]) -> dict[str, Any]:
    """What was added, changed or vanished, by path; empty where nothing was."""
    old, new = _by_path(before), _by_path(now)
    kinds = {
        "added": new.keys() - old.keys(),
        "changed": {path for path in new.keys() & old.keys() if new[path] != old[path]},
        "vanished": old.keys() - new.keys(),
    }
    return {kind: {"count": len(p), "paths": sorted(p)[:_NAMED]} for kind, p in kinds.items() if p}


def lines(differences: Differences) -> list[str]:
    """A line for each partition, for people."""
    return [
        f"{name} is not what an earlier run took: "
        + "; ".join(
            f"{d['count']} {kind} ({', '.join(d['paths'][:3])}{' …' if d['count'] > 3 else ''})"
            for kind, d in kinds.items()
        )
        for name, kinds in differences.items()
    ]


def _by_path(entries: list[Entry]) -> Mapping[str, Any]:
    """Content by path; a list may name one path twice."""
    found: dict[str, list[Any]] = {}
    for entry in entries:
        found.setdefault(entry["path"], []).append(sorted(entry.items()))
    return found
