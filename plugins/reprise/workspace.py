"""The only door to DVC: a private clone in which one task of one run pulls, commits and pushes."""

import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from reprise import git
from reprise.errors import BadInput, RepriseError, TryAgain
from reprise.lock import as_ours, fill, in_lock, lock_entry, lossy, plain, run_cache_path
from reprise.messages import Entry
from reprise.pipeline.stages import Pipeline
from reprise.settings import ROOT, Settings
from reprise.stage.notes import Notes

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage
    from dvc_data.hashfile.hash_info import HashInfo

LINKS = ["reflink", "hardlink", "copy"]
_ANEW = "make run IGNORE_CACHE=1 makes what is lost anew"


@dataclass(frozen=True)
class Workspace:
    """A clone of the repository at one revision, with DVC's cache and remote set up as on this node."""

    path: Path
    """The clone's root."""
    pipeline: str
    """The pipeline's folder, relative to the root."""

    @classmethod
    def create(cls, settings: Settings, path: Path, pipeline: str, revision: str) -> "Workspace":
        """Clone ``settings.origin`` at ``revision`` into ``path``, anew: what an earlier try left there is removed."""
        shutil.rmtree(path, ignore_errors=True)
        git.clone(settings.origin, path, revision)
        if not (path / ".dvc").is_dir():
            raise BadInput(
                f"revision {revision} has no .dvc folder", ".venv/bin/dvc init && git add .dvc && git commit"
            )
        _configure(path)
        return cls(path, pipeline)

    @property
    def folder(self) -> Path:
        """The pipeline's folder in the clone."""
        return self.path / self.pipeline

    def borrow(self) -> None:
        """Use the remote of the checkout that ROOT is a worktree of, where it is one.

        By default the remote lies in the checkout itself: a worktree made to look at a record has an empty one.
        """
        lender = git.worktree_of(ROOT)
        if lender and (lender / ".dvc").is_dir():
            _configure(self.path, lender)
            self.__dict__.pop("repo", None)  # DVC has read the old configuration

    @property
    def remote(self) -> tuple[str, str]:
        """Name and address of the remote."""
        name = self.repo.config["core"]["remote"]
        return name, self.repo.config["remote"][name]["url"]

    @cached_property
    def repo(self) -> "Repo":
        """DVC's view of the clone. Made on first use: importing DVC costs 1.6 s."""
        from dvc.repo import Repo

        os.environ.setdefault("DVC_NO_ANALYTICS", "1")
        _logas_ours()
        return Repo(str(self.path))

    def stage(self, name: str) -> "PipelineStage":
        """DVC's own stage, fresh from dvc.yaml and dvc.lock.

        Outputs with ``cache: false`` are cached all the same: other tasks, on other nodes, find them nowhere else.
        """
        stage = self.repo.stage.load_one(str(self.folder / "dvc.yaml"), name)
        if uncached := [out for out in stage.outs if not out.use_cache]:
            # DVC caches nothing that git tracks, and git may well track these; nobody commits from this clone's index.
            paths = [f":(top,literal){os.path.relpath(out.fs_path, self.path)}" for out in uncached]
            git.git(self.path, "rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *paths)
        for out in uncached:
            out.use_cache = True
        return stage

    def tracked(self, path: str) -> Any:
        """DVC's output of a ``.dvc`` file (`dvc add`, `dvc import`) that lies at an absolute path; None if none does."""
        return next((o for o in self._tracked if str(o.fs_path) == path), None)

    def tracked_deps(self, pipeline: Pipeline) -> list[str]:
        """Hashes of the dependencies that ``.dvc`` files name, of all stages."""
        places = {os.path.normpath(self.folder / dep) for stage in pipeline.stages for dep in stage.deps}
        return sorted(o.hash_info.value for o in self._tracked if str(o.fs_path) in places and o.hash_info)

    @cached_property
    def _tracked(self) -> list[Any]:
        from dvc.stage import PipelineStage

        return [out for out in self.repo.index.outs if not isinstance(out.stage, PipelineStage)]

    def write_lock(self, entries: Mapping[str, Entry]) -> None:
        """Make dvc.lock hold exactly these entries (stage name → entry)."""
        from dvc.utils.serialize import dump_yaml

        lock = self.folder / "dvc.lock"
        if entries:
            written = {name: self._whole(name, entry) if lossy(entry) else entry for name, entry in entries.items()}
            dump_yaml(str(lock), {"schema": "2.0", "stages": written})
        else:
            lock.unlink(missing_ok=True)
        self.__dict__.pop("repo", None)  # DVC has read the old one

    def _whole(self, name: str, entry: Entry) -> dict[str, Any]:
        """An entry with what JSON cannot hold of its parameters."""
        stage = self.stage(name)
        fill(stage, entry)
        return in_lock(stage, entry)

    def pull(self, paths: Iterable[str]) -> None:
        """Bring outputs (paths relative to the pipeline's folder, known to dvc.lock) from cache or remote.

        :raises RepriseError: where neither holds them.
        :raises TryAgain: where the remote cannot be asked.
        """
        wanted = sorted(set(paths))
        uncached = self._uncached() if wanted else {}
        for path in [path for path in wanted if path in uncached]:
            self._place(uncached[path], self.folder / path)
        if targets := [str(self.folder / path) for path in wanted if path not in uncached]:
            with self._at_remote("dvc pull", ".venv/bin/dvc status --cloud"):
                self.repo.pull(targets=targets, force=True)

    def _uncached(self) -> dict[str, str]:
        """Path → hash of the outputs with ``cache: false`` that dvc.lock knows: DVC pulls none of them."""
        outs = [out for stage in self.repo.stage.load_all(str(self.folder / "dvc.yaml")) for out in stage.outs]
        return {
            os.path.relpath(out.fs_path, self.folder): str(out.hash_info.value)
            for out in outs
            if not out.use_cache and out.hash_info
        }

    def _place(self, md5: str, path: Path) -> None:
        """Write a file or folder by its hash, in place of what git has there."""
        if not md5.endswith(".dir"):
            path.unlink(missing_ok=True)
            self.get(md5, path)
            return
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        files = {path / name: content for name, content in self.files(md5).items()}
        self.fetch(files.values())
        self.link(files)

    def lacks(self, path: str) -> bool:
        """Whether a path of the pipeline's folder is not here but behind a ``.dvc`` file, to be pulled."""
        place = os.path.normpath(self.folder / path)
        return not os.path.lexists(place) and self.tracked(place) is not None

    def plots(self) -> dict[str, dict[str, Any]]:
        """Paths of the outputs that dvc.yaml declares as plots → what it says of each: ``x``, ``y``, …"""
        outs = (out for stage in self.repo.stage.load_all(str(self.folder / "dvc.yaml")) for out in stage.outs)
        found = {os.path.relpath(out.fs_path, self.folder): out.plot for out in outs if out.plot}
        return {path: plot if isinstance(plot, dict) else {} for path, plot in found.items()}

    def commit(self, name: str) -> Entry:
        """Hash and cache what a stage read and wrote, and remember it in the run-cache; returns its lock entry.

        :raises RepriseError: where a declared output is missing.
        """
        stage = self.stage(name)
        with as_ours(f"stage {name}: dvc commit", "write every output that dvc.yaml declares"), self.repo.lock:
            stage.save(run_cache=False)  # DVC's own writing of the run-cache works in the current folder only
            stage.commit()
        return self._remember(stage)

    def commit_partitions(self, stage: "PipelineStage", known: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Entry:
        """As :meth:`commit`, of a stage whose output folders on disk lack what is known already.

        :param stage: with the hashes of its dependencies set.
        :param known: output → file name → its ``md5`` and ``size``; the files need not be on this node.
        """
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.meta import Meta
        from dvc_data.hashfile.tree import Tree

        with as_ours(f"stage {stage.name}: dvc commit", "write every output that dvc.yaml declares"), self.repo.lock:
            for out in stage.outs:
                folder = Tree()
                if out.exists:
                    out.save()
                    out.commit(relink=False)
                    for key, meta, info in out.obj:
                        folder.add(key, meta, info)
                for name, file in known[out.def_path].items():
                    folder.add((name,), Meta(size=file["size"]), HashInfo("md5", file["md5"]))
                folder.digest()
                self.repo.cache.local.add(folder.path, folder.fs, folder.oid)
                sizes = [meta.size for _, meta, _ in folder]
                out.obj, out.hash_info = folder, folder.hash_info
                out.meta = Meta(isdir=True, size=sum(sizes), nfiles=len(sizes))
        return self._remember(stage)

    def _remember(self, stage: "PipelineStage") -> Entry:
        """Write a finished stage's entry into this node's run-cache; returns it."""
        from dvc.utils.serialize import dumps_yaml

        entry = lock_entry(stage)
        self._runs.write(str(run_cache_path(stage, entry)), dumps_yaml(in_lock(stage, entry)).encode())
        return entry

    def push(self, name: str, entry: Entry) -> None:
        """Copy what the remote lacks of a stage's outputs there, then its one run-cache entry, which vouches for them.

        :raises TryAgain: if the remote refuses.
        :raises RepriseError: if a file of an output is neither here nor in the remote.
        """
        stage = self.stage(name)
        fill(stage, entry)
        with self._at_remote(f"stage {name}: dvc push", ".venv/bin/dvc push"):
            self._send(f"stage {name}", {info for infos in stage.get_used_objs().values() for info in infos})
            self._runs.push([str(run_cache_path(stage, entry))])

    def secure(self, md5s: Iterable[str]) -> None:
        """Copy the content behind these hashes to the remote, as far as it is not there yet.

        :raises TryAgain: if the remote refuses.
        :raises RepriseError: if some of it is neither here nor in the remote.
        """
        from dvc_data.hashfile.hash_info import HashInfo

        if wanted := {HashInfo("md5", md5) for md5 in md5s}:
            with self._at_remote("dvc push", ".venv/bin/dvc push"):
                self._send("dvc push", wanted)

    def notes(self, kind: str) -> Notes:
        """Small files of one kind, beside DVC's objects in cache and remote."""
        local = Path(self.repo.stage_cache.cache_dir).parent / kind
        return Notes(local, *self.remote_folder(kind))

    def remote_folder(self, name: str) -> tuple[Any, str]:
        """A folder in the remote beside DVC's objects: its file system, one of DVC's, and its path there."""
        remote = self.repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
        return remote.fs, remote.fs.join(remote.path, name)

    @cached_property
    def _runs(self) -> Notes:
        """DVC's run-cache."""
        return self.notes("runs")

    def find_entry(self, stage: "PipelineStage") -> Entry | None:
        """What the run-cache, here or in the remote, knows of a stage whose dependencies' hashes are set."""
        from dvc.utils.serialize import load_yaml

        if stage.is_callback or stage.always_changed:
            return None
        folder = str(run_cache_path(stage).parent)
        local = self._runs.local / folder
        if not (local.is_dir() and any(local.iterdir())):
            self._runs.fetch(self._runs.find(folder))
        entries = sorted(local.iterdir(), key=lambda f: (f.stat().st_mtime_ns, f.name)) if local.is_dir() else []
        return plain(load_yaml(str(entries[-1]))) if entries else None

    def absent(self, md5s: Iterable[str]) -> set[str]:
        """Those of which the remote does not hold every byte; one question for all.

        A folder is asked for file by file: its own object may outlive what lay in it.
        """
        parts = self._parts(md5s)
        held = self._in_remote(set().union(*parts.values()))
        return {md5 for md5, objects in parts.items() if not objects <= held}

    def lost(self, md5s: Iterable[str]) -> set[str]:
        """Those of which a part is neither in the remote nor in this node's cache; one question for all."""
        parts = self._parts(md5s)
        held = set(self.repo.cache.local.oids_exist(sorted(set().union(*parts.values()))))
        held |= self._in_remote(set().union(*parts.values()) - held)
        return {md5 for md5, objects in parts.items() if not objects <= held}

    def _parts(self, md5s: Iterable[str]) -> dict[str, set[str]]:
        """Each hash with the hashes of what it is made of: itself and, if it is a folder whose list is known, its files."""
        wanted = sorted(set(md5s))
        folders = [md5 for md5 in wanted if md5.endswith(".dir")]
        here = set(self.repo.cache.local.oids_exist(folders))
        if there := self._in_remote(set(folders) - here):
            self.fetch(there)
        listed = here | there
        return {md5: {md5, *(self.files(md5).values() if md5 in listed else ())} for md5 in wanted}

    def _in_remote(self, objects: Iterable[str]) -> set[str]:
        """Those that the remote holds."""
        wanted = sorted(objects)
        with self._at_remote("dvc status --cloud", ".venv/bin/dvc remote list"):
            return set(self.repo.cloud.get_remote_odb(None, "status").oids_exist(wanted)) if wanted else set()

    def put(self, file: Path) -> str:
        """Store one file in cache and remote by its content; returns its md5. How ``open`` hands data to nodes.

        :raises TryAgain: where the remote refuses.
        """
        from dvc_data.hashfile.hash import hash_file
        from dvc_objects.fs import LocalFileSystem

        _, info = hash_file(str(file), LocalFileSystem(), "md5")
        assert info.value
        with self._at_remote("dvc push", ".venv/bin/dvc push"):
            self.repo.cache.local.add(str(file), LocalFileSystem(), info.value)
            self._send(file.name, [info])
        return info.value

    def _send(self, whose: str, objects: Iterable["HashInfo"]) -> None:
        """Copy objects of the cache, a folder with its files, to the remote as far as it lacks them.

        Not by ``dvc push``: that believes its own index of the remote, and a folder's object, where files are gone.
        """
        from dvc_data.hashfile.transfer import transfer

        def refuse_lost(status: Any) -> None:
            if status.missing:
                some = min(str(info.value) for info in status.missing)
                raise RepriseError(
                    f"{whose}: {len(status.missing)} objects are neither in the cache nor in the remote, such as {some}",
                    _ANEW,
                )

        cache, remote = self.repo.cache.local, self.repo.cloud.get_remote_odb(None, "push")
        sent = transfer(cache, remote, set(objects), shallow=False, cache_odb=cache, validate_status=refuse_lost)
        if sent.failed:
            raise TryAgain(f"{whose}: {len(sent.failed)} objects did not reach the remote", "df -h, or dvc push")

    def get(self, md5: str, file: Path) -> None:
        """Write the content stored by :meth:`put` to ``file``."""
        self.fetch([md5])
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.repo.cache.local.oid_to_path(md5), file)

    def fetch(self, md5s: Iterable[str]) -> None:
        """Bring content by its hash into this node's cache.

        :raises RepriseError: where the remote has not got it either.
        """
        from dvc_data.hashfile.hash_info import HashInfo

        cache, wanted = self.repo.cache.local, sorted(set(md5s))
        absent = set(wanted) - set(cache.oids_exist(wanted))
        if absent:
            with self._at_remote("dvc pull", ".venv/bin/dvc status --cloud"):
                self.repo.cloud.pull([HashInfo("md5", md5) for md5 in sorted(absent)])
            gone = absent - set(cache.oids_exist(sorted(absent)))
            if gone:
                raise RepriseError(
                    f"{len(gone)} files are neither in the cache nor in the remote, such as {min(gone)}", _ANEW
                )

    def link(self, files: Mapping[Path, str]) -> None:
        """Put cached content (path → md5) where a container will mount it read-only."""
        from dvc_objects.fs import LocalFileSystem
        from dvc_objects.fs.generic import transfer

        local = LocalFileSystem()
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
        sources = [self.repo.cache.local.oid_to_path(md5) for md5 in files.values()]
        transfer(local, sources, local, [str(path) for path in files], links=list(LINKS))

    def files(self, folder: str) -> dict[str, str]:
        """File name → md5, of a folder by its own (``….dir``) hash."""
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.tree import Tree

        self.fetch([folder])
        tree = Tree.load(self.repo.cache.local, HashInfo("md5", folder))
        return {"/".join(key): info.value for key, _, info in tree}

    def size(self, md5: str) -> int:
        """Bytes of content that lies in this node's cache."""
        return Path(self.repo.cache.local.oid_to_path(md5)).stat().st_size

    def probe_remote(self) -> None:
        """Write and remove one small object.

        :raises TryAgain: where the remote cannot be written.
        """
        remote = self.repo.cloud.get_remote_odb(None, "push")
        target = remote.fs.join(remote.path, f".probe-{uuid4().hex}")
        try:
            remote.fs.makedirs(remote.path, exist_ok=True)
            remote.fs.pipe_file(target, b"")
            remote.fs.rm_file(target)
        except OSError as error:
            raise TryAgain(
                f"the DVC remote {remote.path} cannot be written: {error}", ".venv/bin/dvc remote list"
            ) from error

    @contextmanager
    def _at_remote(self, what: str, fix: str) -> Iterator[None]:
        """Turn errors of a transfer into ours: data that is lost stays lost, a remote that refuses may not for long."""
        from dvc.exceptions import CheckoutError, DownloadError, UploadError

        with as_ours(what, fix):
            try:
                yield
            except (OSError, DownloadError, UploadError) as error:
                raise TryAgain(f"{what}: {error}", fix) from error
            except CheckoutError as error:
                self.probe_remote()  # a remote that is away holds nothing either
                lost = ", ".join(os.path.relpath(os.path.abspath(path), self.folder) for path in error.target_infos)
                raise RepriseError(f"{what}: neither the cache nor the remote has {lost}", _ANEW) from error

    def remove(self) -> None:
        """Delete the clone."""
        if "repo" in self.__dict__:
            self.repo.close()
        shutil.rmtree(self.path, ignore_errors=True)


def read_object(md5: str, most: int) -> bytes:
    """One file by its hash, from this node's cache, else from the remote.

    :param most: the largest size that is read, in bytes.
    :raises FileNotFoundError: where neither holds it.
    :raises ValueError: where it is no md5, or larger than ``most``.
    :raises RepriseError: where there is no remote.
    """
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5):
        raise ValueError(f"{md5!r} is no md5")
    repo = _own_repo()
    with as_ours(f"reading {md5}", ".venv/bin/dvc remote list"):
        for store in (lambda: repo.cache.local, lambda: repo.cloud.get_remote_odb(None, "get")):
            odb = store()
            path = odb.oid_to_path(md5)
            if odb.fs.exists(path):
                if odb.fs.size(path) > most:
                    raise ValueError(f"more than {most:,} bytes")
                with odb.fs.open(path, "rb") as file:
                    return bytes(file.read())
    raise FileNotFoundError(md5)


