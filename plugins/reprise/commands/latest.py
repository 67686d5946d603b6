"""The latest runs of all pipelines, a line each."""

from collections.abc import Mapping
from typing import Any

from reprise.airflow_api import Airflow


def latest(airflow: Airflow, most: int = 10) -> str:
    """What was asked for last stands first, a backfill of a past date too."""
    runs = airflow.call("GET", "dags/~/dagRuns", params={"limit": most, "order_by": "-id"})["dag_runs"]
    rows = [(run["dag_id"], run["dag_run_id"], run["state"], _took(run), _data(run)) for run in runs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows) or "no run yet: make run"


def _took(run: Mapping[str, Any]) -> str:
    return "" if run["duration"] is None else f"{run['duration']:.0f} s"


def _data(run: Mapping[str, Any]) -> str:
    """A run of a date is named after the end of its interval; backfills are asked for by the start."""
    start, end = run["data_interval_start"], run["data_interval_end"]
    return f"data of {start[:10]} to {end[:10]}" if start and end and start != end else ""
