"""Colour and gloss of every visible point, painted from its place on the texture."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthetic.face import mouth
from synthetic.hair import hair_edge
from synthetic.look import Look
from synthetic.person import Person
from synthetic.surface import EAR, GLASSES, HAIR, HEAD, NECK, TORSO, Array, bump, step

DARK = np.array([0.012, 0.009, 0.008], np.float32)


@cache
def noise(seed: int, cells: int) -> Array:
    """A smooth random texture [512, 512] of mean 0 and spread 1 with `cells` features a side."""
    small = np.random.default_rng([seed, cells]).normal(size=(cells, cells)).astype(np.float32)
    wrapped = Image.fromarray(np.pad(small, 2, mode="wrap"))
    inner = (2, 2, cells + 2, cells + 2)
    big = np.asarray(wrapped.resize((512, 512), Image.Resampling.BICUBIC, box=inner))
    return (big - big.mean()) / big.std()


def look_up(texture: Array, u: Array, v: Array, shift: int = 0) -> Array:
    """The texture's values at places in its px, repeated without end."""
    return texture[
        (v.astype(np.int32) + 131 * shift) & 511,
        (u.astype(np.int32) + 197 * shift) & 511,
    ]


def blend(colour: Array, over: Array | tuple[float, ...], share: Array) -> None:
    """Cover `colour` [3, N] in place with another ([3] or [3, N]) by a share [N] in 0..1."""
    over = np.asarray(over, np.float32)
    colour += share * ((over[:, None] if over.ndim == 1 else over) - colour)


def paint(p: Person, look: Look, part: NDArray[np.uint8], uv: Array) -> tuple[Array, Array]:
    """Linear RGB [3, N] and gloss [N] of points [N] given by part and place."""
    colour = np.empty((3, len(part)), np.float32)
    gloss = np.full(len(part), 0.22, np.float32)
    for number, painter in (
        (HEAD, paint_head),
        (HAIR, paint_hair),
        (EAR, paint_skin),
        (NECK, paint_skin),
        (TORSO, paint_torso),
    ):
        here = np.flatnonzero(part == number)
        if len(here):
            colour[:, here], gloss[here] = painter(p, look, uv[0, here], uv[1, here])
    framed = part == GLASSES
    colour[:, framed], gloss[framed] = DARK[:, None] * 1.5, 0.15
    return colour, gloss


def paint_skin(p: Person, look: Look, u: Array, v: Array) -> tuple[Array, Array]:
    """Bare skin with its mottling."""
    shift = look.texture % 64
    mottle = (
        1 + 0.035 * look_up(noise(7, 96), u * 20, v * 20, shift) + 0.03 * look_up(noise(8, 24), u * 20, v * 20, shift)
    )
    return np.asarray(p.skin, np.float32)[:, None] * mottle, np.full(len(u), 0.2, np.float32)


def paint_head(p: Person, look: Look, x: Array, y: Array) -> tuple[Array, Array]:
    """The face, and the scalp below the hair."""
    colour, gloss = paint_skin(p, look, x, y)
    ax = np.abs(x)
    skin = np.asarray(p.skin, np.float32)
    flush = 0.5 * bump(ax, y, 4.2, -3.2, 1.9, 1.5) + 0.45 * bump(x, y, 0, -p.nose_length, 1.3, 0.9)
    blend(
        colour,
        skin * np.array([0.98, 0.66, 0.62], np.float32),
        np.clip(flush * (0.75 + look.make_up), 0, 1),
    )
    blend(
        colour,
        skin * np.array([0.72, 0.6, 0.62], np.float32),
        0.5 * bump(ax, y, p.eye_x, -0.1, 1.9, 1.15),
    )
    if p.freckles > 0.05:
        spots = step(1.0, 1.9, look_up(noise(11, 128), x * 14 + 200, y * 14 + 300, int(p.age)))
        blend(
            colour,
            skin * np.array([0.62, 0.45, 0.36], np.float32),
            spots * p.freckles * bump(ax, y, 2.5, -2.6, 3.4, 2.4),
        )
    for mx, my in p.moles:
        blend(colour, skin * 0.3, step(0.22, 0.1, np.hypot(x - mx, y - my)))
    lines(p, look, x, y, colour)
    whiskers(p, look, x, y, colour)
    brows(p, look, x, y, colour)
    lips(p, look, x, y, colour, gloss)
    eyes(p, look, x, y, colour, gloss)
    hole = bump(ax, y, 0.62 * p.nose_width, -p.nose_length - 0.62, 0.42 * p.nose_width, 0.24)
    blend(colour, DARK + skin * 0.04, np.clip(1.5 * hole - 0.25, 0, 0.92))
    scalp(p, x, y, colour)
    return colour, gloss


