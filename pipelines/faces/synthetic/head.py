"""The shape of a person from the shoulders up, as points with normals.

Units: cm; x to the image's right, y up, z towards the camera; the origin lies in the head, at the eyes' height.
Every part is a grid of angle (around the vertical axis, 0 = front) by height.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.person import Person

Array = NDArray[np.floating[Any]]
"""float32 throughout, which is twice as fast; numpy's types cannot follow that."""
HEAD, HAIR, EAR, NECK, TORSO, GLASSES = range(6)
LONG = ("bob", "long", "curly", "afro")
"""Styles of hair that may hang lower than the ears."""


@dataclass(frozen=True)
class Look:
    """What differs from photograph to photograph of one person. Angles in degrees; shares 0..1."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    smile: float = 0.0
    """-0.3 (sad) .. 1."""
    jaw: float = 0.0
    """How far the mouth is open."""
    lids: float = 1.0
    """How far the eyes are open; 1 is usual."""
    brows: float = 0.0
    """How far they are raised, cm."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Of the pupils, cm."""
    make_up: float = 0.0
    stubble: float = 0.0
    hair_length: float = 0.0
    """Longer or shorter than usual, cm."""
    hair_volume: float = 1.0
    hair_shade: float = 1.0
    glasses: bool = False
    clothes: tuple[float, float, float] = (0.2, 0.2, 0.3)
    neckline: float = 4.0
    """Depth of the cut-out, cm."""
    light: tuple[float, float, float] = (0.3, 0.5, 0.8)
    """Where the main light comes from (any length)."""
    light_colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    sky: tuple[float, float, float] = (0.3, 0.3, 0.3)
    """Light from all of the upper half."""
    ground: tuple[float, float, float] = (0.2, 0.2, 0.2)
    texture: int = 0
    """Seeds what has no name: noise of skin and cloth."""


@dataclass(frozen=True)
class Surface:
    """Points of one or more parts."""

    points: Array
    """[3, N], cm"""
    normals: Array
    """[3, N], unit length"""
    uv: Array
    """[2, N], cm: where on the part's texture; for the head x and y of the face at rest"""
    part: NDArray[np.uint8]
    """[N]"""
    open: Array
    """[N], 0..1: how much ambient light reaches the point"""


def bump(x: Array, y: Array, cx: float, cy: float, rx: float, ry: float) -> Array:
    """A Gaussian of height 1."""
    return np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)


