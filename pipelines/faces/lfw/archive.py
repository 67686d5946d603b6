"""The public archives of LFW: found, resumed after a break, verified before anyone sees them."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

_CHUNK = 1 << 18
_TRIES = 5
_TIMEOUT_SECONDS = 20
_LINE_SECONDS = 2.0
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
            _resume(url, part)
            break
        except requests.RequestException as error:
            why.append(f"{url}: {_short(error)}")
    else:
        raise SystemExit(
            f"{archive.name} cannot be fetched ({'; '.join(why)}); what has come is kept. Run this again, or put a copy"
            f" of the archive ({_stated(archive)}) at {file.absolute()} and run this again"
        )
    if not _is(archive, part):
        part.unlink()
        raise SystemExit(f"{url} gave another file than {archive.name} ({_stated(archive)}); nothing of it is kept")
    return part.rename(file)


def _resume(url: str, part: Path) -> None:
    """Fetch what is missing of a file; go on where the connection breaks off, so long as something comes."""
    tries = 0
    while True:
        there = part.stat().st_size if part.exists() else 0
        try:
            _append(url, part, there)
            return
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            came = part.exists() and part.stat().st_size > there
            tries = 0 if came else tries + 1
            if tries >= _TRIES or (tries and not there):  # nothing has ever come: nobody answers
                raise
            time.sleep(min(0.5 * 2**tries, 30))


def _append(url: str, part: Path, there: int) -> None:
    headers = {"Range": f"bytes={there}-"} if there else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        if answer.status_code == 416:  # nothing beyond: it is whole, or another file
            return
        answer.raise_for_status()
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        done = there if goes_on else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        said = time.monotonic()
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if time.monotonic() - said > _LINE_SECONDS:
                    said = time.monotonic()
                    print(f"lfw: {done / 1e6:.0f} of {total / 1e6:.0f} MB", flush=True)


def _is(archive: Archive, file: Path) -> bool:
    with file.open("rb") as content:
        for algorithm, stated in archive.digests.items():
            content.seek(0)
            if hashlib.file_digest(content, algorithm).hexdigest() == stated:
                return True
    return False


def _stated(archive: Archive) -> str:
    return " or ".join(f"{algorithm} {digest}" for algorithm, digest in archive.digests.items())


def _short(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP {error.response.status_code}"
    return "no answer in time" if isinstance(error, requests.Timeout) else "no connection"
