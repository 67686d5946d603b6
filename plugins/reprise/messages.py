"""What the tasks of a run hand each other by XCom: JSON values only, small enough for Airflow's database."""

from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from reprise.tracking.mlflow_server import Heading

Entry = dict[str, Any]
"""A stage's entry in dvc.lock: cmd, deps, params and outs with their hashes."""

OPEN = "open"
RECORD = "record"
GATE = "gate"
"""The tasks before and after the stages; only a pipeline with a champion has the last."""


class Champion(TypedDict):
    """The champion as ``open`` pinned it: what the comparing stage sees, and from where the gate may move the alias."""

    pin: dict[str, str]
    """name, version and md5 of the model to compare with; empty: none."""
    version: str | None
    """The registered version that was champion when the run was opened, "" for none; None: this run moves nothing."""
    why: str
    """The reason of the above, for people."""


PROBLEM = "problem"
"""The XCom key, and the tag of a stage's MLflow run, under which a task that fails says why."""


class Opened(TypedDict):
    """What ``open`` hands to the tasks of a run, by XCom: JSON values only."""

    revision: str
    pipeline: dict[str, Any]
    """As the revision defines it (``Pipeline.to_dict``), for whoever shows the run later."""
    params: str
    """The text of the run's params.yaml."""
    listing: str | None
    """The md5 under which source.json lies in cache and remote; None where no stage reads an inbox."""
    inbox: str | None
    as_of: str | None
    relisted: dict[str, dict[str, Any]]
    """Arrival dates that are not as an earlier run took them: :mod:`reprise.run.relisted`."""
    images: dict[str, str]
    """Stage → image name."""
    image_id: str
    known: dict[str, Entry]
    """Stages that need not run → their lock entry."""
    ignore_cache: bool
    mlflow: str | None
    """The MLflow run's id; None where the server did not answer."""
    champion: Champion | None
    """None where no stage compares with one."""
    heading: "Heading"
    """What its MLflow run is made with, later where the server did not answer."""


class Done(TypedDict):
    """What a finished stage tells the run, by XCom."""

    verdict: str
    """``cached`` or ``ran``."""
    entry: Entry
    seconds: dict[str, float]
    """pull, run, commit, push; empty where cached."""
    device: str
    partitions: NotRequired[list[int]]
    """Of a partitioned stage: how many it worked on, how many there are."""
    wandb: NotRequired[str]
    """The id of its W&B run, where one was asked for."""
    unsent: NotRequired[str]
    """The md5 of what MLflow has not been told of it, where it was away; ``record`` tells it."""


class Recorded(TypedDict):
    """What ``record`` tells whoever follows the run."""

    commit: str
    ref: str
    metrics: dict[str, float | str]
    """JSON has no NaN and no infinity: :func:`reprise.run.numbers.from_json` reads them."""
    mlflow: str | None
    wandb: str | None
    models: dict[str, str]
    """Registered model's name → version."""
    refused: dict[str, str]
    """Model's name → why MLflow did not register it."""
    decision: dict[str, Any]
    """``promote`` and ``reason``, as the comparing stage wrote them; empty where there is none."""


class Judged(TypedDict):
    """What the gate did."""

    verdict: str
    """``promoted``, ``refused``, ``unchanged`` (it is the champion) or ``kept`` (this run may not move the alias)."""
    reason: str
