"""Lists as inboxes: what a row may say, and what is said of one that is wrong."""

import datetime as dt
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reprise.errors import BadInput
from reprise.sources.inbox import list_inbox

SHA = "0" * 64


def listed(tmp_path: Path, text: str, as_of: str | None = None, **kwargs: str) -> dict[str, list[dict[str, object]]]:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8-sig")
    moment = dt.datetime.fromisoformat(as_of).replace(tzinfo=dt.UTC) if as_of else None
    partitions = list_inbox(str(tmp_path / "list.csv"), moment, tmp_path / "hashes", **kwargs)["partitions"]
    return dict(partitions)


def test_urls_and_paths_with_dates_and_columns_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann/1.jpg").write_bytes(b"ann")
    found = listed(
        tmp_path,
        "URL, path,identity,date,sha256,size\n"
        f"https://host/b.jpg,,Bob,2026-11-08,{SHA.upper()},1\n"
        ",Ann/1.jpg,Ann,2026-11-01 08:30:00,,2\n,Ann/2.jpg,Ann,2026-11-01,,\n,Ann/1.jpg,Ann,2026-11-01,,\n",
    )
    content = {"sha256": hashlib.sha256(b"ann").hexdigest(), "size": 3}
    assert found == {
        "2026-11-01": [{"path": "Ann/1.jpg", "identity": "Ann", **content}, {"path": "Ann/2.jpg", "identity": "Ann"}],
        "2026-11-08": [
            {"path": "https://host/b.jpg", "url": "https://host/b.jpg", "identity": "Bob", "sha256": SHA},
        ],
    }
    assert list(listed(tmp_path, (tmp_path / "list.csv").read_text("utf-8-sig"), "2026-11-02")) == ["2026-11-01"]


def test_without_dates_one_partition_whose_date_the_run_may_say(tmp_path: Path) -> None:
    assert list(listed(tmp_path, "url\nhttp://host/a\n")) == ["undated"]
    assert list(listed(tmp_path, "url\nhttp://host/a\n", arrived="2026-11-03")) == ["2026-11-03"]
    with pytest.raises(BadInput, match="had arrived by 2026-11-02"):
        listed(tmp_path, "url\nhttp://host/a\n", "2026-11-02", arrived="2026-11-03")
    with pytest.raises(BadInput, match="'soon' is no date"):
        listed(tmp_path, "url\nhttp://host/a\n", arrived="soon")


def test_a_day_is_the_same_partition_however_it_is_written(tmp_path: Path) -> None:
    assert list(listed(tmp_path, "path,date,\na,2026-11-01,\nb,20261101,\nc,2026-11-01T08:00,\n")) == ["2026-11-01"]


def test_a_file_that_is_not_what_the_list_says_changes_the_listing_when_it_changes(tmp_path: Path) -> None:
    text = f"path,sha256\na.jpg,{SHA}\n"
    seen = []
    for content in (b"one", b"two"):
        (tmp_path / "a.jpg").write_bytes(content)
        [entry] = listed(tmp_path, text)["undated"]
        assert entry["sha256"] == SHA
        seen.append(entry)
    assert seen[0] != seen[1]


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    dates = [dt.date(2026, 11, 1), dt.date(2026, 11, 8)]
    table = pa.table({"url": ["http://h/a", "http://h/b"], "identity": ["Ann", None], "date": dates, "n": [1, 2]})
    pq.write_table(table, tmp_path / "list.parquet")
    found = list_inbox(str(tmp_path / "list.parquet"), None, tmp_path / "hashes")["partitions"]
    assert found["2026-11-01"] == [{"path": "http://h/a", "url": "http://h/a", "identity": "Ann", "n": "1"}]
    assert found["2026-11-08"] == [{"path": "http://h/b", "url": "http://h/b", "n": "2"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\nx\n", "row 1: it needs a url or a path"),
        ("url,path\nhttp://h/a,a\n", "and not both"),
        ("url\nhttp://h/a\nfile:///etc/passwd\n", "row 2: 'file:///etc/passwd' is no http"),
        ("path\n../secret\n", "is not below the list's folder"),
        ("path\n/etc/passwd\n", "is not below the list's folder"),
        ("path,date\na,2026-13-01\n", "row 1: .*month must be in"),
        ("path,date\na,2026-11-0199\n", "row 1: Invalid isoformat"),
        ("path,date\na,2026-11-01\nb,\n", "row 2: no date, while others have one"),
        ("path,sha256\na,12\n", "'12' is no SHA-256"),
        ("url\nhttps://ann:hidden@h/a\n", "row 1: its URL holds a name or password"),
        ("url,identity\nhttp://h/a,b.jpg,Bob\n", "row 1: it has more values than the first line has names"),
        ("path\n" + "a" * 200_000 + "\n", "is no CSV: field larger than"),
        ("path,date\n" + "a,x\n" * 5, "and 2 more"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        listed(tmp_path, text)


def test_what_is_no_list_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read|does not exist"):
        list_inbox(str(tmp_path / "none.csv"), None, tmp_path / "hashes")
    (tmp_path / "list.parquet").write_bytes(b"no")
    with pytest.raises(BadInput, match="is no Parquet file"):
        list_inbox(str(tmp_path / "list.parquet"), None, tmp_path / "hashes")
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="is no UTF-8 text"):
        list_inbox(str(tmp_path / "list.csv"), None, tmp_path / "hashes")
    table = pa.table({"url": [f"http://h/{n}" for n in range(1000)]})
    pq.write_table(table, tmp_path / "list.parquet", use_dictionary=False, compression="snappy")
    damaged = bytearray((tmp_path / "list.parquet").read_bytes())
    damaged[40:200] = bytes(160)
    (tmp_path / "list.parquet").write_bytes(damaged)
    with pytest.raises(BadInput, match="is no Parquet file"):
        list_inbox(str(tmp_path / "list.parquet"), None, tmp_path / "hashes")
    (tmp_path / "list.csv").write_text("url\n")
    with pytest.raises(BadInput, match="holds no files"):
        list_inbox(str(tmp_path / "list.csv"), None, tmp_path / "hashes")
