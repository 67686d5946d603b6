"""What can be measured on a face, for others to decide by."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facelib.alignment import TEMPLATE, TEMPLATE_SIDE

_SIDE = TEMPLATE_SIDE // 2
"""Light is measured on a face of 56 px: finer detail is noise and compression as often as skin."""
_FACE = (12, 17, 44, 53)
"""The part of it that is skin, eyes and mouth, not hair or background: left, top, right, bottom."""
_DEPTH = np.array([0.0, 0.0, 22.0, 5.0, 5.0])
"""How far eyes, nose tip and corners of the mouth stand out, px of the template: about 0, 40 and 9 mm where
the pupils are 63 mm apart."""

_PLACES, _PLACE, _RADIUS = 6, 14, 2
"""Local patterns are counted in 6 x 6 places of 14 x 14 px, each from its neighbours at a distance of 2 px."""
_AROUND = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
_CODES = np.arange(256)
_UNIFORM = np.bitwise_count(_CODES ^ (_CODES >> 1 | (_CODES & 1) << 7)) <= 2
"""A pattern that changes at most twice on its way around; the others are one kind together."""
_KINDS = int(_UNIFORM.sum()) + 1
_KIND = np.where(_UNIFORM, np.cumsum(_UNIFORM) - 1, _KINDS - 1)
TEXTURE_BYTES = _PLACES * _PLACES * _KINDS


def light(aligned: Image.Image, margin: float) -> tuple[float, float, float]:
    """Brightness (mean grey, 0..255), contrast (standard deviation of grey) and sharpness of an aligned face.

    Sharpness is the standard deviation of the Laplacian over the contrast, at the face's own scale: a large
    face out of focus and a small one enlarged measure the same, and so do a dim and a bright print.
    """
    border = aligned.width * margin / (1 + 2 * margin)
    whole = (border, border, aligned.width - border, aligned.height - border)
    grey = aligned.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX, whole)
    left, top, right, bottom = _FACE
    face = np.asarray(grey, np.float32)[top:bottom, left:right]
    laplacian = face[:-2, 1:-1] + face[2:, 1:-1] + face[1:-1, :-2] + face[1:-1, 2:] - 4 * face[1:-1, 1:-1]
    contrast = float(face.std())
    return float(face.mean()), contrast, float(laplacian.std() / max(contrast, 1e-3))


def fingerprint(aligned: Image.Image) -> bytes:
    """256 bits that stay nearly the same when a photograph is encoded again, resized or cropped.

    Is each of 16 x 16 places darker than its right neighbour? The "dHash" of Krawetz, 2013, on the face.
    """
    grey = np.asarray(aligned.convert("L").resize((17, 16), Image.Resampling.BOX), np.int16)
    return np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes()


def pose(landmarks: NDArray[np.floating]) -> tuple[float, float, float]:
    """Yaw (turned to the image's right > 0), pitch (down > 0) and roll (clockwise > 0) in degrees, estimated.

    DeMenthon and Davis, "Model-based object pose in 25 lines of code", 1995, its first step (scaled
    orthography), with the alignment template as the frontal model.
    """
    model = np.column_stack((TEMPLATE, _DEPTH))
    model -= model.mean(0)
    points = np.asarray(landmarks, np.float64)
    across, down = np.linalg.lstsq(model, points - points.mean(0), rcond=None)[0].T
    scale = max((np.linalg.norm(across) + np.linalg.norm(down)) / 2, 1e-9)
    across, down = across / scale, down / scale
    towards = np.cross(across, down)  # with these two the rows of the rotation
    yaw = np.arctan2(-towards[0], towards[2])
    pitch = np.arcsin(np.clip(-towards[1], -1, 1))
    roll = np.arctan2(-across[1], down[1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def texture(aligned: Image.Image, margin: float) -> bytes:
    """What the skin, eyes and mouth look like from near: 36 places * 59 counts of local patterns, a byte each.

    Uniform local binary patterns of radius 2: Ahonen, Hadid and Pietikäinen, "Face description with local binary
    patterns", 2006. The outer 15 % of the face on each side, hair and background mostly, are left out.
    """
    border = aligned.width * (margin + 0.15) / (1 + 2 * margin)
    inner = (border, border, aligned.width - border, aligned.height - border)
    side = _PLACES * _PLACE
    grey = aligned.convert("L").resize((side + 2 * _RADIUS,) * 2, Image.Resampling.BILINEAR, inner)
    pixels = np.asarray(grey)
    middle = pixels[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    code = np.zeros((side, side), np.uint8)
    for bit, (down, across) in enumerate(_AROUND):
        neighbour = pixels[down * _RADIUS : down * _RADIUS + side, across * _RADIUS : across * _RADIUS + side]
        code |= (neighbour >= middle).astype(np.uint8) << bit
    place = np.arange(side) // _PLACE
    number = (place[:, None] * _PLACES + place) * _KINDS + _KIND[code]
    return np.bincount(number.ravel(), minlength=TEXTURE_BYTES).astype(np.uint8).tobytes()
