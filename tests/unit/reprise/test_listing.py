"""Listing an inbox: dates, as-of, order, hashes."""

import datetime as dt
import hashlib
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from reprise.errors import BadInput
from reprise.run.opening import moment
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
        ("2026-11-08T00:00:00+02:00", ["2026-11-01"]),
        ("2026-11-08T00:00:01+02:00", ["2026-11-01", "2026-11-08"]),
    ],
)
def test_as_of_is_exclusive_in_its_own_time_zone(tmp_path: Path, as_of: str, dates: list[str]) -> None:
    inbox = fill(tmp_path / "in", "2026-11-01/a", "2026-11-08/b")
    assert sorted(list_inbox(inbox, moment(as_of), tmp_path / "hashes")["partitions"]) == dates


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


def test_links_within_the_inbox_are_read_and_those_that_lead_out_are_refused(tmp_path: Path) -> None:
    inbox = fill(tmp_path / "in", "2026-11-01/a", "2026-11-08/b")
    fill(tmp_path / "other", "2026-11-15/c")
    (tmp_path / "in/2026-11-08/same").symlink_to("../2026-11-01/a")
    (tmp_path / "in/2026-11-08/nowhere").symlink_to("none")
    (tmp_path / "link").symlink_to(inbox)
    listing = list_inbox(str(tmp_path / "link"), None, tmp_path / "hashes")["partitions"]
    assert [entry["path"] for entry in listing["2026-11-08"]] == ["2026-11-08/b", "2026-11-08/same"]
    for link, target in (
        ("in/2026-11-08/file", "other/2026-11-15/c"),
        ("in/2026-11-08/folder", "other"),
        ("in/2026-11-15", "other/2026-11-15"),
    ):
        (tmp_path / link).symlink_to(tmp_path / target)
        with pytest.raises(BadInput, match=f"{link} is a link that leads out of the inbox, to {tmp_path / target}"):
            list_inbox(inbox, None, tmp_path / "hashes")
        (tmp_path / link).unlink()
    (tmp_path / "in/list.csv").write_text("path\nout/2026-11-15/c\n")
    (tmp_path / "in/out").symlink_to(tmp_path / "other")
    with pytest.raises(BadInput, match="leads out of the inbox"):
        list_inbox(f"{inbox}/list.csv", None, tmp_path / "hashes")


def test_what_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = fill(tmp_path / "in", "2026-11-01/Al/1.jpg", "2026-11-01/Bo/2.jpg")
    scandir = os.scandir

    def refuse(folder: str) -> Any:  # root, who may run this, could read it
        if str(folder).endswith("Bo"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("reprise.sources.stores.os.scandir", refuse)
    with pytest.raises(BadInput, match=r"2026-11-01/Bo cannot be read: Permission denied\n  next: ls -ld"):
        list_inbox(inbox, None, tmp_path / "hashes")


def test_odd_names_are_listed_and_one_that_is_no_text_is_named(tmp_path: Path) -> None:
    names = ["-rf", "a\nb.jpg", "Zoë/1.jpg", unicodedata.normalize("NFD", "Zoë/2.jpg"), 'q"\\.jpg']
    inbox = fill(tmp_path / "in", *names)
    listing = list_inbox(inbox, None, tmp_path / "hashes")
    assert sorted(e["path"] for e in json.loads(dump(listing))["partitions"]["undated"]) == sorted(names)
    Path(os.fsdecode(b"%s/J\xf6rg.jpg" % os.fsencode(inbox))).touch()
    with pytest.raises(BadInput, match=r"J\\xf6rg.jpg' in the inbox .* is no UTF-8"):
        list_inbox(inbox, None, tmp_path / "hashes")


def test_an_inbox_with_dates_did_not_arrive_on_another(tmp_path: Path) -> None:
    inbox = fill(tmp_path / "in", "2026-11-08/b")
    with pytest.raises(BadInput, match="has dates of its own, it did not arrive on 2026-11-01"):
        list_inbox(inbox, None, tmp_path / "hashes", arrived="2026-11-01")


@pytest.mark.parametrize("inbox", ["s3://key:hidden@bucket/photos", "ftp://ann:hidden@host/list.csv"])
def test_an_address_with_a_password_is_refused_and_not_repeated(inbox: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds a password") as refused:
        list_inbox(inbox, None, tmp_path / "hashes")
    assert "hidden" not in str(refused.value)
