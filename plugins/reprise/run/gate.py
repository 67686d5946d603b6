"""The gate: gives a run's model the alias ``champion``, or says why not. A refusal is no failure."""

import datetime as dt
import json
from collections.abc import Mapping

from reprise.errors import RepriseError
from reprise.messages import Champion, Judged, Recorded
from reprise.run.champion import ALIAS, AS_OF, BEFORE, RUN
from reprise.settings import Settings
from reprise.tracking.mlflow_server import Tracker


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
    held = tracker.alias(name, ALIAS)
    if version is None or held is None:
        return Judged(verdict="kept", reason="MLflow did not answer: run again when it does, nothing is computed twice")
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
    if not tracker.move_alias(name, ALIAS, version, why):
        return Judged(verdict="kept", reason="MLflow did not answer: run again when it does, nothing is computed twice")
    return Judged(verdict="promoted", reason=f"{name} version {version}: {decision['reason']}")


def decision(metrics: Mapping[str, object], stage: str) -> dict[str, object]:
    """The ``promote`` and ``reason`` that a comparing stage wrote into its metrics.

    :raises RepriseError: where they are not there.
    """
    promote, reason = metrics.get("promote"), metrics.get("reason")
    if not isinstance(promote, bool) or not isinstance(reason, str):
        raise RepriseError(
            f"stage {stage} compares with the champion, but its metrics do not say so",
            'write {"promote": true or false, "reason": "…"} into its metrics file',
        )
    return {"promote": promote, "reason": reason}
