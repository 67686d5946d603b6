"""What two runs' data differ in: photographs that came, went, changed, got another name or another verdict."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from facelib import partitions, sections

KEPT = ""
Place = tuple[str, str]
"""Partition and path of a photograph."""


@dataclass(frozen=True)
class Photo:
    """What became of one listed photograph."""

    partition: str
    path: str
    identity: str | None
    content: str | None
    """Tells equal bytes; None where the listing does not know them."""
    verdict: str
    """KEPT, or the stage and its reason."""
    detail: str
    """More of the reason: a sentence, or the measured number and its limit."""


Photos = dict[Place, Photo]


@dataclass(frozen=True)
class Change:
    """A photograph before and after; None where it was not there."""

    before: Photo | None
    after: Photo | None

    @property
    def photo(self) -> Photo:
        """As it is now, or was last."""
        photo = self.after or self.before
        assert photo
        return photo


def read(folder: Path) -> Photos:
    """Every photograph of a run, from source.json, data/rejects and data/clean.parquet in its pipeline's folder."""
    listed = json.loads((folder / "source.json").read_text())["partitions"]
    content = {
        (name, entry["path"]): entry.get("sha256") or entry.get("etag")
        for name, entries in listed.items()
        for entry in entries
    }
    found: Photos = {}

    def add(row: partitions.Row, verdict: str, detail: str) -> None:
        place = row["partition"], row["path"]
        found[place] = Photo(*place, row["identity"], content.get(place), verdict, detail)

    for stage in partitions.STAGES_THAT_REJECT:
        columns = ["path", "identity", "reason", "detail"]
        for row in sections.read_all(folder / "data/rejects" / stage, columns):
            add(row, f"{stage}: {row['reason']}", row["detail"])
    columns = ["partition", "path", "identity", "keep", "reason", "measured", "threshold"]
    for row in partitions.read(folder / "data/clean.parquet", columns, batch=4096):
        if row["keep"]:
            add(row, KEPT, "")
        else:
            add(row, f"clean: {row['reason']}", sections.decision(row) if row["measured"] is not None else "")
    return found


def compare(before: Photos, after: Photos) -> dict[str, list[Change]]:
    """The changes by kind, sorted by place; a photograph can be in several kinds.

    One that is under another path now is the same where its bytes are: moved, or re-labelled where the name is another.
    """
    pairs = {place: place for place in before.keys() & after.keys()}
    pairs |= _moved(before, after)
    came = {place: Change(None, photo) for place, photo in after.items() if place not in pairs.values()}
    went = {place: Change(photo, None) for place, photo in before.items() if place not in pairs}
    both = [Change(before[was], after[now]) for was, now in pairs.items()]
    kinds: dict[str, list[Change]] = {
        "added": list(came.values()),
        "removed": list(went.values()),
        "changed": [],
        "re-labelled": [],
        "moved": [],
        "newly rejected": [],
        "no longer rejected": [],
        "rejected for another reason": [],
    }
    for change in both:
        for kind in _kinds(change):
            kinds[kind].append(change)
    return {kind: sorted(changes, key=_place) for kind, changes in kinds.items()}


def _place(change: Change) -> Place:
    return change.photo.partition, change.photo.path


def _kinds(change: Change) -> list[str]:
    before, after = change.before, change.after
    assert before and after
    found = []
    same_place = (before.partition, before.path) == (after.partition, after.path)
    if same_place and before.content != after.content:
        found.append("changed")
    if before.identity != after.identity:
        found.append("re-labelled")
    elif not same_place:
        found.append("moved")
    if before.verdict != after.verdict:
        if before.verdict == KEPT:
            found.append("newly rejected")
        else:
            found.append("no longer rejected" if after.verdict == KEPT else "rejected for another reason")
    return found


def _moved(before: Photos, after: Photos) -> dict[Place, Place]:
    """Photographs whose bytes are under another path now: place before → place after, each used once."""
    left: dict[str, list[Place]] = defaultdict(list)
    for place in sorted(after.keys() - before.keys()):
        content = after[place].content
        if content:
            left[content].append(place)
    found = {}
    for place in sorted(before.keys() - after.keys()):
        content = before[place].content
        if content and left.get(content):
            found[place] = left[content].pop(0)
    return found


def people(photos: Photos) -> set[str]:
    """Everybody named."""
    return {photo.identity for photo in photos.values() if photo.identity}
