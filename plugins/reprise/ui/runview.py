"""What a run is made of, for people: stages and why they ran, data, environment, model, metrics. Plain values.

Built from what the tasks hand each other, so that a running or failed run is shown as far as it came.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reprise.messages import GATE, OPEN, RECORD, Done, Entry, Opened, Recorded
from reprise.pipeline import params
from reprise.pipeline.stages import Pipeline

_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
_WAITING = {
    "up_for_retry": "its last try ended early; it is tried again",
    "upstream_failed": "a stage before it failed",
    "queued": "waits for a free worker",
    "scheduled": "waits for a free worker",
    "skipped": "skipped",
    "removed": "no longer in the DAG",
}


@dataclass(frozen=True)
class Task:
    """One task instance, as Airflow's database has it."""

    task_id: str
    state: str
    """Airflow's word; empty where nothing has happened yet."""
    attempt: int = 0
    seconds: float | None = None
    """From start to end, or until now."""
    problem: str = ""
    """What its last try said when it failed."""
    mlflow: str = ""
    """Address of its MLflow run."""


@dataclass(frozen=True)
class Facts:
    """All that is known of one run."""

    dag_id: str
    run_id: str
    state: str
    started: dt.datetime | None = None
    seconds: float | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    opened: Opened | None = None
    done: Mapping[str, Done] = field(default_factory=dict)
    """Task id → what the stage said."""
    recorded: Recorded | None = None
    judged: Mapping[str, Any] | None = None
    """What the gate said of the run's model."""

    @property
    def pipeline(self) -> Pipeline | None:
        """As the run's revision defines it; None before ``open`` has ended."""
        return Pipeline.from_dict(self.opened["pipeline"]) if self.opened and "pipeline" in self.opened else None

    @property
    def running(self) -> bool:
        """Whether anything may still change."""
        return self.state not in _ENDED


@dataclass(frozen=True)
class Data:
    """A file or folder that a stage read or wrote."""

    path: str
    md5: str
    bytes: int | None
    files: int | None
    change: str
    """Against the run recorded before: ``same``, ``new``, or what it was."""


@dataclass(frozen=True)
class StageRow:
    """One line of the page."""

    task: Task
    name: str
    about: str
    verdict: str
    """cached, ran, failed, running, or Airflow's word."""
    why: str
    gist: str
    """``why`` in a line or two; the same where it is no longer."""
    seconds: Mapping[str, float]
    device: str
    ins: list[Data]
    outs: list[Data]


def stage_rows(run: Facts, before: Facts | None) -> list[StageRow]:
    """A row for each task, in the pipeline's order, ``open`` and ``record`` included.

    :param before: the run recorded before this one.
    """
    pipeline = run.pipeline
    named = {stage.task_id: stage for stage in pipeline.stages} if pipeline else {}
    middle = list(named) or sorted(set(run.tasks) - {OPEN, RECORD, GATE})
    extra = sorted(set(run.tasks) - {OPEN, RECORD, GATE, *middle})
    rows = []
    for task_id in (OPEN, *middle, RECORD, GATE, *extra):
        task = run.tasks.get(task_id)
        if task is None:
            continue
        stage, done = named.get(task_id), run.done.get(task_id)
        old = before.done[task_id]["entry"] if before and task_id in before.done else None
        judged = run.judged if task_id == GATE and task.state == "success" else None
        entry: Entry = done["entry"] if done else {}
        why = judged["reason"] if judged else _why(task, done, old)
        rows.append(
            StageRow(
                task=task,
                name=stage.name if stage else task_id,
                about=stage.desc if stage else _ABOUT.get(task_id, ""),
                verdict=_verdict(task, done, judged),
                why=why,
                gist=why if judged else gist(why),
                seconds=done["seconds"] if done else {},
                device=done["device"] if done else "",
                ins=_data(entry.get("deps", ()), (old or {}).get("deps", ())),
                outs=_data(entry.get("outs", ()), (old or {}).get("outs", ())),
            )
        )
    return rows


_MOST = 160
"""Letters of a gist that is made of several reasons."""


def gist(why: str) -> str:
    """Of what a failed stage printed, the line that says the reason; of many reasons, the first ones."""
    said = re.split(r"\n\s*next: ", why)[0]
    head, _, printed = said.partition("; last lines:\n")
    lines = [line for line in printed.splitlines() if line.strip() and not line.startswith(" ")]
    if lines and "was killed" not in head:
        return lines[-1]
    reasons = head.strip().split("\n")[0].split("; ")
    shown = [
        reason for place, reason in enumerate(reasons) if not place or len("; ".join(reasons[: place + 1])) < _MOST
    ]
    more = len(reasons) - len(shown)
    return "; ".join(shown) + (f" and {more} more" if more else "")


