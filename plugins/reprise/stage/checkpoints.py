"""Checkpoints of a long stage: kept by the node beside the cache and copied to the remote, until its result is there.

The folder belongs to the stage's key (command, dependencies, parameters), so what lies in it fits whatever asks for
it. The stage writes a checkpoint under a name that ends in ``.tmp``, renames it once it is whole, and never changes
a whole one; so any file without that ending may be copied at any time.
"""

import fcntl
import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from docker.types import Mount

from reprise.lock import hash_inputs, lock_entry
from reprise.pipeline.stages import Pipeline, Stage, producers
from reprise.settings import Settings
from reprise.workspace import Workspace

log = logging.getLogger(__name__)

INSIDE = "/checkpoints"
"""Where the folder lies in the container; ``CHECKPOINTS`` names it."""
UNFINISHED = ".tmp"
_ALIVE = f"alive{UNFINISHED}"
"""In a stage's folder in the remote, written anew while the stage runs: no checkpoint, but the folder's age."""
_EVERY_SECONDS = 600
_ABANDONED_SECONDS = 30 * 24 * 3600


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
        hash_inputs(dvc_stage, upstream, producers(stage, pipeline.stages))
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
        shutil.rmtree(self.folder, ignore_errors=True)
        self._attempt(self._remove_remote)
        self.folder.with_name(f"{self.folder.name}.lock").unlink(missing_ok=True)
        self._lock.close()
        self._lock = None

    def _forget_old(self) -> None:
        """Remove what abandoned stages left on this node."""
        for other in self.folder.parent.iterdir():
            if other.is_dir() and other != self.folder and time.time() - other.stat().st_mtime > _ABANDONED_SECONDS:
                with other.with_name(f"{other.name}.lock").open("w") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:  # a stage that has run for longer
                        continue
                    shutil.rmtree(other, ignore_errors=True)

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

    def _here(self) -> dict[str, Path]:
        """Whole checkpoints on this node, oldest first."""
        files = [file for file in self.folder.iterdir() if file.is_file() and not file.name.endswith(UNFINISHED)]
        return {file.name: file for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))}

    def _fetch(self) -> None:
        here = self._here()
        self._seen |= here.keys()
        for name, file in self._there().items():
            if name not in here:
                draft = self.folder / f"{name}{UNFINISHED}"
                self.remote.get_file(file, str(draft))
                draft.replace(self.folder / name)
                self._seen.add(name)
                log.info("checkpoint %s comes from the remote", name)

    def _copy(self) -> None:
        here, there = self._here(), self._there()
        self._seen |= here.keys()
        self._say_alive()
        for name in [name for name in here if name not in there]:
            target = self.remote.join(self.path, name)
            try:
                self.remote.put_file(str(here[name]), target)  # whole or not there: DVC's local one renames
            except FileNotFoundError:
                continue  # the stage has replaced it by a newer one
            log.info("checkpoint %s is in the remote", name)
        # What the stage has replaced; not what could not be fetched, which may be further on than what is here.
        for name in (there.keys() & self._seen) - here.keys():
            self.remote.rm_file(there[name])

    def _remove_remote(self) -> None:
        if self.remote.exists(self.path):
            self.remote.rm(self.path, recursive=True)
