"""What a pipeline is: its stages, their files and their order, as neutral values. Imports neither DVC nor Airflow."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from reprise.errors import BadInput
from reprise.messages import GATE, OPEN, RECORD

_LONGEST = 200
_ORDINARY = re.compile(rf"(?!.{{{_LONGEST}}})(?!.*--)(?!.*-@)(?!.*@-)[A-Za-z0-9_.-]+(@[A-Za-z0-9_.-]+)?")
"""Names of stages that tasks bear as they are, or with ``foreach``'s ``@`` as ``--``."""

LISTING = "source.json"
"""What ``open`` finds in the inbox: the one file beside dvc.yaml that holds data, not definitions."""

INBOX = "inbox"
"""As a stage's network: what the run's inbox needs."""


@dataclass(frozen=True)
class Meta:
    """A stage's ``meta:`` field: what Airflow needs to know beyond what DVC does."""

    gpus: int = 0
    """GPUs the stage asks for, and slots of Airflow's pool ``gpu``; a host that has none runs it on the CPU."""
    priority: int = 1
    """Of tasks that wait for a slot or a worker the highest goes first (Airflow's ``priority_weight``)."""
    queue: str = "default"
    """The Airflow queue, that is: the kind of node."""
    timeout: float | None = None
    """Seconds after which the stage is killed."""
    retries: int = 2
    """Tries after one that was killed or lost. A stage that fails by itself is not tried again."""
    network: str | None = None
    """Docker network, such as ``bridge``; by default the container has none. ``inbox``: the bridge if the run's inbox
    is not a folder of this machine or lists URLs, else none."""
    image: str | None = None
    """Docker image; by default the one built from docker/ at the run's revision."""
    memory: str | None = None
    """Memory limit of the container, such as ``8g``."""
    champion: str | None = None
    """Name of a model artifact: the stage compares it with the champion, which it finds in its folder ``champion``."""
    partitioned: bool = False
    """Each of its outputs is a folder with one file per partition, made from that partition alone."""
    checkpoints: bool = False
    """It gets a folder that outlives its container: a try after one that was killed goes on from there."""
    headline: tuple[str, ...] = ()
    """Names of the numbers that people look at first, in their order; ``*`` stands for any letters."""

    @classmethod
    def parse(cls, stage: str, meta: dict[str, Any] | None) -> "Meta":
        """Check the ``meta:`` field of one stage.

        :raises BadInput: on an unknown key or a value of the wrong type.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(meta or {}) - known)
        if unknown:
            raise BadInput(f"stage {stage}: unknown meta key {unknown[0]!r}", f"use one of {', '.join(sorted(known))}")
        if not isinstance((meta or {}).get("network", ""), str):
            raise BadInput(f"stage {stage}: network must be the name of a Docker network, or inbox", "correct dvc.yaml")
        named = (meta or {}).get("headline", [])
        if not (isinstance(named, list) and all(isinstance(name, str) for name in named)):
            raise BadInput(f"stage {stage}: headline must be a list of names of metrics", "correct dvc.yaml")
        parsed = cls.from_dict(meta or {})
        numbers = (parsed.gpus, parsed.retries, parsed.priority, 0 if parsed.timeout is None else parsed.timeout)
        if not all(isinstance(n, (int, float)) and n >= 0 for n in numbers):
            raise BadInput(
                f"stage {stage}: gpus, retries, priority and timeout must be numbers of 0 or more", "correct dvc.yaml"
            )
        return parsed

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Meta":
        """Of plain values, unchecked."""
        return cls(**{**data, "headline": tuple(data.get("headline", ()))})


@dataclass(frozen=True)
class Out:
    """A file or folder that a stage writes, relative to the pipeline's folder."""

    path: str
    kind: str = "out"
    """``out``, ``metric`` or ``plot``."""
    cached: bool = True
    """False: ``cache: false`` in dvc.yaml, and the record's commit holds it as well."""


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml, with templating resolved."""

    name: str
    cmd: tuple[str, ...]
    """What DVC hands to a shell, one after the other: the items of a list, or the lines of a text."""
    wdir: str = "."
    """The folder the command starts in, relative to the pipeline's."""
    deps: tuple[str, ...] = ()
    params: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameter file, relative to the pipeline's folder → declared keys; none: the whole file."""
    outs: tuple[Out, ...] = ()
    upstream: tuple[str, ...] = ()
    """Names of the stages whose outputs it reads, sorted."""
    desc: str = ""
    meta: Meta = Meta()

    @property
    def reads_inbox(self) -> bool:
        """Whether its container gets the inbox, and the connection to it: it depends on the listing."""
        return LISTING in self.deps

    @property
    def task_id(self) -> str:
        """The name with what Airflow does not allow (``foreach``'s ``@``) replaced; no two stages share one.

        Another name than an ordinary one has a hash between dashes behind it, and then more than one ``--``.
        """
        if _ORDINARY.fullmatch(self.name) and self.name not in (OPEN, RECORD, GATE):
            return self.name.replace("@", "--")
        like = re.sub(r"[^A-Za-z0-9_.-]", "-", self.name)[:_LONGEST]
        return f"{like}--{hashlib.sha256(self.name.encode(errors='surrogatepass')).hexdigest()[:8]}--"


