"""Every kind of image is decoded right or refused with a reason; nothing else comes out of it."""

import io
import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PIPELINE = Path(__file__).resolve().parents[3] / "pipelines" / "faces"
sys.path.insert(0, str(PIPELINE))

from facelib import images

ODD = Path(__file__).resolve().parents[4] / "shared" / "data" / "odd-images"
odd_images = pytest.mark.skipif(not ODD.is_dir(), reason="needs ../shared/data/odd-images")


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decode(data: bytes, max_side: int = 1000, max_pixels: int = 10_000_000) -> images.Photo:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return images.decode(data, max_side, max_pixels)


def reason(data: bytes, **limits: int) -> str:
    with pytest.raises(images.Unreadable) as unreadable:
        decode(data, **limits)
    return unreadable.value.reason


@pytest.fixture
def scene() -> Image.Image:
    """60 x 40: red at the top left, green at the top right, blue below."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30, 0] = pixels[:20, 30:, 1] = pixels[20:, :, 2] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "JPEG2000", "AVIF", "GIF"])
def test_formats(scene: Image.Image, format: str) -> None:
    photo = decode(encode(scene, format))
    assert photo.pixels.shape == (40, 60, 3) and photo.pixels.dtype == np.uint8
    assert np.abs(photo.pixels.astype(int) - np.asarray(scene)).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "TIFF", "WEBP", "PNG"])
def test_exif_orientation_is_undone(scene: Image.Image, orientation: int, format: str) -> None:
    # Turned by hand, without the table that images.py has: row and column of EXIF 2.32's figure.
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(scene))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.ascontiguousarray(turned)), format, exif=exif)
    photo = decode(data)
    assert (photo.width, photo.height) == (60, 40)
    assert np.abs(photo.pixels.astype(int) - np.asarray(scene)).mean() < 12


def test_modes(scene: Image.Image) -> None:
    grey = np.asarray(scene.convert("L"))
    for image in (
        scene.convert("L"),
        scene.convert("P"),
        scene.convert("CMYK"),
        scene.convert("1"),
        Image.fromarray(grey.astype(np.uint16) * 257),  # 16 bits
        Image.fromarray(grey.astype(np.float32) / 255),
    ):
        photo = decode(encode(image, "TIFF"))
        expected = np.asarray(
            (scene if image.mode in {"P", "CMYK"} else scene.convert(image.mode if image.mode == "1" else "L")).convert(
                "RGB"
            )
        )
        assert np.abs(photo.pixels.astype(int) - expected).mean() < 2, image.mode


def test_transparency_is_white_unless_nobody_filled_it(scene: Image.Image) -> None:
    half = scene.copy()
    half.putalpha(Image.fromarray(np.repeat([[0], [255]], 20, 0).astype(np.uint8) * np.ones((1, 60), np.uint8)))
    pixels = decode(encode(half, "PNG")).pixels
    assert (pixels[:20] == 255).all() and (pixels[20:] == (0, 0, 255)).all()
    half.putalpha(0)
    assert (decode(encode(half, "PNG")).pixels == np.asarray(scene)).all()


def test_large_photographs_are_decoded_smaller_and_know_their_scale(scene: Image.Image) -> None:
    for format in ("JPEG", "PNG"):
        photo = decode(encode(scene.resize((3000, 2001)), format), max_side=600)
        assert photo.pixels.shape == (400, 600, 3)
        assert (photo.width, photo.height) == (3000, 2001)
        assert photo.scale == (5.0, 2001 / 400)
        small = np.asarray(scene.resize((600, 400)))
        assert np.abs(photo.pixels.astype(int) - small).mean() < 4


def test_limits_are_on_what_has_to_be_decoded(scene: Image.Image) -> None:
    large = scene.resize((3000, 2000))
    assert reason(encode(large, "PNG"), max_pixels=5_000_000) == "too_many_pixels"
    decode(encode(large, "JPEG"), max_side=600, max_pixels=5_000_000)  # decoded at a quarter


def claim(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size."""
    frame = re.search(rb"\xff[\xc0\xc2]\x00\x11\x08", jpeg)
    assert frame
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return jpeg[: frame.end()] + size + jpeg[frame.end() + 4 :]


