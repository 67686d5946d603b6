"""A tiny, learnable stand-in for what the data stages write: every file that train, evaluate, export and report read.

A "person" is a set of coloured discs at fixed places (eyes, nose, mouth) on a background that is different in every
photograph and says nothing about the person: raw pixels are misled by it, a network can learn to look past it.
"""

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE = 64
PLACES = ((20, 24), (44, 24), (32, 38), (32, 50))
DATES = ("2026-11-01", "2026-11-08")
SUBSETS = {"train": 16, "val": 6, "test": 10}
PHOTOS_PER_PERSON = 10
MEASURES = {"sharpness": (0.4, 1.2), "brightness": (60.0, 200.0), "yaw": (-40.0, 40.0)}
"""Made up; that they say nothing about the pictures does not matter here."""


def face(looks: NDArray[np.float64], rng: np.random.Generator) -> Image.Image:
    """One photograph of the person who has `looks` [4 discs, red green blue radius], each 0..1."""
    background = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(background).astype(float)
    ys, xs = np.mgrid[:SIDE, :SIDE]
    for (x, y), (*colour, radius) in zip(PLACES, looks, strict=True):
        x, y = np.array([x, y]) + rng.uniform(-2, 2, 2)
        disc = (xs - x) ** 2 + (ys - y) ** 2 < (4 + 5 * radius) ** 2
        pixels[disc] = np.array(colour) * 255 * rng.uniform(0.85, 1.0)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))


def encode(image: Image.Image, kind: str) -> bytes:
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()


def write(path: Path, rows: list[dict[str, object]], schema: list[tuple[str, pa.DataType]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(schema)), path)


def make(folder: Path, seed: int = 0) -> None:
    """Fill FOLDER/data as download, detect, align, clean and split would."""
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    names = [f"{subset}_{number:02}" for subset, count in SUBSETS.items() for number in range(count)]
    photos: dict[str, list[dict[str, object]]] = {date: [] for date in DATES}
    aligned: dict[str, list[dict[str, object]]] = {date: [] for date in DATES}
    for name in names:
        looks = rng.uniform(0, 1, (len(PLACES), 4))
        for number in range(PHOTOS_PER_PERSON):
            date = DATES[number % len(DATES)]
            image = face(looks, rng)
            path = f"{date}/{name}/{number:02}.jpg"
            photo = {"path": path, "identity": name, "sha256": "0" * 64, "image": encode(image, "JPEG")}
            photos[date].append(photo)
            measures = {"face_px": 56.0, **{name: other.uniform(*MEASURES[name]) for name in MEASURES}}
            aligned[date].append({"key": path, **photo, "image": encode(image, "PNG"), **measures})
    photos[DATES[0]].append(
        {"path": f"{DATES[0]}/broken/0.jpg", "identity": "broken", "sha256": "0" * 64, "image": b"no picture"}
    )
    _write_partitions(folder / "data", photos, aligned)
    _write_decisions(folder / "data", aligned, rng)
    (folder / "models").mkdir()
    (folder / "models" / "pretrained.safetensors").touch()  # none asked for


def _write_partitions(data: Path, photos: dict[str, list], aligned: dict[str, list]) -> None:
    image = [
        ("path", pa.string()),
        ("identity", pa.string()),
        ("sha256", pa.string()),
        ("image", pa.binary()),
    ]
    box = [
        ("box", pa.list_(pa.float32())),
        ("landmarks", pa.list_(pa.float32())),
        ("probability", pa.float32()),
    ]
    faces = [("path", pa.string()), ("face", pa.int32()), *box]
    reject = [
        ("path", pa.string()),
        ("identity", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
    for date in DATES:
        write(data / "photos" / f"{date}.parquet", photos[date], image)
        write(
            data / "aligned" / f"{date}.parquet",
            aligned[date],
            [("key", pa.string()), *image, *((name, pa.float32()) for name in ("face_px", *MEASURES))],
        )
        whole = {
            "box": [4, 4, 60, 60],
            "landmarks": [20, 24, 44, 24, 32, 38, 26, 50, 38, 50],
            "probability": 0.99,
        }
        found = [{"path": row["path"], "face": 0, **whole} for row in aligned[date]]
        write(data / "faces" / f"{date}.parquet", found, faces)
        for stage in ("download", "detect", "align"):
            broken = [row for row in photos[date] if row["identity"] == "broken" and stage == "detect"]
            rows = [{**row, "reason": "not_an_image", "detail": "10 bytes of no known format"} for row in broken]
            write(
                data / "rejects" / stage / f"{date}.parquet",
                [{k: row[k] for k, _ in reject} for row in rows],
                reject,
            )


def _write_decisions(data: Path, aligned: dict[str, list], rng: np.random.Generator) -> None:
    who = [("key", pa.string()), ("partition", pa.string()), ("path", pa.string()), ("identity", pa.string())]
    faces = [
        {**{key: row[key] for key in ("key", "path", "identity")}, "partition": date}
        for date in DATES
        for row in aligned[date]
    ]
    dropped = faces[0]["key"]
    judged = [
        {
            **row,
            "keep": row["key"] != dropped,
            "reason": "blurry" if row["key"] == dropped else "",
            "measured": 0.01,
            "threshold": 0.02,
        }
        for row in faces
    ]
    measured = [
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("measured", pa.float32()),
        ("threshold", pa.float32()),
    ]
    write(data / "clean.parquet", judged, [*who, *measured])
    kept = [{**row, "subset": str(row["identity"]).split("_")[0]} for row in faces if row["key"] != dropped]
    write(data / "split.parquet", kept, [*who, ("subset", pa.string())])
    pairs = []
    for subset, count in SUBSETS.items():
        if subset != "train":
            pairs += _pairs(subset, [row for row in kept if row["subset"] == subset], min(10, count // 2), rng)
    ends = [("key_a", pa.string()), ("key_b", pa.string()), ("same", pa.bool_())]
    write(data / "pairs.parquet", pairs, [("subset", pa.string()), ("fold", pa.int8()), *ends])


def _pairs(subset: str, faces: list[dict], folds: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """Per fold (of identities) 60 same pairs and 60 different ones at most."""
    people = sorted({row["identity"] for row in faces})
    rows: list[dict[str, object]] = []
    for fold in range(folds):
        members = [row for row in faces if people.index(row["identity"]) % folds == fold]
        both = list(itertools.combinations(members, 2))
        for same in (True, False):
            wanted = [pair for pair in both if (pair[0]["identity"] == pair[1]["identity"]) == same]
            for index in rng.permutation(len(wanted))[:60]:
                a, b = wanted[index]
                rows.append({"subset": subset, "fold": fold, "key_a": a["key"], "key_b": b["key"], "same": same})
    return rows


def params(folder: Path, **train: object) -> None:
    """FOLDER/params.yaml with the sections of the four stages; JSON is YAML."""
    base = {"epochs": 8, "batch": 32, "threads": 1, "device": "cpu", "embedding": 32}
    sections = {
        "train": {**base, **train},
        "evaluate": {"threads": 1, "device": "cpu"},
        "export": {"threads": 1},
        "compare": {"threads": 1},
        "report": {},
    }
    (folder / "params.yaml").write_text(json.dumps(sections))
