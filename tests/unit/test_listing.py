"""Listing an inbox: dates, as-of, order, hashes."""

import datetime as dt
import hashlib
from pathlib import Path

import pytest

from reprise.errors import BadInput
from reprise.sources.inbox import dump, list_inbox


def fill(inbox: Path, *names: str) -> str:
    for name in names:
        (inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (inbox / name).write_text(name)
    return str(inbox)


def test_a_partition_per_arrival_date(tmp_path: Path) -> None:
    inbox = fill(tmp_path / "in", "2026-11-08/Bo/2.jpg", "2026-11-01/Al/1.jpg", "2026-11-08/Al/3.jpg", "notes.txt")
    listing = list_inbox(inbox, None, tmp_path / "hashes")
    assert [e["path"] for e in listing["partitions"]["2026-11-08"]] == ["2026-11-08/Al/3.jpg", "2026-11-08/Bo/2.jpg"]
    first = listing["partitions"]["2026-11-01"][0]
    assert first == {
        "path": "2026-11-01/Al/1.jpg",
        "size": 19,
        "sha256": hashlib.sha256(b"2026-11-01/Al/1.jpg").hexdigest(),
    }
    assert set(listing["partitions"]) == {"2026-11-01", "2026-11-08"}


@pytest.mark.parametrize(
    ("as_of", "dates"),
    [
        ("2026-11-02", ["2026-11-01"]),
        ("2026-11-08", ["2026-11-01"]),
        ("2026-11-08T00:00:01", ["2026-11-01", "2026-11-08"]),
    ],
)
def test_as_of_is_exclusive(tmp_path: Path, as_of: str, dates: list[str]) -> None:
    inbox = fill(tmp_path / "in", "2026-11-01/a", "2026-11-08/b")
    moment = dt.datetime.fromisoformat(as_of).replace(tzinfo=dt.UTC)
    assert sorted(list_inbox(inbox, moment, tmp_path / "hashes")["partitions"]) == dates


def test_without_dates_one_partition_and_hidden_files_passed_over(tmp_path: Path) -> None:
    inbox = fill(tmp_path / "in", "Al/1.jpg", "loose.jpg", ".DS_Store", ".hidden/x.jpg", "2026-13-45/no-date.jpg")
    listing = list_inbox(inbox, None, tmp_path / "hashes")
    assert [e["path"] for e in listing["partitions"]["undated"]] == ["2026-13-45/no-date.jpg", "Al/1.jpg", "loose.jpg"]


def test_same_bytes_whatever_the_order_of_creation(tmp_path: Path) -> None:
    names = ["2026-11-01/b", "2026-11-01/a", "2026-11-08/ü"]
    one = dump(list_inbox(fill(tmp_path / "one", *names), None, tmp_path / "hashes"))
    two = dump(list_inbox(fill(tmp_path / "two", *reversed(names)), None, tmp_path / "hashes"))
    assert one == two


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    inbox = fill(tmp_path / "in", "a")
    before = list_inbox(inbox, None, tmp_path / "hashes")
    (tmp_path / "in/a").write_text("b")
    assert list_inbox(inbox, None, tmp_path / "hashes") != before


def test_nothing_arrived_yet(tmp_path: Path) -> None:
    inbox = fill(tmp_path / "in", "2026-11-08/b")
    with pytest.raises(BadInput, match="holds no files that had arrived by 2026-11-01"):
        list_inbox(inbox, dt.datetime(2026, 11, 1, tzinfo=dt.UTC), tmp_path / "hashes")