def scalp(p: Person, x: Array, y: Array, colour: Array) -> None:
    """Hair's roots, so that no bare skin shows between hairs."""
    edge = p.hairline - 0.055 * x * x
    share = step(-0.3, 1.2, y - edge) * (0.35 if p.style == "bald" else 0.95)
    blend(colour, np.asarray(p.hair, np.float32) * 0.6, share)


def lines(p: Person, look: Look, x: Array, y: Array, colour: Array) -> None:
    """Wrinkles of forehead and eyes' corners."""
    strength = 0.32 * p.wrinkles
    if strength < 0.04:
        return
    wave = y + 0.12 * np.sin(1.1 * x + p.age)
    forehead = np.exp(-((np.mod(wave - 3.0, 0.95) - 0.45) ** 2) / 0.012) * bump(x, y, 0, 4.4, 4.2, 1.3)
    ax = np.abs(x) - p.eye_x - 1.9
    feet = np.exp(-((np.mod(y + 0.35 * ax * np.sign(y), 0.5) - 0.25) ** 2) / 0.006) * bump(ax, y, 0.6, 0, 0.6, 0.8)
    shade = strength * np.clip(forehead * (0.7 + look.brows) + feet * (0.6 + look.smile), 0, 1)
    colour *= 1 - shade


def whiskers(p: Person, look: Look, x: Array, y: Array, colour: Array) -> None:
    """Beard, moustache and stubble."""
    beard = max(p.beard, 0.7 * look.stubble * max(0.0, p.masculine - 0.4))
    if max(beard, p.moustache) < 0.03:
        return
    ax = np.abs(x)
    my = p.mouth_y
    edge = my + 0.9 + 0.09 * ax**2  # cheek line rises towards the ears
    cheeks = step(0.5, -0.9, y - edge) * step(1.6, 2.6, np.hypot(ax * 0.85, y - my))
    chin = step(my - 0.9, my - 1.6, y)
    lip = bump(x, y, 0, my + 1.15, 2.5, 0.5) * 1.3
    hairs = 0.75 + 0.25 * look_up(noise(21, 200), x * 30 + 99, y * 12 + 50)
    share = np.clip(
        np.maximum(
            np.maximum(cheeks, chin) * beard,
            np.clip(lip, 0, 1) * max(p.moustache, beard),
        ),
        0,
        1,
    )
    blend(
        colour,
        np.asarray(p.hair, np.float32) * 0.7 + 0.06 * np.asarray(p.skin, np.float32),
        0.93 * np.clip(share * hairs, 0, 1),
    )


def brows(p: Person, look: Look, x: Array, y: Array, colour: Array) -> None:
    """Eyebrows: a band that thins outwards, of short hairs."""
    here = np.flatnonzero(np.abs(y - p.brow_y) < 1.8)
    x, y = x[here], y[here]
    t = (np.abs(x) - 1.15) / 3.6
    middle = (
        p.brow_y
        + look.brows * (1 - 0.3 * t)
        + p.brow_arch * np.sin(np.clip(t * 1.25, 0, 1.4) * np.pi * 0.75)
        - 0.08 * t
    )
    thick = p.brow_thickness * (1.05 - 0.6 * t)
    hairs = 1 + 0.22 * look_up(noise(23, 160), x * 26 + y * 20, y * 9 + 70)
    share = step(1.15, 0.55, np.abs(y - middle) / thick) * step(-0.1, 0.12, t) * step(1.06, 0.8, t)
    part = colour[:, here]
    blend(
        part,
        np.asarray(p.hair, np.float32) * 0.45 + DARK,
        np.clip(0.93 * share * hairs, 0, 1),
    )
    colour[:, here] = part


