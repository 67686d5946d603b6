"""Plan a run: walk the graph once and find, by hash, which stages are already known. The plan is a plain value."""

from collections.abc import Mapping

from reprise.lock import hash_inputs
from reprise.messages import Entry
from reprise.pipeline.stages import Pipeline, Stage, producers
from reprise.workspace import Workspace


def plan(workspace: Workspace, pipeline: Pipeline) -> dict[str, Entry]:
    """The lock entry of every stage whose result exists already; stages that must run are absent.

    A hit's outputs give the next stage's key, so one unknown stage leaves those after it unknown too; their
    tasks look again when its outputs are there.

    :param workspace: a clone that holds the run's params.yaml and source.json.
    """
    known: dict[str, Entry] = {}
    for stage in pipeline.stages:
        dvc_stage = workspace.stage(stage.name)
        if hash_inputs(dvc_stage, known, producers(stage, pipeline.stages)):
            entry = workspace.find_entry(dvc_stage)
            if entry:
                known[stage.name] = entry
    return _without_lost(workspace, pipeline, known)


def _without_lost(workspace: Workspace, pipeline: Pipeline, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """Drop stages of which an output is neither in the cache nor in the remote any more: they run again."""
    lost = workspace.missing(known.values())
    kept: dict[str, Entry] = {}
    for stage in pipeline.stages:
        entry = known.get(stage.name)
        if entry and not any(out.get("md5") in lost for out in entry["outs"]):
            kept[stage.name] = entry
    return kept


def find_again(workspace: Workspace, pipeline: Pipeline, stage: Stage, upstream: Mapping[str, Entry]) -> Entry | None:
    """The entry of one stage, now that its upstream stages are done; None where it must run.

    :param upstream: lock entries of the stages it depends on.
    """
    dvc_stage = workspace.stage(stage.name)
    if not hash_inputs(dvc_stage, upstream, producers(stage, pipeline.stages)):
        return None
    entry = workspace.find_entry(dvc_stage)
    return entry if entry and not workspace.missing([entry]) else None
