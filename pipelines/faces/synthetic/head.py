"""The head without hair: skull, jaw and face, ears; and glasses."""

import numpy as np

from synthetic.face import relief
from synthetic.look import Look
from synthetic.person import Person
from synthetic.surface import EAR, GLASSES, HEAD, Array, Surface, box_mean, curve, ring, step, surface

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