def lips(p: Person, look: Look, x: Array, y: Array, colour: Array, gloss: Array) -> None:
    """Lips, and between them a dark line or teeth."""
    half = p.mouth_width * (1 + 0.16 * look.smile)
    here = np.flatnonzero((np.abs(y - p.mouth_y) < 2.2) & (np.abs(x) < half + 0.5))
    x, y = x[here], y[here]
    upper, top, bottom, lower = mouth(p, look, x)
    part, shine = colour[:, here], gloss[here]
    skin = np.asarray(p.skin, np.float32)
    ends = step(1.03, 0.9, np.abs(x) / half)
    red = np.asarray(p.lips, np.float32) * (1 - 0.25 * look.make_up) + look.make_up * np.array(
        [0.16, 0.01, 0.02], np.float32
    )
    inside = step(0.07, -0.07, y - upper) * step(-0.07, 0.07, y - lower) * ends
    creases = 1 + 0.1 * look_up(noise(25, 200), x * 24, y * 3 + 9)
    blend(part, red, inside * np.clip((0.72 + 0.25 * look.make_up) * creases, 0, 1))
    shine[:] += inside * (0.3 + 0.4 * look.make_up)
    blend(
        part,
        skin * 0.45,
        0.4 * np.exp(-(((y - lower + 0.16) / 0.16) ** 2)) * step(1, 0.5, np.abs(x) / half),
    )
    open_ = step(0.05, -0.02, y - top) * step(-0.05, 0.02, y - bottom) * (top - bottom > 0.05)
    blend(part, DARK * 2 + np.array([0.03, 0.004, 0.004], np.float32), open_)
    gap = np.maximum(top - bottom, 0.05)
    teeth = open_ * step(0.78, 0.6, (top - y) / gap) * step(0.95, 0.72, np.abs(x) / half)
    ivory = np.array([[0.62], [0.56], [0.47]], np.float32) * (1 - 0.35 * (x / half) ** 2)
    seams = 1 - 0.25 * step(0.9, 0.98, np.abs(np.cos(np.pi * x / 0.75)))
    blend(part, ivory * seams, 0.95 * teeth)
    line = np.exp(-((np.abs((top + bottom) / 2 - y) / (0.09 + (top - bottom) / 2)) ** 4)) * step(
        1.1, 0.98, np.abs(x) / half
    )
    blend(part, DARK + red * 0.12, 0.85 * line * (1 - open_))
    colour[:, here], gloss[here] = part, shine


def eyes(p: Person, look: Look, x: Array, y: Array, colour: Array, gloss: Array) -> None:
    """Both eyes: the ball where the lids leave it open, then the lids. e runs from -1 (inner corner) to 1 (outer)."""
    half = 1.5 * p.eye_size
    here = np.flatnonzero((np.abs(y) < 1.7) & (np.abs(np.abs(x) - p.eye_x) < half + 0.7))
    x, y = x[here], y[here]
    e = (np.abs(x) - p.eye_x) / half
    arch = np.clip(1 - e * e, 0, 1)
    tilt = p.eye_tilt * half * e * 0.6
    upper = tilt + 0.66 * p.eye_opening * look.lids * p.eye_size * arch**0.65 * (1 - 0.12 * e)
    lower = tilt - 0.43 * p.eye_opening * (0.6 + 0.4 * look.lids) * p.eye_size * arch**0.8 - 0.03
    upper = np.maximum(upper, lower + 0.02)
    inside = step(0.06, -0.06, y - upper) * step(-0.06, 0.06, y - lower) * step(1.04, 0.97, np.abs(e))
    dx, dy = x - np.sign(x) * p.eye_x - look.gaze[0], y - tilt - 0.06 - look.gaze[1]
    ball = eyeball(p, look, e, dx, dy)
    ball *= 1 - 0.55 * np.exp(-(np.maximum(upper - y, 0) / 0.2))  # the upper lid's shadow
    part = colour[:, here]
    blend(part, ball, inside)
    lids(p, look, e, y - upper, y - lower, part)
    colour[:, here] = part
    gloss[here] *= 1 - 0.7 * inside


