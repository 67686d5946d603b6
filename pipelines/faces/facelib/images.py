"""Photographs as people and phones make them, decoded to upright RGB, or refused with a reason."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

_ORIENTATION = 0x0112
"""Number of EXIF's orientation tag; its values: EXIF 2.32, section 4.6.4."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "GIF", "BMP", "DIB", "PPM")
"""What photographs come as. Pillow opens more, EPS by starting Ghostscript, which nobody wants of a stranger's file."""
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
"""Brands of ISO/IEC 23008-12, which phones save as and Pillow does not read."""
_MOST_SCANS = 100
"""A progressive JPEG has about ten; each costs as much as the whole picture (LJT-02 of libjpeg-turbo's audit)."""


class Unreadable(Exception):
    """An image that cannot be used: `reason` is a slug, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright."""

    pixels: NDArray[np.uint8]
    """[height, width, 3], RGB, 0..255; may be smaller than the photograph."""
    width: int
    height: int
    """Size of the photograph itself, upright, px."""

    @property
    def scale(self) -> tuple[float, float]:
        """Photograph's px per decoded px, across and down."""
        height, width = self.pixels.shape[:2]
        return self.width / width, self.height / height


def decode(data: bytes, max_side: int, max_pixels: int) -> Photo:
    """The first frame of an encoded image; a longer side than `max_side` px is decoded smaller.

    Memory: up to 18 bytes for each pixel that has to be decoded (JPEG 2000; 5 for RGB), whatever the file claims.

    Raises Unreadable: not_an_image, unsupported (HEIF), too_many_pixels (more than `max_pixels` would have to be
    decoded), too_many_scans, truncated, corrupt.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.info.get("progressive") and data.count(b"\xff\xda") > _MOST_SCANS:
                raise Unreadable("too_many_scans", f"more than {_MOST_SCANS}")
            return _decode(image, max_side, max_pixels)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
            raise Unreadable("unsupported", "HEIF, as iPhones save it; convert it to JPEG") from None
        raise Unreadable("not_an_image", f"{len(data)} bytes of no known image format") from None
    except (Image.DecompressionBombError, MemoryError) as error:
        raise Unreadable("too_many_pixels", str(error)) from None
    except Exception as error:
        reason = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise Unreadable(reason, f"{type(error).__name__}: {error}") from None


def _decode(image: Image.Image, max_side: int, max_pixels: int) -> Photo:
    width, height = image.size
    shrink = min(1.0, max_side / max(width, height))
    # JPEG can be decoded at 1/2, 1/4 and 1/8 for a fraction of the time; draft picks one large enough.
    image.draft(None, (round(width * shrink), round(height * shrink)))
    # Decoded smaller, a JPEG still has to be read whole, and a progressive one lies in memory whole, as coefficients.
    whole = width * height // (3 if image.info.get("progressive") else 16)
    if max(image.width * image.height, whole) > max_pixels:
        raise Unreadable("too_many_pixels", f"{width} x {height}, allowed to be decoded are {max_pixels}")
    image.load()
    orientation = _orientation(image)
    if orientation >= 5:  # these swap the sides
        width, height = height, width
    rgb = _rgb(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    if rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.BILINEAR)
    return Photo(np.asarray(rgb), width, height)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 where there is none. After load(): Pillow itself turns TIFF images then."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as RGB, transparency over white."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _eight_bits(image).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # only with inPlace
        return converted
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        if rgba.getchannel("A").getextrema() == (0, 0):  # 32-bit bitmaps often have an alpha channel that nobody filled
            return rgba.convert("RGB")
        page = Image.new("RGB", rgba.size, "white")
        page.paste(rgba, mask=rgba)
        return page
    return image if image.mode == "RGB" else image.convert("RGB")  # no copy of 60 megapixels


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or float to 0..255; where Pillow would clip at 255."""
    grey = np.nan_to_num(np.array(image, dtype=np.float32), copy=False)
    top = float(grey.max(initial=0))
    # The file does not say what white is: 1 for floats, else the most that 8, 16 or 32 bits hold.
    white = next((limit for limit in (1.0, 255.0, 65535.0) if top <= limit and (limit > 1 or image.mode == "F")), top)
    grey *= 255 / white  # in place: a large one must not be there four times
    return Image.fromarray(np.clip(grey, 0, 255, out=grey).astype(np.uint8))
