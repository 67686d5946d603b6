"""Record a finished run: one git commit at the origin that holds all it was made of, and its place in MLflow."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from reprise import git
from reprise.errors import BadInput, CommandFailed, RepriseError
from reprise.folders import clear, slug, task_folder
from reprise.messages import Done, Opened, Recorded
from reprise.pipeline import manifest, params
from reprise.pipeline.stages import Pipeline
from reprise.run import champion, gate, metrics, products, records
from reprise.run.numbers import to_json
from reprise.run.opening import Request
from reprise.run.records import REFS, RUN_FILE, ref_of
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
            pin.parent.mkdir(exist_ok=True)
            pin.write_bytes(champion.dump(opened["champion"]["pin"]))
        workspace.write_lock({stage.name: done[stage.name]["entry"] for stage in pipeline.stages})
        _secure(workspace, opened, done)
        products.bring(workspace, pipeline)
        numbers = read_metrics(workspace, pipeline)
        decision = read_decision(workspace, pipeline)
        tracker = Tracker(settings.mlflow)
        for name, stage in done.items():
            if "unsent" in stage:
                workspace.get(stage["unsent"], folder / "unsent" / name)
                take_on(settings, opened["heading"], folder / "unsent" / name)
        send_left(settings, tracker)
        outbox = Outbox.create(settings, opened["heading"])
        _tell(outbox, workspace, pipeline, done, numbers)
        outbox.try_send(tracker)
        mlflow = outbox.run or opened["mlflow"]
        wandb = _wandb(settings, outbox, opened, done)
        ids = {"mlflow_run": mlflow, "wandb": wandb, "models": outbox.models}
        commit, ref = _commit(settings, workspace, request, pipeline, opened, numbers, ids)
        outbox.note(tags={"commit": commit, "ref": ref, **({"wandb": wandb["run"]} if wandb else {})})
        outbox.end("FINISHED")
        outbox.try_send(tracker)
        outbox.close()
        return Recorded(
            commit=commit,
            ref=ref,
            metrics=to_json(numbers),
            mlflow=mlflow,
            wandb=wandb["run"] if wandb else None,
            models=outbox.models,
            refused=outbox.refused,
            decision=decision,
        )
    finally:
        clear(folder)


def _secure(workspace: Workspace, opened: Opened, done: Mapping[str, Done]) -> None:
    """See that the remote holds every byte that the record will name; what only this node has is pushed.

    :raises TryAgain: if the remote refuses.
    :raises RepriseError: if some of it is lost: a record that nobody can be served is none.
    """
    names = {
        out["md5"]: f"{out['path']} of stage {name}"
        for name, stage in done.items()
        for out in stage["entry"].get("outs", ())
        if "md5" in out
    }
    if opened["listing"]:
        names[opened["listing"]] = manifest.LISTING
    if opened["champion"] and opened["champion"]["pin"]:
        names[opened["champion"]["pin"]["md5"]] = "the champion"
    absent = workspace.absent(names)
    if lost := sorted(names[md5] for md5 in workspace.lost(absent)):
        some = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        raise RepriseError(
            f"the run is not recorded: neither the cache nor the remote holds {some}",
            "make run, which makes again what is lost",
        )
    workspace.secure(absent)


def read_metrics(workspace: Workspace, pipeline: Pipeline) -> dict[str, float]:
    """The numbers of all metric outputs by the names under which they are recorded."""
    files = {
        file: metrics.numbers(values)
        for stage in pipeline.stages
        for file, values in metrics.of_stage(workspace.folder, stage).items()
    }
    return metrics.join(files)


def read_decision(workspace: Workspace, pipeline: Pipeline) -> dict[str, Any]:
    """What the stage that compares with the champion decided; empty where none does.

    :raises RepriseError: where it did not decide.
    """
    stage = pipeline.comparing
    if not stage:
        return {}
    return gate.read_decision(workspace.folder, stage)


def _tell(
    outbox: Outbox,
    workspace: Workspace,
    pipeline: Pipeline,
    done: Mapping[str, Done],
    numbers: Mapping[str, float],
) -> None:
    """Final metrics, data hashes, plots, report and model for MLflow, for a cached run too."""
    outbox.add([Point(name, value, 0, now()) for name, value in numbers.items()])
    outbox.note(datasets={out["path"]: out["md5"] for stage in done.values() for out in stage["entry"].get("outs", ())})
    kept = {out.path: "plots" for stage in pipeline.stages for out in stage.outs if out.kind == "plot"}
    for artifact in pipeline.artifacts:
        file = workspace.folder / artifact.path
        if artifact.type == "model" and file.is_file():
            outbox.model(artifact.name, file, _md5(file), artifact.desc)
            continue
        if artifact.type == "model":
            outbox.refuse(artifact.name, f"{artifact.path} is a folder, and MLflow registers ONNX files only")
        kept[artifact.path] = slug(artifact.type) if artifact.type else ""
    for path, place in _places(kept).items():
        outbox.keep(workspace.folder / path, place)


def _md5(file: Path) -> str:
    """A file's hash as DVC has it; dvc.lock has none of a file inside an output, or of one in git."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()


