"""Read a dvc.yaml through DVC itself, and keep the result as JSON keyed by the content it came from.

Airflow parses a DAG file again in every task process; importing DVC there would cost 1.6 s each time.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from reprise.errors import BadInput
from reprise.folders import slug
from reprise.pipeline.stages import INBOX, LISTING, Artifact, Meta, Out, Pipeline, Stage

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

CHAMPION = "champion"
"""The folder in which the comparing stage finds the model in use: ``champion.json`` and the model's file."""

# Part of the key: a change in what is read must not meet an old manifest.
_FORMAT = "4"


def load(root: Path, path: str, store: Path) -> Pipeline:
    """The pipeline in folder ``path`` of repository ``root``; from ``store`` if it has been read before.

    Besides the pipeline the store keeps, by the content of dvc.yaml, the names of the files that DVC was seen to take
    values from: no second reader of ``vars:`` decides which these are.

    :raises BadInput: if there is no dvc.yaml, or DVC refuses it.
    """
    folder, name = root / path, slug(path)
    if not (folder / "dvc.yaml").exists():
        raise BadInput(f"{folder} has no dvc.yaml", f"ls {folder.parent}")
    seen = store / f"{name}-{_key(root, folder, [])}.files"
    files = json.loads(seen.read_text()) if seen.exists() else []
    kept = store / f"{name}-{_key(root, folder, files)}.json"
    if seen.exists() and kept.exists():
        return Pipeline.from_dict(json.loads(kept.read_text()))
    pipeline, found = _read(root, path)
    files = sorted({*files, *found})
    store.mkdir(parents=True, exist_ok=True)
    _write(store / f"{name}-{_key(root, folder, files)}.json", json.dumps(pipeline.to_dict(), indent=1))
    _write(seen, json.dumps(files))
    return pipeline


def _write(file: Path, text: str) -> None:
    draft = file.with_name(f"{file.name}.{uuid4().hex}")
    draft.write_text(text)
    draft.replace(file)


def _key(root: Path, folder: Path, files: Iterable[str]) -> str:
    """A hash over dvc.yaml, DVC's configuration, and ``files`` (relative to ``folder``), there or not."""
    digest = hashlib.sha256(_FORMAT.encode())
    for file in (folder / "dvc.yaml", root / ".dvc/config", *(folder / name for name in files)):
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "-"
        digest.update(f"{os.path.relpath(file, folder)}\0{content}\n".encode())
    return digest.hexdigest()[:16]


def read(root: Path, path: str) -> Pipeline:
    """Let DVC resolve ``root/path/dvc.yaml``: templating, ``foreach``, ``matrix``.

    :raises BadInput: where DVC refuses it; the message is DVC's own.
    """
    return _read(root, path)[0]


def _read(root: Path, path: str) -> tuple[Pipeline, set[str]]:
    """As :func:`read`; and the files that DVC took values from, or would if they were there, relative to the folder."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    folder = root / path
    try:
        with Repo(str(root)) as repo:
            found = list(repo.stage.load_all(str(folder / "dvc.yaml")))
            declared = repo.index._artifacts.get(str(folder / "dvc.yaml"), {})
            files = {"params.yaml", *_sources(found, folder)}
            repo.index.check_graph()  # no circles, no file that two stages write
            _refuse_other_pipelines(repo, found)
    except DvcException as error:
        raise BadInput(f"{path}/dvc.yaml: {error}", f".venv/bin/dvc stage list {path}/dvc.yaml") from error
    except (TypeError, ValueError, RecursionError) as error:  # of values that DVC has no words for: dates, sets
        raise BadInput(
            f"{path}/dvc.yaml: {error}", f"put dates in quotes in {path}/params.yaml and whatever vars name, and commit"
        ) from error
    producers = {out.fs_path: stage.name for stage in found for out in stage.outs}
    stages = {stage.name: _stage(stage, folder, producers) for stage in found}
    if not stages:
        raise BadInput(f"{path}/dvc.yaml has no stages", "add one: see the README, 'Add a stage'")
    order = TopologicalSorter({name: stage.upstream for name, stage in stages.items()}).static_order()
    artifacts = (
        Artifact(name, os.path.normpath(a["path"]), a.get("type") or "", a.get("desc") or "")
        for name, a in declared.items()
    )
    pipeline = Pipeline(path, tuple(stages[name] for name in order), tuple(artifacts))
    _check_inbox(pipeline)
    _check_partitioned(pipeline)
    _check_champion(pipeline)
    _check_params(pipeline)
    return pipeline, files


def _sources(stages: Iterable["PipelineStage"], folder: Path) -> set[str]:
    """The files from which ``vars:`` take values, a stage's own included; relative to ``folder``."""
    found: set[str] = set()
    for stage in stages:
        found |= {*stage.dvcfile.resolver.context.imports, *stage.tracked_vars}
    return {os.path.relpath(os.path.abspath(name), folder) for name in found}


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

    params: dict[str, tuple[str, ...]] = {}
    for dep in (d for d in stage.deps if isinstance(d, ParamsDependency)):
        file = os.path.relpath(dep.fs_path, folder)
        whole = not dep.params or params.get(file) == ()
        params[file] = () if whole else tuple(sorted({*params.get(file, ()), *dep.params}))
    deps = [d for d in stage.deps if not isinstance(d, ParamsDependency)]
    _refuse_unserved(stage, deps)
    for dep in deps:
        _refuse_part(stage.name, str(dep.fs_path), producers)
    upstream = {producers[dep.fs_path] for dep in deps if dep.fs_path in producers}
    return Stage(
        name=stage.name,
        cmd=tuple(stage.cmd if isinstance(stage.cmd, list) else (stage.cmd or "").splitlines()),
        wdir=os.path.relpath(stage.wdir, folder),
        deps=tuple(sorted(os.path.relpath(d.fs_path, folder) for d in deps)),
        params=params,
        outs=tuple(
            Out(os.path.relpath(o.fs_path, folder), "metric" if o.metric else "plot" if o.plot else "out", o.use_cache)
            for o in stage.outs
        ),
        upstream=tuple(sorted(upstream)),
        desc=stage.desc or "",
        meta=Meta.parse(stage.name, stage.meta),
    )


