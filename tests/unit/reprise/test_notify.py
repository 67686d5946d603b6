"""Who is told what, and that a mail server that is away fails no run."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from airflow.sdk import BaseNotifier

from reprise.dag import notify
from reprise.messages import Done, Judged, Recorded
from reprise.pipeline.stages import Pipeline

PIPELINE = Pipeline("pipelines/faces", ())
RECORDED = Recorded(commit="c0ffee", ref="r", metrics={"auc": 0.9}, mlflow=None, wandb=None, models={}, decision={})
RAN = Done(verdict="ran", entry={}, seconds={}, device="")
CACHED = Done(verdict="cached", entry={}, seconds={}, device="")


class Ear(BaseNotifier):
    """Hears."""

    template_fields = ("subject",)
    heard: list[tuple[str, str]] = []  # noqa: RUF012

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.subject = "{{ news.subject }}"
        self.broken = broken

    def notify(self, context: Any) -> None:
        if self.broken:
            raise OSError("no route to host")
        self.heard.append((self.subject, context["news"]["text"]))


@pytest.fixture(autouse=True)
def _silence() -> None:
    Ear.heard.clear()


def test_one_that_fails_does_not_silence_the_others() -> None:
    ears = [Ear(broken=True), Ear()]
    for what in ("refused", "promoted"):  # the second event has templates of its own
        notify.tell(ears, {}, what, "faces", "run 1", "because")
    assert [subject for subject, _ in Ear.heard] == ["faces: refused: run 1", "faces: promoted: run 1"]
    assert Ear.heard[0][1].splitlines() == ["because", "http://127.0.0.1:8080/dags/faces/runs/run%201"]


@pytest.mark.parametrize(
    ("verdict", "told"),
    [("promoted", "promoted"), ("refused", "refused"), ("kept", "success"), ("unchanged", "success")],
)
def test_what_a_run_that_ended_well_tells(verdict: str, told: str) -> None:
    news = notify.ended(PIPELINE, RECORDED, Judged(verdict=verdict, reason="so"), ["train"])
    assert news is not None
    assert news[0] == told
    assert f"{verdict}: so" in news[1] and "commit c0ffee" in news[1] and "auc  0.9" in news[1]


def test_nothing_new_is_no_news() -> None:
    class Ti:
        dag_id, run_id = "faces", "r"

    for done, count in (({"a": CACHED}, 0), ({"a": CACHED, "b": RAN}, 1)):
        Ear.heard.clear()
        notify.tell_ended([Ear()], {"ti": Ti()}, PIPELINE, RECORDED, None, done)
        assert len(Ear.heard) == count


def test_failure_and_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    class Run:
        dag_id, run_id = "faces", "r"

    assert notify.on_failure([]) == []
    [failed] = notify.on_failure([Ear()])
    failed({"dag_run": Run(), "reason": "task_failure"})
    assert Ear.heard[0][0] == "faces: failure: r"
    monkeypatch.delenv("REPRISE_MAIL_TO", raising=False)
    assert notify.default() == []
    monkeypatch.setenv("REPRISE_MAIL_TO", "a@example.org, b@example.org")
    assert notify.default()[0].to == ["a@example.org", "b@example.org"]


def test_webhook_posts_what_chats_show() -> None:
    got: list[dict[str, str]] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        hook = notify.Webhook(f"http://127.0.0.1:{server.server_port}/hook")
        notify.tell([hook], {}, "refused", "faces", "r", "auc 0.9 against 0.95")
    assert got == [
        {
            "what": "refused",
            "text": "faces: refused: r\nauc 0.9 against 0.95\nhttp://127.0.0.1:8080/dags/faces/runs/r",
        }
    ]
