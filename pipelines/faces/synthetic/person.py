"""An invented person: everything that stays the same from photograph to photograph."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
"""Linear RGB, 0..1."""

SKIN = (
    (246, 217, 199),
    (232, 190, 160),
    (208, 160, 126),
    (170, 120, 88),
    (122, 82, 58),
    (84, 55, 41),
)
HAIR = (
    (24, 21, 19),
    (52, 36, 26),
    (92, 62, 40),
    (128, 72, 36),
    (176, 138, 88),
    (205, 175, 125),
)
GREY_HAIR = (168, 165, 160)
IRIS = (
    (48, 30, 20),
    (74, 48, 28),
    (110, 82, 44),
    (92, 112, 84),
    (88, 118, 148),
    (120, 142, 160),
)
SHORT_STYLES = ("short", "crop", "parted", "short", "parted", "curly", "bald", "fringe", "afro")
LONG_STYLES = ("long", "bob", "tied", "long", "fringe", "curly", "bob", "parted", "afro", "tied")
"""How hair is worn; what is here twice is seen twice as often. `hair.py` draws them."""

BEGIN = (
    "Ba",
    "Ce",
    "Do",
    "Fa",
    "Gi",
    "Ha",
    "Jo",
    "Ka",
    "Le",
    "Mi",
    "No",
    "Pe",
    "Qui",
    "Ro",
    "Sa",
    "Tu",
)
MIDDLE = ("la", "ri", "mo", "ne", "vi", "da", "su", "ko")
END = ("n", "ra", "s", "l", "mi", "t", "na", "x")
FAMILY = (
    "Arkwell",
    "Brindel",
    "Corvane",
    "Dellmar",
    "Estrow",
    "Fennick",
    "Galvane",
    "Hostrel",
)


@dataclass(frozen=True)
class Shape:
    """Bones, features and the hair's habit: in cm, or as a factor of the average where no unit fits.

    The eyes are at height 0; x goes to the image's right.
    """

    head_width: float
    head_depth: float
    face_length: float
    jaw_width: float
    chin: float
    """How far it stands out, cm."""
    cheekbones: float
    brow_ridge: float
    eye_x: float
    """From the middle of the face to the middle of an eye, cm."""
    eye_size: float
    eye_opening: float
    eye_tilt: float
    """Outer corner above the inner, share of the eye's half width."""
    eye_depth: float
    nose_length: float
    """From the eyes' height to the tip, cm."""
    nose_width: float
    nose_bridge: float
    """Height of the bridge, cm."""
    nose_tip: float
    mouth_y: float
    mouth_width: float
    """Half of it, cm."""
    lip_upper: float
    lip_lower: float
    brow_y: float
    brow_thickness: float
    brow_arch: float
    ear_size: float
    ear_angle: float
    """Degrees away from the head."""
    hair_volume: float
    parting: float
    """-1 (left) .. 1."""


@dataclass(frozen=True)
class Person(Shape):
    """Shape, age and colours. What has no comment is a share, 0..1."""

    name: str
    masculine: float
    """0..1, moves many of the others."""
    age: float
    """Years."""
    wrinkles: float
    freckles: float
    beard: float
    moustache: float
    moles: tuple[tuple[float, float], ...]
    skin: Colour
    lips: Colour
    iris: Colour
    hair: Colour
    style: str
    hairline: float
    """Height of the hair's edge above the eyes, cm."""
    glasses: float
    """Share of the photographs that show glasses."""


def linear(srgb: tuple[float, ...] | NDArray[np.float64]) -> NDArray[np.float64]:
    """A colour of 8-bit sRGB values as linear light."""
    return (np.asarray(srgb) / 255) ** 2.2


def between(ramp: tuple[tuple[int, int, int], ...], place: float) -> NDArray[np.float64]:
    """The colour at `place` (0..1) of a ramp of sRGB colours, as linear light."""
    at = np.linspace(0, 1, len(ramp))
    return linear(np.array([np.interp(place, at, channel) for channel in zip(*ramp, strict=True)]))


def colour(values: NDArray[np.float64]) -> Colour:
    """Three numbers as a colour."""
    r, g, b = values.tolist()
    return r, g, b


def name_of(index: int, seed: int) -> str:
    """An invented name; the first 65536 indices give different ones."""
    code = (index * 40503 + seed * 7919) % 65536  # an odd factor: a permutation
    code, family = divmod(code, 8)
    code, end = divmod(code, 8)
    code, second = divmod(code, 8)
    begin, middle = code % 16, code // 16
    ending = MIDDLE[middle] if middle else ""
    return f"{BEGIN[begin]}{MIDDLE[second]}{END[end]}_{FAMILY[family]}{ending}"


