"""Small pictures for a page: photographs with what was found in them, faces, as data URIs."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from facelib import images, partitions

MAX_PIXELS = 100_000_000
"""A photograph with more to decode is not shown."""
LABELLED, OTHER, LANDMARK = "#1a7f5a", "#c77d0a", "#ffffff"


def uri(image: Image.Image, quality: int = 80) -> str:
    """A JPEG with fixed settings, as a data URI."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def face(data: bytes, side: int) -> str:
    """An encoded aligned face, `side` px wide."""
    return uri(Image.open(io.BytesIO(data)).convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def photograph(data: bytes, side: int, found: Iterable[dict[str, Any]] = ()) -> str | None:
    """An encoded photograph, its longer side `side` px, with boxes and landmarks of the faces `found` in it.

    The `labelled` face is green, others amber. None where the bytes are no picture that can be decoded.
    """
    try:
        photo = images.decode(data, side * 2, MAX_PIXELS)  # drawn at twice the size, for smooth lines
    except images.Unreadable:
        return None
    image = Image.fromarray(photo.pixels)
    across, down = photo.scale
    draw = ImageDraw.Draw(image)
    for row in found:
        x1, y1, x2, y2 = row["box"]
        colour = LABELLED if row.get("labelled") else OTHER
        draw.rectangle((x1 / across, y1 / down, x2 / across, y2 / down), outline=colour, width=4)
        for x, y in zip(row["landmarks"][::2], row["landmarks"][1::2], strict=True):
            x, y = x / across, y / down
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=LANDMARK, outline=colour)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return uri(image)


def fetch(folder: Path, column: str, wanted: dict[str, set[str]]) -> dict[tuple[str, str], bytes]:
    """Encoded images by (partition, value of `column`), of the rows that `wanted` names by partition."""
    found = {}
    for partition in sorted(wanted):
        for row in partitions.read(partitions.file(folder, partition), [column, "image"]):
            if row[column] in wanted[partition]:
                found[partition, row[column]] = row["image"]
    return found
