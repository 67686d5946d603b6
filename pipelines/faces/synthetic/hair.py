"""Hair as a shell around the head, cut off along an edge."""

import numpy as np

from synthetic.head import profile
from synthetic.look import Look
from synthetic.person import Person
from synthetic.surface import HAIR, Array, Surface, curve, ring, step, surface

LONG = ("bob", "long", "curly", "afro")
"""Styles of hair that may hang lower than the ears."""
THICK = {"crop": 0.35, "short": 0.9, "tied": 0.5, "curly": 1.9, "afro": 3.4, "fringe": 1.0}
"""cm; the others 1.2."""
LOW = {"bob": -8.5, "long": -15.0, "tied": -3.0, "afro": -3.0}
"""Height of the lower edge, cm; the others -6."""


def hair_edge(p: Person, look: Look, angle: Array) -> Array:
    """Height of the hair's lower edge at angles (radians) around the head."""
    a = np.abs(np.degrees(angle))
    front = p.hairline
    recede = max(0.0, p.hairline - 6.3)
    low = LOW.get(p.style, -6.0) + look.hair_length
    if p.style in ("long", "bob") or (p.style == "curly" and p.masculine < 0.5):
        edge = curve(a, (0, 30, 48, 58, 68, 76, 180), (front, front, front - 0.8, 3.4, 0.0, low, low))
        edge = edge + p.parting * np.sin(angle)
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
    thick = THICK.get(p.style, 1.2) * p.hair_volume * look.hair_volume
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
        curls = np.sin(11 * angle + 3 * np.sin(y)) * np.sin(1.9 * y + 2 * np.sin(5 * angle))
        grow = grow * (1 + 0.16 * curls)
    if p.style == "parted":
        line = np.exp(-(((x - 3.2 * float(np.sign(p.parting))) / 0.5) ** 2))
        grow = grow * (1 - 0.7 * line * step(3, 6, y))
    out = thick * grow
    side = np.sqrt(np.clip(1 - ((y - 1) / 11.5) ** 2, 0.05, 1)) * (y > 1) + (y <= 1)
    away = out * side / (np.sqrt(x * x + (z + 1) ** 2) + 1e-6)
    lift = np.where(y > 1, (y - 1) / 11.5, 0)
    rough = 0.3 * np.sin(47 * angle) * np.sin(31 * angle + 1.3) * (0.4 + step(0, 3, above))
    light = np.clip(0.55 + 0.15 * out, 0.4, 1)
    x, y_out, z = x * (1 + away), y + out * lift, z + (z + 1) * away
    return surface(x, y_out, z, (angle * 9, y), HAIR, light, above + rough > 0)
