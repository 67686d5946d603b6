"""The latest runs, as `make status` prints them."""

from typing import Any

import pytest

from reprise.airflow_api import Airflow
from reprise.commands.latest import latest


def run(run_id: str, state: str, duration: float | None, *interval: str) -> dict[str, Any]:
    start, end = interval or (None, None)
    told = {"dag_run_id": run_id, "state": state, "duration": duration}
    return {"dag_id": "faces", **told, "data_interval_start": start, "data_interval_end": end}


def test_columns_hold_whatever_the_ids_and_a_date_says_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    past = run("backfill__2026-11-02T00:00:00+00:00", "success", 159.4, "2026-10-26T00:00:00Z", "2026-11-02T00:00:00Z")
    monkeypatch.setattr(Airflow, "call", lambda *_, **__: {"dag_runs": [run("faces-1", "running", None), past]})
    assert latest(Airflow("")).splitlines() == [
        "faces  faces-1                              running",
        "faces  backfill__2026-11-02T00:00:00+00:00  success  159 s  data of 2026-10-26 to 2026-11-02",
    ]
    monkeypatch.setattr(Airflow, "call", lambda *_, **__: {"dag_runs": []})
    assert latest(Airflow("")) == "no run yet: make run"
