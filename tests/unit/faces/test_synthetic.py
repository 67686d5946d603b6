"""The synthetic photographs: same seed, same bytes; an inbox that grows; awkward files."""

import io
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

FACES = Path(__file__).resolve().parents[3] / "pipelines" / "faces"
sys.path.insert(0, str(FACES))

from synthetic.inbox import Settings, fill, plan
from synthetic.person import invent, name_of
from synthetic.scene import TURNS, Shot, encode, photograph

TINY = Settings(people=2, photos=2, dates=2, seed=7, difficulty=0.5, first_date="2026-11-01")
USUAL = Settings(people=60, photos=20, dates=4, seed=1, difficulty=0.5, first_date="2026-11-01")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, str(FACES / "synthetic"), *arguments]
    return subprocess.run(start, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "inbox"
    fill(folder, TINY, workers=1)
    return folder


def test_a_shot_gives_the_same_bytes_again_and_another_seed_gives_others() -> None:
    shot = Shot(seed=1, person=3, number=2, kind="portrait", difficulty=0.5)
    data = photograph(shot)
    assert data == photograph(shot)
    assert data != photograph(replace(shot, seed=2))
    assert min(Image.open(io.BytesIO(data)).size) >= 250


def test_the_number_of_workers_does_not_matter(inbox: Path, tmp_path: Path) -> None:
    fill(tmp_path / "other", TINY, workers=2)
    assert contents(tmp_path / "other") == contents(inbox)


def test_what_is_missing_is_made_again_and_nothing_else_touched(inbox: Path) -> None:
    before = contents(inbox)
    files = sorted(inbox.rglob("*.jpg"))
    files[2].unlink()
    times = {path: path.stat().st_mtime_ns for path in files if path.exists()}
    fill(inbox, TINY, workers=1)
    assert contents(inbox) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_awkward_files(inbox: Path) -> None:
    files = contents(inbox)
    truncated = [data for path, data in files.items() if path.endswith("truncated.jpg")]
    assert len(truncated) == 2
    for data in truncated:
        with pytest.raises(OSError):
            Image.open(io.BytesIO(data)).load()
    assert [data for path, data in files.items() if path.endswith("nothing.jpg")] == [b""]
    copies = [path for path in files if path.endswith("_copy.jpg")]
    assert copies
    assert all(files[path] == files[path.replace("_copy", "")] for path in copies)


def test_shares_of_awkward_photographs() -> None:
    files = plan(USUAL)
    kinds = Counter(file.shot.kind for file in files)
    expected = {"empty": 24, "two": 36, "blurred": 36, "small": 12, "dark": 12}
    assert set(kinds) == {*expected, "portrait"}
    assert all(count / 2.5 < kinds[kind] < 2.5 * count for kind, count in expected.items())
    dates, people = (Counter(file.path.split("/")[i] for file in files) for i in (0, 1))
    assert sorted(dates) == ["2026-11-01", "2026-11-08", "2026-11-15", "2026-11-22"]
    assert min(dates.values()) > 150
    assert len(people) == 61
    assert [count for count in people.values() if count < 20] == [1]


def test_later_dates_bring_new_people_and_old_ones() -> None:
    seen: set[str] = set()
    files = plan(USUAL)
    for day in sorted({file.path.split("/")[0] for file in files}):
        here = {file.path.split("/")[1] for file in files if file.path.startswith(day)}
        assert here - seen
        assert not seen or len(here & seen) >= 30
        seen |= here


@pytest.mark.parametrize("more", [{"people": 70}, {"dates": 5, "photos": 25}])
def test_an_inbox_can_grow(more: dict[str, int]) -> None:
    assert set(plan(USUAL)) < set(plan(replace(USUAL, **more)))


def test_other_settings_are_refused(inbox: Path) -> None:
    before = contents(inbox)
    done = command(
        "--out",
        str(inbox),
        "--people",
        "2",
        "--photos",
        "2",
        "--dates",
        "2",
        "--seed",
        "8",
    )
    assert done.returncode == 1
    assert "was made with --people 2" in done.stderr
    assert f"rm -r {inbox}" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(inbox) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"")
    with pytest.raises(SystemExit, match="not made here"):
        fill(tmp_path, TINY, workers=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--people", "0"], "error: PEOPLE (--people): 0 is not in 1..10000\n  next: .venv/bin/python pipelines/faces"),
        (["--people", "abc"], "PEOPLE (--people): 'abc' is no integer"),
        (["--first-date", "soon"], "not a date like 2026-11-01"),
        (
            ["--photos", "3", "--dates", "4"],
            "DATES (--dates): 3 photographs of a person arrive on 3 dates at most, not 4",
        ),
        (
            ["--first-date", "9999-12-31", "--dates", "2"],
            "DATES (--dates): a week apart from 9999-12-31 on, the last of 2",
        ),
        (["--first-date", "2999-01-01"], "is yet to come; give fewer, or FIRST_DATE (--first-date) as "),
    ],
)
def test_bad_arguments(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = command(*arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("photos", "dates"), [(1, 1), (2, 2), (7, 5), (30, 30), (31, 30), (100, 52)])
def test_there_are_as_many_dates_as_were_asked_for(photos: int, dates: int) -> None:
    found = {file.path.split("/")[0] for file in plan(replace(USUAL, people=1, photos=photos, dates=dates))}
    assert len(found) == dates


def test_the_last_date_may_be_today(tmp_path: Path) -> None:
    week_ago, today = (date.today() - timedelta(days=days) for days in (7, 0))
    few = ("--out", str(tmp_path / "out"), "--people", "1", "--photos", "2", "--dates", "2")
    assert command(*few, "--first-date", str(week_ago + timedelta(days=1))).returncode == 2
    assert command(*few, "--first-date", str(week_ago)).returncode == 0
    assert sorted(folder.name for folder in (tmp_path / "out").glob("2*")) == [str(week_ago), str(today)]


def test_turned_photographs_are_upright_for_a_viewer() -> None:
    upright = Image.new("RGB", (64, 48), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 32, 24))  # red in the upper left
    found = set()
    for seed in range(150):
        picture = Image.open(io.BytesIO(encode(upright, np.random.default_rng(seed), 0.5)))
        found.add(picture.getexif().get(0x0112, 1))
        shown = ImageOps.exif_transpose(picture)
        assert shown.size == upright.size
        red, _, blue = shown.getpixel((10, 10))
        assert red > 150 > blue
    assert found == {1, *TURNS}


def test_people_differ_and_so_do_their_names() -> None:
    assert len({name_of(index, seed=1) for index in range(3000)}) == 3000
    assert invent(1, 5) == invent(1, 5)
    assert len({invent(1, index).nose_width for index in range(50)}) == 50
