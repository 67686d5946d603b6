"""Where things are: paths and addresses, from the environment, with defaults for a laptop.

DVC's cache and remote are not here: they stand in ``.dvc/config`` (or ``.dvc/config.local``), DVC's own place.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from reprise.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
"""The repository this package lies in."""


@dataclass(frozen=True)
class Settings:
    """What differs between a laptop and a cluster. Each field can be set by ``REPRISE_<NAME>``."""

    origin: str = str(ROOT)
    """The git repository (path or URL) that runs are cloned from and recorded in."""
    revision: str = "HEAD"
    """What a run starts from that names no revision: the production branch. HEAD is what the origin has checked out."""
    var: Path = ROOT / "var"
    """This node's folder for everything that can be made again: workspaces, services' state, logs."""
    inbox: str = str(ROOT / "var/inbox/synthetic")
    """The inbox of a run that names none."""
    connection: str = ""
    """File with address and credentials of the store that inboxes lie in, as fsspec's configuration writes them; empty:
    the ordinary environment variables and files of the store's own tools."""
    mlflow: str = "http://127.0.0.1:5000"
    """The MLflow tracking server."""
    airflow: str = "http://127.0.0.1:8080"
    """Airflow's API server."""
    tensorboard: str = "http://127.0.0.1:6006"
    """TensorBoard, while `make tensorboard` runs."""
    schedule: str = "off"
    """``on``: pipelines run by the schedules in their files in dags/. ``off``: only when somebody asks."""
    mail_to: str = ""
    """Whom a DAG that names nobody sends mail about its runs, separated by commas; empty: nobody."""
    gpu_slots: str = "1"
    """Stages with ``meta: gpus`` that run at once, counted in GPUs: the size of Airflow's pool ``gpu`` when it is made."""

    @property
    def work(self) -> Path:
        """Workspaces: one folder per running task. On the same filesystem as the cache, for hardlinks."""
        return self.var / "work"

    @property
    def scheduled(self) -> bool:
        """Whether pipelines run by themselves."""
        if self.schedule not in ("on", "off"):
            raise BadInput(f"REPRISE_SCHEDULE is {self.schedule!r}", "set it to on or off")
        return self.schedule == "on"

    @property
    def stack(self) -> str:
        """Tells this installation's containers from those of another on the same Docker daemon."""
        return str(self.var.resolve())


def load() -> Settings:
    """Read the settings from the environment."""
    given = {name: os.environ.get(f"REPRISE_{name.upper()}") for name in Settings.__dataclass_fields__}
    # Absolute: git and Docker are told of it from other folders than this.
    chosen = {name: Path(value).absolute() if name == "var" else value for name, value in given.items() if value}
    return Settings(**chosen)  # type: ignore[arg-type]