def eyeball(p: Person, look: Look, e: Array, dx: Array, dy: Array) -> Array:
    """Colours [3, N] of sclera, iris, pupil and highlight at places dx, dy (cm) from the iris' middle."""
    ball = np.array([[0.56], [0.53], [0.5]], np.float32) * (1 - 0.35 * np.clip(e, -1, 1) ** 2)
    blend(ball, (0.5, 0.22, 0.2), 0.55 * step(-0.72, -1.0, e))
    r = np.hypot(dx, dy) / (0.62 * p.eye_size)
    iris = np.asarray(p.iris, np.float32)
    fibres = 1 + 0.3 * look_up(noise(27, 64), np.arctan2(dy, dx) * 60 + 256, r * 4 + 20)
    ring = iris[:, None] * (0.75 + 0.7 * step(0.35, 0.75, r) * step(1.0, 0.8, r) - 0.8 * dy) * fibres
    blend(ball, ring, step(1.05, 0.94, r))
    blend(ball, iris * 0.12, 0.85 * np.exp(-(((r - 0.96) / 0.12) ** 2)))
    blend(ball, DARK * 0.5, step(0.5, 0.4, r))
    lx, ly, lz = look.light
    far = (lx * lx + ly * ly + lz * lz) ** 0.5
    return ball + 1.1 * step(0.2, 0.08, np.hypot(dx - 0.27 * lx / far, dy - 0.1 - 0.2 * ly / far))


def lids(p: Person, look: Look, e: Array, above: Array, below: Array, colour: Array) -> None:
    """Crease, bags, shadow and lashes, at heights above the upper lid's edge and `below` (negative) the lower's."""
    skin = np.asarray(p.skin, np.float32)
    ends = np.abs(e)
    crease = np.exp(-(((above - 0.34 * p.eye_size) / 0.1) ** 2)) * step(1.15, 0.7, ends)
    blend(colour, skin * 0.28, 0.6 * crease)
    bags = np.exp(-(((below + 0.42) / 0.12) ** 2)) * np.clip(1 - e * e, 0, 1)
    blend(colour, skin * 0.5, (0.15 + 0.35 * p.wrinkles) * bags)
    painted = step(0.75, 0.1, above) * step(-0.1, 0.1, above) * step(1.1, 0.7, ends) * look.make_up
    blend(colour, skin * 0.35 + np.array([0.02, 0.01, 0.03], np.float32), 0.55 * painted)
    thick = 0.11 + 0.05 * look.make_up + 0.06 * (1 - p.masculine)
    lashes = np.exp(-((above / thick) ** 2)) * step(1.14, 1.0, ends) * step(-1.15, -0.8, e)
    blend(colour, DARK, 0.94 * lashes)
    lower = np.exp(-((below / 0.075) ** 2)) * step(1.08, 0.9, ends)
    blend(colour, DARK + skin * 0.1, (0.5 + 0.3 * look.make_up) * lower)


def paint_hair(p: Person, look: Look, u: Array, v: Array) -> tuple[Array, Array]:
    """Strands that run down, or curls."""
    bend = 0.25 * np.sin(0.5 * v + 0.4 * u)
    if p.style in ("curly", "afro"):
        strands = look_up(noise(31, 200), u * 22 + 300, v * 22 + 300)
    else:
        strands = look_up(noise(33, 250), (u + bend) * 26 + 300, v * 1.6 + 300)
    locks = look_up(noise(35, 40), (u + bend) * 14 + 300, v * 2.5 + 300)
    tint = np.clip(1 + 0.3 * strands + 0.22 * locks, 0.25, 1.9) * look.hair_shade
    edge = v - hair_edge(p, look, u / 9)
    return np.asarray(p.hair, np.float32)[:, None] * tint, 0.35 * step(0, 3, edge) * np.clip(1 + 0.5 * strands, 0, 2)


def paint_torso(p: Person, look: Look, u: Array, v: Array) -> tuple[Array, Array]:
    """Clothes with a neckline; skin inside it."""
    kind = look.texture % 4
    cloth = np.tile(np.array(look.clothes, np.float32)[:, None], (1, len(u)))
    if kind == 1:
        cloth *= 0.7 * (1 + 0.6 * np.sign(np.sin(v * 2.2)))
    elif kind == 2:
        cloth *= 0.75 + 0.3 * np.sign(np.sin(u * 1.5)) + 0.3 * np.sign(np.sin(v * 1.5))
    cloth *= 1 + 0.12 * look_up(noise(41, 24), u * 8 + 300, v * 8 + 300, look.texture % 32)
    depth = v + 15.2 + look.neckline
    cut = depth - np.abs(u) * (1.0 if kind in (0, 3) else 0.1 * np.abs(u))
    skin, gloss = paint_skin(p, look, u, v)
    cloth *= 1 - 0.35 * np.exp(-((cut / 0.5) ** 2))
    bare = step(-0.1, 0.1, cut)
    blend(cloth, skin, bare)
    return cloth, gloss * bare
