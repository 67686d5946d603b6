"""align: turn each photograph's labelled face upright and to one size by its five landmarks, and measure it.

in   data/photos/PARTITION.parquet, data/faces/PARTITION.parquet
out  data/aligned/PARTITION.parquet, data/rejects/align/PARTITION.parquet

Of several faces the labelled one is the largest weighted by how central it is (facelib/alignment.py).
"""

import argparse
import io
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from facelib import alignment, images, measures, partitions
from facelib.progress import Progress
from params import load
from params.align import Params

PHOTOS, FACES = Path("data/photos"), Path("data/faces")
ALIGNED, REJECTS = Path("data/aligned"), Path("data/rejects/align")
SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # "PARTITION/PATH", unique over all partitions
        ("path", pa.string()),
        ("identity", pa.string()),
        ("sha256", pa.string()),  # of the photograph
        ("image", pa.binary()),  # PNG
        ("fingerprint", pa.binary(32)),  # measures.fingerprint
        ("texture", pa.binary(measures.TEXTURE_BYTES)),  # measures.texture
        ("probability", pa.float32()),
        ("faces", pa.int32()),  # in the photograph
        ("face_px", pa.float32()),  # side of the face in the photograph: root of its box's area
        ("brightness", pa.float32()),  # these three: measures.light
        ("contrast", pa.float32()),
        ("sharpness", pa.float32()),
        ("yaw", pa.float32()),  # degrees, these three: measures.pose
        ("pitch", pa.float32()),
        ("roll", pa.float32()),
        ("cut_off", pa.float32()),  # share of the aligned face outside the photograph
    ]
)
WINDOW = 64
"""Most photographs in memory at a time."""


def with_faces(partition: str) -> Iterator[tuple[partitions.Row, list[partitions.Row]]]:
    """The photographs that have faces, each with its faces. Both files are sorted by path."""
    photos = partitions.read(partitions.file(PHOTOS, partition), ["path", "identity", "sha256", "image"])
    faces = partitions.read(partitions.file(FACES, partition))
    for path, found in groupby(faces, key=lambda face: face["path"]):
        yield next(photo for photo in photos if photo["path"] == path), list(found)


def align(task: tuple[partitions.Row, list[partitions.Row]], partition: str, params: Params) -> partitions.Row:
    """The row of one photograph's labelled face. Raises images.Unreadable."""
    photo, faces = task
    width, height = faces[0]["width"], faces[0]["height"]
    boxes = np.array([face["box"] for face in faces])
    chosen = alignment.labelled(boxes, np.array([face["probability"] for face in faces]), width, height, params.sure)
    box, landmarks = boxes[chosen], np.array(faces[chosen]["landmarks"]).reshape(5, 2)
    target = alignment.template(params.size, params.margin)
    try:
        move = alignment.similarity(landmarks, target)
    except ValueError as error:
        raise images.Unreadable("degenerate", str(error)) from None
    # Decoding at the aligned face's own scale averages over pixels, where a warp alone would skip some.
    side = max(1, round(max(width, height) * min(1.0, abs(move[0]))))
    decoded = images.decode(photo["image"], side, params.max_pixels)
    aligned = alignment.warp(
        decoded.pixels, alignment.similarity((landmarks + 0.5) / decoded.scale - 0.5, target), params.size
    )
    brightness, contrast, sharpness = measures.light(aligned, params.margin)
    yaw, pitch, roll = measures.pose(landmarks)
    return {
        "key": photo["path"] if photo["path"].startswith(f"{partition}/") else f"{partition}/{photo['path']}",
        "path": photo["path"],
        "identity": photo["identity"],
        "sha256": photo["sha256"],
        "image": png(aligned),
        "fingerprint": measures.fingerprint(aligned),
        "texture": measures.texture(aligned, params.margin),
        "probability": faces[chosen]["probability"],
        "faces": len(faces),
        "face_px": float(np.sqrt((box[2] - box[0]) * (box[3] - box[1]))),
        "brightness": brightness,
        "contrast": contrast,
        "sharpness": sharpness,
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "cut_off": alignment.outside(move, params.size, width, height),
    }


def png(image: Image.Image) -> bytes:
    """Encoded without loss and always alike."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)  # 6 takes three times as long to save 6 %
    return file.getvalue()


def write(partition: str, pool: ThreadPoolExecutor, params: Params, progress: Progress) -> int:
    """Write one partition; returns how many photographs were rejected."""

    def try_align(task: tuple[partitions.Row, list[partitions.Row]]) -> partitions.Row | images.Unreadable:
        try:
            return align(task, partition, params)
        except images.Unreadable as unreadable:
            return unreadable

    rejected = 0
    tasks = with_faces(partition)
    with (
        partitions.Writer(partitions.file(ALIGNED, partition), SCHEMA) as aligned,
        partitions.Writer(partitions.file(REJECTS, partition), partitions.REJECTS) as rejects,
    ):
        for window in partitions.windows(tasks, WINDOW, lambda task: len(task[0]["image"])):
            for (photo, _), result in zip(window, pool.map(try_align, window), strict=True):
                if isinstance(result, images.Unreadable):
                    who = {"path": photo["path"], "identity": photo["identity"]}
                    rejects.add({**who, "reason": result.reason, "detail": result.detail})
                    rejected += 1
                else:
                    aligned.add(result)
            progress.step(partition, len(window))
    return rejected


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "align")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd tags and large images: what matters is a reject
    names = partitions.names(FACES)
    total = sum(face["face"] == 0 for name in names for face in partitions.read(partitions.file(FACES, name), ["face"]))
    progress = Progress("align", total, "faces")
    with ThreadPoolExecutor(params.threads) as pool:
        rejected = sum(write(name, pool, params, progress) for name in names)
    progress.finish(f"{rejected} rejected")


if __name__ == "__main__":
    main()