def step(low: float, high: float, x: Array) -> Array:
    """0 at `low`, 1 at `high` (which may be the smaller), smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def curve(x: Array, at: tuple[float, ...], values: tuple[float, ...]) -> Array:
    """A smooth curve through knots (cubic Hermite with finite differences), constant beyond them."""
    k, v = np.array(at, np.float32), np.array(values, np.float32)
    slope = np.gradient(v, k)
    i = np.clip(np.searchsorted(k, x) - 1, 0, len(k) - 2)
    h = k[i + 1] - k[i]
    t = np.clip((x - k[i]) / h, 0, 1)
    a, b = (1 + 2 * t) * (1 - t) ** 2 * v[i], t * (1 - t) ** 2 * h * slope[i]
    return (a + b + t * t * (3 - 2 * t) * v[i + 1] - t * t * (1 - t) * h * slope[i + 1]).astype(np.float32)


def mouth(person: Person, look: Look, x: Array) -> tuple[Array, Array, Array, Array]:
    """Upper lip's upper edge, its lower edge, lower lip's upper edge, its lower edge: heights at x; all meet in the corners."""
    half = person.mouth_width * (1 + 0.16 * look.smile)
    t = np.clip(np.abs(x) / half, 0, 1)
    line = person.mouth_y + 0.1 + (0.5 * look.smile - 0.02) * t * t + 0.06 * np.cos(9 * t) * (1 - t)
    gap = (0.55 * look.jaw + 0.28 * max(0.0, look.smile - 0.35)) * (1 - t * t)
    arch = (1 - t * t) ** 0.75
    bow = 1 - 0.28 * np.exp(-((x / 0.35) ** 2)) + 0.12 * np.exp(-(((np.abs(x) - 0.6) / 0.35) ** 2))
    thin = 1 - 0.22 * max(0.0, look.smile)
    top = line + 0.4 * gap
    bottom = line - 0.6 * gap
    return (
        top + person.lip_upper * thin * arch * bow,
        top,
        bottom,
        bottom - person.lip_lower * thin * arch,
    )


def relief(p: Person, look: Look, x: Array, y: Array) -> Array:
    """How far the face stands out of the smooth head, cm towards the camera, at places [...] of the face."""
    ax = np.abs(x)
    z = p.brow_ridge * np.exp(-(((y - 1.7) / 0.8) ** 2) - ((ax - 2.4) / 2.3) ** 2)
    z -= 1.15 * p.eye_depth * bump(ax, y, p.eye_x - 0.15, 0.35, 1.75, 1.25)
    z += 0.55 * bump(ax, y, p.eye_x, -0.02, 1.1 * p.eye_size, 0.72 * p.eye_size)
    tip = -p.nose_length
    t = np.clip((1.0 - y) / (1.0 - tip), 0, 1)
    height = p.nose_bridge * (0.24 + 0.5 * t) * step(2.6, 0.4, y) + (0.7 + p.nose_tip) * t**2
    width = (0.58 + 0.5 * t**2) * (0.5 + 0.5 * p.nose_width)
    z += height * np.exp(-((ax / width) ** 2)) * step(tip - 1.0, tip + 0.25, y)
    z += 0.45 * bump(x, y, 0, tip + 0.1, 0.75, 0.65)
    z += 0.8 * bump(ax, y, 1.22 * p.nose_width * (1 + 0.08 * look.smile), tip - 0.15, 0.52, 0.55)
    z += p.cheekbones * bump(ax, y, 4.6, -2.0, 1.9, 1.3)
    z += 0.45 * max(0.0, look.smile) * bump(ax, y, 3.9, -3.6, 1.5, 1.3)
    fold_x = 1.9 + 0.42 * (tip - y) + 0.3 * look.smile
    fold = (0.1 + 0.28 * p.wrinkles + 0.3 * max(0.0, look.smile)) * step(tip + 0.6, tip - 0.6, y)
    z -= fold * np.exp(-(((ax - fold_x) / 0.42) ** 2)) * step(p.mouth_y - 1.2, p.mouth_y, y)
    z += 0.45 * bump(x, y, 0, p.mouth_y + 0.2, 2.9, 2.0)
    upper, top, bottom, lower = mouth(p, look, x)
    inside = step(1.08, 0.85, ax / (p.mouth_width * (1 + 0.16 * look.smile)))
    z += 0.32 * inside * np.exp(-(((y - (upper + top) / 2) / (0.16 + 0.55 * p.lip_upper)) ** 2))
    z += 0.38 * inside * np.exp(-(((y - (bottom + lower) / 2) / (0.16 + 0.5 * p.lip_lower)) ** 2))
    z -= 0.3 * inside * np.exp(-(((y - (top + bottom) / 2) / 0.16) ** 2))
    z -= 0.12 * bump(x, y, 0, (upper.mean() + tip) / 2 - 0.3, 0.28, 0.7)
    z -= 0.4 * bump(x, y, 0, p.mouth_y - 1.75, 1.8, 0.55)
    z += p.chin * bump(x, y, 0, -10.0, 1.7, 1.2)
    z -= 0.35 * bump(ax, y, 6.6, 3.2, 1.5, 2.2)
    z -= (0.1 + 0.25 * p.wrinkles) * bump(ax, y, p.eye_x - 0.4, -1.5, 1.4, 0.35)
    return z


# The smooth head: height, half width, and depth of front, middle and back, from the crown (0) to the chin (1).
DOWN = (0, 0.06, 0.14, 0.25, 0.40, 0.52, 0.64, 0.76, 0.86, 0.93, 0.97, 1)
HEIGHT = (11.5, 11.0, 9.3, 6.3, 2.6, 0, -2.8, -5.8, -8.6, -10.5, -11.3, -11.6)
WIDTH = (0, 3.2, 5.7, 7.1, 7.6, 7.5, 7.2, 6.5, 5.3, 3.7, 2.2, 0)
FRONT = (0, 3.6, 6.4, 8.3, 8.9, 8.6, 8.4, 8.5, 8.5, 8.2, 7.2, 5.0)
MIDDLE = (0, 0, -0.5, -0.8, -1, -1, -1, -0.6, 1, 3, 4.4, 5)
BACK = (0, -4.2, -7.4, -9.4, -10, -10, -9.5, -7.5, -4, 0, 3, 5)


def profile(p: Person, t: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Height, half width, front, middle and back of this person's smooth head at t (0 crown .. 1 chin)."""
    y = curve(t, DOWN, HEIGHT)
    y = np.where(y < 0, y * p.face_length, y)
    jaw = 1 + (p.jaw_width - 1) * step(0.6, 0.85, t)
    return (
        y,
        curve(t, DOWN, WIDTH) * p.head_width * jaw,
        curve(t, DOWN, FRONT),
        curve(t, DOWN, MIDDLE),
        curve(t, DOWN, BACK) * p.head_depth,
    )


