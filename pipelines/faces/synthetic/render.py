"""One person as a picture with transparency: points are turned, painted, lit and splatted."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthetic.body import neck, torso
from synthetic.hair import hair
from synthetic.head import ears, glasses, head
from synthetic.look import Look
from synthetic.person import Person
from synthetic.surface import HAIR, NECK, TORSO, Array, Surface, step
from synthetic.texture import paint

PER_CM = 10.5
"""px of the rendering a cm; photographs show about half as many."""
WIDE, HIGH = 460, 540
"""Size of the rendering, px."""
MIDDLE = (230.0, 175.0)
"""Where the origin of the head comes to lie, px."""
DISTANCE = 110.0
"""From the camera to the head, cm."""
SKIN_WRAP = (0.34, 0.2, 0.14)
"""How far light reaches around skin: red farthest, as below its surface."""


def turn(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation matrix of a head's pose in degrees: yaw to the image's right, pitch up, roll clockwise."""
    a, b, c = np.radians([yaw, pitch, roll])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    rz = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.einsum("ij,jk,kl->il", rz, ry, rx).astype(np.float32)


def rotate(v: Array, matrix: Array) -> Array:
    """Vectors [3, N] turned by a matrix; written out, as a BLAS may sum in another order elsewhere."""
    x, y, z = v
    return np.stack([a * x + b * y + c * z for a, b, c in matrix])


def posed(person: Person, look: Look) -> Surface:
    """All parts in place."""
    pivot = np.array([[0], [-9], [-3]], np.float32)
    top = [head(person, look), *ears(person)]
    shell = hair(person, look)
    top += [shell] if shell else []
    top += [glasses(person)] if look.glasses else []
    matrix = turn(look.yaw, look.pitch, look.roll)
    parts = [(s, rotate(s.points - pivot, matrix) + pivot, rotate(s.normals, matrix)) for s in top]
    throat = neck(person)
    bend = step(-17, -8, throat.points[1])
    turned = rotate(throat.points - pivot, matrix) + pivot
    parts.append((throat, throat.points + bend * (turned - throat.points), throat.normals))
    chest = torso(person)
    matrix = turn(0.35 * look.yaw, 0, 0.1 * look.roll)
    parts.append((chest, rotate(chest.points, matrix), rotate(chest.normals, matrix)))
    return Surface(
        np.concatenate([p for _, p, _ in parts], axis=1),
        np.concatenate([n for _, _, n in parts], axis=1),
        np.concatenate([s.uv for s, _, _ in parts], axis=1),
        np.concatenate([s.part for s, _, _ in parts]),
        np.concatenate([s.open for s, _, _ in parts]),
    )


def chosen(s: Surface, which: NDArray[np.bool_] | NDArray[np.intp]) -> Surface:
    """Some of the points."""
    return Surface(
        s.points[:, which],
        s.normals[:, which],
        s.uv[:, which],
        s.part[which],
        s.open[which],
    )


def sorted_by(depth: Array) -> NDArray[np.int64]:
    """Order from far to near (cm, -60..100), good to 1/400 cm: whole numbers sort ten times faster."""
    return np.argsort(((depth + 60) * 400).astype(np.uint16), kind="stable")


def shadow(caster: Surface, at: Array, light: Array) -> Array:
    """How much of the main light reaches points [3, N]: 0 where a part of the person is in its way, else 1."""
    side = np.array([light[2], 0, -light[0]], np.float32)
    side /= np.sqrt((side * side).sum()) + np.float32(1e-6)
    frame = np.stack([side, np.cross(light, side), light])
    cells, size = 220, 0.36
    every, mine = rotate(caster.points[:, ::2], frame), rotate(at, frame)

    def cell(v: Array, dx: float = 0, dy: float = 0) -> NDArray[np.int32]:
        column = np.clip(v[0] / size + cells / 2 + dx, 0, cells - 1).astype(np.int32)
        return np.clip(v[1] / size + cells / 2 + dy, 0, cells - 1).astype(np.int32) * cells + column

    order = sorted_by(every[2])
    nearest = np.full(cells * cells, -99, np.float32)
    nearest[cell(every)[order]] = every[2][order]  # of equal indices the last, nearest one stays
    total = np.zeros(at.shape[1], np.float32)
    for dx, dy in ((-1, -0.4), (0.4, -1), (1, 0.4), (-0.4, 1)):
        total += np.clip(1.7 - (nearest[cell(mine, dx, dy)] - mine[2]), 0, 1)
    return total / 4


