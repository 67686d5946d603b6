"""weights: published weights to start the training from, where params.yaml asks for them.

in   section `weights` of params.yaml; the file from facenet-pytorch's release, or from weights.url
out  models/pretrained.safetensors  the network's weights; an empty file where none are asked for

The files are facenet-pytorch's: 20180402-114759-vggface2.pt and 20180408-102900-casia-webface.pt. Without internet
access, serve a copy to containers and name it: python3 -m http.server --bind 172.17.0.1 8000, and
weights.url=http://172.17.0.1:8000/20180402-114759-vggface2.pt
"""

import argparse
import hashlib
import pickle
import tempfile
from pathlib import Path
from typing import NamedTuple

import requests

from facelib import transfer
from params import load
from params.weights import Params

OUT = Path("models/pretrained.safetensors")
RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
MAX_BYTES = 256_000_000
"""More than twice the published files' size."""


class Published(NamedTuple):
    """A file of facenet-pytorch's release."""

    name: str
    sha256: str
    """As those state who use the file, for its publisher states none; empty: nobody does."""


FILES = {
    "vggface2": Published(
        "20180402-114759-vggface2.pt", "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"
    ),
    "casia-webface": Published("20180408-102900-casia-webface.pt", ""),
}


def obtain(params: Params, folder: Path) -> Path:
    """The published file, fetched into `folder` and checked. SystemExit where there is none, or another."""
    published = FILES[params.pretrained]
    url, file = params.url or f"{RELEASE}/{published.name}", folder / published.name
    try:
        transfer.fetch(url, file, "weights", MAX_BYTES)
    except requests.RequestException as error:
        raise SystemExit(
            f"weights: {url} cannot be fetched: {transfer.short(error)}; name a place in weights.url that has a copy of"
            f" {published.name} and that containers reach"
        ) from error
    check(file, url, published, params.sha256)
    return file


def check(file: Path, place: str, published: Published, asked: str) -> None:
    """Print the file's checksum. SystemExit where it is not the one asked for, else not the published file's."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if asked and found != asked:
        raise SystemExit(
            f"weights: {place} has sha256 {found}, weights.sha256 is {asked}: fetch it again, or correct weights.sha256"
        )
    if not asked and published.sha256 and found != published.sha256:
        raise SystemExit(
            f"weights: {place} has sha256 {found}, {published.name} has {published.sha256}: fetch it again, or set"
            " weights.sha256 where another file is meant"
        )
    print(f"weights: {published.name}, {file.stat().st_size:,} bytes, sha256 {found}", flush=True)
    if not (asked or published.sha256):
        print("weights: no checksum of it is known; put this one into weights.sha256 to accept no other", flush=True)


def convert(file: Path) -> bytes:
    """From torch's file to safetensors, without the classifier. SystemExit where it is not a file of weights."""
    import torch  # here, because it takes seconds that "none" need not wait
    from safetensors.torch import save

    try:
        # weights_only: runs no code that a pickle may hold.
        weights = torch.load(file, map_location="cpu", weights_only=True)
        kept = {name: value.contiguous() for name, value in weights.items() if not name.startswith("logits.")}
        return save(kept)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ValueError, TypeError) as error:
        raise SystemExit(f"weights: the file is no torch file of weights: {str(error).partition('. ')[0]}") from error


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "weights")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    if params.pretrained == "none":
        OUT.write_bytes(b"")
        print("weights: none are asked for: training starts from scratch", flush=True)
        return
    with tempfile.TemporaryDirectory(dir=".") as folder:
        OUT.write_bytes(convert(obtain(params, Path(folder))))


if __name__ == "__main__":
    main()
