"""A list as an inbox: a CSV or Parquet file that names photographs, or other files, by path or URL, one a row."""

import csv
import datetime as dt
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from reprise.errors import BadInput

ENDINGS = (".csv", ".parquet")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN = 3
_MORE = "More"
"""Where a row's values go for which the first line has no name; names are in small letters, so it is none of them."""
_OURS = {"size", "etag", "found"}
"""What the listing itself says of a file: a list's own columns of these names are left out."""


@dataclass(frozen=True)
class Row:
    """One file of a list."""

    number: int
    """Row of the list, the first is 1."""
    place: str
    """A URL, or a path relative to the list's folder."""
    date: str | None
    sha256: str | None
    labels: dict[str, str] = field(default_factory=dict)
    """The other columns, which travel with the file: ``identity`` is one."""

    @property
    def is_url(self) -> bool:
        """Whether it is fetched from the web rather than read beside the list."""
        return "://" in self.place


def is_list(inbox: str) -> bool:
    """Whether an inbox is a list and not a folder or prefix."""
    return inbox.lower().endswith(ENDINGS)


def parse(name: str, data: bytes) -> list[Row]:
    """The rows of a list.

    :raises BadInput: naming the rows that are wrong, and why.
    """
    table = _parquet(name, data) if name.lower().endswith(".parquet") else _csv(name, data)
    rows, wrong = [], []
    for number, fields in enumerate(table, 1):
        try:
            rows.append(_row(number, fields))
        except ValueError as error:
            wrong.append(f"row {number}: {error}")
    if not wrong and 0 < sum(row.date is None for row in rows) < len(rows):
        wrong = [f"row {row.number}: no date, while others have one" for row in rows if row.date is None]
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BadInput(
            f"the list {name} is wrong: {'; '.join(wrong[:_SHOWN])}{more}",
            "correct it; its columns: url or path, and where known identity, date (YYYY-MM-DD), sha256",
        )
    return rows


def _row(number: int, fields: dict[str, str]) -> Row:
    """Raises ValueError where a value is missing or wrong."""
    url, path = fields.pop("url", ""), fields.pop("path", "")
    time, sha256 = fields.pop("date", ""), fields.pop("sha256", "").lower()
    date = re.split("[ T]", time)[0]
    if _MORE in fields:
        raise ValueError("it has more values than the first line has names; put what holds a comma into quotes")
    if bool(url) == bool(path):
        raise ValueError("it needs a url or a path, and not both")
    if url and not re.match(r"https?://[^/]", url):
        raise ValueError(f"{url!r} is not an http or https URL")
    if url and urlsplit(url).username is not None:
        raise ValueError("its URL holds a name or password, which the record of a run would show")
    if path and (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "://" in path):
        raise ValueError(f"{path!r} is not below the list's folder")
    if "\0" in path:
        raise ValueError(f"{path!r} has a NUL character, which no file's name has")
    if time and not date:
        raise ValueError(f"{time!r} does not begin with a date")
    if date:
        date = dt.date.fromisoformat(date).isoformat()  # 20261101 is the same day, and must be the same partition
    if sha256 and not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is not a SHA-256 (64 hexadecimal digits)")
    labels = {name: value for name, value in fields.items() if name not in _OURS}
    return Row(number, url or PurePosixPath(path).as_posix(), date or None, sha256 or None, labels)


def _csv(name: str, data: bytes) -> Iterator[dict[str, str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"the list {name} is not UTF-8 text: {error}", "save it as CSV in UTF-8") from error
    if "\0" in text:
        raise BadInput(f"the list {name} is not UTF-8 text: it has NUL characters", "save it as CSV in UTF-8")
    try:
        lines = filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
        names = _names(name, next(lines, []))
        for cells in lines:
            more = {_MORE: ""} if any(map(str.strip, cells[len(names) :])) else {}
            yield _plain(zip(names, cells, strict=False)) | more
    except csv.Error as error:
        raise BadInput(f"the list {name} is not CSV: {error}", "save it as CSV in UTF-8") from error


def _parquet(name: str, data: bytes) -> Iterator[dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        names = _names(name, file.schema_arrow.names)
        for batch in file.iter_batches():
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield _plain(zip(names, row, strict=True))
    # OSError: a damaged page; the others: values that Python has no equal of, such as bytes that are not UTF-8
    except (pa.ArrowException, OSError, ValueError, ArithmeticError, LookupError) as error:
        raise BadInput(f"the list {name} cannot be read as Parquet: {error}", f"write {name} again") from error


def _names(name: str, columns: Sequence[str]) -> list[str]:
    """Names of columns in small letters; empty for those without one, whose values are left out."""
    names = [column.strip().lower() for column in columns]
    if twice := [column for column, count in Counter(names).items() if column and count > 1]:
        raise BadInput(f"the list {name} is wrong: two columns are called {twice[0]}", "rename or remove one of them")
    return names


def _plain(fields: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Values as text without blanks around; what is empty, and what has no name, is left out."""
    texts = {name: _text(value).strip() for name, value in fields if name}
    return {name: text for name, text in texts.items() if text}


def _text(value: Any) -> str:
    """A value as text, nothing for none; some writers of Parquet store texts as bytes, and NaN for what is missing.

    Raises ValueError where the bytes are not UTF-8.
    """
    if value is None or value != value:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)
