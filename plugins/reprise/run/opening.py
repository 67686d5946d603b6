"""Open a run: pin what it is made of, check all that can fail cheaply, and plan it. No container starts before."""

import datetime as dt
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reprise import git
from reprise.errors import BadInput, RepriseError
from reprise.folders import clear, task_folder
from reprise.machine import image
from reprise.messages import Champion, Entry, Opened
from reprise.pipeline import manifest, paramfiles, params
from reprise.pipeline.stages import Pipeline
from reprise.run import champion, products, relisted
from reprise.run.plan import plan
from reprise.settings import Settings
from reprise.sources import connection, inbox
from reprise.tracking.mlflow_server import RUN_KEY, Heading, Tracker, now, run_key
from reprise.workspace import Workspace

_LEAST_FREE_BYTES = 2 * 1024**3


def moment(text: str, name: str = "as_of") -> dt.datetime:
    """A date, or a date and time; without a time zone it is UTC.

    :param name: what whoever gave it calls it.
    :raises BadInput: where it is neither.
    """
    try:
        given = dt.datetime.fromisoformat(text)
    except ValueError as error:
        example = f"{name}=2026-11-22, or with a time: {name}=2026-11-22T12:00"
        raise BadInput(f"{name}={text} is no date" if text else f"{name} is not given", example) from error
    return given if given.tzinfo else given.replace(tzinfo=dt.UTC)


@dataclass(frozen=True)
class Request:
    """What a trigger asks for."""

    pipeline: str
    """The pipeline's folder, relative to the repository."""
    dag_id: str
    run_id: str
    revision: str = "HEAD"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    inbox: str | None = None
    as_of: dt.datetime | None = None
    """Only what had arrived before this moment is seen; None: everything."""
    arrived: str | None = None
    """The date on which an inbox without dates arrived."""
    ignore_cache: bool = False
    """Run every stage, known or not."""
    past: bool = False
    """It asks for a past date: a backfill, or a date given by hand. Its model never becomes champion."""


def check(settings: Settings, request: Request, folder: Path, rendered: Mapping[str, list[str]]) -> "Checked":
    """Everything that can be known to be wrong before a run exists: revision, graph, parameters, inbox, host.

    :param folder: where the clone is made; the caller removes it.
    :param rendered: stages and edges of the DAG that will run it.
    :raises RepriseError: naming the thing, the reason and the next command.
    """
    revision = git.resolve(settings.origin, request.revision)
    workspace = Workspace.create(settings, folder, request.pipeline, revision)
    pipeline = manifest.load(workspace.path, request.pipeline, settings.var / "manifests")
    if pipeline.shape() != dict(rendered):
        differ = _differences(pipeline.shape(), rendered)
        raise BadInput(
            f"revision {revision[:10]} has other stages or edges than the DAG ({', '.join(differ)})",
            f"run it from a checkout of its own: git worktree add ../old {revision[:10]}, and there: make repro",
        )
    _refuse_filtered(workspace, pipeline)
    products.check_artifacts(workspace.folder, pipeline)
    text = params.apply(workspace.folder, request.overrides, request.pipeline)
    params.write_text(workspace.folder, text)
    paramfiles.check(workspace.folder, request.pipeline, pipeline.stages)
    differs = _list_inbox(settings, request, workspace, pipeline) if pipeline.reads_inbox else {}
    images = {stage.name: stage.meta.image or image.image_name(workspace.path) for stage in pipeline.stages}
    for name in sorted(set(images.values())):
        if not image.image_exists(name):
            raise BadInput(f"the image {name} of revision {revision[:10]} is not built", "make image")
    free = shutil.disk_usage(settings.var).free
    if free < _LEAST_FREE_BYTES:
        raise RepriseError(
            f"only {free / 1e9:.1f} GB are free below {settings.var}, a run needs 2.1",
            ".venv/bin/dvc gc -w, or free disk",
        )
    workspace.probe_remote()
    workspace.secure(workspace.tracked_deps(pipeline))  # `dvc add` without `dvc push`: other nodes have nothing of it
    return Checked(revision, workspace, pipeline, text, images, differs)


def _refuse_filtered(workspace: Workspace, pipeline: Pipeline) -> None:
    """A stage would read what git stores in place of a file: of git-lfs, a few lines that tell where the content is."""
    for stage in pipeline.stages:
        read = (os.path.normpath(f"{pipeline.path}/{dep}") for dep in stage.deps)
        if filtered := git.filtered(workspace.path, read):
            raise BadInput(
                f"stage {stage.name}: git stores {filtered[0]} through a filter (git-lfs?), a clone has only a pointer to it",
                f"git rm --cached {shlex.quote(filtered[0])} && .venv/bin/dvc add {shlex.quote(filtered[0])}, and git commit",
            )