@cache
def _logas_ours() -> None:
    """Let DVC's warnings go where all messages go, and only those that ask for something.

    DVC's own setup writes to stderr, once more each time it is called, and Airflow shows all that comes there as errors.
    """
    from dvc.logger import add_logging_level

    add_logging_level("TRACE", logging.DEBUG - 5)  # DVC's code takes it for granted
    for name in ("dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("asyncio", "aiohttp"):  # connections to stores that are closed by the process's end: as DVC has it
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # An empty file is a result like any other: no weights where none were asked for, say.
    logging.getLogger("dvc.output").addFilter(lambda record: record.msg != "'%s' is empty.")


@cache
def _own_repo() -> "Repo":
    from dvc.repo import Repo

    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    return Repo(str(ROOT))


def _configure(clone: Path, lender: Path | None = None) -> None:
    """Point the clone's DVC at this node's cache and the team's remote, as ROOT's own configuration names them.

    :param lender: another checkout, whose remote it is to be.
    """
    from dvc.config import Config

    ours, theirs = Config(str(ROOT / ".dvc")), Config(str((lender or ROOT) / ".dvc"))
    name = theirs["core"].get("remote")
    if not name or name not in theirs["remote"]:
        raise BadInput("no DVC remote is set", ".venv/bin/dvc remote add --default storage URL")
    cache = ours["cache"].get("dir") or str(ROOT / ".dvc/cache")
    local = Config(str(clone / ".dvc"))
    with local.edit("local") as conf:
        conf["core"] = {"remote": name, "autostage": False, "analytics": False, "check_update": False}
        conf["cache"] = {"dir": os.path.join(ROOT, ".dvc", cache), "type": LINKS}
        conf["remote"] = {name: {**theirs["remote"][name]}}
