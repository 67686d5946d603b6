"""Plan a run: walk the graph once and find, by hash, which stages are already known. The plan is a plain value.

Known means in the remote (DESIGN D12): a result that only this node holds is no promise to anybody else.
"""

from collections.abc import Collection, Mapping

from reprise.lock import hash_inputs
from reprise.messages import Entry
from reprise.pipeline.stages import Pipeline, Stage, producers
from reprise.workspace import Workspace


def plan(workspace: Workspace, pipeline: Pipeline) -> dict[str, Entry]:
    """The lock entry of every stage whose result is in the remote already; all other stages are absent.

    A hit's outputs give the next stage's key, so one unknown stage leaves those after it unknown too; their
    tasks look again when its outputs are there.

    :param workspace: a clone that holds the run's params.yaml and source.json.
    """
    known: dict[str, Entry] = {}
    for stage in pipeline.stages:
        dvc_stage = workspace.stage(stage.name)
        if hash_inputs(dvc_stage, known, producers(stage, pipeline.stages), workspace.tracked):
            entry = workspace.find_entry(dvc_stage)
            if entry:
                known[stage.name] = entry
    absent = workspace.absent(md5 for entry in known.values() for md5 in _written(entry))
    return without_absent(pipeline, known, absent)


def without_absent(pipeline: Pipeline, known: Mapping[str, Entry], absent: Collection[str]) -> dict[str, Entry]:
    """``known`` without the stages of which an output is absent, and without all that depends on those.

    A stage that is made again need not come out the same, and what was made of its earlier outputs would then stand
    in one record with its new ones.

    :param absent: hashes that the remote does not hold.
    """
    kept: dict[str, Entry] = {}
    for stage in pipeline.stages:
        entry = known.get(stage.name)
        if entry and not _written(entry) & {*absent} and all(name in kept for name in stage.upstream):
            kept[stage.name] = entry
    return kept


def find_again(workspace: Workspace, pipeline: Pipeline, stage: Stage, upstream: Mapping[str, Entry]) -> Entry | None:
    """The entry of one stage, now that its upstream stages are done; None if it must run.

    Outputs that only this node has are pushed: an earlier try, or a run with another remote, made them.

    :param upstream: lock entries of the stages it depends on.
    :raises TryAgain: if the remote refuses them.
    """
    dvc_stage = workspace.stage(stage.name)
    if not hash_inputs(dvc_stage, upstream, producers(stage, pipeline.stages), workspace.tracked):
        return None
    entry = workspace.find_entry(dvc_stage)
    if not entry or workspace.lost(_written(entry)):
        return None
    workspace.push(stage.name, entry)
    return entry


def _written(entry: Entry) -> set[str]:
    """The hashes of what a stage wrote."""
    return {out["md5"] for out in entry.get("outs", ()) if "md5" in out}
