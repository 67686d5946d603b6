"""What leaves a pipeline: its artifacts, metrics and plots, as `record` and people bring them into a workspace."""

from pathlib import Path, PurePosixPath

from reprise.errors import BadInput
from reprise.pipeline.stages import Pipeline
from reprise.workspace import Workspace


def bring(workspace: Workspace, pipeline: Pipeline) -> list[str]:
    """Pull artifacts, metrics and plots into a workspace that has the run's lock; returns their paths, sorted.

    As in DVC, an artifact may be an output, lie inside one, hold several, or be a file in git.
    """
    paths = {artifact.path for artifact in pipeline.artifacts}
    paths |= {out.path for stage in pipeline.stages for out in stage.outs if out.kind != "out"}
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


def _targets(folder: Path, pipeline: Pipeline, path: str) -> list[str]:
    """What to pull so that ``path`` is there; nothing if git has it."""
    outs = [out.path for stage in pipeline.stages for out in stage.outs]
    if any(path == out or path.startswith(f"{out}/") for out in outs) or (folder / f"{path}.dvc").exists():
        return [path]
    return [out for out in outs if out.startswith(f"{path}/") or path == "."]


def inside(path: str) -> PurePosixPath:
    """A path relative to the pipeline's folder as one below any other folder: without ``..``."""
    return PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("..", "/")))