def _list_inbox(settings: Settings, request: Request, workspace: Workspace, pipeline: Pipeline) -> relisted.Differences:
    """Write source.json, and find what of it is not as earlier runs took it."""
    place = request.inbox or settings.inbox
    networks = {stage.name: stage.meta.network for stage in pipeline.stages if stage.reads_inbox}
    confined = set(networks.values()) != {"host"}
    if confined:
        connection.refuse_loopback(settings, inbox.split(place)[0])
    listing = inbox.look(settings, place, request.as_of, request.arrived)
    if confined:
        connection.refuse_loopback_urls(inbox.urls(listing))
    without = [name for name, network in networks.items() if network in (None, "none")]
    if without and inbox.is_elsewhere(place, listing):
        raise BadInput(
            f"stage {without[0]} reads the inbox {place}, or what it lists, from elsewhere, and has no network",
            f"give it what the inbox needs: meta: {{network: inbox}} in {pipeline.path}/dvc.yaml",
        )
    (workspace.folder / manifest.LISTING).write_bytes(inbox.dump(listing))
    return relisted.since_records(settings, pipeline, place, listing, request.as_of)


@dataclass(frozen=True)
class Checked:
    """A request that nothing speaks against, with its clone."""

    revision: str
    workspace: Workspace
    pipeline: Pipeline
    params: str
    images: dict[str, str]
    relisted: relisted.Differences


def open_run(
    settings: Settings, request: Request, rendered: Mapping[str, list[str]], tags: Mapping[str, str]
) -> Opened:
    """Check a request, open its MLflow run and plan it.

    :param tags: further tags of the MLflow run.
    :raises RepriseError: as :func:`check`.
    """
    folder = task_folder(settings, request.dag_id, request.run_id, "open")
    try:
        checked = check(settings, request, folder, rendered)
        listing = checked.workspace.folder / manifest.LISTING
        reads_inbox = checked.pipeline.reads_inbox
        image_name = image.image_name(checked.workspace.path)
        image_id = image.image_id(image_name) if image.image_exists(image_name) else ""
        pinned, known = _pin_and_plan(settings, request, checked)
        heading = _heading(request, checked, {**tags, "image": f"{image_name} {image_id}"})
        return Opened(
            revision=checked.revision,
            pipeline=checked.pipeline.to_dict(),
            params=checked.params,
            listing=checked.workspace.put(listing) if reads_inbox else None,
            inbox=(request.inbox or settings.inbox) if reads_inbox else None,
            as_of=request.as_of.isoformat() if request.as_of else None,
            relisted=checked.relisted,
            images=checked.images,
            image_id=image_id,
            ignore_cache=request.ignore_cache,
            known=known,
            mlflow=Tracker(settings.mlflow).start(heading),
            heading=heading,
            champion=pinned,
        )
    finally:
        clear(folder)


def _pin_and_plan(settings: Settings, request: Request, checked: Checked) -> tuple[Champion | None, dict[str, Entry]]:
    """The champion to compare with, if a stage compares, and the stages that are known then."""
    workspace, pipeline = checked.workspace, checked.pipeline

    def known_now() -> dict[str, Entry]:
        return {} if request.ignore_cache else plan(workspace, pipeline)

    if not (pipeline.comparing and pipeline.comparing.meta.champion):
        return None, known_now()
    tracker = Tracker(settings.mlflow)
    pinned = champion.pin(tracker, pipeline.comparing.meta.champion, request.past, request.as_of)
    champion.place(workspace, pipeline, pinned["pin"])
    workspace.secure([pinned["pin"]["md5"]] if pinned["pin"] else [])  # the record that will name it must find it
    known = known_now()
    earlier = champion.before(tracker, pinned, pipeline, known)
    if not earlier:
        return pinned, known
    try:
        champion.place(workspace, pipeline, earlier["pin"])
    except BadInput:  # its bytes are gone: the champion is compared with itself
        champion.place(workspace, pipeline, pinned["pin"])
        return pinned, known
    return earlier, known_now()


def _heading(request: Request, checked: Checked, tags: Mapping[str, str]) -> Heading:
    return Heading(
        experiment=checked.pipeline.name,
        name=request.run_id,
        tags={
            RUN_KEY: run_key(request.dag_id, request.run_id),
            "dag": request.dag_id,
            "run_id": request.run_id,
            "revision": checked.revision,
            "mlflow.source.git.commit": checked.revision,
            **tags,
        },
        params={name: str(value) for name, value in params.flat(checked.params).items()},
        started=now(),
    )


def _differences(ours: Mapping[str, list[str]], theirs: Mapping[str, list[str]]) -> list[str]:
    """Names of stages that only one side has or whose edges differ, sorted."""
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
