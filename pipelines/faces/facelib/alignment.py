"""Turning a face upright and to one size by its five landmarks, and choosing whose face it is.

Points are [5, 2], x and y in px with whole numbers at pixel centres: the eyes, the nose and the corners of
the mouth, the image's left first. A similarity (turn, scale, shift) is a pair of complex numbers (turn,
shift), which takes the point z = x + iy to turn * z + shift.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where the landmarks of an aligned face lie, px of TEMPLATE_SIDE: `arcface_dst` in
python-package/insightface/utils/face_align.py of github.com/deepinsight/insightface (Deng et al., "ArcFace",
2019)."""
TEMPLATE_SIDE = 112

Similarity = tuple[complex, complex]


def template(size: int, margin: float) -> NDArray[np.float64]:
    """The template for a square of `size` px with a further border of `margin`, share of its side."""
    scale = size / (TEMPLATE_SIDE * (1 + 2 * margin))
    return (TEMPLATE + 0.5 + margin * TEMPLATE_SIDE) * scale - 0.5


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> Similarity:
    """The similarity that takes `source` closest to `target` in the sense of least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991, without
    reflections. Raises ValueError where all source points are one.
    """
    z, w = (np.asarray(points, np.float64) @ [1, 1j] for points in (source, target))
    around = z - z.mean()
    spread = np.vdot(around, around).real
    if not spread > 1e-9:
        raise ValueError("the landmarks are one point")
    turn = np.vdot(around, w) / spread
    return turn, w.mean() - turn * z.mean()


def inverse(move: Similarity) -> Similarity:
    """The similarity that undoes `move`."""
    turn, shift = move
    return 1 / turn, -shift / turn


def warp(pixels: NDArray[np.uint8], move: Similarity, size: int) -> Image.Image:
    """The [height, width, 3] image moved into a square of `size` px, bicubic; black where nothing is."""
    turn, shift = inverse(move)
    shift += (0.5 + 0.5j) - turn * (0.5 + 0.5j)  # Pillow has whole numbers at pixel corners
    affine = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    return Image.fromarray(pixels).transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)


def outside(move: Similarity, size: int, width: int, height: int) -> float:
    """Share of the aligned square that lies outside the photograph, counted on a grid of 32 x 32."""
    turn, shift = inverse(move)
    line = (np.arange(32) + 0.5) * size / 32 - 0.5
    z = turn * (line + 1j * line[:, None]) + shift
    inside = (z.real >= -0.5) & (z.real <= width - 0.5) & (z.imag >= -0.5) & (z.imag <= height - 0.5)
    return float(1 - inside.mean())


def labelled(
    boxes: NDArray[np.floating], probabilities: NDArray[np.floating], width: int, height: int, sure: float
) -> int:
    """Which of the faces, boxes [F, 4], the photograph's label means.

    The one with the largest area * (1 - d)^2, d being how far its centre is from the photograph's, as share
    of the way to a corner. Faces below the probability `sure` count only where no face reaches it.
    """
    centre = (boxes[:, 0:2] + boxes[:, 2:4]) / 2
    side = (boxes[:, 2:4] - boxes[:, 0:2]).clip(0)
    middle = np.array([width, height]) / 2
    distance = np.hypot(*(centre - middle).T) / np.hypot(*middle)
    weight = side.prod(1) * (1 - distance).clip(0) ** 2
    return int(np.lexsort((-weight, probabilities < sure))[0])
