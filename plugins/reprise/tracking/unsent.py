"""What MLflow has not been told because it was away: sent later, by whichever task comes next, on this node or another."""

import fcntl
import json
import logging
import tarfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from reprise.errors import RepriseError, ServerAway
from reprise.folders import clear, slug
from reprise.settings import Settings
from reprise.tracking.mlflow_server import Heading, Tracker
from reprise.tracking.outbox import FOLDER, About, Outbox, run_folder

log = logging.getLogger(__name__)

_PACKED = "packed.tar"


def left(settings: Settings) -> Iterator[Outbox]:
    """Outboxes that no process of this node works on any more, oldest first. Each is held while it is looked at."""
    for folder in sorted((settings.var / FOLDER).glob("*/*/*/"), key=lambda folder: folder.name):
        if box := Outbox.take(folder):
            try:
                yield box
            finally:
                box.close()


def send_left(settings: Settings, tracker: Tracker, seconds: float = 60.0) -> None:
    """Send what other processes left on this node, as far as the server answers.

    :param seconds: after these no further one is begun: the next task goes on.
    """
    until = time.monotonic() + seconds
    kept: list[str] = []
    for box in left(settings):
        if time.monotonic() > until:
            break
        try:
            _send(box, tracker)
            log.info("sent what was left in %s", box.folder)
        except ServerAway as error:
            log.warning("%s and what came after wait to be sent: %s", box.folder, error)
            break
        except Exception as error:  # another run's trouble: a line in this one's log is enough
            log.debug("kept in %s", box.folder, exc_info=True)
            kept.append(f"{box.folder}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    if kept:
        log.warning("not in MLflow: %d outboxes of other runs, such as %s", len(kept), kept[0])


def _send(box: Outbox, tracker: Tracker) -> None:
    if not box.ended:  # its process was killed
        if box.about["stage"] is None:  # the next try says it all again
            clear(box.folder)
            return
        box.end("KILLED")
    box.send(tracker)


def hand_on(folder: Path, put: Callable[[Path], str]) -> str | None:
    """Give what is not sent to a task that may run on another node: this one may be gone by then.

    :param folder: an outbox's, which this process has closed.
    :param put: stores a file where that task can get it, and returns its key.
    :returns: the key; None where all is sent, or where it could not be stored and stays here.
    """
    box = Outbox.take(folder)
    if box is None:  # sent, or another task is about to
        return None
    try:
        key = put(_pack(folder))
        clear(folder)
        return key
    except (RepriseError, OSError) as error:  # a full disk: what the stage has made is not to be lost with it
        log.warning("kept in %s: %s", folder, error)
        return None
    finally:
        box.close()


def _pack(folder: Path) -> Path:
    """All of an outbox but its lock as one file in it."""
    file = folder / _PACKED
    with tarfile.open(file, "w") as archive:
        for member in sorted(folder.iterdir()):
            if member.name not in (_PACKED, "lock"):
                archive.add(member, member.name)
    return file


def take_on(settings: Settings, heading: Heading, file: Path) -> None:
    """Lay out what :func:`hand_on` stored; :func:`send_left` sends it."""
    with tarfile.open(file) as archive:
        about: About = json.load(archive.extractfile("about.json") or BytesIO())
        folder = run_folder(settings, heading) / f"{about['started']}000000-{slug(about['stage'] or 'run')}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            archive.extractall(folder, filter="data")
