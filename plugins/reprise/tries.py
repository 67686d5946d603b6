"""Which failures Airflow tries again: a remote that refuses may not the next time; our other errors would come back."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from reprise.errors import RepriseError, TryAgain


@contextmanager
def tried_again_or_not() -> Iterator[None]:
    """Turn our errors into Airflow's.

    :raises AirflowException: another try is worth it.
    :raises AirflowFailException: it would end the same way.
    """
    try:
        yield
    except TryAgain as error:
        raise AirflowException(str(error)) from error
    except RepriseError as error:
        raise AirflowFailException(str(error)) from error
