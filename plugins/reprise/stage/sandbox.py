"""What of a workspace a stage's container sees: its declared files, read-only, at the repository's layout."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from docker.types import Mount

from reprise.errors import RepriseError
from reprise.pipeline.params import declared_only
from reprise.pipeline.stages import Stage
from reprise.workspace import Workspace

REPO = "/repo"
"""Where the repository lies in the container: no path of the host gets into an output."""
LIVE = "/live"


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
            shutil.rmtree(earlier, ignore_errors=True)
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
            (folder / file).write_text(declared_only((workspace.folder / file).read_text(), keys))
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

    def _refuse_links(self, out: Path) -> None:
        """A link leads elsewhere out here than in the container: to this machine's files, which DVC would then keep."""
        there = Path(os.path.normpath(out))
        odd = [path for path in there.rglob("*") if not (path.is_file() or path.is_dir()) or path.is_symlink()]
        if there.resolve() != self.path.resolve() / there.relative_to(self.path):  # it, or a folder above it
            odd.insert(0, there)
        if odd:
            raise RepriseError(
                f"stage {self.stage.name}: its output {odd[0].relative_to(self.path)} is a link, or no file at all",
                "write the content itself, not a link to it",
            )

    def collect(self) -> None:
        """Move what the stage wrote into the workspace.

        :raises RepriseError: where a declared output was not written, naming all of them, or is no plain file or folder.
        """
        folder = self.path / self.workspace.pipeline
        absent = [out.path for out in self.stage.outs if not os.path.lexists(folder / out.path)]
        if absent:
            raise RepriseError(
                f"stage {self.stage.name} ended well but did not write {', '.join(absent)}",
                "write every output that dvc.yaml declares, relative to the pipeline's folder",
            )
        for out in self.stage.outs:
            self._refuse_links(folder / out.path)
            target = self.workspace.folder / out.path
            if target.is_dir():
                shutil.rmtree(target)
            target.unlink(missing_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / out.path).rename(target)
