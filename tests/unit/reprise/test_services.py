"""Where the services are: remembered, and told before anybody waits for them in vain."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reprise.errors import RepriseError
from reprise.machine import services
from reprise.settings import Settings, load, remember

OTHER = {"airflow": "http://127.0.0.1:8081", "mlflow": "http://127.0.0.1:5001"}


@pytest.fixture
def port() -> Iterator[int]:
    """A port that another program has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_addresses_are_the_environments_else_where_the_services_are_else_the_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AIRFLOW", "MLFLOW"):
        monkeypatch.delenv(f"REPRISE_{name}", raising=False)
    monkeypatch.setenv("REPRISE_VAR", str(tmp_path))
    assert load().servers == Settings().servers
    remember(Settings(var=tmp_path, **OTHER))
    assert load().servers == OTHER
    monkeypatch.setenv("REPRISE_MLFLOW", "http://elsewhere:5000")
    assert load().servers == {**OTHER, "mlflow": "http://elsewhere:5000"}


def test_services_that_run_elsewhere_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(Settings(var=tmp_path, **OTHER))
    monkeypatch.setattr(services, "running", lambda _: True)
    monkeypatch.setattr(services, "_wait", lambda _: pytest.fail("it waits"))
    with pytest.raises(
        RepriseError, match=r"mlflow at http://127.0.0.1:5001, not at .*:5000\n  next: unset REPRISE_MLFLOW"
    ):
        services.up(Settings(var=tmp_path, airflow=OTHER["airflow"]))


def test_every_port_that_is_taken_is_named_with_the_way_round(tmp_path: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(RepriseError, match=rf"REPRISE_AIRFLOW=\S+:{port + 1} REPRISE_MLFLOW=\S+:{port + 1} make up"):
        services.up(Settings(var=tmp_path, airflow=url, mlflow=url))
