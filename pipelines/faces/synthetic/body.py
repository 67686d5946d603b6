"""Neck, shoulders and chest."""

import numpy as np

from synthetic.person import Person
from synthetic.surface import NECK, TORSO, Surface, bump, curve, step, surface


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
