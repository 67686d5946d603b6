"""Which failures Airflow tries again: a remote that refuses may not the next time; our other errors would come back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from reprise.errors import RepriseError, TryAgain
from reprise.messages import PROBLEM

_MOST = 4000


@contextmanager
def tried_again_or_not(ti: Any = None) -> Iterator[None]:
    """Turn our errors into Airflow's, and say on the run's page why the task failed.

    :param ti: the task instance that runs; None where none shows what went wrong.
    :raises AirflowException: another try is worth it.
    :raises AirflowFailException: it would end the same way.
    """
    try:
        yield
    except Exception as error:
        if ti:
            ti.xcom_push(key=PROBLEM, value=(str(error) or type(error).__name__)[-_MOST:])
        if isinstance(error, TryAgain):
            raise AirflowException(str(error)) from error
        if isinstance(error, RepriseError):
            raise AirflowFailException(str(error)) from error
        raise
