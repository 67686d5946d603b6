"""What DVC says of a stage: its entry in dvc.lock, the hash that finds it again, and DVC's errors as ours."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from reprise.errors import RepriseError
from reprise.messages import Entry
from reprise.pipeline.params import key_text
from reprise.pipeline.stages import Stage, written

if TYPE_CHECKING:
    from dvc.stage import PipelineStage


def fill(stage: "PipelineStage", entry: Entry) -> None:
    """Set a stage's hashes to those of a lock entry, parameters that JSON cannot hold to what their files say."""
    from dvc.dependency import ParamsDependency
    from dvc.stage.loader import StageLoader

    StageLoader.fill_from_lock(stage, entry)
    if lossy(entry):
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                dep.save()


def lossy(entry: Entry) -> bool:
    """Whether an entry's parameters may have been others before it was JSON, which has no infinity and only text as keys."""

    def odd(value: Any) -> bool:
        if isinstance(value, Mapping):
            return any(_reads_as_other(key) or odd(part) for key, part in value.items())
        return any(map(odd, value)) if isinstance(value, list) else value in _NOT_FINITE

    return any(odd(value) for values in entry.get("params", {}).values() for value in values.values())


def _reads_as_other(key: str) -> bool:
    try:
        json.loads(key)
    except ValueError:
        return key in _NOT_FINITE
    return True


def hash_inputs(
    stage: "PipelineStage",
    known: Mapping[str, Entry],
    producers: Mapping[str, Stage],
    tracked: Callable[[str], Any] = lambda path: None,
) -> bool:
    """Set the hashes of a stage's dependencies: its files' own, and ``known`` entries' for other stages' outputs.

    :param producers: dependency path, relative to the pipeline's folder → the stage that writes it.
    :param tracked: the output of a ``.dvc`` file that is at a path, if there is one.
    :returns: False where an output that it reads is not known yet.
    :raises RepriseError: where a file or parameter that it depends on is not there.
    """
    if any(producer.name not in known for producer in producers.values()):
        return False
    outs: dict[str, Any] = {}
    for producer in producers.values():
        outs |= written(producer, known[producer.name])
    with as_ours(f"stage {stage.addressing}", "correct deps and params in dvc.yaml, or commit what they name"):
        for dep in stage.deps:
            if _below(stage, dep.def_path) not in producers:
                _hash(dep, tracked)
    lock = lock_entry(stage)
    if "deps" in lock:
        found = ((dep, outs.get(_below(stage, dep["path"]))) for dep in lock["deps"])
        lock["deps"] = [{**out, "path": dep["path"]} if out else dep for dep, out in found]
    fill(stage, lock)
    return all(path in outs for path in producers)


def _below(stage: "PipelineStage", path: str) -> str:
    """A path that a stage names, relative to its pipeline's folder instead of to its own."""
    return os.path.relpath(os.path.join(stage.wdir, path), os.path.dirname(stage.path))


def _hash(dep: Any, tracked: Callable[[str], Any]) -> None:
    """Set a dependency's own hash: its file's, or what a ``.dvc`` file says of one that is not on this disk."""
    known = None if dep.protocol == "local" and os.path.lexists(dep.fs_path) else tracked(str(dep.fs_path))
    if known:
        dep.hash_info, dep.meta = known.hash_info, known.meta
    else:
        dep.save()


def lock_entry(stage: "PipelineStage") -> Entry:
    """What dvc.lock would say of a stage, with the hashes that are set; as JSON."""
    return plain(in_lock(stage))


def in_lock(stage: "PipelineStage", entry: Entry | None = None) -> dict[str, Any]:
    """What dvc.lock says of a stage, with the hashes that are set; the parameters as DVC has them, not as JSON.

    :param entry: what to say of the rest.
    """
    from dvc.stage.serialize import to_single_stage_lockfile

    found = to_single_stage_lockfile(stage)
    return {**(entry or found), **({"params": found["params"]} if "params" in found else {})}


def run_cache_path(stage: "PipelineStage", entry: Entry | None = None) -> PurePosixPath:
    """Where DVC's run-cache keeps a stage's entry: by the hash of what goes in, then of what came out."""
    from dvc.stage.cache import _get_cache_hash

    # Not DVC's _get_stage_hash: that reads the dependencies from disk, where they need not be yet.
    key = _get_cache_hash(in_lock(stage), key=True)
    return PurePosixPath(key[:2], key, _get_cache_hash(in_lock(stage, entry)) if entry else "any")


def plain(entry: Any) -> Entry:
    """Without DVC's ordered and commented containers: JSON values only."""
    if isinstance(entry, Mapping):
        return {key_text(key): plain(value) for key, value in entry.items()}
    if isinstance(entry, (list, tuple)):
        return [plain(value) for value in entry]  # type: ignore[return-value]
    if isinstance(entry, float) and not math.isfinite(entry):
        return str(entry)  # type: ignore[return-value]
    return entry


_NOT_FINITE = ("inf", "-inf", "nan")
"""What :func:`plain` makes of numbers that JSON does not have."""


@contextmanager
def as_ours(what: str, fix: str) -> Iterator[None]:
    """Turn DVC's errors into ours."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise RepriseError(f"{what}: {error}", fix) from error
