"""A W&B run, written by a process of its own: what fails, hangs or is missing there never breaks the stage.

``python -m reprise.tracking.wandb_run`` reads one line of JSON (:class:`Asked`) from its standard input, then follows the
points of an outbox into W&B until its input ends. Offline files lie below ``var/wandb``.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from select import select
from typing import Any, TypedDict

from reprise.settings import Settings
from reprise.tracking.points import read_points

log = logging.getLogger(__name__)

_END_SECONDS = 60
_POLL_SECONDS = 1.0


class Asked(TypedDict):
    """What the process is told."""

    points: str
    """The file to follow."""
    id: str
    project: str
    group: str
    name: str
    stage: str
    """Job type in W&B: the stage, or ``run`` for the DAG run's own."""
    config: dict[str, Any]
    folder: str


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the worker's environment asks for W&B: by a key or by a mode, unless it is switched off."""
    mode = environment.get("WANDB_MODE", "")
    return mode in ("online", "offline") or (not mode and bool(environment.get("WANDB_API_KEY")))


class WandbRun:
    """The W&B run of a DAG run (``stage`` None) or of one try of a stage; runs of one DAG run share a group."""

    def __init__(
        self, settings: Settings, tags: Mapping[str, str], stage: str | None, attempt: int, config: Mapping[str, Any]
    ) -> None:
        """
        :param tags: of the DAG run's MLflow run: ``dag``, ``run_id``, ``revision``, …
        """
        # An id that every process can tell, and no other installation's: W&B never gives one twice.
        key = "\n".join([settings.origin, tags["dag"], tags["run_id"], tags["revision"], stage or "", str(attempt)])
        self.id = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.asked = Asked(
            points="",
            id=self.id,
            project=tags["dag"],
            group=tags["run_id"],
            name=tags["run_id"] + (f"/{stage}" if stage else ""),
            stage=stage or "run",
            config={**config, "reprise": dict(tags)},
            folder=str(settings.var / "wandb"),
        )
        self._process: subprocess.Popen[str] | None = None

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called."""
        return self._process is not None

    def start(self, points: Path) -> None:
        """Follow a file of points."""
        Path(self.asked["folder"]).mkdir(parents=True, exist_ok=True)
        # A file, no pipe: nobody reads before the end, and a full pipe would stop the process.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process runs
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reprise.tracking.wandb_run"],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has ended already; `finish` says why
            self._process.stdin.write(json.dumps({**self.asked, "points": str(points)}) + "\n")
            self._process.stdin.flush()

    def finish(self) -> str | None:
        """Wait until all is written; returns the run's id, None where W&B failed: then a warning says why."""
        if self._process is None:
            return None
        try:
            self._process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            log.warning("W&B: no answer after %d s; what it has is below %s", _END_SECONDS, self.asked["folder"])
            return self.id
        self._said.seek(0)
        said = self._said.read().strip()
        if self._process.returncode:
            log.warning("W&B: failed, the run goes on without it: %s", said[-1000:])
            return None
        log.info("W&B: %s", said.rsplit("\n", 1)[-1])
        return self.id


def wandb_place(settings: Settings, run: str) -> str:
    """Where a run is to be seen in W&B, or how to send what was written offline."""
    if any((settings.var / "wandb").glob(f"wandb/offline-run-*-{run}")):
        return f"run {run} is offline; to send it and all others: cd {settings.var / 'wandb'} && wandb sync --sync-all"
    return f"run {run}"


def main() -> None:
    """What the process does."""
    asked: Asked = json.loads(sys.stdin.readline())
    import wandb

    run = wandb.init(
        project=asked["project"],
        id=asked["id"],
        group=asked["group"],
        name=asked["name"],
        job_type=asked["stage"],
        config=asked["config"],
        dir=asked["folder"],
        resume="allow",
        # The container's load is in the points; this process's own is nobody's business, nor is its code.
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
        ),
    )
    run.define_metric("step", hidden=True)
    run.define_metric("*", step_metric="step")
    follow(Path(asked["points"]), run)
    offline = run.settings.mode == "offline"
    place = run.settings.sync_dir
    run.finish()
    print(f"to send it: wandb sync {place}" if offline else run.url)


def follow(file: Path, run: Any) -> None:
    """Log points as they come, until standard input ends; values of one step that stand together make one row."""
    place, ended = 0, False
    while not ended:
        ended = bool(select([sys.stdin], [], [], _POLL_SECONDS)[0])
        for points, end in read_points(file, place):
            place = end
            for (step, _), row in groupby(points, key=lambda p: (p.step, p.name.startswith("system/"))):
                run.log({**{p.name: p.value for p in row}, "step": step})


if __name__ == "__main__":
    main()
