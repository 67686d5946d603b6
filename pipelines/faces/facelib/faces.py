"""Aligned faces and their pairs, out of the Parquet files of the data stages, as numpy arrays."""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Faces:
    """Decoded faces, sorted by key."""

    keys: list[str]
    identities: list[str]
    pixels: NDArray[np.uint8]
    """[N, side, side, 3], RGB, 0..255."""


@dataclass(frozen=True)
class Pairs:
    """Verification pairs; `a` and `b` are rows of the `Faces` they were read with."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int8]


def decode(image: bytes) -> NDArray[np.uint8]:
    """The pixels of an encoded aligned face: [side, side, 3], RGB, 0..255."""
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def load_faces(aligned: Path, split: Path, subset: str, memory_gb: float = 8) -> Faces:
    """Decode all faces that `split` puts in `subset` ("train", "val" or "test") into one array.

    Above `memory_gb` gigabytes the array lies in a file without a name in the current folder: it needs the disk's
    room, and goes with the process, however that ends. Raises SystemExit where there are no faces, or where one is
    missing in `aligned`.
    """
    rows = pq.read_table(split, columns=["key", "identity"], filters=[("subset", "=", subset)]).sort_by("key")
    keys, identities = rows["key"].to_pylist(), rows["identity"].to_pylist()
    if not keys:
        raise SystemExit(f"{split} has no faces in subset {subset!r}; add photographs or lower split.*, then run split")
    place = {key: index for index, key in enumerate(keys)}
    pixels: NDArray[np.uint8] | None = None
    found = 0
    for path in sorted(aligned.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=256, columns=["key", "image"]):
            wanted = batch.filter(pc.is_in(batch["key"], rows["key"].combine_chunks()))
            for key, image in zip(wanted["key"].to_pylist(), wanted["image"].to_pylist(), strict=True):
                face = decode(image)
                if pixels is None:
                    pixels = _allocate((len(keys), *face.shape), memory_gb)
                pixels[place[key]] = face
                found += 1
    if pixels is None or found != len(keys):
        raise SystemExit(
            f"{split} names {len(keys)} faces in subset {subset!r}, {aligned}/ has {found} of them; run align to split again"
        )
    return Faces(keys, identities, pixels)


def _allocate(shape: tuple[int, ...], memory_gb: float) -> NDArray[np.uint8]:
    if np.prod(shape, dtype=float) <= memory_gb * 1e9:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(dir=".") as file:
        return np.memmap(file, np.uint8, shape=shape)


def load_pairs(pairs: Path, subset: str, faces: Faces) -> Pairs:
    """The pairs of `subset` ("val" or "test"), as rows of `faces`.

    Raises SystemExit unless there are some of one person and some of two; KeyError where a pair names a face that `faces` lacks.
    """
    rows = pq.read_table(pairs, filters=[("subset", "=", subset)])
    if len(set(rows["same"].to_pylist())) < 2:
        raise SystemExit(
            f"{pairs} needs pairs of one person and of two in subset {subset!r}, it has {len(rows)} pairs in all;"
            " add photographs or people, then run split"
        )
    place = {key: index for index, key in enumerate(faces.keys)}
    return Pairs(
        a=np.array([place[key] for key in rows["key_a"].to_pylist()]),
        b=np.array([place[key] for key in rows["key_b"].to_pylist()]),
        same=rows["same"].to_numpy(),
        fold=rows["fold"].to_numpy(),
    )
