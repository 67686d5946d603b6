"""What the tasks of a run hand each other by XCom: JSON values only, small enough for Airflow's database."""

from typing import Any, TypedDict

Entry = dict[str, Any]
"""A stage's entry in dvc.lock: cmd, deps, params and outs with their hashes."""


class Done(TypedDict):
    """What a finished stage tells the run, by XCom."""

    verdict: str
    """``cached`` or ``ran``."""
    entry: Entry
    seconds: dict[str, float]
    """pull, run, commit, push; empty where cached."""
    device: str


class Recorded(TypedDict):
    """What ``record`` tells whoever follows the run."""

    commit: str
    ref: str
    metrics: dict[str, float]
    mlflow: str | None
    models: dict[str, str]
    """Registered model's name → version."""
