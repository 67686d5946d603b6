"""One person as a picture with transparency: points are turned, splatted, painted and lit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthetic import head
from synthetic.head import EAR, GLASSES, HAIR, HEAD, NECK, TORSO, Array, Look, Surface
from synthetic.person import Person
from synthetic.texture import paint

PER_CM = 13.0
"""px of the rendering a cm; photographs show fewer."""
WIDE, HIGH = 560, 560
"""Size of the rendering, px."""
MIDDLE = (280.0, 215.0)
"""Where the origin of the head comes to lie, px."""
DISTANCE = 110.0
"""From the camera to the head, cm."""
SKIN_WRAP = np.array([0.34, 0.2, 0.14], np.float32)
"""How far light reaches around skin: red farthest, as below its surface."""


@dataclass(frozen=True)
class Layer:
    """A rendered person."""

    colour: Array
    """[HIGH, WIDE, 4]: linear RGB, times coverage, and coverage 0..1"""
    face: tuple[float, float, float, float]
    """x1, y1, x2, y2 in px: where the head without hair lies"""


def turn(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation matrix of a head's pose in degrees: yaw to the image's right, pitch up, roll clockwise."""
    a, b, c = np.radians([yaw, pitch, roll])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    rz = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.einsum("ij,jk,kl->il", rz, ry, rx).astype(np.float32)


def rotate(v: Array, matrix: Array) -> Array:
    """Vectors [N, 3] turned by a matrix; written out, as BLAS may sum in another order elsewhere."""
    x, y, z = v[:, 0], v[:, 1], v[:, 2]
    return np.stack([m[0] * x + m[1] * y + m[2] * z for m in matrix], -1)


def posed(person: Person, look: Look) -> Surface:
    """All parts in place."""
    pivot = np.array([0, -9, -3], np.float32)
    top = [head.head(person, look), *head.ears(person)]
    shell = head.hair(person, look)
    top += [shell] if shell else []
    top += [head.glasses(person)] if look.glasses else []
    matrix = turn(look.yaw, look.pitch, look.roll)
    parts = [(s, rotate(s.points - pivot, matrix) + pivot, rotate(s.normals, matrix)) for s in top]
    throat = head.neck(person)
    bend = head.step(-17, -8, throat.points[:, 1])[:, None]
    turned = rotate(throat.points - pivot, matrix) + pivot
    parts.append((throat, throat.points + bend * (turned - throat.points), throat.normals))
    chest = head.torso(person)
    matrix = turn(0.35 * look.yaw, 0, 0.1 * look.roll)
    parts.append((chest, rotate(chest.points, matrix), rotate(chest.normals, matrix)))
    return Surface(
        np.concatenate([p for _, p, _ in parts]),
        np.concatenate([n for _, _, n in parts]),
        np.concatenate([s.uv for s, _, _ in parts]),
        np.concatenate([s.part for s, _, _ in parts]),
        np.concatenate([s.open for s, _, _ in parts]),
    )


def project(points: Array) -> tuple[Array, Array]:
    """px of points, by central projection."""
    near = PER_CM * DISTANCE / (DISTANCE - points[:, 2])
    return MIDDLE[0] + points[:, 0] * near, MIDDLE[1] - points[:, 1] * near


