"""Face detection: images per second beside facenet-pytorch's README loop and its own batching, and the same boxes.

Runs in the stage image on ../shared/data: portraits of 250 x 250 px (LFW) and large photographs (group pictures of its
detection-truth enlarged to 12 megapixels, as JPEG). Each method gets the bytes of files and decodes them itself. The
methods take turns, the best round of each counts. Prints Markdown.

    docker/repro python benchmarks/detect.py
"""

import argparse
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipelines/faces"))

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image

from facelib import images
from facelib.detector import Faces, Mtcnn
from params.detect import Params

DATA = Path(__file__).resolve().parents[2] / "shared/data"
DEFAULTS = Params()
LARGE = (4000, 3000)
Files = list[bytes]


def portraits(count: int) -> Files:
    """Photographs of 250 x 250 px."""
    return [path.read_bytes() for path in sorted((DATA / "lfw-inbox").rglob("*.jpg"))[:count]]


def large(count: int) -> Files:
    """Photographs of 12 megapixels."""
    found = []
    for path in sorted((DATA / "detection-truth").glob("2*.jpg"))[:count]:
        data = io.BytesIO()
        Image.open(path).convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
        found.append(data.getvalue())
    return found


def opened(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


def loop(stock: MTCNN, files: Files) -> None:
    """As in facenet-pytorch's README: one photograph after the other."""
    for file in files:
        stock.detect(opened(file), landmarks=True)


def batched(stock: MTCNN, size: int, files: Files) -> None:
    """facenet-pytorch's own batching, on lists of photographs of one size."""
    for start in range(0, len(files), size):
        stock.detect([opened(file) for file in files[start : start + size]], landmarks=True)


def ours(detector: Mtcnn, cores: int, files: Files) -> None:
    """As the detect stage does: batches side by side, large photographs decoded smaller."""
    with ThreadPoolExecutor(cores) as pool:
        photos = list(pool.map(lambda file: images.decode(file, DEFAULTS.max_side, DEFAULTS.max_pixels), files))
        step = DEFAULTS.batch if photos[0].pixels.shape[0] < 500 else 2
        batches = [np.stack([p.pixels for p in photos[at : at + step]]) for at in range(0, len(photos), step)]
        list(pool.map(detector.find, batches))


def fastest(methods: dict[str, Callable[[Files], None]], files: Files, cores: int, rounds: int) -> dict[str, float]:
    """Images per second of each method. On one core per second of processor time, which other programs do not take."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    clock = time.process_time if cores == 1 else time.perf_counter
    best = dict.fromkeys(methods, 0.0)
    for _ in range(rounds):
        for name, method in methods.items():
            torch.set_num_threads(1 if name == "this" else cores)
            start = clock()
            method(files)
            best[name] = max(best[name], len(files) / (clock() - start))
    return best


def largest_difference(stock: MTCNN, detector: Mtcnn, files: Files) -> tuple[float, int]:
    """Of any coordinate of a box, px, against `MTCNN.detect` on each photograph alone; and how many faces there were."""
    worst, count = 0.0, 0
    for file in files:
        pixels = images.decode(file, DEFAULTS.max_side, DEFAULTS.max_pixels).pixels
        theirs, _ = stock.detect(Image.fromarray(pixels))
        boxes = detector.find(pixels[None])[0].boxes
        theirs = np.empty((0, 4)) if theirs is None else theirs.astype(np.float64)
        if len(boxes) != len(theirs):
            raise SystemExit(f"{len(boxes)} faces where facenet-pytorch finds {len(theirs)}")
        worst = max(worst, float(np.abs(boxes - theirs).max(initial=0)))
        count += len(boxes)
    return worst, count


def truth() -> Iterator[tuple[bytes, NDArray[np.float64]]]:
    """Photographs and the boxes [F, 4] that people drew; one of dogs has none."""
    for name in ("testing.xml", "training.xml"):
        for image in ElementTree.parse(DATA / "detection-truth" / name).iter("image"):
            drawn = [
                [float(box.attrib[side]) for side in ("left", "top", "width", "height")] for box in image.iter("box")
            ]
            boxes = np.array(drawn).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            yield (DATA / "detection-truth" / image.attrib["file"]).read_bytes(), boxes
    yield (DATA / "detection-truth/dogs.jpg").read_bytes(), np.empty((0, 4))


def quality(find: Callable[[Image.Image], NDArray[np.floating]]) -> tuple[int, int, int]:
    """Boxes found that overlap a drawn one by half (IoU), boxes found, boxes drawn."""
    hits = found = drawn = 0
    for file, boxes in truth():
        there = find(opened(file))
        for box in boxes:
            both = (np.minimum(there[:, 2:], box[2:]) - np.maximum(there[:, :2], box[:2])).clip(0).prod(1)
            area = (there[:, 2:] - there[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - both
            hits += bool((both / area >= 0.5).any())
        found, drawn = found + len(there), drawn + len(boxes)
    return hits, found, drawn


def stock_boxes(stock: MTCNN, image: Image.Image) -> NDArray[np.floating]:
    boxes, _ = stock.detect(image)
    return np.empty((0, 4)) if boxes is None else boxes.astype(np.float64)


def our_boxes(detector: Mtcnn, image: Image.Image) -> NDArray[np.floating]:
    faces: Faces = detector.find(np.asarray(image)[None])[0]
    return faces.boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--large", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is not here: photographs and drawn boxes come from there")
    stock, detector = MTCNN(keep_all=True, device="cpu"), Mtcnn()
    sets = {"250 × 250": portraits(args.portraits), "12 megapixels": large(args.large)}
    methods: dict[str, Callable[[Files], None]] = {
        "README loop": partial(loop, stock),
        "its batches of 8": partial(batched, stock, 8),
        "its batches of 32": partial(batched, stock, 32),
    }
    print("| photographs | cores |", " | ".join([*methods, "this", "× its best batching"]), "|")
    print("|---|---|" + "---|" * (len(methods) + 2))
    there = os.sched_getaffinity(0)
    for name, files in sets.items():
        # Twelve megapixels times eight are more than its batching can hold in a few gigabytes.
        used = methods if name == "250 × 250" else {"README loop": methods["README loop"]}
        for cores in sorted({1, min(2, len(there))}):
            os.sched_setaffinity(0, there)
            speeds = fastest({**used, "this": partial(ours, detector, cores)}, files, cores, args.rounds)
            best = max(value for method, value in speeds.items() if method != "this")
            cells = [f"{speeds[m]:.3g}" if m in speeds else "–" for m in [*methods, "this"]]
            print(f"| {name} | {cores} |", " | ".join([*cells, f"{speeds['this'] / best:.1f}"]), "|", flush=True)
    os.sched_setaffinity(0, there)
    torch.set_num_threads(len(there))
    for name, files in sets.items():
        worst, count = largest_difference(stock, detector, files)
        print(f"\n{name}: {count} faces; no coordinate differs by more than {worst:.1e} px.")
    for name, find in (("MTCNN", partial(stock_boxes, stock)), ("this", partial(our_boxes, detector))):
        hits, found, drawn = quality(find)
        print(f"\n{name} on {drawn} drawn boxes: recall {hits / drawn:.3f}, precision {hits / max(found, 1):.3f}.")


if __name__ == "__main__":
    main()
