"""Checkpoints of a long stage: kept by the node beside the cache and copied to the remote, until its result is there.

The folder belongs to the stage's key (command, dependencies, parameters), so what lies in it fits whatever asks for
it. The stage writes a checkpoint under a name that ends in ``.tmp``, renames it once it is whole, and never changes
a whole one; so any file without that ending may be copied at any time. A container that does otherwise harms itself
only: what goes to the remote is a copy of a regular file, and nothing is written into the folder but by renaming.
"""

import fcntl
import hashlib
import json
import logging
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from docker.types import Mount

from reprise import untrusted
from reprise.lock import hash_inputs, lock_entry
from reprise.pipeline.stages import Pipeline, Stage, producers
from reprise.settings import Settings
from reprise.untrusted import Refused
from reprise.workspace import Workspace

log = logging.getLogger(__name__)

INSIDE = "/checkpoints"
"""Where the folder lies in the container; ``CHECKPOINTS`` names it."""
UNFINISHED = ".tmp"
_ALIVE = f"alive{UNFINISHED}"
"""In a stage's folder in the remote, written anew while the stage runs: no checkpoint, but the folder's age."""
_EVERY_SECONDS = 600
_ABANDONED_SECONDS = 30 * 24 * 3600
_MOST = 10_000
"""Entries of the folder that are looked at."""
_LONGEST_NAME = 200
"""Bytes; Linux takes 255, and copies have longer names for a while."""


