"""The public archives of LFW: found, resumed after a break, verified before anyone sees them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from facelib import transfer

_MAX_BYTES = 1 << 30
"""Far more than the largest archive has."""
_UMASS = "http://vis-www.cs.umass.edu/lfw"
_FIGSHARE = "https://ndownloader.figshare.com/files"


@dataclass(frozen=True)
class Archive:
    """One version of LFW. G. Huang et al., "Labeled Faces in the Wild", UMass 07-49, 2007; "deep funneling", 2012."""

    name: str
    urls: tuple[str, ...]
    """Places that have it, the likeliest first."""
    digests: dict[str, str]
    """By algorithm, as torchvision (md5) and scikit-learn (sha256) state them; a copy that has one of them is good."""


ARCHIVES = {
    "funneled": Archive(
        "lfw-funneled.tgz",
        (f"{_FIGSHARE}/5976015", f"{_UMASS}/lfw-funneled.tgz"),
        {
            "sha256": "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
            "md5": "1b42dfed7d15c9b2dd63d5e5840c86ad",
        },
    ),
    "original": Archive(
        "lfw.tgz",
        (f"{_FIGSHARE}/5976018", f"{_UMASS}/lfw.tgz"),
        {
            "sha256": "055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
            "md5": "a17d05bd522c52d84eca14327a23d494",
        },
    ),
    "deepfunneled": Archive(
        "lfw-deepfunneled.tgz", (f"{_UMASS}/lfw-deepfunneled.tgz",), {"md5": "68331da3eb755a505a502b5aacb3c201"}
    ),
}


def obtain(archive: Archive, folder: Path, urls: Sequence[str] = ()) -> Path:
    """The archive in `folder`, fetched where it is not there yet.

    :param urls: places to ask instead of the archive's own.
    Raises SystemExit where a file is not the archive, or no place gives it: with where to put a copy.
    """
    file, part = folder / archive.name, folder / f"{archive.name}.part"
    if file.exists():
        if not _is(archive, file):
            raise SystemExit(f"{file} is not {archive.name} ({_stated(archive)}); remove it, or put a whole copy there")
        return file
    folder.mkdir(parents=True, exist_ok=True)
    why = []
    for url in urls or archive.urls:
        try:
            if _fetched(archive, url, part):
                return part.rename(file)
            why.append(f"{url} gave another file, nothing of it is kept")
        except requests.RequestException as error:
            why.append(f"{url}: {transfer.short(error)}, what has come is kept")
    raise SystemExit(
        f"{archive.name} cannot be fetched ({'; '.join(why)}). Run this again, or put a copy of the archive"
        f" ({_stated(archive)}) at {file.absolute()} and run this again"
    )


def _fetched(archive: Archive, url: str, part: Path) -> bool:
    """Whether `part` has become the archive. What it began with may be of another file: then all is fetched anew."""
    begun = part.exists()
    transfer.fetch(url, part, "lfw", _MAX_BYTES)
    if _is(archive, part):
        return True
    part.unlink()
    return begun and _fetched(archive, url, part)


def _is(archive: Archive, file: Path) -> bool:
    with file.open("rb") as content:
        for algorithm, stated in archive.digests.items():
            content.seek(0)
            if hashlib.file_digest(content, algorithm).hexdigest() == stated:
                return True
    return False


def _stated(archive: Archive) -> str:
    return " or ".join(f"{algorithm} {digest}" for algorithm, digest in archive.digests.items())
