"""The stages download, detect and align as people write them for DVC today: a folder of files in, a folder of files out.

Same networks, decoder and alignment as pipelines/faces (its folder must be on PYTHONPATH); only the files differ.
usage: python stages.py STAGE      with INBOX set for download
"""

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PHOTOS, FACES, ALIGNED = Path("photos"), Path("faces"), Path("aligned")


def download() -> None:
    """Copy the inbox."""
    shutil.copytree(os.environ["INBOX"], PHOTOS, dirs_exist_ok=True)


def detect() -> None:
    """faces/PHOTO.json: boxes, landmarks and probabilities of each photograph."""
    import numpy as np
    import torch
    from detect import batches

    from facelib import images
    from facelib.detector import Mtcnn
    from params.detect import Params

    params = Params()
    torch.set_num_threads(1)
    detector = Mtcnn(
        params.min_face_size,
        (params.pnet_threshold, params.rnet_threshold, params.onet_threshold),
        params.pyramid_factor,
    )
    paths = sorted(path for path in PHOTOS.rglob("*") if path.is_file())
    with ThreadPoolExecutor(params.threads) as pool:
        for start in range(0, len(paths), 64):
            window = paths[start : start + 64]
            decoded = pool.map(lambda p: images.decode(p.read_bytes(), params.max_side, params.max_pixels), window)
            photos = dict(enumerate(decoded))
            groups = list(batches(photos, params.batch))
            results = pool.map(detector.find, (np.stack([photos[n].pixels for n in group]) for group in groups))
            for group, found in zip(groups, results, strict=True):
                for number, faces in zip(group, found, strict=True):
                    target = FACES / window[number].relative_to(PHOTOS).with_suffix(".json")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    known = {name: getattr(faces, name).tolist() for name in ("boxes", "landmarks", "probabilities")}
                    target.write_text(json.dumps(known))


def align() -> None:
    """aligned/PHOTO.png: the most probable person's face of each photograph that has one."""
    import numpy as np
    from align import png

    from facelib import alignment, images
    from params.align import Params

    params = Params()
    target = alignment.template(params.size, params.margin)

    def one(path: Path) -> None:
        faces = json.loads(path.read_text())
        if not faces["boxes"]:
            return
        photo = next((PHOTOS / path.relative_to(FACES)).parent.glob(f"{path.stem}.*"))
        decoded = images.decode(photo.read_bytes(), 1280, params.max_pixels)
        boxes, probabilities = np.array(faces["boxes"]), np.array(faces["probabilities"])
        chosen = alignment.labelled(boxes, probabilities, decoded.width, decoded.height, params.sure)
        move = alignment.similarity(np.array(faces["landmarks"][chosen]).reshape(5, 2), target)
        written = ALIGNED / path.relative_to(FACES).with_suffix(".png")
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(png(alignment.warp(decoded.pixels, move, params.size)))

    with ThreadPoolExecutor(params.threads) as pool:
        list(pool.map(one, sorted(FACES.rglob("*.json"))))


if __name__ == "__main__":
    {"download": download, "detect": detect, "align": align}[sys.argv[1]]()