def _check_params(pipeline: Pipeline) -> None:
    """Parameters are known before a run begins: their files lie in the repository, and no stage writes them."""
    written = {out.path: stage.name for stage in pipeline.stages for out in stage.outs}
    for stage in pipeline.stages:
        for file in stage.params:
            if f"{os.path.normpath(os.path.join(pipeline.path, file))}/".startswith(("../", "/")):
                raise BadInput(
                    f"stage {stage.name}: parameter file {file} lies outside of the repository",
                    f"copy it into the repository, correct params in {pipeline.path}/dvc.yaml, and commit both",
                )
            producer = next((name for out, name in written.items() if f"{file}/".startswith(f"{out}/")), None)
            if producer:
                raise BadInput(
                    f"stage {stage.name}: parameter file {file} is written by stage {producer}, not known beforehand",
                    f"add it to deps in {pipeline.path}/dvc.yaml in place of params",
                )


def _refuse_unserved(stage: "PipelineStage", deps: Iterable[Any]) -> None:
    """Refuse what DVC can do in one checkout, and tasks on several machines, each in a clone, cannot."""
    if stage.frozen:
        raise BadInput(
            f"stage {stage.name} is frozen: its outputs would be taken from dvc.lock, whatever it depends on",
            f".venv/bin/dvc unfreeze {stage.addressing}",
        )
    for dep in deps:
        if dep.protocol != "local" or not dep.is_in_repo:
            raise BadInput(
                f"stage {stage.name} depends on {dep.def_path}, which lies outside of the repository",
                f"track it: .venv/bin/dvc import-url {dep.def_path}, and depend on the file that this makes",
            )
    for out in stage.outs:
        where = f"stage {stage.name}: its output {out.def_path}"
        if out.protocol != "local" or not out.is_in_repo:
            raise BadInput(f"{where} lies outside of the repository", "write it below the pipeline's folder")
        if out.persist:
            raise BadInput(f"{where} has persist: true, so an earlier run's bytes would get into it", "drop persist")
        if not out.can_push:
            raise BadInput(f"{where} has push: false, and the next task finds it only in the remote", "drop push")
        if out.remote:
            raise BadInput(
                f"{where} names remote {out.remote}, and the outputs of a run lie in one remote", "drop remote"
            )


def _refuse_other_pipelines(repo: "Repo", stages: Iterable["PipelineStage"]) -> None:
    """A run makes one pipeline; what another makes is data, which a ``.dvc`` file or an inbox hands on."""
    own = {stage.path for stage in stages}
    makers = {o.fs_path: o.stage for o in repo.index.outs if o.stage.path not in own and o.stage.cmd}
    for stage in stages:
        for dep in (dep for dep in stage.deps if dep.protocol == "local"):
            if maker := makers.get(dep.fs_path):
                raise BadInput(
                    f"stage {stage.name} depends on {dep.def_path}, which stage {maker.addressing} writes: another pipeline",
                    f"put both into one dvc.yaml, or .venv/bin/dvc add a copy of {dep.def_path} and depend on that",
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