def ring(
    angle: Array, width: Array, front: Array, middle: Array, back: Array, power: float
) -> tuple[Array, Array]:
    """x and z of a superellipse cross-section at the given angles (radians)."""
    s, c = np.sin(angle), np.cos(angle)
    x = width * np.sign(s) * np.abs(s) ** power
    depth = np.where(c > 0, front - middle, middle - back)
    return x, middle + depth * np.sign(c) * np.abs(c) ** power


def normals_of(grid: Array) -> Array:
    """Unit normals, outward, of a grid [3, H, W] whose rows go down and whose columns go to the right."""

    def slope(axis: int) -> Array:
        out = np.empty_like(grid)
        to = np.moveaxis(out, axis, 0)
        of = np.moveaxis(grid, axis, 0)
        to[1:-1], to[0], to[-1] = of[2:] - of[:-2], of[1] - of[0], of[-1] - of[-2]
        return out

    (dx, dy, dz), (rx, ry, rz) = slope(1), slope(2)
    n = np.stack([dy * rz - dz * ry, dz * rx - dx * rz, dx * ry - dy * rx])
    return n / (np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2) + 1e-9)


def box_mean(a: Array, r: int) -> Array:
    """Mean over a window of 2r+1 by 2r+1, edges repeated."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (r + 1, r)
        total = np.cumsum(np.pad(a, pad, mode="edge"), axis=axis, dtype=np.float64)
        n = 2 * r + 1
        a = (
            np.take(total, range(n, total.shape[axis]), axis)
            - np.take(total, range(total.shape[axis] - n), axis)
        ) / n
    return a.astype(np.float32)


def surface(
    x: Array,
    y: Array,
    z: Array,
    uv: tuple[Array, Array],
    part: int,
    light: Array,
    keep: Array | bool = True,
) -> Surface:
    """The surface of a grid; everything is spread to its shape [H, W]. Only points in `keep` stay."""
    x, y, z, u, v, light, keep = np.broadcast_arrays(x, y, z, *uv, light, keep)
    grid = np.stack([x, y, z]).astype(np.float32)
    points, normals = grid[:, keep], normals_of(grid)[:, keep]
    places = np.stack([u[keep], v[keep]]).astype(np.float32)
    return Surface(
        points,
        normals,
        places,
        np.full(points.shape[1], part, np.uint8),
        light[keep].astype(np.float32),
    )


def head(p: Person, look: Look) -> Surface:
    """The head without hair and ears."""
    s = np.linspace(0, 1, 225, dtype=np.float32)
    t = curve(s, (0, 0.12, 0.27, 0.88, 1), (0, 0.12, 0.33, 0.88, 1))[:, None]  # more rows where the face is
    w = np.linspace(-1, 1, 230, dtype=np.float32)[None]
    angle = 2.3 * (0.54 * w + 0.46 * w**3)
    y, width, front, middle, back = profile(p, t)
    x, z = ring(angle, width, front, middle, back, 0.93)
    facing = step(0.0, 0.35, np.cos(angle)) * step(1, 0.9, t)
    out = relief(p, look, x, y) * facing
    cavity = box_mean(out, 8) - out
    drop = 0.75 * look.jaw * step(p.mouth_y + 0.15, p.mouth_y - 0.9, y) * step(-0.2, 0.5, np.cos(angle))
    light = np.clip(1 - 0.75 * np.maximum(cavity, 0), 0.35, 1) * (0.45 + 0.55 * step(1.0, 0.93, t))
    return surface(x, y - drop, z + out, (x, y), HEAD, light)


def hair_edge(p: Person, look: Look, angle: Array) -> Array:
    """Height of the hair's lower edge at angles (radians) around the head."""
    a = np.abs(np.degrees(angle))
    front = p.hairline
    recede = max(0.0, p.hairline - 6.3)
    low = {"bob": -8.5, "long": -15.0, "curly": -6.0, "tied": -3.0, "afro": -3.0}.get(
        p.style, -6.0
    ) + look.hair_length
    if p.style in ("long", "bob") or (p.style == "curly" and p.masculine < 0.5):
        edge = curve(
            a,
            (0, 30, 48, 58, 68, 76, 180),
            (front, front, front - 0.8, 3.4, 0.0, low, low),
        )
        edge = edge + p.parting * 0.5 * np.sin(angle) * 2
    else:
        knots = (0, 28, 46, 58, 70, 78, 84, 100, 112, 130, 180)
        temple = front + recede - 0.6
        edge = curve(a, knots, (front, front, temple, 3.6, 0.8, -1.8, 0.8, 0.8, -3.5, low, low))
    if p.style == "fringe":
        edge = np.minimum(edge, np.where(a < 55, 3.2 + 0.3 * np.sin(9 * angle + 5 * p.parting), 99))
    if p.style == "parted":
        edge = edge - 1.3 * np.exp(-(((np.degrees(angle) - 30 * float(np.sign(p.parting))) / 22) ** 2))
    peak = max(0.0, p.parting) * np.exp(-((a / 11) ** 2)) - 0.5 * np.exp(-(((a - 32) / 12) ** 2))
    return edge - 0.7 * peak - 0.15 * np.sin(7 * angle + 9 * p.parting)


