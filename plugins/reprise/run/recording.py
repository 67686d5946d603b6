"""Record a finished run: one git commit at the origin that holds all it was made of, and its place in MLflow."""

import json
import re
from collections.abc import Mapping
from typing import Any

from reprise import git
from reprise.errors import BadInput, CommandFailed
from reprise.folders import clear, task_folder
from reprise.messages import Done, Opened, Recorded
from reprise.pipeline import manifest, params
from reprise.pipeline.stages import Pipeline
from reprise.run import champion, gate
from reprise.run.opening import Request
from reprise.run.records import REFS, RUN_FILE, ref_name
from reprise.settings import ROOT, Settings
from reprise.tracking.mlflow_server import Point, Tracker, now
from reprise.tracking.outbox import Outbox
from reprise.tracking.unsent import send_left, take_on
from reprise.tracking.wandb_run import WandbRun, wanted
from reprise.workspace import Workspace


def record(
    settings: Settings, request: Request, pipeline: Pipeline, opened: Opened, done: Mapping[str, Done]
) -> Recorded:
    """Join the stages' lock entries, params, listing, metrics and tracking ids into one commit and push it.

    :param done: stage name → what its task returned.
    """
    folder = task_folder(settings, request.dag_id, request.run_id, "record")
    try:
        workspace = Workspace.create(settings, folder, request.pipeline, opened["revision"])
        params.write_text(workspace.folder, opened["params"])
        if opened["listing"]:
            workspace.get(opened["listing"], workspace.folder / manifest.LISTING)
        if opened["champion"]:
            pin = workspace.folder / manifest.CHAMPION / champion.FILE
            pin.write_bytes(champion.dump(opened["champion"]["pin"]))
        workspace.write_lock({stage.name: done[stage.name]["entry"] for stage in pipeline.stages})
        shown = [a.path for a in pipeline.artifacts]
        shown += [out.path for stage in pipeline.stages for out in stage.outs if out.kind != "out"]
        workspace.pull(sorted(set(shown)))
        metrics = read_metrics(workspace, pipeline)
        decision = read_decision(workspace, pipeline)
        tracker = Tracker(settings.mlflow)
        for name, stage in done.items():
            if "unsent" in stage:
                workspace.get(stage["unsent"], folder / "unsent" / name)
                take_on(settings, opened["heading"], folder / "unsent" / name)
        send_left(settings, tracker)
        outbox = Outbox.create(settings, opened["heading"])
        _tell(outbox, workspace, pipeline, done, metrics)
        outbox.try_send(tracker)
        mlflow = outbox.run or opened["mlflow"]
        wandb = _wandb(settings, outbox, opened, done)
        ids = {"mlflow_run": mlflow, "wandb": wandb, "models": outbox.models}
        commit, ref = _commit(settings, workspace, request, pipeline, opened, metrics, ids)
        outbox.note(tags={"commit": commit, "ref": ref, **({"wandb": wandb["run"]} if wandb else {})})
        outbox.end("FINISHED")
        outbox.try_send(tracker)
        outbox.close()
        return Recorded(
            commit=commit,
            ref=ref,
            metrics=metrics,
            mlflow=mlflow,
            wandb=wandb["run"] if wandb else None,
            models=outbox.models,
            decision=decision,
        )
    finally:
        clear(folder)


def read_metrics(workspace: Workspace, pipeline: Pipeline) -> dict[str, float]:
    """The numbers of all metric outputs, nested names joined by dots."""
    found: dict[str, float] = {}
    for stage in pipeline.stages:
        for out in (o for o in stage.outs if o.kind == "metric"):
            found |= numbers(json.loads((workspace.folder / out.path).read_text()))
    return dict(sorted(found.items()))


