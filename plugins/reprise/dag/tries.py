"""Which failures Airflow tries again: a remote that refuses may not the next time; our other errors would come back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from reprise.errors import RepriseError, TryAgain
from reprise.messages import PROBLEM

_MOST = 4000
_DETERMINISTIC = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,  # KeyError, IndexError
    NameError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What Python raises for the same input each time. All else may come from a network, a disk or a daemon."""


@contextmanager
def tried_again_or_not(ti: Any = None, what: str = "the task") -> Iterator[None]:
    """Turn our errors into Airflow's, and say on the run's page why the task failed.

    :param ti: the task instance that runs; None if none shows what went wrong.
    :param what: which task, for an error that does not say so itself.
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
        if isinstance(error, _DETERMINISTIC) and not isinstance(error, OSError):
            raise AirflowFailException(
                f"{what}: {type(error).__name__}: {error}; another try would end the same way\n"
                "  next: the traceback above names the file and the line; correct what it reads, or report it"
            ) from error
        raise