def lit(s: Surface, caster: Surface, colour: Array, gloss: Array, look: Look) -> Array:
    """Linear RGB [3, N] of points: wrapped Lambert, Blinn, light from all around, shadows."""
    light = np.asarray(look.light, np.float32)
    light = light / np.sqrt((light**2).sum())
    reach = shadow(caster, s.points, light)
    direct = reach * (0.6 + 0.4 * s.open)
    half = light + np.array([0, 0, 1], np.float32)
    half = half / np.sqrt((half**2).sum())
    x, y, z = s.normals
    toward = x * light[0] + y * light[1] + z * light[2]
    shine = np.clip(x * half[0] + y * half[1] + z * half[2], 0, 1)
    shine = 0.35 * gloss * reach * shine**24
    up, around = 0.5 + 0.5 * y, s.open
    skin = (s.part != HAIR) & (s.part != TORSO)
    out = np.empty_like(colour)
    for c in range(3):
        wrap = np.where(skin, np.float32(SKIN_WRAP[c]), np.float32(0.25))
        lambert = np.maximum((toward + wrap) / (1 + wrap), 0) * direct
        ambient = around * (look.ground[c] + (look.sky[c] - look.ground[c]) * up)
        out[c] = colour[c] * (look.light_colour[c] * lambert + ambient) + look.light_colour[c] * shine
    return out


def splat(s: Surface, rows: int) -> NDArray[np.int32]:
    """Which point each pixel [rows * WIDE] shows, or -1.

    Points are squares of 2 px (3 px where the grid is coarse), painted from far to near: the last stays.
    """
    away = s.normals[0] * s.points[0] + s.normals[1] * s.points[1] + s.normals[2] * (s.points[2] - DISTANCE)
    near = PER_CM * DISTANCE / (DISTANCE - s.points[2])
    column, row = MIDDLE[0] + s.points[0] * near, MIDDLE[1] - s.points[1] * near
    inside = (column >= 0) & (column < WIDE - 2) & (row >= 0) & (row < rows - 2)
    here = np.flatnonzero(inside & ((away < 8) | (s.part == HAIR)))  # hair is seen from both sides
    here = here[sorted_by(s.points[2, here])]
    flat = row[here].astype(np.int32) * WIDE + column[here].astype(np.int32)
    offsets = np.array(
        [0, 1, WIDE, WIDE + 1, 2, WIDE + 2, 2 * WIDE, 2 * WIDE + 1, 2 * WIDE + 2],
        np.int32,
    )
    coarse = np.isin(s.part[here], (HAIR, NECK, TORSO))
    count = np.where(coarse, 9, 4)
    which = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    shown = np.full(rows * WIDE, -1, np.int32)
    shown[np.repeat(flat, count) + offsets[which]] = np.repeat(here, count)
    return shown


def render(person: Person, look: Look, exposure: float, rows: int = HIGH) -> Image.Image:
    """The person on nothing: RGBA in sRGB, WIDE by `rows` px, PER_CM px a cm, the head's origin at MIDDLE."""
    every = posed(person, look)
    shown = splat(every, rows)
    seen = np.zeros(len(every.part) + 1, bool)
    seen[shown] = True  # -1 is the extra one
    s = chosen(every, seen[:-1])
    colour, gloss = paint(person, look, s.part, s.uv)
    light = lit(s, every, colour, gloss, look)
    r, g, b = ((1 - np.exp(-1.35 * exposure * np.maximum(light, 0))) ** (1 / 2.2) * 255 + 0.5).astype(np.uint32)
    rgba = np.zeros(len(seen), "<u4")
    rgba[:-1][seen[:-1]] = r | g << 8 | b << 16 | np.uint32(255 << 24)
    return Image.frombytes("RGBA", (WIDE, rows), rgba[shown].tobytes())
