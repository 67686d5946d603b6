"""Push and pull aligned faces: one Parquet file per arrival date against a folder of image files, both by plain DVC.

The faces are photographs (PHOTOS, else procedural ones), cut to 112 px and made different from each other by four
pixels. Each layout gets a repository, a cache and a remote of its own; times are those of the `dvc` command
as a user types it. "+1 %" adds and pushes as many more faces, which arrived on one more date.
"""

import argparse
import io
import logging
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipelines/faces"))

from facelib import partitions

SIDE = 112
SCHEMA = pa.schema([("key", pa.string()), ("identity", pa.string()), ("image", pa.binary())])
Face = tuple[str, np.ndarray]
"""Its key and its pixels: [SIDE, SIDE, 3], uint8."""


def sources(photos: Path | None) -> list[np.ndarray]:
    """Up to 500 pictures of SIDE px: the centres of photographs, else smooth noise."""
    rng = np.random.default_rng(1)
    files = sorted(photos.rglob("*.jpg"))[::3][:500] if photos and photos.is_dir() else []
    if files:
        middle = (69, 69, 69 + SIDE, 69 + SIDE)
        return [np.asarray(Image.open(file).convert("RGB").crop(middle)) for file in files]
    small = rng.integers(0, 256, (500, 14, 14, 3), np.uint8)
    return [np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for picture in small]


def faces(pictures: list[np.ndarray], start: int, count: int) -> Iterator[Face]:
    """Faces number ``start`` and following, each different from every other."""
    for number in range(start, start + count):
        pixels = pictures[number % len(pictures)].copy()
        pixels[0, :4, 0] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)  # all else would be one file to DVC
        yield f"{number:07}", pixels


def encode(pixels: np.ndarray, kind: str) -> bytes:
    """As align encodes (PNG, level 1), or as JPEG of quality 95."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, **({"format": "PNG", "compress_level": 1} if kind == "png" else {"format": "JPEG", "quality": 95})
    )
    return file.getvalue()


def write_parquet(folder: Path, date: str, batch: Iterator[Face]) -> None:
    """One file for all that arrived on a date."""
    rows = (
        {"key": key, "identity": f"person{int(key) % 500}", "image": encode(pixels, "png")} for key, pixels in batch
    )
    partitions.write(partitions.file(folder, date), SCHEMA, rows)


def write_files(kind: str) -> Callable[[Path, str, Iterator[Face]], None]:
    """A file per face, in a folder per date."""

    def write(folder: Path, date: str, batch: Iterator[Face]) -> None:
        (folder / date).mkdir(parents=True)
        for key, pixels in batch:
            (folder / date / f"{key}.{kind}").write_bytes(encode(pixels, kind))

    return write


LAYOUTS = {
    "Parquet, a file a date (PNG inside)": write_parquet,
    "folder of PNG files": write_files("png"),
    "folder of JPEG files (quality 95)": write_files("jpg"),
}


def cpu() -> float:
    """CPU seconds of all commands so far: what another load on the machine does not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def dvc(folder: Path, *args: str) -> tuple[float, float]:
    """Seconds that a dvc command took, and of CPU."""
    start, used = time.monotonic(), cpu()
    env = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}
    subprocess.run([sys.executable, "-m", "dvc", *args, "--quiet"], cwd=folder, env=env, check=True)
    return time.monotonic() - start, cpu() - used


@contextmanager
def remote(kind: str, folder: Path) -> Iterator[tuple[str, str | None]]:
    """A remote's (URL, endpoint): a folder, or moto's S3 server on this machine."""
    if kind == "local":
        yield str(folder / "remote"), None
        return
    import boto3
    from moto.server import ThreadedMotoServer

    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="faces")
        yield "s3://faces/dvc", f"http://{host}:{port}"
    finally:
        server.stop()


def measure(
    write: Callable[[Path, str, Iterator[Face]], None], pictures: list[np.ndarray], args: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Seconds, and of CPU, of each step for one layout, in a temporary repository."""
    with tempfile.TemporaryDirectory() as name, remote(args.remote, Path(name)) as (url, endpoint):
        repo = Path(name) / "repo"
        repo.mkdir()
        dvc(repo, "init", "--no-scm")
        dvc(repo, "remote", "add", "--default", "storage", url)
        if endpoint:
            dvc(repo, "remote", "modify", "storage", "endpointurl", endpoint)
        data, share = repo / "aligned", args.faces // args.dates
        for date in range(args.dates):
            write(data, f"2026-01-{date + 1:02}", faces(pictures, date * share, share))
        files = [file for file in data.rglob("*") if file.is_file()]
        row = {"files": (float(len(files)), 0.0), "MB": (sum(file.stat().st_size for file in files) / 1e6, 0.0)}
        row["add"] = dvc(repo, "add", "aligned")
        row["push"] = dvc(repo, "push")
        shutil.rmtree(repo / ".dvc/cache")
        shutil.rmtree(data)
        row["pull"] = dvc(repo, "pull")
        write(data, "2026-02-01", faces(pictures, args.faces, args.faces // 100))
        row["+1 % add"] = dvc(repo, "add", "aligned")
        row["+1 % push"] = dvc(repo, "push")
        return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=10_000)
    parser.add_argument("--dates", type=int, default=10, help="arrival dates (default %(default)s)")
    parser.add_argument("--photos", type=Path, help="photographs of 250 px to cut the faces from")
    parser.add_argument("--remote", choices=("local", "s3"), default="local", help="a folder, or moto's S3 server")
    parser.add_argument("--repeat", type=int, default=1, help="times; the median is shown (default %(default)s)")
    args = parser.parse_args()
    pictures = sources(args.photos)
    columns = ["files", "MB", "add", "push", "pull", "+1 % add", "+1 % push"]
    print(f"{args.faces} faces of {SIDE} px, remote: {args.remote}; seconds (of CPU)\n")
    print(f"| layout | {' | '.join(columns)} |")
    print("|---" + "|---:" * len(columns) + "|", flush=True)
    for layout, write in LAYOUTS.items():
        rows = [measure(write, pictures, args) for _ in range(args.repeat)]
        wall = {column: statistics.median(r[column][0] for r in rows) for column in columns}
        used = {column: statistics.median(r[column][1] for r in rows) for column in columns}
        shown = [f"{wall[c]:,.0f}" if c in columns[:2] else f"{wall[c]:.1f} ({used[c]:.1f})" for c in columns]
        print(f"| {layout} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
