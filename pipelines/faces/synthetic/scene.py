"""Photographs: people in front of something, in some light, through some camera."""

import io
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from PIL.ImageDraw import ImageDraw as Draw

from synthetic.look import Look
from synthetic.person import Person, invent
from synthetic.render import HIGH, MIDDLE, PER_CM, render
from synthetic.surface import Array

Kind = Literal["portrait", "empty", "two", "blurred", "small", "dark"]
ORIENTATION = 0x0112
"""EXIF tag: how to turn the picture before it is shown."""
TURNS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""How pixels are stored for an orientation: the opposite of what a viewer does."""


@dataclass(frozen=True)
class Shot:
    """One photograph to be taken; its bytes depend on nothing else."""

    seed: int
    person: int
    number: int
    """Of the person's photographs."""
    kind: Kind
    difficulty: float
    """0 (all alike) .. 1: how far pose, light, expression and camera vary."""


def look_of(person: Person, rng: np.random.Generator, d: float) -> Look:
    """How the person happens to look at the moment of a photograph of difficulty d."""
    azimuth = np.radians(rng.uniform(-1, 1) * (25 + 90 * d))
    height = np.radians(rng.uniform(5, 30 + 60 * d))
    warm = rng.normal() * 0.14 * d * 2
    key = rng.uniform(1.2 - 0.7 * d, 1.2 + 0.5 * d)
    fill = rng.uniform(0.45 - 0.4 * d, 0.6)
    tint = np.array([1 + warm, 1.0, 1 - warm])
    sky = fill * np.array([1 - 0.5 * warm, 1.0, 1 + 0.5 * warm]) * rng.uniform(0.9, 1.1, 3)
    ground = fill * rng.uniform(0.4, 0.9) * rng.uniform(0.8, 1.2, 3)
    dyed = rng.beta(0.9, 1.8) * (0.7 + 0.3 * rng.random(3)) + 0.18 * rng.random(3) ** 3
    return Look(
        yaw=float(60 * d * rng.triangular(-1, 0, 1)),
        pitch=float(26 * d * rng.triangular(-1, 0, 1)),
        roll=float(24 * d * rng.triangular(-1, 0, 1)),
        smile=float(np.clip(rng.normal(0.35, 0.9 * d), -0.3, 1)),
        jaw=float(np.clip(rng.normal(-0.2, 0.8 * d), 0, 1)),
        lids=float(np.clip(rng.normal(1, 0.22 * d), 0.65, 1.2)),
        brows=float(np.clip(rng.normal(0, 0.3 * d), -0.2, 0.45)),
        gaze=(float(rng.normal() * 0.3 * d), float(rng.normal() * 0.12 * d)),
        make_up=float(np.clip(1.2 - 2 * person.masculine, 0, 1) * rng.random() * (rng.random() < 0.6)),
        stubble=float(rng.uniform(0, 1)),
        hair_length=float(rng.normal() * 2 * d),
        hair_volume=float(np.clip(rng.normal(1, 0.25 * d), 0.6, 1.5)),
        hair_shade=float(np.exp(rng.normal() * 0.5 * d)),
        glasses=bool(rng.random() < person.glasses),
        clothes=tuple(dyed.tolist()),  # type: ignore[arg-type]
        neckline=float(rng.uniform(-2.5, 4)),
        light=(
            float(np.sin(azimuth) * np.cos(height)),
            float(np.sin(height)),
            float(np.cos(azimuth) * np.cos(height)),
        ),
        light_colour=tuple((key * tint).tolist()),  # type: ignore[arg-type]
        sky=tuple(sky.tolist()),  # type: ignore[arg-type]
        ground=tuple(ground.tolist()),  # type: ignore[arg-type]
        texture=int(rng.integers(0, 4096)),
    )


