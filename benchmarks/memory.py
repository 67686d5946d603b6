"""Peak memory of each stage by the number of photographs: does it follow the data, or the configuration?

The photographs are variants (crop, quality) of those in --photos, as many as asked for; a stage runs alone in the stage
image, and its peak is what the kernel counted for its process (ru_maxrss). train runs one epoch. The image (`make image`)
must be there.
"""

import argparse
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from reprise.machine import image
from reprise.pipeline import params
from reprise.settings import ROOT
from reprise.sources import inbox

FACES = ROOT / "pipelines/faces"
STAGES: dict[str, Any] = yaml.safe_load((FACES / "dvc.yaml").read_text())["stages"]
MEASURE = (
    "import resource, subprocess, sys, time; start = time.monotonic(); code = subprocess.call(sys.argv[1:]);"
    "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, time.monotonic() - start); sys.exit(code)"
)
# Variants of one photograph are no duplicates here, and one epoch shows what memory training takes.
OVERRIDES = {"clean.max_duplicate_bits": 0, "train.epochs": 1}


def fill(photos: Path, folder: Path, count: int) -> None:
    """As many photographs as asked for, over as many dates as the originals have."""
    originals = sorted(photos.rglob("*.jpg"))
    rng = random.Random(1)
    for number in range(count):
        original = originals[number % len(originals)]
        with Image.open(original) as photo:
            left, top = rng.randrange(16), rng.randrange(16)
            variant = photo.crop((left, top, photo.width - rng.randrange(16), photo.height - rng.randrange(16)))
        name = original.relative_to(photos)
        file = folder / name.parent / f"{name.stem}-{number // len(originals)}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        variant.save(data, "JPEG", quality=rng.randrange(80, 95))
        file.write_bytes(data.getvalue())


def lay_out(place: Path, given: dict[str, Any]) -> None:
    """The pipeline, with the parameters of this benchmark and a listing of the inbox."""
    shutil.copytree(FACES, place / "faces", ignore=shutil.ignore_patterns("data", "models", "results", "__pycache__"))
    (place / "faces/params.yaml").write_text(params.apply(FACES, {**OVERRIDES, **given}))
    listing = inbox.list_inbox(str(place / "inbox"), None, place / "hashes")
    (place / "faces/source.json").write_bytes(inbox.dump(listing))


def peak(place: Path, stage: str) -> tuple[float, float]:
    """Run one stage; its peak memory in MB and its seconds."""
    command = STAGES[stage]["cmd"].split()
    docker = ["docker", "run", "--rm", "--init", "--network", "none", "-u", f"{os.getuid()}:{os.getgid()}"]
    docker += ["-e", "INBOX=/inbox", "-e", "LIVE=/tmp/live"]
    mounts = ["-v", f"{place / 'faces'}:/faces", "-v", f"{place / 'inbox'}:/inbox:ro", "-w", "/faces"]
    run = [*docker, *mounts, "--shm-size", "1g", image.image_name(ROOT), "python", "-c", MEASURE, *command]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{stage}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    _, kilobytes, seconds = done.stdout.splitlines()[-1].split()
    return int(kilobytes) / 1024, float(seconds)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="an inbox with DATE/PERSON/FILE.jpg")
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000], help="how many photographs")
    parser.add_argument("--stages", nargs="+", default=STAGES, help="in their order")
    parser.add_argument("--params", default="", help='as of make run, such as "detect.min_face_size=80"')
    args = parser.parse_args()
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for count in args.counts:
        with tempfile.TemporaryDirectory(prefix="reprise-memory-") as folder:
            place = Path(folder)
            fill(args.photos, place / "inbox", count)
            lay_out(place, params.parse_overrides(args.params))
            found[count] = {}
            for stage in args.stages:
                found[count][stage] = peak(place, stage)
                print(count, stage, json.dumps(found[count][stage]), flush=True)
    print("| stage | " + " | ".join(f"{count:,} photographs" for count in args.counts) + " |")
    print("|---|" + "---:|" * len(args.counts))
    for stage in args.stages:
        cells = [f"{found[count][stage][0]:,.0f} MB, {found[count][stage][1]:.0f} s" for count in args.counts]
        print(f"| {stage} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
