"""What MLflow is to be told of a run, on disk until MLflow knows it: a server that is away costs nothing.

A folder per MLflow run, below ``var/unsent/DAG/RUN``: who it is (``about.json``), its points (``points.jsonl``, each with
the time when it was measured), its files, what else is to be said of it (``notes.json``), and how much of all that has
been sent (``sent.json``). Whoever works on it holds its lock. When everything is sent the folder goes; what a process
leaves, because the server was away or it was killed itself, the next task on the node sends, or `make up`.
Sending twice changes nothing in MLflow, so that a crash between sending and noting it down costs nothing either.
"""

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypedDict

from reprise import untrusted
from reprise.errors import RepriseError, ServerAway
from reprise.folders import clear, slug
from reprise.settings import Settings
from reprise.tracking.mlflow_server import RUN_KEY, Heading, Tracker, now
from reprise.tracking.points import Point, read_points, write_points

log = logging.getLogger(__name__)

FOLDER = "unsent"
_SEND_SECONDS = 60.0


class About(TypedDict):
    """Which MLflow run an outbox is for."""

    heading: Heading
    """Of the DAG run's run."""
    stage: str | None
    """The stage whose run below it is meant; None: the DAG run's own."""
    tags: dict[str, str]
    """Of the stage's run; ``try`` tells it from its other tries."""
    started: int
    """When the stage's run started (ms since 1970)."""
    known_only: bool
    """Say nothing where MLflow knows no run of the DAG run."""


