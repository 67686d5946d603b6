"""What a run has come to, in the terminal: the numbers that matter most, and where to look."""

import os
import shlex

from rich.console import Console

from reprise.messages import Judged, Recorded
from reprise.pipeline.stages import Pipeline
from reprise.run import numbers
from reprise.run.opening import Request
from reprise.run.results import fetch
from reprise.settings import PIPELINE, Settings
from reprise.tracking.mlflow_server import Tracker
from reprise.tracking.wandb_run import wandb_place


def say(
    console: Console,
    settings: Settings,
    request: Request,
    pipeline: Pipeline,
    recorded: Recorded,
    judged: Judged | None,
    took: float,
) -> None:
    """Print it; brings the report, the model and what else leaves the pipeline to ``var/runs``.

    :param took: seconds from the trigger to the end.
    """
    commit = recorded["commit"][:12]
    for line in numbers.lines(
        pipeline, numbers.from_json(recorded["metrics"]), f"git show {commit}, .venv/bin/dvc exp show, MLflow"
    ):
        console.print(f"  {line}")
    places = {"Airflow": f"{settings.airflow}/dags/{request.dag_id}/runs/{request.run_id}"}
    if recorded["mlflow"]:
        places["MLflow"] = Tracker(settings.mlflow).url(recorded["mlflow"])
    if recorded["wandb"]:
        places["W&B"] = wandb_place(settings, recorded["wandb"])
    files = fetch(settings, request, pipeline, recorded["commit"])
    places |= {name: os.path.relpath(file) for name, file in files.items()}
    places["again"] = _again(settings, request, commit)
    if judged:
        places["champion"] = f"{judged['verdict']}: {judged['reason']}"
    name = recorded["ref"].rsplit("/", 1)[-1]
    console.print(f"\nfinished in {took:.0f} s; recorded as commit {commit} ({name})")
    width = max(map(len, places))
    for what, where in places.items():
        console.print(f"  {what:<{width}}  {where}")


def _again(settings: Settings, request: Request, commit: str) -> str:
    """The command that makes the run again, beside the clone and without Airflow."""
    given = {"INBOX": request.inbox or settings.inbox, "PIPELINE": request.pipeline}
    asked = " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items() if value != PIPELINE)
    return f"git worktree add ../again-{commit} {commit} && make -C ../again-{commit} repro {asked}".rstrip()
