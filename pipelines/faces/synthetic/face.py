"""The face's features: where the lips' edges run, and how far everything stands out of a smooth head."""

import numpy as np

from synthetic.look import Look
from synthetic.person import Person
from synthetic.surface import Array, bump, step


def mouth(person: Person, look: Look, x: Array) -> tuple[Array, Array, Array, Array]:
    """Heights at x of the upper lip's upper and lower, then the lower lip's upper and lower edge."""
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
    return eyes(p, np.abs(x), y) + nose(p, look, x, y) + cheeks(p, look, np.abs(x), y) + lips(p, look, x, y)


def eyes(p: Person, ax: Array, y: Array) -> Array:
    """Brow ridge, sockets, eyeballs, what hangs below them, and the temples' hollows, at |x| and y."""
    z = p.brow_ridge * np.exp(-(((y - 1.7) / 0.8) ** 2) - ((ax - 2.4) / 2.3) ** 2)
    z -= 1.15 * p.eye_depth * bump(ax, y, p.eye_x - 0.15, 0.35, 1.75, 1.25)
    z += 0.55 * bump(ax, y, p.eye_x, -0.02, 1.1 * p.eye_size, 0.72 * p.eye_size)
    z -= (0.1 + 0.25 * p.wrinkles) * bump(ax, y, p.eye_x - 0.4, -1.5, 1.4, 0.35)
    return z - 0.35 * bump(ax, y, 6.6, 3.2, 1.5, 2.2)


def nose(p: Person, look: Look, x: Array, y: Array) -> Array:
    """A ridge that grows downwards, a ball at the tip, wings."""
    ax, tip = np.abs(x), -p.nose_length
    t = np.clip((1.0 - y) / (1.0 - tip), 0, 1)
    height = p.nose_bridge * (0.24 + 0.5 * t) * step(2.6, 0.4, y) + (0.7 + p.nose_tip) * t**2
    width = (0.58 + 0.5 * t**2) * (0.5 + 0.5 * p.nose_width)
    z = height * np.exp(-((ax / width) ** 2)) * step(tip - 1.0, tip + 0.25, y)
    z += 0.45 * bump(x, y, 0, tip + 0.1, 0.75, 0.65)
    return z + 0.8 * bump(ax, y, 1.22 * p.nose_width * (1 + 0.08 * look.smile), tip - 0.15, 0.52, 0.55)


def cheeks(p: Person, look: Look, ax: Array, y: Array) -> Array:
    """Cheekbones, what a smile pushes up, and the folds from nose to mouth, at |x| and y."""
    tip, smile = -p.nose_length, max(0.0, look.smile)
    z = p.cheekbones * bump(ax, y, 4.6, -2.0, 1.9, 1.3)
    z += 0.45 * smile * bump(ax, y, 3.9, -3.6, 1.5, 1.3)
    fold_x = 1.9 + 0.42 * (tip - y) + 0.3 * look.smile
    depth = (0.1 + 0.28 * p.wrinkles + 0.3 * smile) * step(tip + 0.6, tip - 0.6, y)
    return z - depth * np.exp(-(((ax - fold_x) / 0.42) ** 2)) * step(p.mouth_y - 1.2, p.mouth_y, y)


def lips(p: Person, look: Look, x: Array, y: Array) -> Array:
    """The swelling over the teeth, both lips, the line between, the groove above, and the chin below."""
    upper, top, bottom, lower = mouth(p, look, x)
    inside = step(1.08, 0.85, np.abs(x) / (p.mouth_width * (1 + 0.16 * look.smile)))
    z = 0.45 * bump(x, y, 0, p.mouth_y + 0.2, 2.9, 2.0)
    z += 0.32 * inside * np.exp(-(((y - (upper + top) / 2) / (0.16 + 0.55 * p.lip_upper)) ** 2))
    z += 0.38 * inside * np.exp(-(((y - (bottom + lower) / 2) / (0.16 + 0.5 * p.lip_lower)) ** 2))
    z -= 0.3 * inside * np.exp(-(((y - (top + bottom) / 2) / 0.16) ** 2))
    z -= 0.12 * bump(x, y, 0, (p.mouth_y - p.nose_length) / 2 - 0.1, 0.28, 0.7)
    z -= 0.4 * bump(x, y, 0, p.mouth_y - 1.75, 1.8, 0.55)
    return z + p.chin * bump(x, y, 0, -10.0, 1.7, 1.2)
