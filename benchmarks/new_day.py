"""One per cent more photographs: what it costs with partitions, from nothing, and with `dvc repro` on folders of files.

The same photographs go through download, detect and align (the faces pipeline without what follows)
  - by Reprise: Airflow, containers, partitions; a clone of this checkout (what is committed) with its own services;
  - by `dvc repro` and `dvc push` in the stage image: the same stages, and stages that write a file per photograph.
First all photographs, then one per cent more, which arrived on one more date. Docker and the image (`make image`) must
be there. Times of Reprise are those of the three tasks together, and of the whole run as a user waits for it.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

from reprise import git
from reprise.airflow_api import Airflow

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("download", "detect", "align")
IDENTITY = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost")
FOLDERS = {
    "stages": {
        "download": {"cmd": "python ../folders/stages.py download", "deps": ["listing.txt"], "outs": ["photos"]},
        "detect": {"cmd": "python ../folders/stages.py detect", "deps": ["photos"], "outs": ["faces"]},
        "align": {"cmd": "python ../folders/stages.py align", "deps": ["photos", "faces"], "outs": ["aligned"]},
    }
}


def arrive(photos: list[Path], inbox: Path, date: str) -> None:
    """Put photographs into the inbox's folder of a date, a folder per person."""
    for photo in photos:
        target = inbox / date / photo.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, target)


def run(command: list[str | Path], cwd: Path, env: dict[str, str] | None = None) -> tuple[float, str]:
    """Seconds and output of a command; its output is shown where it fails."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.monotonic() - start, done.stdout


def clone(folder: Path) -> Path:
    """This checkout's HEAD, with the pipeline cut after align."""
    git.git(ROOT, "clone", "--quiet", str(ROOT), str(folder))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    pipeline = folder / "pipelines/faces"
    definition: dict[str, Any] = yaml.safe_load((pipeline / "dvc.yaml").read_text())
    stages = {name: definition["stages"][name] for name in STAGES}
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump({"vars": definition["vars"], "stages": stages}, sort_keys=False))
    for dag in (folder / "dags").glob("*.py"):
        if dag.name != "faces.py":
            dag.unlink()
    git.git(folder, *IDENTITY, "commit", "--quiet", "--all", "-m", "The first three stages")
    return folder


class Reprise:
    """The pipeline through Airflow."""

    def __init__(self, folder: Path) -> None:
        self.root = clone(folder)
        ports = []
        for _ in range(2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        self.airflow = f"http://127.0.0.1:{ports[0]}"
        mlflow = f"http://127.0.0.1:{ports[1]}"
        paths = {"PYTHONPATH": str(self.root / "plugins"), "REPRISE_AIRFLOW": self.airflow, "REPRISE_MLFLOW": mlflow}
        self.env = {**os.environ, **paths}

    def command(self, *args: str) -> tuple[float, str]:
        """``python -m reprise``."""
        return run([sys.executable, "-m", "reprise", *args], self.root, self.env)

    def step(self, inbox: Path, *args: str) -> dict[str, float]:
        """One run."""
        whole, output = self.command("run", "--pipeline", "pipelines/faces", "--inbox", str(inbox), *args)
        run_id = next(line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("run "))
        tasks = {task["task_id"]: task["duration"] for task in Airflow(self.airflow).tasks("faces", run_id)}
        return {**{name: tasks[name] for name in STAGES}, "all": sum(tasks[name] for name in STAGES), "whole": whole}


class Repro:
    """`dvc repro` and `dvc push` in the stage image."""

    def __init__(self, folder: Path, folders: bool) -> None:
        self.root, self.folders = clone(folder), folders
        self.pipeline = "benchmarks/files" if folders else "pipelines/faces"
        if folders:
            (self.root / self.pipeline).mkdir()
            (self.root / self.pipeline / "dvc.yaml").write_text(yaml.safe_dump(FOLDERS))
        _, self.image = run(
            [sys.executable, "-m", "reprise.machine.image", "--repro"], ROOT, {**os.environ, "PYTHONPATH": "plugins"}
        )

    def step(self, inbox: Path) -> dict[str, float]:
        """One repro and push; a stage's time is what DVC takes to run, hash and cache it."""
        if self.folders:  # what the stages read must be known to DVC: names, as the listing does
            names = sorted(str(path.relative_to(inbox)) for path in inbox.rglob("*.jpg"))
            (self.root / self.pipeline / "listing.txt").write_text("\n".join(names))
        else:
            run([sys.executable, "-m", "reprise", "list", "--inbox", inbox, "--pipeline", self.pipeline, "--checkout", self.root],
                self.root, {**os.environ, "PYTHONPATH": str(self.root / "plugins")})  # fmt: skip
        took = {name: self._dvc(inbox, "repro", "--single-item", f"{self.pipeline}/dvc.yaml:{name}") for name in STAGES}
        took["push"] = self._dvc(inbox, "push", f"{self.pipeline}/dvc.yaml")
        return {**took, "all": sum(took.values())}

    def _dvc(self, inbox: Path, *args: str) -> float:
        options = ["--rm", "--init", "--network", "none", "-u", f"{os.getuid()}:{os.getgid()}", "-e", "HOME=/tmp"]
        variables = [
            "-e",
            "DVC_SITE_CACHE_DIR=/tmp/dvc",
            "-e",
            "INBOX=/inbox",
            "-e",
            "PYTHONPATH=/repo/pipelines/faces",
        ]
        mounts = ["-v", f"{self.root}:/repo", "-v", f"{inbox}:/inbox:ro", "-w", "/repo"]
        return run(["docker", "run", *options, *variables, *mounts, self.image.strip(), "dvc", *args], self.root)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs, DATE/PERSON/FILE.jpg")
    parser.add_argument("--count", type=int, default=1000, help="photographs at first (default %(default)s)")
    parser.add_argument("--dates", type=int, default=10, help="arrival dates of these (default %(default)s)")
    args = parser.parse_args()
    more = max(1, args.count // 100)
    photos = sorted(args.photos.rglob("*.jpg"))[: args.count + more]
    if len(photos) < args.count + more:
        raise SystemExit(f"{args.photos} holds {len(photos)} photographs, {args.count + more} are needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inbox, share = folder / "inbox", args.count // args.dates
        for date in range(args.dates):
            arrive(photos[date * share : (date + 1) * share], inbox, f"2026-01-{date + 1:02}")
        reprise = Reprise(folder / "reprise")
        ways = {
            "dvc repro, a file per photograph": Repro(folder / "files", True),
            "dvc repro, Parquet": Repro(folder / "parquet", False),
        }
        try:
            reprise.command("up")
            rows = {"Reprise": [reprise.step(inbox)], **{way: [repro.step(inbox)] for way, repro in ways.items()}}
            arrive(photos[args.count :], inbox, "2026-02-01")
            rows["Reprise"].append(reprise.step(inbox))
            for way, repro in ways.items():
                rows[way].append(repro.step(inbox))
            rows["Reprise, nothing remembered"] = [rows["Reprise"][0], reprise.step(inbox, "--ignore-cache")]
        finally:
            reprise.command("down")
    print(f"{args.count} photographs of {args.dates} dates, then {more} more; seconds\n")
    print(
        "| | photographs | download | detect | align | push | together | the whole run |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    for way, steps in rows.items():
        for count, step in zip((args.count, args.count + more), steps, strict=True):
            shown = [f"{step[key]:.1f}" if key in step else "" for key in (*STAGES, "push", "all", "whole")]
            print(f"| {way} | {count} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