class Checkpoints:
    """One stage's folder of checkpoints, copied to the remote now and then while the ``with`` block runs."""

    def __init__(self, folder: Path, remote: Any, path: str, every: float = _EVERY_SECONDS) -> None:
        """
        :param folder: on this node.
        :param remote: the remote's file system, as DVC gives it.
        :param path: the folder in the remote.
        :param every: seconds from one copy to the next.
        """
        self.folder, self.remote, self.path, self.every = folder, remote, path, every
        self._lock: IO[str] | None = None
        self._seen = set[str]()
        """Names of whole checkpoints that were on this node during the ``with`` block."""
        self._odd = set[str]()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._copy_repeatedly, name="checkpoints", daemon=True)

    @classmethod
    def of(
        cls,
        settings: Settings,
        workspace: Workspace,
        pipeline: Pipeline,
        stage: Stage,
        upstream: Mapping[str, Any],
        anew: str = "",
    ) -> "Checkpoints | None":
        """Those of a stage with ``meta: {checkpoints: true}``, else None.

        :param anew: a run that asked for every stage to run again: its tries share what no other run left.
        """
        if not stage.meta.checkpoints:
            return None
        dvc_stage = workspace.stage(stage.name)
        hash_inputs(dvc_stage, upstream, producers(stage, pipeline.stages), workspace.tracked)
        made_of = {name: part for name, part in lock_entry(dvc_stage).items() if name != "outs"}
        key = hashlib.sha256(json.dumps([made_of, anew], sort_keys=True).encode()).hexdigest()[:32]
        remote, root = workspace.remote_folder("checkpoints")
        return cls(settings.var / "checkpoints" / key, remote, remote.join(root, key))

    @property
    def mounts(self) -> list[Mount]:
        """The bind for the container; none where another run of the same stage holds the folder."""
        return [Mount(INSIDE, str(self.folder.resolve()), "bind")] if self._lock else []

    @property
    def environment(self) -> dict[str, str]:
        """What tells the stage; an empty value switches checkpoints off."""
        return {"CHECKPOINTS": INSIDE if self._lock else ""}

    def __enter__(self) -> "Checkpoints":
        """Take the folder and bring what an earlier try, here or on another node, left in the remote."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder.with_name(f"{self.folder.name}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another run works on the same stage: this one keeps no checkpoints")
            lock.close()
            return self
        self._lock = lock
        self._forget_old()
        self._attempt(self._say_alive)
        self._attempt(self._fetch)
        self._attempt(self._forget_old_remote)
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """After a failed try, copy what the stage wrote last and let go of the folder."""
        if not self._lock:
            return
        self._done.set()
        self._thread.join()
        if error:
            self._attempt(self._copy)
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """The stage's result is in the remote: nobody needs them any more."""
        if not self._lock:
            return
        untrusted.try_remove(self.folder)
        self._attempt(self._remove_remote)
        self.folder.with_name(f"{self.folder.name}.lock").unlink(missing_ok=True)
        self._lock.close()
        self._lock = None

    def _forget_old(self) -> None:
        """Remove what abandoned stages left on this node."""
        for other in self.folder.parent.iterdir():
            # By ctime: a container can set the other times, to the year 3000 say.
            abandoned = time.time() - other.lstat().st_ctime > _ABANDONED_SECONDS
            if abandoned and other != self.folder and other.suffix != ".lock":
                with other.with_name(f"{other.name}.lock").open("w") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:  # a stage that has run for longer
                        continue
                    untrusted.try_remove(other)

    def _say_alive(self) -> None:
        """Make the stage's folder in the remote as young as anything there."""
        self.remote.makedirs(self.path, exist_ok=True)
        self.remote.pipe_file(self.remote.join(self.path, _ALIVE), b"")

    def _forget_old_remote(self) -> None:
        """Remove what abandoned stages of all nodes left in the remote.

        All times are the remote's own: this node's clock may be wrong. A stage that runs renews a file in its folder.
        """
        now = self.remote.modified(self.remote.join(self.path, _ALIVE))
        for folder in list(self.remote.ls(self.remote.parent(self.path), detail=False)):
            if self.remote.name(folder.rstrip("/")) == self.remote.name(self.path):
                continue
            files = list(self.remote.find(folder))
            if files and all((now - self.remote.modified(file)).total_seconds() > _ABANDONED_SECONDS for file in files):
                log.info("removing abandoned checkpoints: %s", folder)
                self.remote.rm(folder, recursive=True)

    def _copy_repeatedly(self) -> None:
        while not self._done.wait(self.every):
            self._attempt(self._copy)

    def _attempt(self, what: Any) -> None:
        """A remote that is away costs a line in the log, never the training."""
        try:
            what()
        except Exception as error:  # whatever the remote's library raises
            log.warning("checkpoints in %s: %s; the stage goes on", self.path, error)

    def _there(self) -> dict[str, str]:
        """Whole checkpoints in the remote: name → path."""
        found = self.remote.find(self.path) if self.remote.exists(self.path) else []
        return {self.remote.name(file): file for file in found if not file.endswith(UNFINISHED)}

    def _here(self) -> list[str]:
        """Whole checkpoints on this node, oldest first."""
        found = [
            (info.st_mtime_ns, name)
            for name, info in islice(untrusted.entries(self.folder), _MOST)
            if stat.S_ISREG(info.st_mode) and not name.endswith(UNFINISHED) and self._is_kept(name)
        ]
        return [name for _, name in sorted(found)]

    def _is_kept(self, name: str) -> bool:
        """Whether a name can be that of a checkpoint, in a remote of any kind too; said once of each that cannot."""
        if untrusted.is_line(name) and len(name.encode()) <= _LONGEST_NAME:
            return True
        if name not in self._odd:
            log.warning("not kept as a checkpoint, its name is too long or no plain text: %r", name[:_LONGEST_NAME])
        self._odd.add(name)
        return False

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """A file beside the folder, where no container reaches it: it may exchange what lies in the folder for a link."""
        draft = self.folder.with_name(f"{self.folder.name}.draft")
        draft.unlink(missing_ok=True)
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)

    def _fetch(self) -> None:
        here = set(self._here())
        self._seen |= here
        for name, file in self._there().items():
            if name not in here and self._is_kept(name):
                with self._draft() as draft:
                    self.remote.get_file(file, str(draft))
                    draft.replace(self.folder / name)
                self._seen.add(name)
                log.info("checkpoint %s comes from the remote", name)

    def _copy(self) -> None:
        here, there = self._here(), self._there()
        self._seen |= set(here)
        self._say_alive()
        for name in [name for name in here if name not in there]:
            try:
                self._send(name)
            except FileNotFoundError:
                continue  # the stage has replaced it by a newer one
            except Refused as error:
                log.warning("not kept as a checkpoint: %s", error)
                continue
            log.info("checkpoint %s is in the remote", name)
        # What the stage has replaced; not what could not be fetched, which may be further on than what is here.
        for name in (there.keys() & self._seen) - set(here):
            self.remote.rm_file(there[name])

    def _send(self, name: str) -> None:
        """Copy one checkpoint to the remote, from a copy that nobody changes any more.

        :raises Refused: it is no regular file, or larger than this node has room for: a sparse file may claim a terabyte.
        """
        with self._draft() as draft:
            untrusted.copy(self.folder, name, draft, shutil.disk_usage(self.folder.parent).free // 2)
            # Whole or not there: DVC's local one renames.
            self.remote.put_file(str(draft), self.remote.join(self.path, name))

    def _remove_remote(self) -> None:
        if self.remote.exists(self.path):
            self.remote.rm(self.path, recursive=True)