@dataclass(frozen=True)
class Artifact:
    """What leaves the pipeline, from dvc.yaml's ``artifacts:``."""

    name: str
    path: str
    type: str
    desc: str = ""


@dataclass(frozen=True)
class Pipeline:
    """A folder with a dvc.yaml."""

    path: str
    """The folder, relative to the repository."""
    stages: tuple[Stage, ...]
    """Every stage after those it depends on."""
    artifacts: tuple[Artifact, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name: also the DAG's id."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def reads_inbox(self) -> bool:
        """Whether a run starts from a listing of an inbox."""
        return any(stage.reads_inbox for stage in self.stages)

    @property
    def comparing(self) -> Stage | None:
        """The stage that sees the champion: the only one that sees the past."""
        return next((stage for stage in self.stages if stage.meta.champion), None)

    def artifact(self, name: str) -> Artifact:
        """The artifact of that name."""
        return next(artifact for artifact in self.artifacts if artifact.name == name)

    @property
    def reports(self) -> tuple[str, ...]:
        """Names of the artifacts that are pages for people."""
        return tuple(a.name for a in self.artifacts if a.type == "report")

    def shape(self) -> dict[str, list[str]]:
        """Stages and edges: what a DAG rendered earlier must agree on with a revision to run it."""
        return {stage.name: list(stage.upstream) for stage in self.stages}

    def downstream(self) -> dict[str, set[str]]:
        """Task id of each stage → task ids of the stages that read what it writes."""
        ids = {stage.name: stage.task_id for stage in self.stages}
        return {s.task_id: {ids[other.name] for other in self.stages if s.name in other.upstream} for s in self.stages}

    def partitioned_deps(self, stage: Stage) -> list[str]:
        """Dependencies of ``stage`` that hold a file per partition: what partitioned stages write; sorted."""
        written = {out.path for other in self.stages if other.meta.partitioned for out in other.outs}
        return [dep for dep in sorted(stage.deps) if dep in written]

    def ancestors(self, name: str) -> list[str]:
        """All stages that ``name`` depends on, directly or not, in the pipeline's order."""
        upstream = self.shape()
        wanted: set[str] = set()
        todo = list(upstream[name])
        while todo:
            stage = todo.pop()
            if stage not in wanted:
                wanted.add(stage)
                todo += upstream[stage]
        return [stage.name for stage in self.stages if stage.name in wanted]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: lists, no tuples, which Airflow's XCom would wrap."""
        return dict(json.loads(json.dumps(asdict(self))))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Pipeline":
        """The inverse of :meth:`to_dict`."""
        stages = tuple(
            Stage(
                **{
                    **stage,
                    "cmd": tuple(stage["cmd"]),
                    "deps": tuple(stage["deps"]),
                    "params": {file: tuple(keys) for file, keys in stage["params"].items()},
                    "outs": tuple(Out(**out) for out in stage["outs"]),
                    "upstream": tuple(stage["upstream"]),
                    "meta": Meta.from_dict(stage["meta"]),
                }
            )
            for stage in data["stages"]
        )
        return cls(data["path"], stages, tuple(Artifact(**artifact) for artifact in data["artifacts"]))


def producers(stage: Stage, stages: Iterable[Stage]) -> dict[str, Stage]:
    """Dependency path → the stage that writes it, for those of ``stage``'s that a stage writes."""
    written = {out.path: other for other in stages for out in other.outs}
    return {dep: written[dep] for dep in stage.deps if dep in written}


def written(stage: Stage, entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a lock entry says of each output, by its path relative to the pipeline's folder, not to the stage's."""
    return {os.path.normpath(os.path.join(stage.wdir, out["path"])): out for out in entry.get("outs", ())}
