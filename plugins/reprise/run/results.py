"""Bring what a recorded run leaves to where a person opens it: report, model, metrics, plots."""

import shutil
from pathlib import Path

from reprise.folders import slug
from reprise.pipeline.stages import Pipeline
from reprise.run.opening import Request
from reprise.settings import Settings
from reprise.workspace import Workspace


def fetch(settings: Settings, request: Request, pipeline: Pipeline, commit: str) -> dict[str, Path]:
    """Pull the pipeline's artifacts, metrics and plots at a record's commit into ``var/runs/RUN``.

    :returns: artifact name → its file.
    """
    target = settings.var / "runs" / slug(request.run_id)
    workspace = Workspace.create(settings, settings.work / "fetch" / slug(request.run_id), request.pipeline, commit)
    try:
        paths = {a.path for a in pipeline.artifacts}
        paths |= {out.path for stage in pipeline.stages for out in stage.outs if out.kind != "out"}
        workspace.pull(sorted(paths))
        for path in sorted(paths):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            # A copy, not a link: what people open and edit must not reach the cache.
            shutil.copyfile(workspace.folder / path, target / path)
    finally:
        workspace.remove()
    return {a.name: target / a.path for a in pipeline.artifacts}
