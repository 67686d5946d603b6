"""Where things are: paths and addresses, from the environment, with defaults for a laptop.

The two servers of a laptop are where `make up` last started them, unless the environment says otherwise.

DVC's cache and remote are not here: they stand in ``.dvc/config`` (or ``.dvc/config.local``), DVC's own place.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from reprise.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
"""The repository this package lies in."""
PIPELINE = "pipelines/faces"
"""The folder of the pipeline that a command means which names none."""
_ADDRESSES = "addresses.json"


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
    def servers(self) -> dict[str, str]:
        """The addresses that ``make up`` starts the two servers at, by the settings' names."""
        return {"airflow": self.airflow, "mlflow": self.mlflow}

    @property
    def stack(self) -> str:
        """Tells this installation's containers from those of another on the same Docker daemon."""
        return str(self.var.resolve())


def load() -> Settings:
    """Read the settings from the environment, and from ``var`` the addresses that it does not name."""
    given = {name: os.environ.get(f"REPRISE_{name.upper()}") for name in Settings.__dataclass_fields__}
    # Absolute: git and Docker are told of it from other folders than this.
    var = Path(given["var"] or Settings.var).absolute()
    chosen = {**remembered(var), **{name: value for name, value in given.items() if value}, "var": var}
    return Settings(**chosen)  # type: ignore[arg-type]


def remember(settings: Settings) -> None:
    """Keep the addresses of the servers for later commands, in whose environment they need not stand."""
    new = settings.var / f"{_ADDRESSES}.new"
    new.write_text(json.dumps(settings.servers, indent=1) + "\n")
    new.replace(settings.var / _ADDRESSES)


def remembered(var: Path) -> dict[str, str]:
    """The servers' addresses as they were last started on this node; empty where they never were."""
    file = var / _ADDRESSES
    return dict(json.loads(file.read_text())) if file.exists() else {}
