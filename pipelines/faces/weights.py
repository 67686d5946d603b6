"""weights: published weights to start the training from, where params.yaml asks for them.

in   section `weights` of params.yaml; the file from $INBOX/.weights/FILE where it lies there, else from the network
out  models/pretrained.safetensors  the network's weights; an empty file where none are asked for

The files are facenet-pytorch's: 20180402-114759-vggface2.pt and 20180408-102900-casia-webface.pt. Without a network,
put the one you want into the folder `.weights` of the inbox (hidden: no photographs are looked for there).
"""

import argparse
import hashlib
import io
import os
import pickle
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from params import load
from params.weights import Params

OUT = Path("models/pretrained.safetensors")
RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
FILES = {"vggface2": "20180402-114759-vggface2.pt", "casia-webface": "20180408-102900-casia-webface.pt"}


def fetch(url: str) -> bytes:
    """The file at `url`, asked for again where the network fails. SystemExit where it stays away."""
    session = requests.Session()
    session.mount(
        "https://", HTTPAdapter(max_retries=Retry(5, backoff_factor=1, status_forcelist=[429, 500, 502, 503, 504]))
    )
    try:
        answer = session.get(url, timeout=60)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise SystemExit(
            f"weights: {url} cannot be fetched: {error}; put {url.rsplit('/', 1)[-1]} into the folder .weights of the"
            " inbox, or name another place in weights.url"
        ) from error
    return answer.content


def obtain(params: Params) -> bytes:
    """The published file, from the inbox or the network, checked. SystemExit where it is another than asked for."""
    name = FILES[params.pretrained]
    offline = Path(os.environ.get("INBOX", "inbox")) / ".weights" / name
    url = params.url or f"{RELEASE}/{name}"
    data = offline.read_bytes() if offline.is_file() else fetch(url)
    found = hashlib.sha256(data).hexdigest()
    if params.sha256 and found != params.sha256:
        raise SystemExit(
            f"weights: {offline if offline.is_file() else url} has sha256 {found}, weights.sha256 is {params.sha256}:"
            " fetch it again, or correct weights.sha256"
        )
    print(f"weights: {name}, {len(data):,} bytes, sha256 {found}", flush=True)
    if not params.sha256:
        print(
            "weights: its publisher names no checksum; put this one into weights.sha256 to accept no other", flush=True
        )
    return data


def convert(data: bytes) -> bytes:
    """From torch's file to safetensors, without the classifier. SystemExit where it is not a file of weights."""
    import torch  # here, because it takes seconds that "none" need not wait
    from safetensors.torch import save

    try:
        # weights_only: runs no code that a pickle may hold.
        weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
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
    else:
        OUT.write_bytes(convert(obtain(params)))


if __name__ == "__main__":
    main()
