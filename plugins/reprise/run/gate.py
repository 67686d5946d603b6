"""The gate: gives a run's model the alias ``champion``, or says why not. A refusal is no failure."""

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path

from reprise.errors import RepriseError, ServerAway
from reprise.messages import Champion, Judged, Recorded
from reprise.pipeline.stages import Stage
from reprise.run import metrics
from reprise.run.champion import ALIAS, AS_OF, BEFORE, RUN
from reprise.settings import Settings
from reprise.tracking.mlflow_server import Tracker

_AWAY = "MLflow did not answer: run again when it does, nothing is computed twice"


def judge(
    settings: Settings, name: str, champion: Champion, recorded: Recorded, run_id: str, as_of: str | None = None
) -> Judged:
    """Move the alias of the registered model ``name`` where the run may and its comparison says so.

    It moves only from the version that the run was compared with: of two runs at once, the second to end finds
    another champion than it saw, and leaves that alone.
    """
    tracker = Tracker(settings.mlflow)
    why = {BEFORE: json.dumps(dict(champion["pin"]), sort_keys=True), RUN: run_id, AS_OF: as_of or _now()}
    judged = _judge(tracker, name, champion, recorded, why)
    if recorded["mlflow"]:
        tracker.try_tags(recorded["mlflow"], {"gate": judged["verdict"], "gate.reason": judged["reason"]})
    return judged


def _now() -> str:
    """The date of a run that has none: it saw all that was there."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _judge(tracker: Tracker, name: str, champion: Champion, recorded: Recorded, why: Mapping[str, str]) -> Judged:
    if champion["version"] is None:
        return Judged(verdict="kept", reason=champion["why"])
    version = recorded["models"].get(name)
    if name in recorded["refused"]:
        return Judged(verdict="kept", reason=f"MLflow has not registered {name}: {recorded['refused'][name]}")
    held = tracker.alias(name, ALIAS)
    if version is None or held is None:
        return Judged(verdict="kept", reason=_AWAY)
    now = held.get("version", "")
    if now == version:
        return Judged(verdict="unchanged", reason=f"the model is {name} version {version}, the champion")
    if now != champion["version"]:
        was = f"version {champion['version']}" if champion["version"] else "none"
        return Judged(
            verdict="kept",
            reason=f"the champion is version {now or 'none'} now, and was {was} when the run was opened: run again",
        )
    compared = champion["pin"].get("version", "")
    if compared != now:  # open took this run's model for the champion's own, and it came out another
        return Judged(
            verdict="kept",
            reason=f"the model was compared with version {compared or 'none'}, the champion is version {now}: run again",
        )
    decision = recorded["decision"]
    if not decision["promote"]:
        return Judged(verdict="refused", reason=str(decision["reason"]))
    try:
        tracker.move_alias(name, ALIAS, version, why)
    except ServerAway:
        return Judged(verdict="kept", reason=_AWAY)
    except RepriseError as error:
        return Judged(verdict="kept", reason=f"the alias was not moved: {error.problem}")
    return Judged(verdict="promoted", reason=f"{name} version {version}: {decision['reason']}")


def read_decision(folder: Path, stage: Stage) -> dict[str, object]:
    """The ``promote`` and ``reason`` that a comparing stage wrote into its metrics.

    :param folder: the pipeline's, in which the stage's outputs lie.
    :raises RepriseError: if they are missing or of another type.
    """
    said = {name: value for values in metrics.of_stage(folder, stage).values() for name, value in values.items()}
    promote, reason = said.get("promote"), said.get("reason")
    if not isinstance(promote, bool) or not isinstance(reason, str):
        raise RepriseError(
            f"stage {stage.name} compares with the champion, but its metrics lack the result",
            'write {"promote": true or false, "reason": "…"} into its metrics file, git commit, and make run',
        )
    return {"promote": promote, "reason": reason}
