"""Alignment and measurements, held against second derivations and against faces turned on purpose."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "pipelines" / "faces"))

from facelib import alignment, measures
from facelib.alignment import TEMPLATE


def umeyama(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation times scale, [2, 2], by singular values: equations 38 to 43 of Umeyama, 1991."""
    around, about = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(about.T @ around / len(source))
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    return u @ sign @ vt * np.trace(np.diag(d) @ sign) / around.var(0).sum()


def as_matrix(turn: complex) -> NDArray[np.float64]:
    return np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])


def test_similarity_is_umeyamas() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        source = rng.normal(size=(5, 2)) * 50 + 100
        target = rng.normal(size=(5, 2)) * 9
        turn, shift = alignment.similarity(source, target)
        np.testing.assert_allclose(as_matrix(turn), umeyama(source, target), atol=1e-9)
        moved = source @ as_matrix(turn).T + [shift.real, shift.imag]
        np.testing.assert_allclose(moved.mean(0), target.mean(0), atol=1e-9)


def test_similarity_finds_a_known_move_and_its_inverse() -> None:
    turn, shift = 1.7 * np.exp(0.4j), 12 - 3j
    z = TEMPLATE @ [1, 1j]
    w = turn * z + shift
    move = alignment.similarity(TEMPLATE, np.column_stack((w.real, w.imag)))
    np.testing.assert_allclose(move, (turn, shift), atol=1e-9)
    back = alignment.inverse(move)
    np.testing.assert_allclose(back[0] * w + back[1], z, atol=1e-9)


def test_one_point_has_no_similarity() -> None:
    with pytest.raises(ValueError, match="one point"):
        alignment.similarity(np.ones((5, 2)), TEMPLATE)


@pytest.mark.parametrize("size", [64, 112, 200])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_warp_puts_the_landmarks_where_the_template_has_them(size: int, margin: float) -> None:
    landmarks = TEMPLATE @ (1.5 * np.array([[0.96, 0.28], [-0.28, 0.96]])) + [40, 60]
    target = alignment.template(size, margin)
    for number in range(5):
        yy, xx = np.mgrid[:300, :300]
        blob = np.exp(-((xx - landmarks[number, 0]) ** 2 + (yy - landmarks[number, 1]) ** 2) / 50)
        photo = np.repeat((blob * 255).astype(np.uint8)[..., None], 3, 2)
        aligned = alignment.warp(photo, alignment.similarity(landmarks, target), size)
        weight = np.asarray(aligned.convert("L"), float)
        y, x = (np.mgrid[:size, :size] * weight).sum((1, 2)) / weight.sum()
        np.testing.assert_allclose((x, y), target[number], atol=0.15)


def test_template_without_margin_is_the_published_one() -> None:
    np.testing.assert_allclose(alignment.template(112, 0), TEMPLATE, atol=1e-12)


def test_outside_is_the_share_of_the_square_beyond_the_photograph() -> None:
    assert alignment.outside((1 + 0j, 0j), 100, 100, 100) == 0
    assert alignment.outside((1 + 0j, 50 + 0j), 100, 100, 100) == pytest.approx(0.5, abs=0.02)
    assert alignment.outside((1 + 0j, 500 + 0j), 100, 100, 100) == 1


def test_the_labelled_face_is_large_central_and_sure() -> None:
    middle, corner, giant = [80, 80, 120, 120], [0, 0, 44, 44], [60, 60, 140, 140]

    def labelled(boxes: list[list[int]], *probabilities: float) -> int:
        return alignment.labelled(np.array(boxes, float), np.array(probabilities), 200, 200, 0.9)

    assert labelled([corner, middle], 1, 1) == 1  # a little larger, but in the corner
    assert labelled([middle, giant], 1, 1) == 1
    assert labelled([middle, giant], 0.95, 0.8) == 0  # the giant is hardly a face
    assert labelled([middle, giant], 0.85, 0.8) == 1  # neither is sure: size decides


def turned(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """The template's head turned in space and seen from afar. x right, y down, z towards the viewer."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    about_x = [[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    head = np.column_stack((TEMPLATE, [0, 0, 22, 5, 5]))
    return (head @ (np.array(about_z) @ about_x @ about_y).T)[:, :2] * 1.7 + 33


@pytest.mark.parametrize("angles", [(0, 0, 0), (35, 0, 0), (-35, 0, 0), (0, 25, 0), (0, -25, 0), (20, -15, 30)])
def test_pose_gives_back_the_angles(angles: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(measures.pose(turned(*angles)), angles, atol=1e-6)


def test_a_nose_moved_to_the_right_and_down_is_a_head_turned_there() -> None:
    moved = TEMPLATE.copy()
    moved[2] += 6
    yaw, pitch, _ = measures.pose(moved)
    assert yaw > 5 and pitch > 5


@pytest.fixture
def face() -> Image.Image:
    """Something with detail at many scales, 112 x 112."""
    rng = np.random.default_rng(3)
    layers = [
        Image.fromarray(rng.integers(0, 255, (n, n, 3), np.uint8)).resize((112, 112), Image.Resampling.BICUBIC)
        for n in (7, 14, 28, 56)
    ]
    return Image.fromarray(np.mean([np.asarray(layer, float) for layer in layers], 0).astype(np.uint8))


def test_sharpness_falls_with_blur_and_not_with_light_or_size(face: Image.Image) -> None:
    blurred = [measures.light(face.filter(ImageFilter.GaussianBlur(r)), 0)[2] for r in (0, 0.5, 1, 2, 4)]
    assert blurred == sorted(blurred, reverse=True) and blurred[0] > 4 * blurred[-1]
    dim = face.point(lambda value: value // 2)
    assert measures.light(dim, 0)[2] == pytest.approx(blurred[0], rel=0.05)
    double = face.resize((224, 224), Image.Resampling.BICUBIC)
    assert measures.light(double, 0)[2] == pytest.approx(blurred[0], rel=0.25)


def test_brightness_and_contrast_are_those_of_the_face_not_its_border() -> None:
    pixels = np.full((112, 112, 3), 200, np.uint8)
    pixels[30:110, 20:92] = 100
    brightness, contrast, _ = measures.light(Image.fromarray(pixels), 0)
    assert (brightness, contrast) == (100, 0)
    wide = Image.new("RGB", (168, 168))
    wide.paste(Image.fromarray(pixels), (28, 28))
    assert measures.light(wide, 0.25)[0] == pytest.approx(100)


def test_fingerprint_knows_a_copy_from_another_picture(face: Image.Image) -> None:
    def bits(other: Image.Image) -> int:
        a, b = (np.frombuffer(measures.fingerprint(image), np.uint8) for image in (face, other))
        return int(np.bitwise_count(a ^ b).sum())

    assert len(measures.fingerprint(face)) == 32
    assert bits(face) == 0
    assert bits(face.resize((60, 60)).resize((112, 112))) <= 20
    assert bits(face.point(lambda value: value * 3 // 4)) <= 20
    assert bits(face.transpose(Image.Transpose.FLIP_TOP_BOTTOM)) > 60