def splat(s: Surface) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The pixels (flat) that show something and the point that each shows: painted from far to near, the last stays."""
    toward = (
        s.normals[:, 0] * s.points[:, 0]
        + s.normals[:, 1] * s.points[:, 1]
        + s.normals[:, 2] * (s.points[:, 2] - DISTANCE)
    )
    facing = np.flatnonzero((toward < 8) | (s.part == HAIR) | (s.part == GLASSES))
    px, py = project(s.points[facing])
    ix, iy = px.astype(np.int32), py.astype(np.int32)
    seen = (ix >= 0) & (ix < WIDE - 1) & (iy >= 0) & (iy < HIGH - 1) & (py >= 0)
    facing, flat = facing[seen], (iy * WIDE + ix)[seen]
    depth = s.points[facing, 2]
    order = np.argsort(((depth + 40) * 800).astype(np.uint16), kind="stable")
    facing, flat = facing[order].astype(np.int32), flat[order]
    shown = np.full(WIDE * HIGH, -1, np.int32)
    square = flat[:, None] + np.array([0, 1, WIDE, WIDE + 1], np.int32)
    shown[square.ravel()] = np.repeat(facing, 4)
    pixels = np.flatnonzero(shown >= 0)
    return pixels, shown[pixels]


def shadow(s: Surface, at: Array, light: Array) -> Array:
    """How much of the main light reaches points [N, 3]: 0 where another part of the person is in its way, else 1."""
    side = np.array([light[2], 0, -light[0]], np.float32)
    side /= np.sqrt((side * side).sum()) + 1e-6
    up = np.cross(light, side).astype(np.float32)
    frame = np.stack([side, up, light])
    cells, size = 150, 0.36
    every = rotate(s.points[::2], frame)
    mine = rotate(at, frame)

    def cell(v: Array) -> NDArray[np.int32]:
        ij = np.clip(v[:, :2] / size + cells / 2, 0, cells - 1).astype(np.int32)
        return ij[:, 1] * cells + ij[:, 0]

    order = np.argsort(((every[:, 2] + 60) * 500).astype(np.uint16), kind="stable")
    nearest = np.full(cells * cells, -99, np.float32)
    nearest[cell(every)[order]] = every[order, 2]
    return np.clip(1.6 - (nearest[cell(mine)] - mine[:, 2]), 0, 1).astype(np.float32)


def light_up(s: Surface, look: Look, pixels: NDArray[np.int64], shown: NDArray[np.int32]) -> Array:
    """Linear RGB of the shown points: wrapped Lambert, Blinn, light from all around, shadows."""
    normal, part, points = s.normals[shown], s.part[shown], s.points[shown]
    person_light = np.asarray(look.light, np.float32)
    light = person_light / np.sqrt((person_light**2).sum())
    mask = np.zeros((HIGH, WIDE), np.float32)
    mask.ravel()[pixels] = 1 - shadow(s, points, light)
    reach = 1 - head.box_mean(mask, 3).ravel()[pixels]
    facing = normal[:, 0] * light[0] + normal[:, 1] * light[1] + normal[:, 2] * light[2]
    wrap = np.where(((part == HAIR) | (part == TORSO))[:, None], np.float32(0.25), SKIN_WRAP)
    direct = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, None) * reach[:, None]
    up = (0.5 + 0.5 * normal[:, 1])[:, None]
    around = np.asarray(look.ground, np.float32) * (1 - up) + np.asarray(look.sky, np.float32) * up
    around = around * s.open[shown, None]
    direct *= 0.6 + 0.4 * s.open[shown, None]
    half = light + np.array([0, 0, 1], np.float32)
    half /= np.sqrt((half * half).sum())
    shine = np.clip(normal[:, 0] * half[0] + normal[:, 1] * half[1] + normal[:, 2] * half[2], 0, 1)
    return direct * np.asarray(look.light_colour, np.float32), around, (shine**24 * reach)


def render(person: Person, look: Look) -> Layer:
    """The person from the front of the camera, on nothing."""
    s = posed(person, look)
    pixels, shown = splat(s)
    colour, gloss = paint(person, look, s.part[shown], s.uv[shown])
    direct, around, shine = light_up(s, look, pixels, shown)
    lit = colour * (direct + around) + (0.35 * gloss * shine)[:, None] * np.asarray(
        look.light_colour, np.float32
    )
    out = np.zeros((HIGH * WIDE, 4), np.float32)
    out[pixels, :3], out[pixels, 3] = lit, 1
    px, py = project(s.points[s.part == HEAD])
    return Layer(
        out.reshape(HIGH, WIDE, 4), (float(px.min()), float(py.min()), float(px.max()), float(py.max()))
    )
