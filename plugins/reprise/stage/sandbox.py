"""What of a workspace a stage's container sees: its declared files, read-only, at the repository's layout."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from docker.types import Mount

from reprise import untrusted
from reprise.errors import RepriseError
from reprise.pipeline import paramfiles
from reprise.pipeline.stages import Stage
from reprise.untrusted import Limits, Refused
from reprise.workspace import Workspace

REPO = "/repo"
"""Where the repository lies in the container: no path of the host gets into an output."""
LIVE = "/live"
_MOST = Limits(entries=2_000_000, depth=64)
"""Of one output. DVC takes a millisecond for each file, and calls itself once for each level."""


@dataclass(frozen=True)
class Sandbox:
    """A folder with the repository's layout: empty but for the stage's params, with mount points for its deps."""

    path: Path
    live: Path
    workspace: Workspace
    stage: Stage
    shown: Mapping[str, Path] = field(default_factory=dict)
    """What is mounted in place of the workspace's own, for some deps."""

    @classmethod
    def build(
        cls, workspace: Workspace, stage: Stage, path: Path, live: Path, shown: Mapping[str, Path] | None = None
    ) -> "Sandbox":
        """Lay out the folder; deps must have been pulled into the workspace or be among ``shown``.

        :raises RepriseError: where a declared dependency is missing.
        """
        for earlier in (path, live):  # of a try that was killed
            untrusted.remove(earlier)
        folder = path / workspace.pipeline
        folder.mkdir(parents=True)
        live.mkdir(parents=True)
        for dep in stage.deps:
            source, point = (shown or {}).get(dep, workspace.folder / dep), folder / dep
            if not source.exists():
                raise RepriseError(
                    f"stage {stage.name}: its dependency {dep} does not exist", "correct deps in dvc.yaml"
                )
            if source.is_dir():
                point.mkdir(parents=True, exist_ok=True)
            else:
                point.parent.mkdir(parents=True, exist_ok=True)
                point.touch()
        for file, keys in stage.params.items():
            place = Path(os.path.normpath(folder / file))  # the stage's wdir need not be there yet
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(paramfiles.reduced(workspace.folder / file, keys))
        for out in stage.outs:
            (folder / out.path).parent.mkdir(parents=True, exist_ok=True)
        return cls(path, live, workspace, stage, shown or {})

    @property
    def working_dir(self) -> str:
        """The pipeline's folder in the container."""
        return f"{REPO}/{self.workspace.pipeline}"

    def mounts(self) -> list[Mount]:
        """Binds: the sandbox writable, and each dep over it read-only."""
        binds = [Mount(REPO, str(self.path), "bind"), Mount(LIVE, str(self.live), "bind")]
        for dep in self.stage.deps:
            target = os.path.normpath(PurePosixPath(self.working_dir, dep))
            binds.append(Mount(target, str(self.source_of(dep).resolve()), "bind", read_only=True))
        return binds

    def source_of(self, dep: str) -> Path:
        """What the container sees as the dependency."""
        return self.shown.get(dep, self.workspace.folder / dep)

    def collect(self) -> None:
        """Move what the stage wrote into the workspace. Call it when the container is gone: then nothing changes any more.

        :raises RepriseError: a declared output was not written, naming all of them; or one holds something else than
            regular files and folders, or more than this node has room for.
        """
        names = {out.path: os.path.normpath(f"{self.workspace.pipeline}/{out.path}") for out in self.stage.outs}
        absent = [path for path, name in names.items() if not self._is_written(name)]
        if absent:
            raise RepriseError(
                f"stage {self.stage.name} ended well but did not write {', '.join(absent)}",
                "write every output that dvc.yaml declares, relative to the pipeline's folder",
            )
        self._refuse_hollow({name: sum(self._look_through(name)) for name in names.values()})
        for path, name in names.items():
            target = self.workspace.folder / path
            untrusted.remove(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._named(), untrusted.folder_of(self.path, name) as (above, last):
                os.rename(last, target, src_dir_fd=above)

    def _is_written(self, name: str) -> bool:
        with self._named(), suppress(FileNotFoundError), untrusted.folder_of(self.path, name) as (above, last):
            os.stat(last, dir_fd=above, follow_symlinks=False)
            return True
        return False

    def _look_through(self, name: str) -> Iterator[int]:
        """Of each file of an output, the bytes that it claims and does not hold.

        A link leads elsewhere out here than in the container: to this machine's files, which DVC would then keep.
        """
        with self._named():
            for path, found in untrusted.walk(self.path, name, _MOST):
                if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                    raise Refused(f"{path!r} is {untrusted.kind(found.st_mode)}")
                if not untrusted.is_text(path):  # DVC cannot write it down
                    raise Refused(f"{path!r} has bytes in its name that are not UTF-8")
                yield 0 if stat.S_ISDIR(found.st_mode) else untrusted.hollow(found)

    def _refuse_hollow(self, claimed: Mapping[str, int]) -> None:
        """A sparse file costs the stage nothing and whoever copies it all that it claims."""
        free = shutil.disk_usage(self.workspace.path).free
        if sum(claimed.values()) > free:
            name, most = max(claimed.items(), key=lambda item: item[1])
            raise RepriseError(
                f"stage {self.stage.name}: its output {name!r} claims {untrusted.bytes_of(most)} that it does not hold,"
                f" and there are {untrusted.bytes_of(free)} left on this node",
                "write files without holes",
            )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which stage wrote what is refused."""
        try:
            yield
        except (Refused, PermissionError) as error:
            raise RepriseError(
                f"stage {self.stage.name}: its output {error}",
                "write regular files and folders, with their content and no links, readable for their owner",
            ) from error