def read_decision(workspace: Workspace, pipeline: Pipeline) -> dict[str, Any]:
    """What the stage that compares with the champion decided; empty where none does.

    :raises RepriseError: where it did not decide.
    """
    stage = pipeline.comparing
    if not stage:
        return {}
    files = [json.loads((workspace.folder / out.path).read_text()) for out in stage.outs if out.kind == "metric"]
    return gate.decision({key: value for values in files for key, value in values.items()}, stage.name)


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """All numbers of a metrics file by their dotted names."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)):
            found[f"{prefix}{name}"] = float(value)
    return found


def _tell(
    outbox: Outbox,
    workspace: Workspace,
    pipeline: Pipeline,
    done: Mapping[str, Done],
    metrics: Mapping[str, float],
) -> None:
    """Final metrics, data hashes, plots, report and model for MLflow, for a cached run too."""
    outbox.add([Point(name, value, 0, now()) for name, value in metrics.items()])
    outs = {out["path"]: out["md5"] for stage in done.values() for out in stage["entry"]["outs"]}
    outbox.note(datasets=outs)
    for stage in pipeline.stages:
        for out in (o for o in stage.outs if o.kind == "plot"):
            outbox.keep(workspace.folder / out.path, "plots")
    for artifact in pipeline.artifacts:
        file = workspace.folder / artifact.path
        if artifact.type == "model":
            outbox.model(artifact.name, file, outs[artifact.path], artifact.desc)
        else:
            outbox.keep(file, artifact.type or "")


def _wandb(settings: Settings, outbox: Outbox, opened: Opened, done: Mapping[str, Done]) -> dict[str, Any] | None:
    """The run's own W&B run, with its parameters and final metrics, beside its stages' in one group; None: not asked for."""
    if not wanted():
        return None
    run = WandbRun(settings, opened["heading"]["tags"], None, 1, params.flat(opened["params"]))
    run.start(outbox.points)
    if not run.finish():
        return None
    stages = {name: stage["wandb"] for name, stage in done.items() if "wandb" in stage}
    return {"run": run.id, "project": run.asked["project"], "group": run.asked["group"], "stages": stages}


def _commit(
    settings: Settings,
    workspace: Workspace,
    request: Request,
    pipeline: Pipeline,
    opened: Opened,
    metrics: Mapping[str, float],
    ids: Mapping[str, Any],
) -> tuple[str, str]:
    """The record's commit, pushed as a DVC experiment of its revision. Returns (commit, ref).

    :param ids: under which MLflow and W&B know the run and its models.
    """
    about = {
        "dag": request.dag_id,
        "run_id": request.run_id,
        "revision": opened["revision"],
        "as_of": opened["as_of"],
        "inbox": opened["inbox"],
        **({"relisted": opened["relisted"]} if opened["relisted"] else {}),
        "images": opened["images"],
        "image_id": opened["image_id"],
        **ids,
        "metrics": dict(metrics),
    }
    names = ["dvc.lock", params.FILE, *([manifest.LISTING] if opened["listing"] else [])]
    if opened["champion"]:
        names.append(f"{manifest.CHAMPION}/{champion.FILE}")
    files = {f"{pipeline.path}/{name}": (workspace.folder / name).read_bytes() for name in names}
    files[f"{pipeline.path}/{RUN_FILE}"] = (json.dumps(about, indent=1, sort_keys=True) + "\n").encode()
    lines = [f"{name}: {value:.6g}" for name, value in metrics.items()]
    message = "\n".join([f"{pipeline.name}: run {request.run_id}", "", *lines, "", f"MLflow-Run: {ids['mlflow_run']}"])
    # Dated by the run's start: a task that is cleared makes the same commit again, and whoever noted it still finds it.
    started = opened["heading"]["started"] // 1000
    commit = git.commit_files(workspace.path, opened["revision"], files, message, started)
    baseline = opened["revision"]
    ref = f"{REFS}/{baseline[:2]}/{baseline[2:]}/{ref_name(request.pipeline, request.run_id)}"
    git.git(workspace.path, "push", "--quiet", "--force", settings.origin, f"{commit}:{ref}")
    return commit, ref


def show(settings: Settings, commit: str, ref: str, most: int = 200_000) -> str:
    """A record's commit as ``git show`` prints it: message, files, what differs from the revision.

    :param most: characters after which it is cut off.
    :raises BadInput: where these are no commit and no record's ref: they come by XCom, which people may write.
    :raises CommandFailed: where the origin has it no more, or is away.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or not ref.startswith(f"{REFS}/"):
        raise BadInput(f"{commit!r} ({ref!r}) is no record", ".venv/bin/dvc exp show")
    try:
        git.git(ROOT, "cat-file", "-e", commit)
    except CommandFailed:  # made on another node
        git.git(ROOT, "fetch", "--quiet", settings.origin, ref)
    text = git.git(ROOT, "show", "--stat", "--patch", "--format=fuller", commit)
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters: git show {commit}"
