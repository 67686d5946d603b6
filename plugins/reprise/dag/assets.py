"""What stages write, as Airflow assets: an event for each output of a stage that ran, with its hash."""

from typing import Any

from airflow.sdk import Asset, AssetAlias

from reprise.messages import Done, Opened
from reprise.pipeline.stages import Pipeline, Stage


def alias(pipeline: Pipeline, stage: Stage) -> AssetAlias:
    """What a stage's task declares. The assets behind it get an event only where the stage ran:
    an outlet of its own would get one for a cached stage too, and start what waits for new data."""
    return AssetAlias(name=f"{pipeline.name}/{stage.name}")


def asset(pipeline: Pipeline, path: str) -> Asset:
    """An output; ``schedule=[asset]`` of another DAG starts that when new bytes are there."""
    return Asset(name=f"{pipeline.name}/{path}", uri=f"reprise://{pipeline.name}/{path}")


def announce(context: Any, pipeline: Pipeline, stage: Stage, opened: Opened, done: Done) -> None:
    """The events of a stage that ran: hash, bytes and number of files of each output, revision and as-of date."""
    events = context["outlet_events"][alias(pipeline, stage)]
    for out in done["entry"].get("outs", ()):
        extra = {key: out[key] for key in ("md5", "size", "nfiles") if key in out}
        events.add(
            asset(pipeline, out["path"]), extra={**extra, "revision": opened["revision"], "as_of": opened["as_of"]}
        )