class Outbox:
    """One MLflow run's folder, held by this process."""

    def __init__(self, folder: Path, lock: IO[bytes]) -> None:
        """Use :meth:`create` or :meth:`take`."""
        self.folder = folder
        self._lock = lock
        self.about: About = json.loads((folder / "about.json").read_text())
        self._sent: dict[str, Any] = _read(folder / "sent.json")

    @classmethod
    def create(
        cls,
        settings: Settings,
        heading: Heading,
        stage: str | None = None,
        tags: Mapping[str, str] | None = None,
        known_only: bool = False,
    ) -> "Outbox":
        """Begin to tell of the run of a DAG run, or of one try of a stage."""
        about = About(heading=heading, stage=stage, tags=dict(tags or {}), started=now(), known_only=known_only)
        # By time: what ends a run is sent after what its stages left.
        folder = run_folder(settings, heading) / f"{time.time_ns()}-{slug(stage or 'run')}"
        _make(folder)
        lock = (folder / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        _write(folder / "about.json", about)
        return cls(folder, lock)

    @classmethod
    def take(cls, folder: Path) -> "Outbox | None":
        """What another process left; None where one still works on it, has just sent it, or left it damaged."""
        try:
            lock = (folder / "lock").open("r+b")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        try:
            return cls(folder, lock)
        except FileNotFoundError:  # being created, or removed
            lock.close()
        except (OSError, ValueError, TypeError) as error:  # power failed while it was written, say
            lock.close()
            log.warning("passed over, look into it and remove it: %s is damaged: %s", folder, error)
        return None

    @property
    def run(self) -> str | None:
        """The MLflow run's id, once the server has given one."""
        return self._sent.get("run")

    @property
    def models(self) -> dict[str, str]:
        """Registered model's name → version, of those sent so far."""
        return dict(self._sent.get("models", {}))

    @property
    def refused(self) -> dict[str, str]:
        """Model's name → why it cannot be registered."""
        return dict(self._sent.get("refused", {}))

    def refuse(self, model: str, why: str) -> None:
        """Note that a model cannot be registered."""
        log.warning("model %s is not registered in MLflow: %s", model, why)
        self._remember(refused={**self.refused, model: why})

    @property
    def points(self) -> Path:
        """The file of its points, which grows."""
        return self.folder / "points.jsonl"

    def add(self, points: Sequence[Point]) -> None:
        """Keep points to be sent."""
        write_points(self.points, points)

    def keep(self, source: Path, place: str) -> None:
        """Keep a file, or all files of a folder, to be stored with the run below ``place``; a newer one replaces it."""
        for file in sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]:
            target = self.folder / "files" / place / file.relative_to(source.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f"{target.name}.part")
            _link(file, draft)
            draft.replace(target)

    def keep_written(self, top: Path, name: str, place: Path, most: int) -> Path:
        """Keep a copy of a file that a container may still write to; returns the copy.

        :param name: relative to ``top``, as below ``place``.
        :param most: the largest size that is kept, in bytes.
        :raises Refused: it is larger, or no regular file.
        """
        target, draft = self.folder / "files" / place / name, self.folder / "picture.part"
        draft.unlink(missing_ok=True)
        untrusted.copy(top, name, draft, most)
        target.parent.mkdir(parents=True, exist_ok=True)
        return draft.replace(target)

    def model(self, name: str, file: Path, md5: str, description: str) -> None:
        """Keep an ONNX model to be registered."""
        (self.folder / "models").mkdir(exist_ok=True)
        _link(file, self.folder / "models" / md5)
        self.note(models={**_read(self._notes).get("models", {}), name: [md5, description]})

    def note(self, **what: Any) -> None:
        """Keep ``datasets`` (path → md5) and ``tags`` to be said of the run."""
        _write(self._notes, {**_read(self._notes), **what})

    def say_stage(self, entry: Mapping[str, Any], seconds: Mapping[str, float], wandb: str | None) -> None:
        """What is known of a stage once it is done: the data it read and wrote, what took how long, its W&B run."""
        self.add([Point(f"seconds/{step}", took, 0, now()) for step, took in seconds.items()])
        self.note(datasets={item["path"]: item["md5"] for item in (*entry.get("deps", ()), *entry.get("outs", ()))})
        if wandb:
            self.note(tags={"wandb": wandb})

    def end(self, status: str) -> None:
        """Note that the run has ended now: FINISHED, FAILED or KILLED."""
        self.note(status=status, ended=now())

    @property
    def ended(self) -> bool:
        """Whether :meth:`end` was called."""
        return "status" in _read(self._notes)

    @property
    def _notes(self) -> Path:
        return self.folder / "notes.json"

    def send_lines(self, tracker: Tracker, stop: Callable[[], bool] = lambda: False) -> int:
        """Send points and files that the server has not got; returns how many points.

        :param stop: asked after each thousand points whether the rest is to wait.

        :raises ServerAway: where the server is away; all that it has got is noted down.
        :raises RepriseError: where it refuses the run as such. Points and files that it refuses are dropped with a warning.
        """
        run, parent = self._runs(tracker)
        count = 0
        for points, read in read_points(self.points, self._sent.get("read", 0)):
            with _dropped(f"{len(points)} points"):
                tracker.metrics(run, points)
                if parent != run:
                    tracker.metrics(parent, points, f"{self.about['stage']}/")
            count += len(points)
            self._remember(read=read)
            if stop():
                return count
        root = self.folder / "files"
        for file in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".part"):
            path, version = file.relative_to(root).as_posix(), file.stat().st_mtime_ns
            if self._sent.get("files", {}).get(path) != version:
                with _dropped(path):
                    tracker.artifact(run, file, path)
                self._remember(files={**self._sent.get("files", {}), path: version})
        return count

    def send(self, tracker: Tracker, seconds: float = _SEND_SECONDS) -> None:
        """Send everything; the folder goes once the run has ended and MLflow knows it.

        :raises ServerAway: where the server is away, or needs more than ``seconds`` for the points.
        :raises RepriseError: as :meth:`send_lines`.
        """
        until = time.monotonic() + seconds
        if self.about["known_only"] and not tracker.known(self.about["heading"]):
            clear(self.folder)
            return
        self.send_lines(tracker, lambda: time.monotonic() > until)
        if next(read_points(self.points, self._sent.get("read", 0)), None):
            raise ServerAway(f"MLflow has not taken all points in {seconds:.0f} s", "make up sends the rest")
        self._send_notes(tracker)
        if self.ended:
            clear(self.folder)

    def try_send(self, tracker: Tracker) -> None:
        """As :meth:`send`; where the server is away a line in the log says that it will be sent later."""
        try:
            self.send(tracker)
        except RepriseError as error:
            log.warning("kept in %s, to be sent later: %s", self.folder, error)

    def open(self, tracker: Tracker) -> str | None:
        """The MLflow run's id, made now; None where the server is away: then a line in the log says so."""
        try:
            return self._runs(tracker)[0]
        except RepriseError as error:
            log.warning("the run goes on without MLflow, which will be told later: %s", error)
            return None

    def _runs(self, tracker: Tracker) -> tuple[str, str]:
        """Ids of this MLflow run and of its DAG run's; they are made where there are none yet."""
        if "run" not in self._sent:
            stage = self.about["stage"]
            with _locked(self.folder.parent):  # stages that start at once make one DAG run's run
                parent = tracker.dag_run(self.about["heading"])
            run = tracker.stage_run(parent, stage, self.about["tags"], self.about["started"]) if stage else parent
            self._remember(run=run, parent=parent)
        return str(self._sent["run"]), str(self._sent["parent"])

    def _send_notes(self, tracker: Tracker) -> None:
        run, _ = self._runs(tracker)
        notes, said = _read(self._notes), self._sent.get("notes", {})
        for name, (md5, description) in sorted(notes.get("models", {}).items()):
            if name in self.models or name in self.refused:
                continue
            try:
                version = tracker.model(run, name, self.folder / "models" / md5, md5, description)
            except ServerAway:
                raise
            except RepriseError as error:
                self.refuse(name, error.problem)
            else:
                self._remember(models={**self.models, name: version})
        for what, say in (("datasets", tracker.datasets), ("tags", tracker.tags)):
            if notes.get(what) and notes[what] != said.get(what):
                with _dropped(what):
                    say(run, notes[what])
        if "status" in notes:
            end = tracker.end if self.about["stage"] else tracker.finish
            with _dropped("its end"):
                end(run, notes["status"], notes["ended"])
        self._remember(notes=notes)

    def _remember(self, **what: Any) -> None:
        self._sent |= what
        _write(self.folder / "sent.json", self._sent)

    def close(self) -> None:
        """Leave what is not sent to others."""
        self._lock.close()


def run_folder(settings: Settings, heading: Heading) -> Path:
    """Where the outboxes of one DAG run lie."""
    dag, _, run = heading["tags"][RUN_KEY].partition("/")
    return settings.var / FOLDER / slug(dag) / slug(run)


@contextmanager
def _dropped(what: str) -> Iterator[None]:
    """What the server refuses it would refuse again."""
    try:
        yield
    except ServerAway:
        raise
    except RepriseError as error:
        log.warning("not in MLflow: %s: %s", what, error)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make(folder: Path) -> None:
    """Make a new folder. Its parent may be removed at the same moment, by whoever has sent the last thing in it."""
    for _ in range(9):
        try:
            return folder.mkdir(parents=True)
        except FileNotFoundError:
            continue
    folder.mkdir(parents=True)


def _link(file: Path, target: Path) -> None:
    """A second name for a file that nobody writes to any more, or a copy where there cannot be one."""
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _write(file: Path, values: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    draft = file.with_name(f"{file.name}.part")
    draft.write_text(json.dumps(values))
    draft.replace(file)
