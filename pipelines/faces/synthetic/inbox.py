"""An inbox of photographs: which files arrive when, and how they are written.

Nothing that exists changes when `people` grows, or `dates` and `photos` in proportion; so an inbox can grow.
"""

import datetime
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from synthetic.person import name_of
from synthetic.scene import Kind, Shot, photograph

VERSION = 1
"""Of the renderer: raise it when the same shot gets other bytes."""
NOTE = ".synthetic.json"
"""Hidden file in the inbox with the settings that made it."""
JOIN = (0, 0, 1, 0, 2, 0, 3, 1)
"""On which date the persons 0, 1, 2 ... are first seen, over and over."""
SHARES: tuple[tuple[Kind, float], ...] = (
    ("empty", 0.02),
    ("two", 0.03),
    ("blurred", 0.03),
    ("small", 0.01),
    ("dark", 0.01),
)
"""Of the photographs; the others are plain portraits."""
COPIES = 0.005
"""Share of the photographs that are there twice."""
EXTRA = 1_000_000
"""Persons and photographs with this number and above stand outside the schedule."""


@dataclass(frozen=True)
class Settings:
    """What an inbox is made from."""

    people: int
    photos: int
    """Of each person, over all dates."""
    dates: int
    """Arrivals, a week apart."""
    seed: int
    difficulty: float
    first_date: str
    """YYYY-MM-DD"""


@dataclass(frozen=True)
class File:
    """One file of an inbox."""

    path: str
    """DATE/PERSON/FILE"""
    shot: Shot
    damage: Literal["", "truncated", "nothing"] = ""
    """Cut off in the middle, or zero bytes long."""


def plan(settings: Settings) -> list[File]:
    """All files, sorted by path; renders nothing."""
    first = datetime.date.fromisoformat(settings.first_date)
    days = [(first + datetime.timedelta(weeks=week)).isoformat() for week in range(settings.dates)]
    files = []
    for person in range(settings.people):
        name = name_of(person, settings.seed)
        join = min(JOIN[person % len(JOIN)], settings.dates - 1)
        for number in range(settings.photos):
            due = (number * settings.dates) // settings.photos
            rng = np.random.default_rng([settings.seed, 3, person, number])
            path = f"{days[max(join, due)]}/{name}/{name}_{number + 1:04d}"
            shot = Shot(settings.seed, person, number, pick(rng), settings.difficulty)
            files.append(File(f"{path}.jpg", shot))
            if rng.random() < COPIES or (person < 3 and number == 0):
                files.append(File(f"{path}_copy.jpg", shot))
    return sorted(files + extras(settings, days[0]), key=lambda file: file.path)


def pick(rng: np.random.Generator) -> Kind:
    """What kind of photograph this one is."""
    at = rng.random()
    for kind, share in SHARES:
        at -= share
        if at < 0:
            return kind
    return "portrait"


def extras(settings: Settings, day: str) -> list[File]:
    """Damaged files, and a person with a single photograph, all on the first date."""

    def file(
        person: int,
        number: int,
        ending: str,
        damage: Literal["", "truncated", "nothing"] = "",
    ) -> File:
        name = name_of(person, settings.seed)
        shot = Shot(settings.seed, person, number, "portrait", settings.difficulty)
        return File(f"{day}/{name}/{name}_{ending}.jpg", shot, damage)

    return [
        file(EXTRA, 0, "0001"),
        file(0, EXTRA, "truncated", "truncated"),
        file(1, EXTRA, "truncated", "truncated"),
        file(0, EXTRA + 1, "nothing", "nothing"),
    ]


def write(folder: Path, file: File) -> None:
    """Render one file into the inbox; it is there whole or not at all."""
    data = b"" if file.damage == "nothing" else photograph(file.shot)
    if file.damage == "truncated":
        data = data[: len(data) // 2]
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def check(folder: Path, settings: Settings, files: list[File]) -> None:
    """Raises SystemExit where the folder holds something that these settings would not keep as it is."""
    note = folder / NOTE
    way_out = f"choose another folder (make photos OUT=FOLDER, or --out FOLDER)\n  next: rm -r {folder}"
    if not note.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise SystemExit(f"{folder} holds files that were not made here; {way_out}")
        return
    try:
        made = json.loads(note.read_text())
        version, before = made.pop("version"), Settings(**made)
        kept = version == VERSION and set(plan(before)) <= set(files)
    except (ValueError, TypeError, KeyError) as error:
        raise SystemExit(f"{note} cannot be read ({error}); {way_out}") from None
    if not kept:
        was = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in asdict(before).items())
        version_was = "" if version == VERSION else f" by version {version} of the renderer (this is {VERSION})"
        raise SystemExit(f"{folder} was made{version_was} with {was}; {way_out}")


def fill(folder: Path, settings: Settings, workers: int) -> Counter[str]:
    """Write what is missing and return how many files of each kind the inbox has.

    Raises SystemExit where the folder was made with other settings (more people are fine, or more dates with
    photographs in proportion).
    """
    files = plan(settings)
    check(folder, settings, files)
    folder.mkdir(parents=True, exist_ok=True)
    note = {"version": VERSION, **asdict(settings)}
    (folder / f"{NOTE}.part").write_text(json.dumps(note, indent=1) + "\n")
    (folder / f"{NOTE}.part").replace(folder / NOTE)
    missing = [file for file in files if not (folder / file.path).exists()]
    if missing and workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            follow(pool.map(partial(write, folder), missing, chunksize=8), len(missing))
    else:
        follow(map(partial(write, folder), missing), len(missing))
    return Counter(file.damage or file.shot.kind for file in files)


def follow(done: Iterable[object], total: int) -> None:
    """Print a line of progress every two seconds or so."""
    start = last = time.monotonic()
    for count, _ in enumerate(done, 1):
        now = time.monotonic()
        if now - last > 2:
            rate = count / (now - start)
            print(
                f"photos: {count}/{total}, {rate:.0f}/s, {(total - count) / rate:.0f} s left",
                flush=True,
            )
            last = now