def spread(rng: np.random.Generator, mean: float, deviation: float) -> float:
    """A normal number, at most 2.2 deviations from the mean."""
    return float(mean + deviation * np.clip(rng.normal(), -2.2, 2.2))


def shape(rng: np.random.Generator, masculine: float, tone: float) -> Shape:
    """Bones and features; everyday tendencies only, each with a wide spread."""
    around = partial(spread, rng)
    return Shape(
        head_width=around(1.01 + 0.05 * masculine, 0.05),
        head_depth=around(1, 0.04),
        face_length=around(0.97 + 0.06 * masculine, 0.05),
        jaw_width=around(0.9 + 0.16 * masculine, 0.08),
        chin=around(0.35 + 0.35 * masculine, 0.3),
        cheekbones=around(0.55, 0.3),
        brow_ridge=around(0.15 + 0.45 * masculine, 0.2),
        eye_x=around(3.2, 0.22),
        eye_size=around(1.15 - 0.1 * masculine, 0.08),
        eye_opening=around(1.04 - 0.12 * masculine, 0.16),
        eye_tilt=around(0.1, 0.12),
        eye_depth=around(0.85 + 0.2 * masculine, 0.3),
        nose_length=around(3.65 + 0.3 * masculine, 0.4),
        nose_width=around(0.92 + 0.16 * masculine + 0.15 * tone, 0.13),
        nose_bridge=around(1.15 + 0.2 * masculine - 0.25 * tone, 0.3),
        nose_tip=around(0.45, 0.2),
        mouth_y=around(-6.9, 0.3),
        mouth_width=around(2.5, 0.24),
        lip_upper=around(0.55 - 0.14 * masculine + 0.22 * tone, 0.13),
        lip_lower=around(0.78 - 0.14 * masculine + 0.22 * tone, 0.14),
        brow_y=around(2.15 - 0.35 * masculine, 0.25),
        brow_thickness=around(0.3 + 0.22 * masculine, 0.09),
        brow_arch=around(0.35 - 0.2 * masculine, 0.14),
        ear_size=around(0.95 + 0.1 * masculine, 0.08),
        ear_angle=around(24, 9),
        hair_volume=around(1, 0.22),
        parting=float(rng.uniform(-1, 1)),
    )


def invent(seed: int, index: int) -> Person:
    """The person with this number. Persons do not depend on how many there are."""
    rng = np.random.default_rng([seed, 1, index])
    masculine = float(np.clip(rng.beta(0.6, 0.6), 0.02, 0.98))
    age = float(rng.uniform(19, 72))
    old = max(0.0, (age - 40) / 32)
    tone = float(rng.uniform(0.06, 0.94))
    skin = np.array(between(SKIN, tone)) * (1, spread(rng, 1, 0.05), spread(rng, 1, 0.08))
    lips = skin * (0.86, 0.5, 0.52) * spread(rng, 0.95, 0.12)
    hair = between(HAIR, rng.uniform(0, 0.25) if rng.random() < 0.25 + tone else rng.uniform(0.1, 1))
    grey = float(np.clip(old * rng.uniform(-0.3, 1.6), 0, 1))
    bearded = rng.random() < 0.45 * masculine
    return Person(
        **vars(shape(rng, masculine, tone)),
        name=name_of(index, seed),
        masculine=masculine,
        age=age,
        wrinkles=float(np.clip(old + rng.normal() * 0.2, 0, 1)),
        freckles=float(max(0, rng.uniform(-2, 1)) * (1 - tone)),
        beard=float(rng.uniform(0.35, 1)) if bearded else float(0.16 * masculine * rng.random()),
        moustache=float(rng.uniform(0.5, 1)) if bearded or rng.random() < 0.12 * masculine else 0.0,
        moles=tuple((spread(rng, 0, 3), float(rng.uniform(-9, 5))) for _ in range(rng.integers(0, 4))),
        skin=colour(skin),
        lips=colour(lips),
        iris=colour(between(IRIS, rng.uniform(0, 0.3) if tone > 0.55 else rng.uniform(0, 1))),
        hair=colour(hair + grey * (linear(GREY_HAIR) - hair)),
        style=str(rng.choice(SHORT_STYLES if rng.random() < masculine else LONG_STYLES)),
        hairline=spread(rng, 6.4, 0.4) + (1.2 * old * rng.random() if masculine > 0.5 else 0),
        glasses=float(rng.choice((0.0, 0.85), p=(0.85, 0.15))),
    )