_ABOUT = {
    OPEN: "Pins revision, parameters and data; checks them; plans the run.",
    RECORD: "Joins all of it into one git commit.",
    GATE: "Makes the run's model champion, or says why not.",
}


def _verdict(task: Task, done: Done | None, judged: Mapping[str, Any] | None) -> str:
    if judged:
        return str(judged["verdict"])
    if done and task.state == "success":
        return done["verdict"]
    return {"success": "done", "": "waiting", "upstream_failed": "not run"}.get(task.state, task.state)


def _why(task: Task, done: Done | None, old: Entry | None) -> str:
    if task.state in ("failed", "up_for_retry") and task.problem:
        return task.problem
    if task.state == "failed":
        return "its process ended without a word: marked failed, killed or lost; the log has the rest"
    if done and task.state == "success":
        if done["verdict"] == "cached":
            return "nothing that it depends on has changed"
        new, parts = done.get("partitions") or (0, 0)
        return why_ran(done["entry"], old) + (f" ({new} of {parts} partitions were not known yet)" if parts else "")
    return _WAITING.get(task.state, "")


def why_ran(entry: Entry, old: Entry | None) -> str:
    """What differs between a stage's lock entry and the one of the run recorded before."""
    if old is None:
        return "no run recorded before has this stage"
    reasons = []
    if entry.get("cmd") != old.get("cmd"):
        reasons.append("command changed")
    changed = [d.path for d in _data(entry.get("deps", ()), old.get("deps", ())) if d.change != "same"]
    gone = sorted({d["path"] for d in old.get("deps", ())} - {d["path"] for d in entry.get("deps", ())})
    reasons += [f"{path} changed" for path in changed] + [f"{path} is no longer read" for path in gone]
    now, then = _recorded_params(entry), _recorded_params(old)
    reasons += [
        f"{name} {params.shown(then[name]) if name in then else 'unset'}"
        f" → {params.shown(now[name]) if name in now else 'unset'}"
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name)
    ]
    return "; ".join(reasons) or "asked to run again, or its earlier result was lost"


def _recorded_params(entry: Entry) -> dict[str, Any]:
    """A lock entry's parameters by their dotted names; those of other files than params.yaml as ``FILE:NAME``."""
    return {
        name if file == params.FILE else f"{file}:{name}": value
        for file, values in entry.get("params", {}).items()
        for name, value in params.flat_values(values).items()
    }


def _data(items: Iterable[Mapping[str, Any]], old: Iterable[Mapping[str, Any]]) -> list[Data]:
    known = {item["path"]: item for item in old}
    return [
        Data(i["path"], i.get("md5", ""), i.get("size"), i.get("nfiles"), _change(i, known.get(i["path"])))
        for i in items
    ]


def _change(item: Mapping[str, Any], old: Mapping[str, Any] | None) -> str:
    if old is None:
        return "new"
    if item.get("md5") == old.get("md5"):
        return "same"
    moved = (item.get("size") or 0) - (old.get("size") or 0)
    files = (item.get("nfiles") or 1) - (old.get("nfiles") or 1)
    parts = ([f"{files:+,} files"] if files else []) + ([f"{moved:+,} bytes"] if moved else [])
    return ", ".join(parts) or "other content, same size"


def changed_params(run: Facts, before: Facts | None) -> list[tuple[str, str, str]]:
    """(name, before, now) of every parameter that differs from the run recorded before."""
    if not (run.opened and before and before.opened):
        return []
    now, then = params.flat(run.opened["params"]), params.flat(before.opened["params"])
    return [
        (n, params.shown(then.get(n)), params.shown(now.get(n)))
        for n in sorted({*now, *then})
        if now.get(n) != then.get(n)
    ]


def environment(run: Facts) -> list[tuple[str, str]]:
    """(what, value): images by name, the image's id, and files of docker/ that stages depend on, by hash."""
    if not run.opened:
        return []
    images: dict[str, list[str]] = {}
    for stage, image in run.opened["images"].items():
        images.setdefault(image, []).append(stage)
    rows = [(f"image of {'all stages' if len(images) == 1 else ', '.join(s)}", i) for i, s in images.items()]
    rows += [("image id", run.opened["image_id"])] if run.opened["image_id"] else []
    deps = {d["path"]: d.get("md5", "") for done in run.done.values() for d in done["entry"].get("deps", ())}
    return rows + [(p.rsplit("/", 1)[-1], md5) for p, md5 in sorted(deps.items()) if "/docker/" in f"/{p}"]


def outputs(run: Facts) -> dict[str, str]:
    """Path → md5 of everything that the run's stages have written so far."""
    return {out["path"]: out.get("md5", "") for done in run.done.values() for out in done["entry"].get("outs", ())}
