"""Lists as inboxes: what a row may say, and what is said of one that is wrong."""

import csv
import datetime as dt
import hashlib
import io
import unicodedata
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprise.errors import BadInput
from reprise.sources import filelist
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
        ("url\nhttp://h/a\nfile:///etc/passwd\n", "row 2: 'file:///etc/passwd' is not an http"),
        ("path\n../secret\n", "is not below the list's folder"),
        ("path\n/etc/passwd\n", "is not below the list's folder"),
        ("path,date\na,2026-13-01\n", "row 1: .*month must be in"),
        ("path,date\na,2026-11-0199\n", "row 1: Invalid isoformat"),
        ("path,date\na,2026-11-01\nb,\n", "row 2: no date, while others have one"),
        ("path,sha256\na,12\n", "'12' is not a SHA-256"),
        ("url\nhttps://ann:hidden@h/a\n", "row 1: its URL holds a name or password"),
        ("url,identity\nhttp://h/a,b.jpg,Bob\n", "row 1: it has more values than the first line has names"),
        ("path\n" + "a" * 200_000 + "\n", "is not CSV: field larger than"),
        ("path,date\n" + "a,x\n" * 5, "and 2 more"),
        ("path,date\na,T08:00\n", "row 1: 'T08:00' does not begin with a date"),
        ("path,identity,Identity \na,Ann,Bob\n", "two columns are called identity"),
        ('path,identity\n"a,Ann\nb,Bob\n', "is not CSV: unexpected end of data"),
        ("path\na\0b\n", "it has NUL characters"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        listed(tmp_path, text)


def test_what_is_no_list_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read|does not exist"):
        list_inbox(str(tmp_path / "none.csv"), None, tmp_path / "hashes")
    (tmp_path / "list.parquet").write_bytes(b"no")
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        list_inbox(str(tmp_path / "list.parquet"), None, tmp_path / "hashes")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"):
        (tmp_path / "list.csv").write_bytes("path,identity\na.jpg,Zoë\n".encode(encoding))
        with pytest.raises(BadInput, match="is not UTF-8 text"):
            list_inbox(str(tmp_path / "list.csv"), None, tmp_path / "hashes")
    table = pa.table({"url": [f"http://h/{n}" for n in range(1000)]})
    pq.write_table(table, tmp_path / "list.parquet", use_dictionary=False, compression="snappy")
    damaged = bytearray((tmp_path / "list.parquet").read_bytes())
    damaged[40:200] = bytes(160)
    (tmp_path / "list.parquet").write_bytes(damaged)
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        list_inbox(str(tmp_path / "list.parquet"), None, tmp_path / "hashes")
    (tmp_path / "list.csv").write_text("url\n")
    with pytest.raises(BadInput, match="holds no files"):
        list_inbox(str(tmp_path / "list.csv"), None, tmp_path / "hashes")


NFC, NFD = (unicodedata.normalize(form, "Zoë/é ñ.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("named", "lies"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_accents_are_found_however_they_are_composed(tmp_path: Path, named: str, lies: str) -> None:
    """A Mac and a table calculation write the same name in other bytes. The entry has the name that can be opened."""
    (tmp_path / lies).parent.mkdir()
    (tmp_path / lies).write_bytes(b"zoe")
    [entry] = listed(tmp_path, f"path,identity\n{named},Zoë\n")["undated"]
    assert (entry["path"], entry["size"], entry["identity"]) == (lies, 3, "Zoë")
    assert (tmp_path / str(entry["path"])).read_bytes() == b"zoe"


def test_two_files_whose_names_differ_in_composition_alone_are_two_files(tmp_path: Path) -> None:
    for number, name in enumerate((NFC, NFD), 1):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x" * number)
    assert [entry["size"] for entry in listed(tmp_path, f"path\n{NFC}\n{NFD}\n")["undated"]] == [2, 1]
    mixed = f"{NFC.split('/')[0]}/{NFD.split('/')[1]}"  # neither of them, and both
    assert listed(tmp_path, f"path\n{mixed}\n")["undated"] == [{"path": mixed}]


def test_a_name_that_does_not_exist_in_any_composition_stays_in_the_listing(tmp_path: Path) -> None:
    (tmp_path / "Zoë").write_bytes(b"a file, no folder")
    missing = [NFC, "nowhere/é.jpg", "é/../é", "a" * 300]
    with pytest.raises(BadInput, match="is not below the list's folder"):
        listed(tmp_path, "path\n" + "\n".join(missing))
    missing.remove("é/../é")
    assert listed(tmp_path, "path\n" + "\n".join(missing))["undated"] == [{"path": p} for p in sorted(missing)]


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_parquet_of_other_writers() -> None:
    """Strings as bytes without a type, numbers, missing values as NaN, times, and a column twice."""
    columns = {
        "path": [b"a", "Zoë".encode()],
        "identity": [float("nan"), 7.5],
        "date": [dt.datetime(2026, 11, 1, 8)] * 2,
    }
    first, second = filelist.parse("l.parquet", parquet(pa.table(columns)))
    assert (first.place, first.date, first.labels) == ("a", "2026-11-01", {})
    assert (second.place, second.labels) == ("Zoë", {"identity": "7.5"})
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        filelist.parse("l.parquet", parquet(pa.table({"path": [b"\xff\xfe"]})))
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["path", "Path"])
    with pytest.raises(BadInput, match="two columns are called path"):
        filelist.parse("l.parquet", parquet(twice))


quick = settings(max_examples=200, deadline=None, derandomize=True)


@quick
@given(st.binary(max_size=200) | st.text(alphabet='ab,;"\n\r\0 path/.:\ufeff\x85é', max_size=80).map(str.encode))
def test_any_bytes_are_rows_or_a_bad_input(data: bytes) -> None:
    for name in ("l.csv", "l.parquet"):
        for head in (b"", b"path,date\n", b"\xef\xbb\xbfurl,sha256\r\n"):
            with suppress(BadInput):
                for row in filelist.parse(name, head + data):
                    assert row.place and (row.is_url or not row.place.startswith("/"))


PARQUET = parquet(pa.table({"path": ["a", "b"] * 20, "identity": ["Ann", None] * 20, "n": list(range(40))}))


@quick
@given(st.lists(st.tuples(st.integers(0, len(PARQUET) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_parquet_file_is_rows_or_a_bad_input(damage: list[tuple[int, int]]) -> None:
    data = bytearray(PARQUET)
    for place, byte in damage:
        data[place] = byte
    with suppress(BadInput):
        filelist.parse("l.parquet", bytes(data))


def blank(text: str) -> bool:
    return text != text.strip()


VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: not blank(text)
)
NAME = VALUE.filter(lambda text: text not in (".", "..") and "/" not in text and ":" not in text)
DATE = st.dates().map(dt.date.isoformat)
URL = st.text("abz019-._~%/?=&", max_size=12).map("https://example.org/".__add__)
LABEL = (
    VALUE.map(str.lower)
    .map(str.strip)
    .filter(
        lambda text: text == text.lower() and text not in {"url", "path", "date", "sha256", "size", "etag", "found", ""}
    )
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[filelist.Row]]:
    """The columns of a list and its rows; with dates or without."""
    labels, dated = draw(st.lists(LABEL, max_size=2, unique=True)), draw(st.booleans())
    rows = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        place = draw(URL | st.lists(NAME, min_size=1, max_size=3).map("/".join))
        own = {label: draw(VALUE) for label in labels if draw(st.booleans())}
        digest = draw(st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex))
        rows.append(filelist.Row(number, place, draw(DATE) if dated else None, digest, own))
    return draw(st.permutations([*filelist_columns, *labels])), rows


filelist_columns = ("url", "path", "date", "sha256", "size")


def cells(columns: list[str], row: filelist.Row) -> list[str]:
    known = {"url" if row.is_url else "path": row.place, "date": row.date, "sha256": row.sha256, **row.labels}
    return [known.get(column) or "" for column in columns]


@quick
@given(tables(), st.sampled_from(["utf-8", "utf-8-sig"]), st.booleans())
def test_what_is_written_as_csv_is_read_as_it_was(
    table: tuple[list[str], list[filelist.Row]], encoding: str, loud: bool
) -> None:
    """Quotes, commas and newlines within values, empty cells, any order of columns, a byte order mark, loud names."""
    columns, rows = table
    out = io.StringIO()
    # With the short ending Python's writer puts a single \r into quotes only if told to.
    style = {"lineterminator": "\n", "quoting": csv.QUOTE_ALL} if loud else {"lineterminator": "\r\n"}
    writer = csv.writer(out, **style)  # type: ignore[arg-type]
    writer.writerow([f" {column.upper()} " if loud and column.isascii() else column for column in columns])
    writer.writerows(cells(columns, row) for row in rows)
    assert filelist.parse("l.csv", out.getvalue().encode(encoding)) == rows


@quick
@given(tables())
def test_what_is_written_as_parquet_is_read_as_it_was(table: tuple[list[str], list[filelist.Row]]) -> None:
    columns, rows = table
    written = [dict(zip(columns, (cell or None for cell in cells(columns, row)), strict=True)) for row in rows]
    schema = pa.schema([(column, pa.string()) for column in columns])
    assert filelist.parse("l.parquet", parquet(pa.Table.from_pylist(written, schema))) == rows
