"""What the experiment stages read (faces, pairs) and what they tell while they run (live lines)."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from facelib import live
from facelib.faces import load_faces, load_pairs


def png(value: int, side: int = 8) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), (value, 0, 255 - value)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two partitions of three faces each, in an order that is not the keys'."""
    (tmp_path / "aligned").mkdir()
    for partition, values in {"b": [3, 1, 2], "a": [6, 5, 4]}.items():
        rows = [{"key": f"{partition}/{value}", "image": png(value)} for value in values]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "aligned" / f"{partition}.parquet")
    split = [{"key": key, "identity": key[0], "subset": "val"} for key in ("b/3", "a/5", "b/1", "a/4")]
    split += [{"key": "b/2", "identity": "b", "subset": "train"}]
    pq.write_table(pa.Table.from_pylist(split), tmp_path / "split.parquet")
    pairs = [
        {"subset": "val", "fold": 0, "key_a": "b/1", "key_b": "b/3", "same": True},
        {"subset": "val", "fold": 1, "key_a": "a/4", "key_b": "b/1", "same": False},
        {"subset": "test", "fold": 0, "key_a": "x", "key_b": "y", "same": False},
    ]
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "pairs.parquet")
    return tmp_path


def test_faces_come_sorted_by_key_with_their_own_pixels(data: Path) -> None:
    faces = load_faces(data / "aligned", data / "split.parquet", "val")
    assert faces.keys == ["a/4", "a/5", "b/1", "b/3"]
    assert faces.identities == ["a", "a", "b", "b"]
    assert faces.pixels.shape == (4, 8, 8, 3)
    assert faces.pixels[:, 0, 0, 0].tolist() == [4, 5, 1, 3]


def test_pairs_point_at_their_faces(data: Path) -> None:
    faces = load_faces(data / "aligned", data / "split.parquet", "val")
    pairs = load_pairs(data / "pairs.parquet", "val", faces)
    assert [(faces.keys[a], faces.keys[b]) for a, b in zip(pairs.a, pairs.b, strict=True)] == [
        ("b/1", "b/3"),
        ("a/4", "b/1"),
    ]
    assert pairs.same.tolist() == [True, False]
    assert pairs.fold.tolist() == [0, 1]


def test_what_is_missing_is_named_with_the_next_step(data: Path) -> None:
    with pytest.raises(SystemExit, match="no faces in subset 'test'.*run split"):
        load_faces(data / "aligned", data / "split.parquet", "test")
    (data / "aligned" / "a.parquet").unlink()
    with pytest.raises(SystemExit, match="names 4 faces.*has 2 of them; run align"):
        load_faces(data / "aligned", data / "split.parquet", "val")


def test_pairs_of_one_kind_measure_nothing(data: Path) -> None:
    faces = load_faces(data / "aligned", data / "split.parquet", "val")
    for subset, count in (("test", 1), ("train", 0)):
        with pytest.raises(
            SystemExit, match=f"pairs of one person and of two in subset '{subset}', it has {count} pairs"
        ):
            load_pairs(data / "pairs.parquet", subset, faces)


def test_faces_that_do_not_fit_into_memory_lie_in_a_file_without_a_name(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    before = sorted(data.iterdir())
    faces = load_faces(data / "aligned", data / "split.parquet", "val", memory_gb=1e-9)
    assert isinstance(faces.pixels, np.memmap)
    assert sorted(data.iterdir()) == before
    assert np.array_equal(faces.pixels, load_faces(data / "aligned", data / "split.parquet", "val").pixels)


def test_live_lines_append_and_pictures_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE", str(tmp_path / "live"))
    live.log(1, loss=2.5, rate=0.1)
    live.log(2, loss=float(np.float32(1.5)))
    lines = [json.loads(line) for line in (tmp_path / "live" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["name"], line["value"]) for line in lines] == [
        (1, "loss", 2.5),
        (1, "rate", 0.1),
        (2, "loss", 1.5),
    ]
    for colour in ("red", "blue"):
        live.picture("batch", Image.new("RGB", (2, 2), colour))
    assert [path.name for path in sorted((tmp_path / "live").iterdir())] == ["batch.png", "metrics.jsonl"]
    assert Image.open(tmp_path / "live" / "batch.png").getpixel((0, 0)) == (0, 0, 255)
