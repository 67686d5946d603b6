"""When a pipeline runs by itself, what limits it, and which dates there are."""

from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk import CronDataIntervalTimetable
from airflow.timetables.base import TimeRestriction

from reprise.dag import pools, schedule
from reprise.errors import BadInput
from reprise.pipeline.stages import Meta
from reprise.settings import Settings

WEEKLY = "0 0 * * 1"


def moments(*days: tuple[int, int]) -> list[pendulum.DateTime]:
    return [pendulum.datetime(2026, month, day) for month, day in days]


def test_off_there_are_dates_but_no_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPRISE_SCHEDULE", raising=False)
    table = schedule.timetable(WEEKLY, "p")
    assert table.periodic  # or Airflow refuses backfills
    first, last = moments((10, 26), (11, 16))
    by_itself = TimeRestriction(first, None, catchup=False)
    assert table.next_dagrun_info(last_automated_data_interval=None, restriction=by_itself) is None
    found, interval = [], None
    while info := table.next_dagrun_info(
        last_automated_data_interval=interval, restriction=TimeRestriction(first, last, catchup=True)
    ):
        interval = info.data_interval
        found.append(interval)
    assert [i.start for i in found] == moments((10, 26), (11, 2), (11, 9), (11, 16))
    assert [i.end for i in found] == moments((11, 2), (11, 9), (11, 16), (11, 23))
    again = schedule.OnRequest.deserialize(table.serialize())
    assert (type(again), again.summary) == (schedule.OnRequest, WEEKLY)


def test_on_it_is_airflows_own_cron(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_SCHEDULE", "on")
    assert isinstance(schedule.timetable(WEEKLY, "p"), CronDataIntervalTimetable)
    assert schedule.timetable(None, "p") is None
    monkeypatch.setenv("REPRISE_SCHEDULE", "yes")
    with pytest.raises(BadInput, match="REPRISE_SCHEDULE is 'yes'"):
        schedule.timetable(WEEKLY, "p")


@pytest.mark.parametrize(("said", "cron"), [("daily", "@daily"), ("@hourly", "@hourly"), (WEEKLY, WEEKLY)])
def test_when_new_data(said: str, cron: str) -> None:
    asked = schedule.when_new_data(at_most=said)
    assert asked.at_most == cron
    table = schedule.timetable(asked, "p")
    assert [a.name for a in table.asset_condition.objects] == ["p/inbox"]


def test_new_is_what_was_not_there_or_is_something_else() -> None:
    file = {"path": "2026-11-01/a.jpg", "sha256": "1", "size": 1}
    first = schedule.digests({"partitions": {"2026-11-01": [file]}})
    more = schedule.digests({"partitions": {"2026-11-01": [file], "2026-11-08": [file]}})
    other = schedule.digests({"partitions": {"2026-11-01": [{**file, "sha256": "2"}]}})
    assert schedule.changed({}, first) == ["2026-11-01"]
    assert schedule.changed(first, more) == ["2026-11-08"]
    assert schedule.changed(first, other) == ["2026-11-01"]
    assert schedule.changed(more, first) == schedule.changed(first, first) == []


def test_limits() -> None:
    assert pools.limits(Meta(), Settings()) == {"priority_weight": 1}
    assert pools.limits(Meta(gpus=1, priority=5), Settings()) == {"pool": "gpu", "pool_slots": 1, "priority_weight": 5}
    assert pools.limits(Meta(gpus=4), Settings(gpu_slots="2"))["pool_slots"] == 2
    assert "pool" not in pools.limits(Meta(gpus=1), Settings(gpu_slots="0"))  # no pool has less than one slot
    assert pools.limits(Meta(partitioned=True), Settings())["max_active_tis_per_dag"] == 1


class Events(list[Any]):
    """The inbox's asset events as a task's context gives them: the latest first."""

    def ascending(self, _: bool) -> "Events":
        return self

    def limit(self, most: int) -> "Events":
        return Events(self[:most])


def test_what_was_seen_last_is_not_forgotten_over_an_event_that_a_person_made() -> None:
    asset = schedule.inbox_asset("p")
    by_hand, looked = SimpleNamespace(extra={"from_rest_api": True}), SimpleNamespace(extra={"partitions": {"d": "1"}})
    for events, seen in (([by_hand, looked], {"d": "1"}), ([by_hand], {}), ([], {})):
        assert schedule._seen({"inlet_events": {asset: Events(events)}}, asset) == seen
