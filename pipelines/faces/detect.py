"""detect: find every face with MTCNN (box, five landmarks, probability).

in   data/photos/PARTITION.parquet
out  data/faces/PARTITION.parquet, data/rejects/detect/PARTITION.parquet

A photograph that cannot be decoded or shows no face is a row among the rejects.
"""

import argparse
import warnings
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from facelib import images, partitions
from facelib.detector import Faces, Mtcnn, choose_device
from facelib.progress import Progress
from params import load
from params.detect import Params

PHOTOS, FACES, REJECTS = Path("data/photos"), Path("data/faces"), Path("data/rejects/detect")
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("identity", pa.string()),
        ("face", pa.int32()),  # 0 is the largest
        ("box", pa.list_(pa.float32(), 4)),  # x1, y1, x2, y2, px of the upright photograph
        ("landmarks", pa.list_(pa.float32(), 10)),  # x, y of eyes, nose, corners of the mouth
        ("probability", pa.float32()),
        ("width", pa.int32()),  # of the upright photograph, px
        ("height", pa.int32()),
    ]
)
WINDOW = 64
"""Most photographs in memory at a time."""
BATCH_PIXELS = 2_000_000
"""Fewer large photographs go through the networks at once; bounds memory."""


def batches(photos: dict[int, images.Photo], most: int) -> Iterator[list[int]]:
    """Divide the photographs (by number) into batches of equal size; the same for the same photographs."""
    by_size = defaultdict(list)
    for number, photo in photos.items():
        by_size[photo.pixels.shape].append(number)
    for (height, width, _), numbers in by_size.items():
        step = max(1, min(most, BATCH_PIXELS // (height * width)))
        yield from (numbers[start : start + step] for start in range(0, len(numbers), step))


def rows(who: partitions.Row, photo: images.Photo, faces: Faces) -> Iterator[partitions.Row]:
    """One row per face, in px of the whole photograph."""
    scale = np.array(photo.scale, np.float32)
    for face in range(len(faces.boxes)):
        yield {
            **who,
            "face": face,
            "box": (faces.boxes[face].reshape(2, 2) * scale).ravel(),
            "landmarks": (faces.landmarks[face] * scale).ravel(),
            "probability": faces.probabilities[face],
            "width": photo.width,
            "height": photo.height,
        }


def detect(partition: str, detector: Mtcnn, pool: ThreadPoolExecutor, params: Params, progress: Progress) -> int:
    """Write one partition; returns the number of faces."""

    def decode(row: partitions.Row) -> images.Photo | images.Unreadable:
        try:
            return images.decode(row["image"], params.max_side, params.max_pixels)
        except images.Unreadable as unreadable:
            return unreadable

    found = 0
    source = partitions.read(partitions.file(PHOTOS, partition), ["path", "identity", "image"])
    with (
        partitions.Writer(partitions.file(FACES, partition), SCHEMA) as faces,
        partitions.Writer(partitions.file(REJECTS, partition), partitions.REJECTS) as rejects,
    ):
        for window in partitions.windows(source, WINDOW, lambda row: len(row["image"])):
            decoded = list(pool.map(decode, window))
            photos = {n: photo for n, photo in enumerate(decoded) if isinstance(photo, images.Photo)}
            groups = list(batches(photos, params.batch))
            results = pool.map(detector.find, (np.stack([photos[n].pixels for n in group]) for group in groups))
            by_number = {
                n: faces
                for group, result in zip(groups, results, strict=True)
                for n, faces in zip(group, result, strict=True)
            }
            for n, (row, photo) in enumerate(zip(window, decoded, strict=True)):
                who = {"path": row["path"], "identity": row["identity"]}
                if isinstance(photo, images.Unreadable):
                    rejects.add({**who, "reason": photo.reason, "detail": photo.detail})
                elif not len(by_number[n].boxes):
                    rejects.add({**who, "reason": "no_face", "detail": f"none in {photo.width} x {photo.height} px"})
                else:
                    for face in rows(who, photo, by_number[n]):
                        faces.add(face)
                        found += 1
            progress.step(partition, len(window))
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "detect")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd tags and large images: what matters is a reject
    torch.set_num_threads(1)  # batches run side by side instead: the bytes do not depend on how many
    device, why = choose_device(params.device)
    print(f"detect: on {device} ({why})", flush=True)
    thresholds = (params.pnet_threshold, params.rnet_threshold, params.onet_threshold)
    detector = Mtcnn(params.min_face_size, thresholds, params.pyramid_factor, device)
    names = partitions.names(PHOTOS)
    progress = Progress("detect", sum(partitions.count(partitions.file(PHOTOS, name)) for name in names))
    with ThreadPoolExecutor(params.threads) as pool:
        found = sum(detect(name, detector, pool, params, progress) for name in names)
    progress.finish(f"{found} faces")


if __name__ == "__main__":
    main()
