"""What leaves a pipeline: its artifacts, metrics and plots, as `record` and people bring them into a workspace."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from reprise import untrusted
from reprise.errors import BadInput, RepriseError
from reprise.pipeline.stages import Pipeline, Stage
from reprise.workspace import Workspace

MOST_IN_GIT = 10 * 10**6
"""Bytes of one output with ``cache: false``."""


def bring(workspace: Workspace, pipeline: Pipeline) -> list[str]:
    """Pull artifacts, metrics and plots into a workspace that has the run's lock; returns their paths, sorted.

    As in DVC, an artifact may be an output, lie inside one, hold several, or be a file in git.
    """
    paths = {artifact.path for artifact in pipeline.artifacts}
    paths |= {out.path for stage in pipeline.stages for out in stage.outs if out.kind != "out" or not out.cached}
    workspace.pull(sorted({target for path in paths for target in _targets(workspace.folder, pipeline, path)}))
    return sorted(paths)


def check_artifacts(folder: Path, pipeline: Pipeline) -> None:
    """Every artifact exists once the stages are done.

    :param folder: the pipeline's, in a clone.
    :raises BadInput: naming the artifact that no stage writes and git does not hold.
    """
    for artifact in pipeline.artifacts:
        if not _targets(folder, pipeline, artifact.path) and not (folder / artifact.path).exists():
            raise BadInput(
                f"artifact {artifact.name}: {artifact.path} is neither an output of a stage nor a file in git",
                f"correct artifacts: in {pipeline.path}/dvc.yaml, git commit, and make run",
            )


def for_git(folder: Path, stages: Iterable[Stage]) -> dict[str, bytes]:
    """Path → content of all files of outputs with ``cache: false``, which DVC leaves to git.

    :param folder: the pipeline's, in which they lie.
    :raises RepriseError: if an output has more bytes than git should hold.
    """
    found: dict[str, bytes] = {}
    for stage, path in [(s, out.path) for s in stages for out in s.outs if not out.cached]:
        place = folder / path
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        if sum(file.stat().st_size for file in files) > MOST_IN_GIT:
            raise RepriseError(
                f"stage {stage.name}: its output {path} has cache: false and more than {MOST_IN_GIT // 10**6} MB,"
                " which the record's commit would have to hold",
                f"drop cache: false from {path} in dvc.yaml",
            )
        found |= {os.path.relpath(file, folder): untrusted.read(file, MOST_IN_GIT) for file in files}
    return found


def check_for_git(folder: Path, stage: Stage) -> None:
    """:func:`for_git` of what a stage has just written: its own task fails then, not the one that records the run."""
    for_git(folder, [stage])


def _targets(folder: Path, pipeline: Pipeline, path: str) -> list[str]:
    """What to pull so that ``path`` is there; nothing if git has it."""
    outs = [out.path for stage in pipeline.stages for out in stage.outs]
    if any(path == out or path.startswith(f"{out}/") for out in outs) or (folder / f"{path}.dvc").exists():
        return [path]
    return [out for out in outs if out.startswith(f"{path}/") or path == "."]


def inside(path: str) -> PurePosixPath:
    """A path relative to the pipeline's folder as one below any other folder: without ``..``."""
    return PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("..", "/")))