def _places(kept: Mapping[str, str]) -> dict[str, str]:
    """Path → folder among the run's artifacts; files of the same name in one place keep their folders."""
    names = Counter((place, PurePosixPath(path).name) for path, place in kept.items())
    return {
        path: place
        if names[place, PurePosixPath(path).name] == 1
        else PurePosixPath(place, products.inside(path)).parent.as_posix()
        for path, place in kept.items()
    }


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
    numbers: Mapping[str, float],
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
        "metrics": to_json(numbers),
    }
    names = ["dvc.lock", params.FILE, *([manifest.LISTING] if opened["listing"] else [])]
    if opened["champion"]:
        names.append(f"{manifest.CHAMPION}/{champion.FILE}")
    files = {f"{pipeline.path}/{name}": (workspace.folder / name).read_bytes() for name in names}
    for path, content in products.for_git(workspace.folder, pipeline.stages).items():
        files[os.path.normpath(f"{pipeline.path}/{path}")] = content
    files[f"{pipeline.path}/{RUN_FILE}"] = (
        json.dumps(about, indent=1, sort_keys=True, allow_nan=False) + "\n"
    ).encode()
    lines = [f"{name}: {value:.6g}" for name, value in numbers.items()]
    message = "\n".join([f"{pipeline.name}: run {request.run_id}", "", *lines, "", f"MLflow-Run: {ids['mlflow_run']}"])
    # Dated by the run's start: a task that is cleared makes the same commit again, and whoever noted it still finds it.
    started = opened["heading"]["started"] // 1000
    commit = git.commit_files(workspace.path, opened["revision"], files, message, started)
    ref = ref_of(request.pipeline, request.run_id, opened["revision"])
    keep(settings.origin, workspace.path, commit, ref)
    return commit, ref


def keep(origin: str, repo: Path, commit: str, ref: str) -> None:
    """Push a record to its ref. What the run's task made before, when it was killed, it replaces; nothing else.

    A run that was made again, from its opening on, has its earlier record beside it, under the earlier commit's hash.

    :param repo: a clone that has the commit.
    :raises RepriseError: where the ref holds something else, or the origin refuses.
    :raises TryAgain: where another process records the same run, or the way to the origin failed.
    """
    held = git.refs_at(origin, ref).get(ref, "")
    if held == commit:
        return
    if held:
        git.fetch(repo, origin, held)
        if not records.same_run(repo, held, commit):
            at = git.without_password(origin)
            raise RepriseError(
                f"{ref} at {at} holds {held[:12]}, which is no record of this run",
                f"git push {at} {held}:{ref}-{held[:7]} :{ref}, then clear the task record in Airflow",
            )
        if records.started(repo, held) != records.started(repo, commit):
            beside = f"{ref}-{held[:7]}"
            git.push(repo, origin, held, beside, git.refs_at(origin, beside).get(beside, ""))
    git.push(repo, origin, commit, ref, held)


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
        git.fetch(ROOT, settings.origin, ref)
    plain = ("--no-color", "--no-ext-diff", "--no-textconv")
    text = git.git(ROOT, "show", "--stat", "--patch", "--format=fuller", *plain, commit)
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters: git show {commit}"