def clouds(rng: np.random.Generator, width: int, height: int, cells: int) -> Array:
    """Smooth noise [height, width] of spread 1 with about `cells` features across."""
    small = rng.normal(size=(cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def background(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A wall, a room, shelves, trees or lights; out of focus."""
    kind = rng.choice(("wall", "room", "shelves", "trees", "lights"))
    base = rng.uniform(30, 215) + rng.normal(size=3) * 13 + (6, 0, -6)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    light = 18 * rng.normal() * x + 22 * rng.normal() * y + 9 * clouds(rng, width, height, 4)
    field = np.clip(base.astype(np.float32) + light[..., None], 0, 255)
    if kind == "trees":
        leaves = clouds(rng, width, height, 5) + clouds(rng, width, height, 13) / 1.5
        leaves = leaves + clouds(rng, width, height, 34) / 2
        green = np.array([rng.uniform(40, 110), rng.uniform(70, 130), rng.uniform(25, 70)], np.float32)
        share = np.clip(0.5 + 0.8 * (leaves + y * rng.uniform(0, 1.5)), 0, 1)[..., None]
        field = field * (1 - share) + green * (1 + 0.25 * leaves[..., None]) * share
    picture = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    if kind in FURNITURE:
        FURNITURE[kind](ImageDraw.Draw(picture), rng, base, width, height)
    return picture.filter(ImageFilter.BoxBlur(float(rng.uniform(0.4, 5))))


def dye(rng: np.random.Generator, base: NDArray[np.float64] | float, spread: float) -> tuple[int, int, int]:
    """A colour about `base`."""
    r, g, b = np.clip(base + rng.normal(size=3) * spread, 0, 255).astype(int).tolist()
    return r, g, b


def room(draw: Draw, rng: np.random.Generator, base: NDArray[np.float64], width: int, height: int) -> None:
    """Doors, frames, furniture: some rectangles."""
    for _ in range(rng.integers(2, 7)):
        x0, y0 = rng.uniform(-0.2, 0.9) * width, rng.uniform(-0.3, 0.8) * height
        x1, y1 = x0 + rng.uniform(0.1, 0.6) * width, y0 + rng.uniform(0.15, 0.9) * height
        draw.rectangle((x0, y0, x1, y1), fill=dye(rng, base + rng.normal() * 45, 14))


def shelves(draw: Draw, rng: np.random.Generator, base: NDArray[np.float64], width: int, height: int) -> None:
    """Books beside books."""
    shelf = rng.uniform(0.16, 0.3) * height
    for row in range(int(height / shelf) + 1):
        at = -rng.uniform(0, 9)
        while at < width:
            wide = rng.uniform(0.015, 0.05) * width
            top = (row + rng.uniform(0.05, 0.3)) * shelf
            draw.rectangle((at, top, at + wide, (row + 0.93) * shelf), fill=dye(rng, rng.uniform(20, 200), 18))
            at += wide + 1


def lights(draw: Draw, rng: np.random.Generator, base: NDArray[np.float64], width: int, height: int) -> None:
    """Discs, as lamps far away leave."""
    for _ in range(rng.integers(5, 26)):
        r, x, y = rng.uniform(0.01, 0.07) * width, rng.uniform(0, width), rng.uniform(0, height)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=dye(rng, base + rng.uniform(-60, 80), 22))


FURNITURE = {"room": room, "shelves": shelves, "lights": lights}


def put(
    picture: Image.Image,
    person: Person,
    look: Look,
    tall: float,
    middle: tuple[float, float],
    exposure: float,
) -> None:
    """Paint a person into a picture: a head `tall` px high around `middle`, lower where the body would end."""
    factor = tall / 23 / PER_CM
    top = round(max(middle[1] - MIDDLE[1] * factor, picture.height - 0.97 * HIGH * factor))
    rows = min(HIGH, int((picture.height - top) / factor) + 6)
    image = render(person, look, exposure, rows)
    size = (round(image.width * factor), round(image.height * factor))
    image = image.convert("RGBa").resize(size, Image.Resampling.BICUBIC).convert("RGBA")
    picture.paste(image, (round(middle[0] - MIDDLE[0] * factor), top), image)


def camera(picture: Image.Image, rng: np.random.Generator, d: float, kind: Kind) -> Image.Image:
    """What lens and sensor do: blur, grain, white balance, brightness."""
    if kind == "blurred":
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.016, 0.024) * picture.height)))
    else:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.45 + 0.9 * d))))
    field = np.asarray(picture, np.float32)
    balance = 1 + rng.normal(size=3) * 0.08 * d
    field = field * balance.astype(np.float32) * np.float32(1 + rng.normal() * 0.2 * d)
    if kind == "dark":
        field = field * np.float32(rng.uniform(0.08, 0.22))
    grain = rng.standard_normal(field.shape, dtype=np.float32) * np.float32(rng.uniform(1, 2 + 9 * d))
    return Image.fromarray(np.clip(field + grain, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, rng: np.random.Generator, d: float) -> bytes:
    """JPEG bytes, some of them stored turned, with an EXIF note."""
    data = io.BytesIO()
    quality = int(rng.integers(92 - int(45 * d), 96))
    if rng.random() < 0.05:
        orientation = int(rng.choice(list(TURNS)))
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        picture.transpose(TURNS[orientation]).save(data, "JPEG", quality=quality, exif=exif)
    else:
        picture.save(data, "JPEG", quality=quality)
    return data.getvalue()


def photograph(shot: Shot) -> bytes:
    """The JPEG file of a shot: a pure function."""
    d, kind = shot.difficulty, shot.kind
    rng = np.random.default_rng([shot.seed, 2, shot.person, shot.number])
    width, height = ((250, 250), (400, 300), (300, 400))[rng.choice(3, p=(0.85, 0.11, 0.04))]
    picture = background(rng, width, height)
    tall = height * rng.uniform(0.52 - 0.16 * d, 0.56 + 0.1 * d)
    x, y = width * (0.5 + rng.normal() * 0.04), height * (0.47 + rng.normal() * 0.02)
    light = float(np.exp(rng.normal() * 0.35 * d))
    person = invent(shot.seed, shot.person)
    look = look_of(person, rng, d)
    if kind == "small":
        tall = rng.uniform(17, 24)
    if kind == "two":
        side = float(rng.choice((-1, 1)))
        other = invent(shot.seed, shot.person + 1 + int(rng.integers(0, 5)))
        theirs = replace(
            look_of(other, rng, d),
            light=look.light,
            light_colour=look.light_colour,
            sky=look.sky,
            ground=look.ground,
        )
        tall *= 0.85
        put(
            picture,
            other,
            theirs,
            tall * rng.uniform(0.55, 0.7),
            (width * (0.5 + side * 0.33), y + 0.06 * height),
            light,
        )
        x -= side * 0.13 * width
    if kind != "empty":
        put(picture, person, look, float(tall), (float(x), float(y)), light)
    return encode(camera(picture, rng, d, kind), rng, d)