def hair(p: Person, look: Look) -> Surface | None:
    """The hair, as a shell around the head; None for the bald."""
    if p.style == "bald":
        return None
    thick = {
        "crop": 0.35,
        "short": 0.9,
        "parted": 1.2,
        "tied": 0.5,
        "curly": 1.9,
        "afro": 3.4,
        "fringe": 1.0,
    }.get(p.style, 1.2)
    thick *= p.hair_volume * look.hair_volume
    s = np.linspace(0, 1 if p.style in LONG else 0.8, 190, dtype=np.float32)[:, None]
    behind = 2.9 if p.style in LONG else 2.25
    angle = np.linspace(-behind, behind, 190, dtype=np.float32)[None]
    y, width, front, middle, back = profile(p, np.minimum(s * 0.98, 0.6))
    below = np.maximum(s * 0.98 - 0.6, 0)
    y = y - 36 * below
    width = width + 3.0 * np.sqrt(below)
    x, z = ring(angle, width, front, middle, back, 0.95)
    above = y - hair_edge(p, look, angle)
    grow = 0.12 + 0.88 * step(-0.2, 3.0 if p.style in ("fringe", "afro", "curly") else 4.5, above)
    if p.style in ("curly", "afro"):
        grow = grow * (
            1 + 0.16 * np.sin(11 * angle + 3 * np.sin(y)) * np.sin(1.9 * y + 2 * np.sin(5 * angle))
        )
    if p.style == "parted":
        grow = grow * (
            1 - 0.7 * np.exp(-(((x - 3.2 * float(np.sign(p.parting))) / 0.5) ** 2)) * step(3, 6, y)
        )
    out = thick * grow
    side = np.sqrt(np.clip(1 - ((y - 1) / 11.5) ** 2, 0.05, 1)) * (y > 1) + (y <= 1)
    away = out * side / (np.sqrt(x * x + (z + 1) ** 2) + 1e-6)
    lift = np.where(y > 1, (y - 1) / 11.5, 0)
    rough = 0.3 * np.sin(47 * angle) * np.sin(31 * angle + 1.3) * (0.4 + step(0, 3, above))
    light = np.clip(0.55 + 0.15 * out, 0.4, 1)
    x, y_out, z = x * (1 + away), y + out * lift, z + (z + 1) * away
    return surface(x, y_out, z, (angle * 9, y), HAIR, light, above + rough > 0)


