"""Parquet between stages: equal rows give equal bytes, memory is bounded, no half file stays behind."""

import hashlib
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "pipelines" / "faces"))

from facelib import partitions

SCHEMA = pa.schema([("path", pa.string()), ("image", pa.binary())])


def rows(count: int, size: int = 10) -> list[partitions.Row]:
    return [{"path": f"{n:06}", "image": hashlib.sha256(b"%d" % n).digest()[:1] * size} for n in range(count)]


def test_equal_rows_give_equal_bytes_and_come_back_in_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "p.parquet", tmp_path / "two" / "p.parquet"
    for path in (one, two):
        partitions.write(path, SCHEMA, rows(5000))
    assert one.read_bytes() == two.read_bytes()
    assert list(partitions.read(one)) == rows(5000)
    assert partitions.count(one) == 5000
    assert [row["path"] for row in partitions.read(one, ["path"])] == [row["path"] for row in rows(5000)]


def test_row_groups_are_bounded_in_rows_and_in_bytes_of_pictures(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    partitions.write(path, SCHEMA, rows(partitions.GROUP_ROWS + 1))
    assert pq.ParquetFile(path).metadata.num_row_groups == 2
    large = partitions.GROUP_BYTES // 2
    partitions.write(path, SCHEMA, rows(5, large))
    assert pq.ParquetFile(path).metadata.num_row_groups == 3


def test_an_empty_partition_is_a_file_with_the_schema(tmp_path: Path) -> None:
    partitions.write(tmp_path / "p.parquet", partitions.REJECTS, [])
    assert pq.read_schema(tmp_path / "p.parquet").equals(partitions.REJECTS)
    assert list(partitions.read(tmp_path / "p.parquet")) == []
    assert partitions.names(tmp_path) == ["p"]


def test_null_identity_survives(tmp_path: Path) -> None:
    row = {"path": "a", "identity": None, "reason": "no_face", "detail": ""}
    partitions.write(tmp_path / "p.parquet", partitions.REJECTS, [row])
    assert list(partitions.read(tmp_path / "p.parquet")) == [row]


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), partitions.Writer(tmp_path / "p.parquet", SCHEMA) as writer:
        writer.add(rows(1)[0])
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_no_partitions_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run the stage before this one"):
        partitions.names(tmp_path)


def test_windows_hold_so_many_or_so_much() -> None:
    sizes = [1, 1, 1, 1, 5, 9, 1, 3]
    found = list(partitions.windows(sizes, 3, lambda size: size, 6))
    assert found == [[1, 1, 1], [1, 5], [9], [1, 3]]
    assert list(partitions.windows([], 3, lambda size: size)) == []


def test_reading_holds_one_group(tmp_path: Path) -> None:
    """A batch of rows would span groups: 64 photographs of 200 MB at once."""
    schema = pa.schema([("image", pa.binary())])
    partitions.write(tmp_path / "x.parquet", schema, ({"image": bytes(partitions.GROUP_BYTES)} for _ in range(4)))
    before = pa.total_allocated_bytes()
    most = 0
    for _ in partitions.read(tmp_path / "x.parquet"):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 3 * partitions.GROUP_BYTES
