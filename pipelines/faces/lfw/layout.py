"""LFW's photographs laid out as if they had arrived over some weeks: DATE/PERSON/FILE.jpg."""

import datetime
import json
import re
import shutil
import tarfile
import zlib
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

NOTE = ".lfw.json"
"""Hidden file in the inbox with the settings that made it."""
_PHOTOGRAPH = re.compile(r"[^/]+/([^/.][^/]*)/([^/.][^/]*\.jpg)")


@dataclass(frozen=True)
class Settings:
    """What an inbox is made from."""

    variant: str
    dates: int
    """Arrivals, a week apart."""
    min_photos: int
    """People with fewer photographs are left out."""
    first_date: str
    """YYYY-MM-DD"""


def fill(archive: Path, out: Path, settings: Settings) -> tuple[int, int]:
    """Unpack an archive as an inbox, whole or not at all; returns how many people and photographs it has.

    Raises SystemExit where `out` holds something else, or the archive no photographs.
    """
    if out.exists() and any(out.iterdir()):
        _refuse_other(out, settings)
    else:
        draft = out.with_name(f".{out.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        _unpack(archive, draft, settings)
        (draft / NOTE).write_text(json.dumps(asdict(settings), indent=1) + "\n")
        if out.exists():
            out.rmdir()
        draft.rename(out)
    photographs = list(out.glob("*/*/*.jpg"))
    return len({path.parent.name for path in photographs}), len(photographs)


def arrivals(name: str, photos: int, dates: int) -> list[int]:
    """On which date each of a person's photographs arrives: people join over time, their photographs follow evenly."""
    join = zlib.crc32(name.encode()) % dates
    return [join + number * (dates - join) // photos for number in range(photos)]


def _unpack(archive: Path, out: Path, settings: Settings) -> None:
    first = datetime.date.fromisoformat(settings.first_date)
    days = [(first + datetime.timedelta(weeks=week)).isoformat() for week in range(settings.dates)]
    waiting = out / ".unpacked"
    people = defaultdict(list)
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            found = _PHOTOGRAPH.fullmatch(member.name)
            if found and member.isfile():
                person, file = found.groups()
                content = tar.extractfile(member)
                assert content  # it is a file
                (waiting / person).mkdir(parents=True, exist_ok=True)
                (waiting / person / file).write_bytes(content.read())
                people[person].append(file)
    if max(map(len, people.values()), default=0) < settings.min_photos:
        raise SystemExit(f"{archive} holds nobody with {settings.min_photos} photographs (FOLDER/PERSON/FILE.jpg)")
    taken = {person: sorted(files) for person, files in people.items() if len(files) >= settings.min_photos}
    due = {person: arrivals(person, len(files), settings.dates) for person, files in taken.items()}
    used = {date for dates in due.values() for date in dates}
    if len(used) < settings.dates:
        count = sum(map(len, taken.values()))
        shutil.rmtree(out)
        raise SystemExit(
            f"{count} photographs arrive on {len(used)} dates, not {settings.dates}; give fewer: make lfw DATES={len(used)}"
        )
    for person, files in taken.items():
        for file, date in zip(files, due[person], strict=True):
            (out / days[date] / person).mkdir(parents=True, exist_ok=True)
            (waiting / person / file).rename(out / days[date] / person / file)
    shutil.rmtree(waiting)


def _refuse_other(out: Path, settings: Settings) -> None:
    try:
        made = json.loads((out / NOTE).read_text())
    except (OSError, ValueError):
        made = None
    if made != asdict(settings):
        what = f"was made with {made}" if made else "holds files that were not made here"
        raise SystemExit(
            f"{out} {what}; choose another folder (make lfw OUT=FOLDER, or --out FOLDER)\n  next: rm -r {out}"
        )
