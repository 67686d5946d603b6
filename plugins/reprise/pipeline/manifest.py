"""Read a dvc.yaml through DVC itself, and keep the result as JSON keyed by the content it came from.

Airflow parses a DAG file again in every task process; importing DVC there would cost 1.6 s each time.
"""

import hashlib
import json
import os
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from reprise.errors import BadInput
from reprise.pipeline.stages import INBOX, LISTING, Artifact, Meta, Out, Pipeline, Stage

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

CHAMPION = "champion"
"""The folder in which the comparing stage finds the model in use: ``champion.json`` and the model's file."""

_VARIABLES = ("yaml", "yml", "toml", "json", "py")
"""Endings of files that dvc.yaml can take values from."""

# Part of the key: a change in what is read must not meet an old manifest.
_FORMAT = "3"


def load(root: Path, path: str, store: Path) -> Pipeline:
    """The pipeline in folder ``path`` of repository ``root``; from ``store`` where it has been read before.

    :raises BadInput: where there is no dvc.yaml, or DVC refuses it.
    """
    kept = store / f"{path.replace('/', '-')}-{_key(root / path)}.json"
    if kept.exists():
        return Pipeline.from_dict(json.loads(kept.read_text()))
    pipeline = read(root, path)
    store.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(pipeline.to_dict(), indent=1))
    draft.replace(kept)
    return pipeline


def _key(folder: Path) -> str:
    """A hash over the files that dvc.yaml may take its variables from, itself included."""
    if not (folder / "dvc.yaml").exists():
        raise BadInput(f"{folder} has no dvc.yaml", f"ls {folder.parent}")
    digest = hashlib.sha256(_FORMAT.encode())
    beside = {file.name for suffix in _VARIABLES for file in folder.glob(f"*.{suffix}")} - {LISTING}
    for name in sorted(beside | _elsewhere(folder)):
        digest.update(f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _elsewhere(folder: Path) -> set[str]:
    """The files in other folders from which ``vars:`` take values, a stage's own included; relative to ``folder``."""
    import yaml

    try:
        loaded = yaml.load((folder / "dvc.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        parts = [loaded, *loaded.get("stages", {}).values()]
        named = [name for part in parts for name in part.get("vars") or () if isinstance(name, str)]
    except (yaml.YAMLError, AttributeError, TypeError):
        return set()  # DVC says what is wrong with it
    files = {name.partition(":")[0] for name in named}  # FILE:KEY,KEY takes some of its values
    return {name for name in files if (folder / name).is_file()}


def read(root: Path, path: str) -> Pipeline:
    """Let DVC resolve ``root/path/dvc.yaml``: templating, ``foreach``, ``matrix``.

    :raises BadInput: where DVC refuses it; the message is DVC's own.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    folder = root / path
    try:
        with Repo(str(root)) as repo:
            found = list(repo.stage.load_all(str(folder / "dvc.yaml")))
            declared = repo.index._artifacts.get(str(folder / "dvc.yaml"), {})
    except DvcException as error:
        raise BadInput(f"{path}/dvc.yaml: {error}", f".venv/bin/dvc stage list {path}/dvc.yaml") from error
    producers = {out.fs_path: stage.name for stage in found for out in stage.outs}
    stages = {stage.name: _stage(stage, folder, producers) for stage in found}
    if not stages:
        raise BadInput(f"{path}/dvc.yaml has no stages", "add one: see the README, 'Add a stage'")
    order = TopologicalSorter({name: stage.upstream for name, stage in stages.items()}).static_order()
    artifacts = (Artifact(name, a["path"], a.get("type") or "", a.get("desc") or "") for name, a in declared.items())
    pipeline = Pipeline(path, tuple(stages[name] for name in order), tuple(artifacts))
    _check_inbox(pipeline)
    _check_partitioned(pipeline)
    _check_champion(pipeline)
    return pipeline


def _check_inbox(pipeline: Pipeline) -> None:
    """The listing comes from ``open``, and only who reads it needs what the inbox needs."""
    for stage in pipeline.stages:
        if LISTING in {out.path for out in stage.outs}:
            raise BadInput(
                f"stage {stage.name} writes {LISTING}, which is the name of the inbox's listing",
                "give its output another name",
            )
        if stage.meta.network == INBOX and not stage.reads_inbox:
            raise BadInput(
                f"stage {stage.name} has the network of the inbox, but does not read the inbox",
                f"add {LISTING} to its deps, or name a Docker network: meta: {{network: bridge}}",
            )


def _check_partitioned(pipeline: Pipeline) -> None:
    """Partitions come from somewhere."""
    for stage in (s for s in pipeline.stages if s.meta.partitioned):
        if stage.wdir != ".":
            raise BadInput(f"stage {stage.name} is partitioned and has a wdir", "drop wdir; put `cd` into its cmd")
        if not stage.reads_inbox and not pipeline.partitioned_deps(stage):
            raise BadInput(
                f"stage {stage.name} is partitioned, but reads nothing that has partitions",
                f"depend on {LISTING} or the output of a partitioned stage, or drop `partitioned` from its meta",
            )


def _stage(stage: "PipelineStage", folder: Path, producers: dict[str, str]) -> Stage:
    """DVC's stage as ours; ``producers`` maps an output's absolute path to the stage that writes it."""
    from dvc.dependency import ParamsDependency

    params = {d.def_path: tuple(sorted(d.params)) for d in stage.deps if isinstance(d, ParamsDependency)}
    deps = [d for d in stage.deps if not isinstance(d, ParamsDependency)]
    for dep in deps:
        _refuse_part(stage.name, str(dep.fs_path), producers)
    upstream = {producers[dep.fs_path] for dep in deps if dep.fs_path in producers}
    return Stage(
        name=stage.name,
        cmd=stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd),
        wdir=os.path.relpath(stage.wdir, folder),
        deps=tuple(sorted(os.path.relpath(d.fs_path, folder) for d in deps)),
        params=params,
        outs=tuple(
            Out(os.path.relpath(o.fs_path, folder), "metric" if o.metric else "plot" if o.plot else "out")
            for o in stage.outs
        ),
        upstream=tuple(sorted(upstream)),
        desc=stage.desc or "",
        meta=Meta.parse(stage.name, stage.meta),
    )


def _check_champion(pipeline: Pipeline) -> None:
    """At most one stage sees the champion, it says so in its deps, and the model that it compares exists."""
    comparing = [stage for stage in pipeline.stages if stage.meta.champion]
    if len(comparing) > 1:
        names = " and ".join(stage.name for stage in comparing)
        raise BadInput(f"{names} both have meta champion, one stage can compare", f"correct {pipeline.path}/dvc.yaml")
    for stage in comparing:
        models = [a.name for a in pipeline.artifacts if a.type == "model"]
        if stage.meta.champion not in models:
            raise BadInput(
                f"stage {stage.name}: meta champion names {stage.meta.champion!r}, which is no artifact of type model",
                f"use one of: {', '.join(models) or '(declare one in artifacts:)'}",
            )
        if CHAMPION not in stage.deps:
            raise BadInput(f"stage {stage.name} has meta champion, but not the folder", f"add {CHAMPION} to its deps")


def _refuse_part(stage: str, dep: str, producers: dict[str, str]) -> None:
    """A part of an output has no hash of its own in dvc.lock, so a plan could not know it."""
    for out, producer in producers.items():
        if dep != out and (f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/")):
            raise BadInput(
                f"stage {stage} depends on {os.path.basename(dep)}, only a part of what {producer} writes",
                f"depend on the whole output {os.path.basename(out)}, or make the part an output of its own",
            )