def ears(p: Person) -> list[Surface]:
    """Both ears: flattened bowls beside the head."""
    v = np.linspace(0.02, np.pi - 0.02, 70, dtype=np.float32)[:, None]
    w = np.linspace(-np.pi, np.pi, 76, dtype=np.float32)[None]
    outline = np.sin(v) * (1 + 0.18 * np.cos(v))
    fx, fy, fz = outline * np.cos(w), np.cos(v), outline * np.sin(w)
    hollow = np.sqrt(fy**2 + fz**2)
    x = fx * np.where(fx > 0, 0.25 + 0.45 * np.exp(-(((hollow - 0.85) / 0.16) ** 2)), 0.3)
    y, z = 3.0 * p.ear_size * fy - 1.4, 1.65 * p.ear_size * fz
    a = float(np.radians(p.ear_angle))
    x, z = x * np.cos(a) - z * np.sin(a) * 0.9, z * np.cos(a) + x * np.sin(a)
    x, z = x + 7.75 * p.head_width, z - 2.1
    light = 0.5 + 0.5 * step(0.3, 0.9, hollow)
    right = surface(x, y, z, (fz, fy), EAR, light)
    mirror = np.array([[-1], [1], [1]], np.float32)
    left = Surface(right.points * mirror, right.normals * mirror, right.uv, right.part, right.open)
    return [left, right]


def neck(p: Person) -> Surface:
    """From below the jaw to the collar."""
    y = np.linspace(-4, -17, 90, dtype=np.float32)[:, None]
    angle = np.linspace(-1.9, 1.9, 90, dtype=np.float32)[None]
    wide = 4.9 + 1.4 * p.masculine + 0.5 * step(-11, -17, y)
    x, z = wide * np.sin(angle), 0.92 * wide * np.cos(angle) - 3.0 + 0.2 * (y + 10)
    z = z + 0.25 * p.masculine * bump(x, y, 0, -13.0, 0.8, 1.2)
    z = z + 0.25 * np.exp(-(((np.abs(x) - 2.2 - 0.25 * (y + 17)) / 0.7) ** 2)) * step(0, 3, z)
    return surface(x, y, z, (x, y), NECK, 0.45 + 0.55 * step(-9, -16, y))


def torso(p: Person) -> Surface:
    """Shoulders and chest, clothed."""
    s = np.linspace(0, 1, 130, dtype=np.float32)[:, None]
    angle = np.arcsin(np.linspace(-1, 1, 170, dtype=np.float32))[None]
    broad = 0.9 + 0.22 * p.masculine
    y = curve(s, (0, 0.12, 0.3, 0.5, 1), (-12.5, -14.3, -16.2, -20.5, -37))
    wide = curve(s, (0, 0.12, 0.3, 0.42, 0.55, 1), (6.2, 8.5, 15, 18.5, 19.8, 20)) * broad
    deep = curve(s, (0, 0.12, 0.3, 0.5, 1), (5.4, 6.4, 8.0, 9.8, 10.8))
    y = y - 2.6 * np.cos(angle) ** 2 * step(1.0, 0.1, s)  # the collar lies lower in front
    x = wide * np.sin(angle)
    return surface(x, y, deep * np.cos(angle) - 3, (x, y), TORSO, np.ones_like(x))


def glasses(p: Person) -> Surface:
    """Thin dark frames in front of the eyes."""
    t = np.linspace(0, 2 * np.pi, 220, dtype=np.float32)[:, None]
    k = np.linspace(-0.13, 0.13, 4, dtype=np.float32)[None]
    cx, cy = (np.abs(f) ** 0.7 * np.sign(f) for f in (np.cos(t), np.sin(t)))
    z = np.linspace(8.2, -1, 110, dtype=np.float32)[:, None]
    temple = np.interp(z, (-1, 8.2), (8.1 * p.head_width, p.eye_x + 2.5)).astype(np.float32)
    bridge = np.linspace(-p.eye_x + 2.4, p.eye_x - 2.4, 50, dtype=np.float32)[:, None]
    places: list[tuple[Array, Array, Array]] = []
    places.append((bridge, 0.35 + k + 0.15 * np.cos(bridge * 2), np.full_like(k, 9.9)))
    for side in (-1.0, 1.0):
        rim = side * p.eye_x + (2.45 + k) * cx
        places += [
            (rim, -0.2 + (1.85 + k) * cy, 9.9 - 0.035 * rim * rim),
            (side * temple, 0.5 + k, z),
        ]
    points = np.concatenate([np.stack(np.broadcast_arrays(*c)).reshape(3, -1) for c in places], axis=1)
    n = points.shape[1]
    normals = np.tile(np.array([[0], [0.3], [0.95]], np.float32), (1, n))
    return Surface(
        points.astype(np.float32),
        normals,
        np.zeros((2, n), np.float32),
        np.full(n, GLASSES, np.uint8),
        np.ones(n, np.float32),
    )
