"""Bring what a recorded run leaves to where a person opens it: report, model, metrics, plots."""

import shutil
from pathlib import Path

from reprise.folders import slug
from reprise.pipeline.stages import Pipeline
from reprise.run import products
from reprise.run.opening import Request
from reprise.settings import Settings
from reprise.workspace import Workspace


def fetch(settings: Settings, request: Request, pipeline: Pipeline, commit: str) -> dict[str, Path]:
    """Pull the pipeline's artifacts, metrics and plots at a record's commit into ``var/runs/RUN``.

    :returns: artifact name → its file or folder.
    """
    target = settings.var / "runs" / slug(request.run_id)
    workspace = Workspace.create(settings, settings.work / "fetch" / slug(request.run_id), request.pipeline, commit)
    try:
        for path in products.bring(workspace, pipeline):
            _copy(workspace.folder / path, target / products.inside(path))
    finally:
        workspace.remove()
    return {a.name: target / products.inside(a.path) for a in pipeline.artifacts}


def _copy(source: Path, target: Path) -> None:
    """A copy, not a link: what people open and edit must not reach the cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)
