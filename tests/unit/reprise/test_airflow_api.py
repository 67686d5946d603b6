"""Airflow's REST API, spoken to a real HTTP server that is busy at first."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from reprise.airflow_api import TRIES, Airflow
from reprise.errors import RepriseError

BUSY = {"detail": {"reason": "Database error", "message": "Serious error"}}


@contextmanager
def server(busy: int, refusal: int = 500) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the requests it got; the first ``busy`` of them are answered with ``refusal``."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, {"access_token": "x"})

        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.reply(refusal, BUSY) if len(asked) <= busy else self.reply(200, {"done": True})

        def reply(self, status: int, body: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    httpd.server_close()


def test_a_busy_database_is_asked_again() -> None:
    with server(busy=TRIES - 1) as (url, asked):
        assert Airflow(url).call("POST", "dags/d/clearTaskInstances", json={"a": 1}) == {"done": True}
    assert asked == ['{"a": 1}'] * TRIES


def test_a_database_that_stays_busy_is_an_error() -> None:
    with server(busy=TRIES) as (url, asked), pytest.raises(RepriseError, match="Database error"):
        Airflow(url).call("POST", "dags/d/clearTaskInstances", json={"a": 1})
    assert len(asked) == TRIES


def test_who_follows_for_days_logs_in_again() -> None:
    with server(busy=1, refusal=401) as (url, asked):
        assert Airflow(url).call("POST", "dags/d/clearTaskInstances", json={}) == {"done": True}
    assert len(asked) == 2


@pytest.mark.parametrize(("status", "known"), [(404, True), (403, False)])
def test_what_cannot_be_asked_is_not_taken_for_nothing_said(
    monkeypatch: pytest.MonkeyPatch, status: int, known: bool
) -> None:
    answer = requests.Response()
    answer.status_code, answer._content = status, b'{"detail": "no"}'
    airflow = Airflow("http://airflow")
    airflow.__dict__["session"] = requests.Session()
    monkeypatch.setattr(airflow.session, "request", lambda *_, **__: answer)
    if known:
        assert airflow.xcom("d", "r", "t") is None
    else:
        with pytest.raises(RepriseError, match="refused"):
            airflow.xcom("d", "r", "t")


def test_what_the_stage_printed_is_told_from_what_airflow_says(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        ("airflow.task.operators.reprise.stage.operator.StageOperator", "Starting docker container"),
        ("reprise.stage.printed", "epoch 1"),
        ("task", "Pushing xcom"),
    )
    log = {"content": [{"logger": logger, "event": event} for logger, event in said]}
    monkeypatch.setattr(Airflow, "call", lambda *_, **__: log)
    airflow = Airflow("http://airflow")
    assert airflow.printed("d", "r", "t", 1) == ["epoch 1"]
    assert len(airflow.log("d", "r", "t", 1)) == 3
