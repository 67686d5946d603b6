"""The detector against facenet-pytorch's own, and against boxes that people drew."""

import io
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from stages import SHARED

torch = pytest.importorskip("torch", reason="the stages' environment is needed: docker/stages.lock")

from facenet_pytorch import MTCNN

from facelib import images
from facelib.detector import Faces, Mtcnn

TRUTH = SHARED / "detection-truth"
detection_truth = pytest.mark.skipif(not TRUTH.is_dir(), reason="needs ../shared/data/detection-truth")


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    torch.set_num_threads(1)
    return Mtcnn()


def read(path: Path) -> NDArray[np.uint8]:
    return images.decode(path.read_bytes(), 10_000, 100_000_000).pixels


def sound(path: Path) -> bool:
    """Synthetic inboxes hold damaged files."""
    try:
        return read(path).size > 0
    except images.Unreadable:
        return False


def check(faces: Faces, image: NDArray[np.uint8], stock: MTCNN) -> None:
    """Same faces in the same order; boxes and landmarks within 1e-3 px."""
    boxes, probabilities, landmarks = stock.detect(Image.fromarray(image), landmarks=True)
    if boxes is None:
        assert len(faces.boxes) == 0
        return
    assert len(faces.boxes) == len(boxes)
    assert np.abs(faces.boxes - boxes.astype(np.float64)).max() < 1e-3
    assert np.abs(faces.landmarks - landmarks.astype(np.float64)).max() < 1e-3
    assert np.abs(faces.probabilities - probabilities.astype(np.float64)).max() < 1e-5


def test_portraits_in_batches_as_one_by_one_with_facenet_pytorch(detector: Mtcnn, portraits: Path) -> None:
    pictures = [read(path) for path in sorted(portraits.rglob("*.jpg")) if sound(path)]
    photographs = np.stack([picture for picture in pictures if picture.shape == (250, 250, 3)][:32])
    assert len(photographs) == 32
    found = [
        faces for start in range(0, len(photographs), 8) for faces in detector.find(photographs[start : start + 8])
    ]
    stock = MTCNN(keep_all=True)
    for faces, photograph in zip(found, photographs, strict=True):
        check(faces, photograph, stock)


@detection_truth
def test_crowds_and_other_settings_as_with_facenet_pytorch(detector: Mtcnn) -> None:
    other = {"min_face_size": 40, "thresholds": (0.5, 0.6, 0.9)}
    for path in sorted(TRUTH.glob("*.jpg"))[::2]:
        image = read(path)
        check(detector.find(image[None])[0], image, MTCNN(keep_all=True))
        changed = Mtcnn(**other, pyramid_factor=0.6)  # type: ignore[arg-type]
        check(changed.find(image[None])[0], image, MTCNN(keep_all=True, **other, factor=0.6))


def test_images_smaller_than_a_face_and_empty_ones_have_none(detector: Mtcnn) -> None:
    for shape in ((1, 1, 1, 3), (2, 19, 400, 3), (3, 200, 300, 3)):
        assert [len(faces.boxes) for faces in detector.find(np.zeros(shape, np.uint8))] == [0] * shape[0]


def truth() -> dict[str, NDArray[np.float64]]:
    """Boxes (x1, y1, x2, y2) by file, from dlib's lists."""
    boxes = {"dogs.jpg": np.empty((0, 4))}
    for name in ("testing.xml", "training.xml"):
        for image in ElementTree.parse(TRUTH / name).iter("image"):
            ltwh = [
                [float(box.get(side, 0)) for side in ("left", "top", "width", "height")] for box in image.iter("box")
            ]
            corners = np.array(ltwh).reshape(-1, 4)
            corners[:, 2:] += corners[:, :2]
            if (TRUTH / image.get("file", "")).is_file():
                boxes[image.get("file", "")] = corners
    return boxes


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Shared over joint area of boxes [A, 4] and [B, 4]: [A, B]."""
    shared = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    area = shared.clip(0).prod(2)
    total = (a[:, 2:] - a[:, :2]).prod(1)[:, None] + (b[:, 2:] - b[:, :2]).prod(1)
    return area / (total - area)


@detection_truth
@pytest.mark.parametrize("enlarged", [1, 4])
def test_recall_and_precision_on_boxes_that_people_drew(detector: Mtcnn, enlarged: int) -> None:
    """`enlarged`: as large photographs, decoded at reduced scale, boxes scaled back."""
    drawn = found = right = 0
    for name, boxes in truth().items():
        data = (TRUTH / name).read_bytes()
        if enlarged > 1:
            data = enlarge(TRUTH / name, enlarged)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            photo = images.decode(data, 1280 if enlarged == 1 else 640, 100_000_000)
        faces = detector.find(photo.pixels[None])[0]
        mine = (faces.boxes.reshape(-1, 2) * photo.scale).reshape(-1, 4) / enlarged
        mine = mine[faces.probabilities >= 0.9]
        overlap = iou(boxes, mine) >= 0.5 if len(boxes) and len(mine) else np.zeros((len(boxes), len(mine)), bool)
        drawn, found, right = drawn + len(boxes), found + len(mine), right + int(overlap.any(1).sum())
    assert drawn == 43
    print(f"recall {right / drawn:.3f}, precision {right / found:.3f} of {found}")
    assert right / drawn >= 0.95
    assert right / found >= 0.95


def enlarge(path: Path, times: int) -> bytes:
    """The photograph as a JPEG of more megapixels."""
    image = Image.open(path).convert("RGB")
    file = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()
