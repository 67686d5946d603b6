"""A memo per partition: a new day costs a day (DESIGN D4).

A stage marked ``meta: {partitioned: true}`` writes one file per partition, PARTITION.EXT, into each of its output
folders, made from that partition of its inputs alone. What it made of a partition is kept by the hash of all that
went into it. A run then shows the stage only the partitions that are not known, and joins both into its outputs.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from reprise.errors import RepriseError
from reprise.lock import hash_inputs, lock_entry
from reprise.messages import Entry
from reprise.pipeline.stages import LISTING, Pipeline, Stage, producers
from reprise.sources import inbox
from reprise.workspace import Workspace

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

_FORMAT = 1
"""Part of every key: a change in what an entry means must not meet an old one."""

Made = dict[str, dict[str, Any]]
"""What a stage made of one partition: output → ``{"file", "md5", "size"}``."""


@dataclass(frozen=True)
class Inputs:
    """What a partitioned stage reads, divided."""

    base: Mapping[str, Any]
    """What every partition's result depends on: command, params, all other dependencies' hashes."""
    folders: tuple[str, ...]
    """The dependencies that hold a file per partition."""
    parts: Mapping[str, Mapping[str, Any]]
    """Partition → its own part: path of a file → md5; the listing → its entries."""

    def keys(self) -> dict[str, str]:
        """Partition → where the memo keeps its result. Those of one base lie together, to be asked for at once."""
        base = _hash({"format": _FORMAT, **self.base})
        return {name: f"{base}/{name}.{_hash([name, part])}.json" for name, part in sorted(self.parts.items())}


@dataclass(frozen=True)
class Division:
    """A partitioned stage's work: what is known, what is to be done."""

    workspace: Workspace
    stage: Stage
    dvc_stage: "PipelineStage"
    inputs: Inputs
    known: Mapping[str, Made]

    @property
    def pending(self) -> list[str]:
        """The partitions to be done, sorted."""
        return sorted(set(self.inputs.parts) - set(self.known))

    def __str__(self) -> str:
        todo = ", ".join(self.pending[:5]) + (", …" if len(self.pending) > 5 else "")
        return f"{len(self.known)} of {len(self.inputs.parts)} partitions known, {len(self.pending)} to do" + (
            f": {todo}" if todo else ""
        )

    def show(self, folder: Path) -> dict[str, Path]:
        """Lay out in ``folder`` what the stage is to see in place of its partitioned inputs: the pending ones alone.

        :returns: dependency → what to mount there. Content is linked to the cache: mount it read-only.
        """
        shutil.rmtree(folder, ignore_errors=True)  # an earlier try may have had other partitions to do
        parts = {path: part for name in self.pending for path, part in self.inputs.parts[name].items()}
        files = {folder / path: md5 for path, md5 in parts.items() if path != LISTING}
        self.workspace.fetch(files.values())
        shown = {dep: folder / dep for dep in self.inputs.folders}
        for place in shown.values():
            place.mkdir(parents=True, exist_ok=True)
        self.workspace.link(files)
        if self.stage.reads_inbox:
            listing = json.loads((self.workspace.folder / LISTING).read_text())
            listing["partitions"] = {name: listing["partitions"][name] for name in self.pending}
            shown[LISTING] = folder / LISTING
            folder.mkdir(parents=True, exist_ok=True)
            shown[LISTING].write_bytes(inbox.dump(listing))
        return shown

    def commit(self) -> Entry:
        """Check what the stage wrote, and join it with what is known; returns the stage's lock entry.

        :raises RepriseError: where it left a partition out, or wrote something else.
        """
        if self.pending:
            for out in self.stage.outs:
                check_written(self.stage.name, self.workspace.folder / out.path, self.pending)
        known = {
            out.path: {made[out.path]["file"]: made[out.path] for made in self.known.values()}
            for out in self.stage.outs
        }
        return self.workspace.commit_partitions(self.dvc_stage, known)

    def remember(self, entry: Entry) -> None:
        """Keep what was made of the pending partitions. Call it when ``entry``'s outputs are in the remote."""
        keys, todo = self.inputs.keys(), set(self.pending)
        made: dict[str, Made] = {name: {} for name in todo}
        for out in entry["outs"]:
            for file, md5 in self.workspace.files(out["md5"]).items():
                name = PurePosixPath(file).stem
                if name in todo:
                    made[name][out["path"]] = {"file": file, "md5": md5, "size": self.workspace.size(md5)}
        notes = self.workspace.notes("memo")
        for name in sorted(todo):
            notes.write(keys[name], json.dumps(made[name], indent=1, sort_keys=True).encode())
        notes.push(keys[name] for name in todo)


