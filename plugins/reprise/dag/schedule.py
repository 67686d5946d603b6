"""When a pipeline runs by itself: at the end of each data interval of a cron, or when the inbox has something new.

Whether it does is a setting, ``REPRISE_SCHEDULE=on``: on a laptop nothing starts that nobody asked for. Its dates
are there in any case: a backfill goes through them.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronDataIntervalTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable as Intervals

from reprise.dag.tries import tried_again_or_not
from reprise.settings import load as load_settings

START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""No data interval before this can be asked for: Airflow runs no task of an earlier date."""
_LATEST_EVENTS = 50


class OnRequest(Intervals):
    """A cron's data intervals for backfills; starts nothing by itself.

    With ``schedule=None`` Airflow refuses backfills, a paused DAG runs none, and a start date in the future leaves
    their tasks waiting. What the scheduler asks for without ``catchup`` is its own next run: there is none.
    """

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next interval for whoever goes through them one by one (a backfill), None for the scheduler."""
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )


@dataclass(frozen=True)
class WhenNewData:
    """Run when files have come to the inbox; looked for, and so run, at most as often as ``at_most`` (a cron) says."""

    at_most: str = "@daily"


def when_new_data(at_most: str = "@daily") -> WhenNewData:
    """For ``pipeline_dag(schedule=…)``: run when new data has arrived, at most daily (or hourly, or ``0 3 * * 1``)."""
    return WhenNewData(at_most if " " in at_most else f"@{at_most.removeprefix('@')}")


def timetable(schedule: str | WhenNewData | None, pipeline: str) -> Any:
    """``schedule`` as Airflow takes it. None: only by hand, and then no backfill either."""
    if schedule is None:
        return None
    cron = schedule if isinstance(schedule, str) else schedule.at_most
    if isinstance(schedule, WhenNewData):
        dates: Any = OnRequest(cron, "UTC")  # Airflow's type asks for one of its own timetables
        return AssetOrTimeSchedule(timetable=dates, assets=[inbox_asset(pipeline)])
    return CronDataIntervalTimetable(cron, "UTC") if load_settings().scheduled else OnRequest(cron, "UTC")


def inbox_asset(pipeline: str) -> Asset:
    """The inbox of a pipeline: an event says which arrival dates are new, and what all of them hold."""
    return Asset(name=f"{pipeline}/inbox", uri=f"reprise://{pipeline}/inbox")


def watcher(pipeline: str, at_most: str, notified: Mapping[str, Any]) -> DAG:
    """The DAG that looks into the inbox and publishes its asset when there is something new."""
    asset = inbox_asset(pipeline)
    cron = CronDataIntervalTimetable(at_most, "UTC") if load_settings().scheduled else OnRequest(at_most, "UTC")
    with DAG(
        f"{pipeline}-inbox",
        description=f"Looks into the inbox; what is new starts {pipeline}",
        schedule=cron,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        tags=["reprise", pipeline],
        **notified,
    ) as dag:

        @task(task_id="look", inlets=[asset], outlets=[asset], doc_md="Lists the inbox; skipped where nothing is new.")
        def look() -> list[str]:
            from reprise.sources import inbox

            context = get_current_context()
            settings = load_settings()
            with tried_again_or_not():
                listing = inbox.look(settings, settings.inbox)
            now = digests(listing)
            new = changed(_seen(context, asset), now)
            if not new:
                raise AirflowSkipException(f"nothing new in {settings.inbox} ({len(now)} arrival dates)")
            print(f"new in {settings.inbox}: {', '.join(new)}")
            extra: dict[str, Any] = {"new": new, "partitions": now}
            context["outlet_events"][asset].extra = extra
            return new

        look()
    return dag


def _seen(context: Any, asset: Asset) -> dict[str, str]:
    """What the inbox held when it was last published: Airflow's own events are the memory.

    Events that a person made (*Create Asset Event* in the UI, REST) say nothing of it.
    """
    for event in context["inlet_events"][asset].ascending(False).limit(_LATEST_EVENTS):
        if "partitions" in (event.extra or {}):
            return dict(event.extra["partitions"])
    return {}


def digests(listing: Mapping[str, Any]) -> dict[str, str]:
    """Arrival date → a short hash of what has come on it."""
    return {
        name: hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
        for name, files in sorted(listing["partitions"].items())
    }


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Arrival dates that are new or hold something else than before, sorted. What was removed is not new."""
    return sorted(name for name, digest in now.items() if before.get(name) != digest)
