"""The Parquet files between stages: one per partition (what arrived on one date), equal bytes for equal rows.

Rows pass one by one, so that memory holds one row group and never a whole partition.

A stage that dvc.yaml marks `partitioned` makes each output file from the same partition of its inputs alone. In a run
it may be shown only the partitions whose result is not known yet; it works on what it sees and need not know.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 4096
GROUP_BYTES = 32 << 20
"""A row group is closed at this many rows or bytes of pictures, whichever comes first."""

WINDOW_BYTES = 256 << 20
"""Pictures that a stage works on at once, unless a single one is larger."""

Row = dict[str, Any]
Item = TypeVar("Item")

REJECTS = pa.schema(
    [("path", pa.string()), ("identity", pa.string()), ("reason", pa.string()), ("detail", pa.string())]
)
"""What a stage could not use: `reason` is a slug for machines ("truncated"), `detail` is for people."""
STAGES_THAT_REJECT = ("download", "detect", "align")
"""Each has a folder of such tables in data/rejects/."""


def names(folder: Path) -> list[str]:
    """The partitions in `folder`, sorted. Raises SystemExit where there is none."""
    found = sorted(path.stem for path in folder.glob("*.parquet"))
    if not found:
        raise SystemExit(f"{folder}/ holds no partitions (*.parquet); run the stage before this one first")
    return found


def file(folder: Path, partition: str) -> Path:
    """Where `folder` keeps `partition`."""
    return folder / f"{partition}.parquet"


def count(path: Path) -> int:
    """Number of rows, without reading them."""
    return int(pq.ParquetFile(path).metadata.num_rows)


def count_rejects(folder: Path) -> int:
    """How many photographs the reject tables of all stages in `folder` hold."""
    return sum(count(table) for stage in STAGES_THAT_REJECT for table in sorted((folder / stage).glob("*.parquet")))


def read(path: Path, columns: list[str] | None = None, batch: int = 64) -> Iterator[Row]:
    """The rows of one file in order, `columns` of them or all; at most one row group is in memory.

    Raises SystemExit where the file is missing.
    """
    if not path.exists():
        raise SystemExit(f"{path} is not here; run the stage that writes it first")
    with pq.ParquetFile(path) as parquet:
        for group in range(parquet.num_row_groups):  # one by one: a batch of rows would span groups
            for rows in parquet.iter_batches(batch_size=batch, row_groups=[group], columns=columns):
                yield from rows.to_pylist()


def windows(
    items: Iterable[Item], most: int, size: Callable[[Item], int], most_bytes: int = WINDOW_BYTES
) -> Iterator[list[Item]]:
    """Items in order, so many at a time as may be in memory: at most `most`, of `most_bytes` together."""
    window: list[Item] = []
    held = 0
    for item in items:
        if window and (len(window) == most or held + size(item) > most_bytes):
            yield window
            window, held = [], 0
        window.append(item)
        held += size(item)
    if window:
        yield window


class Writer(AbstractContextManager["Writer"]):
    """Writes one file row by row; the file appears when the block ends without an error."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows: list[Row] = []
        self.bytes = 0
        self._unfinished = path.with_name(path.name + ".part")
        # The writer's settings are part of every output's bytes: change them and everything runs again.
        self._parquet = pq.ParquetWriter(
            self._unfinished,
            schema,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            version="2.6",
        )

    def add(self, row: Row) -> None:
        """Append a row; its keys are the schema's names."""
        self.rows.append(row)
        self.bytes += len(row.get("image", b""))
        if len(self.rows) >= GROUP_ROWS or self.bytes >= GROUP_BYTES:
            self._close_group()

    def _close_group(self) -> None:
        table = pa.Table.from_pylist(self.rows, schema=self._parquet.schema)
        self._parquet.write_table(table, row_group_size=max(len(self.rows), 1))
        self.rows, self.bytes = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.rows:
            self._close_group()
        self._parquet.close()
        if kind is None:
            os.replace(self._unfinished, self.path)
        else:
            self._unfinished.unlink()


def write(path: Path, schema: pa.Schema, rows: Iterable[Row]) -> None:
    """Write all `rows` as one file."""
    with Writer(path, schema) as writer:
        for row in rows:
            writer.add(row)