def test_what_a_jpeg_claims_is_limited_too(scene: Image.Image) -> None:
    """Decoded smaller it would take little memory, but for ever; or all memory, where it is progressive."""
    plain, progressive = encode(scene, "JPEG"), encode(scene, "JPEG", progressive=True)
    assert reason(claim(plain, 65_000, 65_000), max_pixels=100_000_000) == "too_many_pixels"
    assert reason(claim(progressive, 20_000, 20_000), max_pixels=100_000_000) == "too_many_pixels"
    assert decode(progressive).width == 60
    assert reason(progressive + b"\xff\xda" * 100) == "too_many_scans"


@pytest.mark.parametrize(
    ("mode", "format", "options", "bytes_a_pixel"),
    [("RGB", "JPEG", {}, 2), ("RGB", "JPEG", {"progressive": True}, 5), ("RGBA", "PNG", {"compress_level": 1}, 12)],
)
def test_sixty_megapixels_take_bounded_memory(
    mode: str, format: str, options: dict[str, object], bytes_a_pixel: int, tmp_path: Path
) -> None:
    width, height = 9000, 6667
    image = Image.new(mode, (width, height), "orange")
    if mode == "RGBA":
        image.putalpha(128)
    image.save(tmp_path / "large", format, **options)
    code = (
        "import resource; from pathlib import Path; from facelib import images\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "photo = images.decode(Path('large').read_bytes(), 1280, 100_000_000)\n"
        "print(photo.pixels.shape, photo.width, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    env = {**os.environ, "PYTHONPATH": str(PIPELINE)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    *shape, kilobytes = done.stdout.split()
    assert shape == ["(948,", "1280,", "3)", "9000"], done.stderr
    assert int(kilobytes) * 1024 < width * height * bytes_a_pixel


def test_what_pillow_opens_and_nobody_photographs_is_refused() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    assert reason(eps) == "not_an_image"
    assert reason(b"\x00\x00\x00\x18ftypheic" + bytes(100)) == "unsupported"


def test_damage_gets_a_reason(scene: Image.Image) -> None:
    jpeg, png = encode(scene, "JPEG"), encode(scene, "PNG")
    assert reason(b"") == reason(b"not an image") == "not_an_image"
    assert reason(jpeg[: len(jpeg) // 2]) == "truncated"
    assert reason(png[:-30]) in {"truncated", "corrupt"}
    assert decode(b"\xff\xd8" + jpeg[2:]).width == 60


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000"])
def test_random_damage_never_raises_anything_else(scene: Image.Image, format: str) -> None:
    rng = random.Random(format)
    whole = encode(scene, format)
    for _ in range(60):
        data = bytearray(whole[: rng.randint(1, len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            assert decode(bytes(data)).pixels.shape[2] == 3
        except images.Unreadable as unreadable:
            known = {"not_an_image", "too_many_pixels", "too_many_scans", "truncated", "corrupt"}
            assert unreadable.reason in known


@odd_images
def test_odd_images_are_decoded_or_refused() -> None:
    refused = {}
    for path in sorted(ODD.iterdir()):
        try:
            assert decode(path.read_bytes()).pixels.size > 0
        except images.Unreadable as unreadable:
            refused[path.name] = unreadable.reason
    assert refused == {
        "00r0_gray_l.jp2": "corrupt",
        "LICENSE.txt": "not_an_image",
        "balloon_eciRGBv2_aware.jp2": "too_many_pixels",  # 2717 x 3701
        "crash-0e16d3bfb83be87356d026d66919deaefca44dac.tif": "corrupt",
        "crash-63b1dffefc8c075ddc606c0a2f5fdc15ece78863.tif": "corrupt",
        "decompression_bomb.gif": "too_many_pixels",
        "expected_to_read.jp2": "corrupt",
        "hopper_unknown_pixel_mode.tif": "not_an_image",
        "seek_too_large.tif": "corrupt",
        "truncated_jpeg.jpg": "truncated",
    }


@odd_images
def test_one_portrait_in_every_format_and_orientation_is_one_picture() -> None:
    expected = decode((ODD / "hopper.png").read_bytes()).pixels.astype(int)
    for path in sorted(ODD.glob("hopper*")):
        if path.stem in {"hopper_bad_exif", "hopper_unknown_pixel_mode"}:  # another picture; unreadable
            continue
        difference = np.abs(decode(path.read_bytes()).pixels - expected).mean()
        assert difference < (13 if path.suffix == ".gif" else 8), path.name