def divide(
    workspace: Workspace, pipeline: Pipeline, stage: Stage, upstream: Mapping[str, Entry], ignore: bool = False
) -> Division:
    """Find out which partitions of a stage's inputs are known.

    :param upstream: lock entries of the stages it depends on.
    :param ignore: take none for known, as the run-cache is ignored too.
    """
    dvc_stage = workspace.stage(stage.name)
    hash_inputs(dvc_stage, upstream, producers(stage, pipeline.stages), workspace.tracked)
    inputs = divide_inputs(workspace, pipeline, stage, lock_entry(dvc_stage))
    ignore = ignore or bool(dvc_stage.always_changed)
    return Division(workspace, stage, dvc_stage, inputs, {} if ignore else _find(workspace, stage, inputs.keys()))


def divide_inputs(workspace: Workspace, pipeline: Pipeline, stage: Stage, entry: Entry) -> Inputs:
    """Sort what goes into a stage (``entry``: with the hashes of its deps) by partition."""
    folders = tuple(pipeline.partitioned_deps(stage))
    parts: dict[str, dict[str, Any]] = {}
    hashes = {dep["path"]: dep["md5"] for dep in entry["deps"]}
    for dep in folders:
        for file, md5 in workspace.files(hashes.pop(dep)).items():
            parts.setdefault(PurePosixPath(file).stem, {})[f"{dep}/{file}"] = md5
    base = {"cmd": entry["cmd"], "params": entry.get("params", {}), "outs": sorted(out.path for out in stage.outs)}
    if stage.reads_inbox:
        listing = json.loads((workspace.folder / LISTING).read_text())
        for name, entries in listing.pop("partitions").items():
            parts.setdefault(name, {})[LISTING] = entries
        hashes.pop(LISTING, None)
        base["listing"] = listing
    return Inputs({**base, "deps": hashes}, folders, parts)


def _find(workspace: Workspace, stage: Stage, keys: Mapping[str, str]) -> dict[str, Made]:
    """Partition → what was made of it, for those whose result the memo knows and cache or remote still hold."""
    notes = workspace.notes("memo")
    absent = [key for key in keys.values() if not (notes.local / key).exists()]
    if absent:
        there = set(notes.find(absent[0].split("/")[0]))
        notes.fetch(key for key in absent if key in there)
    found = {name: _read(notes.local / key, stage) for name, key in keys.items()}
    known = {name: made for name, made in found.items() if made}
    lost = workspace.lost(file["md5"] for made in known.values() for file in made.values())
    return {name: made for name, made in known.items() if not any(file["md5"] in lost for file in made.values())}


def _read(file: Path, stage: Stage) -> Made | None:
    """A memo entry; None where there is none or it is not sound: the partition is made anew."""
    try:
        made: Made = json.loads(file.read_text())
        sound = set(made) == {out.path for out in stage.outs}
        return made if sound and all({"file", "md5", "size"} <= set(part) for part in made.values()) else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def check_written(stage: str, folder: Path, pending: Iterable[str]) -> None:
    """Check that an output folder holds one file for each pending partition and nothing else.

    :raises RepriseError: naming what is missing or was not asked for.
    """
    rule = (
        f"write {folder.name}/PARTITION.EXT for each partition that the inputs show, an empty one too, and nothing else"
    )
    if not folder.is_dir():
        raise RepriseError(f"stage {stage} is partitioned, but its output {folder.name} is a file", rule)
    wrote = Counter(path.stem if path.is_file() else path.name + "/" for path in folder.iterdir())
    wanted = set(pending)
    if missing := sorted(wanted - set(wrote)):
        raise RepriseError(f"stage {stage} left out {len(missing)} partitions of {folder.name}: {missing[0]}", rule)
    if other := sorted(name for name, count in wrote.items() if name not in wanted or count > 1):
        raise RepriseError(f"stage {stage} wrote to {folder.name} what it was not given: {other[0]}", rule)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
