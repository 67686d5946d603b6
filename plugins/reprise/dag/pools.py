"""What limits how much runs at once: Airflow's pool ``gpu``. Made by the scheduler when it starts, on any profile."""

from contextlib import suppress
from typing import Any

from reprise.pipeline.stages import Meta
from reprise.settings import Settings

GPU = "gpu"


def limits(meta: Meta, settings: Settings) -> dict[str, Any]:
    """A stage's pool, slots and priority, as arguments of its task.

    A stage that asks for more than there is waits for all there is, and not for ever. Of a partitioned stage one
    task runs at a time, whatever the run: the next finds in the memo what it did, and no partition is done twice.
    """
    one_by_one = {"max_active_tis_per_dag": 1} if meta.partitioned else {}
    slots = min(meta.gpus, int(settings.gpu_slots))
    pool = {"pool": GPU, "pool_slots": slots} if slots else {}
    return {**pool, **one_by_one, "priority_weight": meta.priority}


def ensure(settings: Settings) -> None:
    """Make the pool where there is none; what a person has set stays. Needs Airflow's database."""
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import IntegrityError

    # Two of Airflow's processes may start at the same moment.
    with suppress(IntegrityError), create_session() as session:
        if session.scalar(select(Pool).where(Pool.pool == GPU)) is None:
            about = "GPUs of the workers: a stage takes as many slots as its meta says gpus"
            session.add(Pool(pool=GPU, slots=int(settings.gpu_slots), description=about, include_deferred=False))
