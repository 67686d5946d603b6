"""A backfill that names no date says why."""

import datetime as dt
from typing import Any

import pytest

from reprise.commands.backfill import Dates, nothing


class Server:
    """What Airflow answers: the dates that a dry run would run, where all are asked for."""

    def __init__(self, *there: str) -> None:
        self.there = there

    def call(self, method: str, path: str, json: Any = None) -> Any:
        if method == "GET":
            return {"timetable_summary": "0 0 * * 1"}
        wanted = self.there if json["reprocess_behavior"] == "completed" else ()
        return {"backfills": [{"logical_date": date} for date in wanted]}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            ("2026-11-02", "2026-11-09"),
            "all 2 of faces in FROM=2026-11-02 TO=2026-11-12 have been run\n"
            "  next: make backfill FROM=2026-11-02 TO=2026-11-12 AGAIN=all",
        ),
        (
            (),
            "the schedule of faces (0 0 * * 1) has none in FROM=2026-11-02 TO=2026-11-12 whose data interval has ended\n"
            "  next: make backfill FROM=2026-10-02 TO=2026-11-12 DRY=1",
        ),
    ],
)
def test_no_date_has_a_reason(there: tuple[str, ...], said: str) -> None:
    first, last = (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (2, 12))
    assert nothing(Server(*there), Dates("faces", first, last)) == said  # type: ignore[arg-type]
