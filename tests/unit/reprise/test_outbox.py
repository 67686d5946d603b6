"""What MLflow is to be told waits on disk while it is away: nothing is lost, nothing is sent twice."""

from pathlib import Path
from typing import Any

import pytest
import requests
from tracked import Server, stage_box
from tracked import settings as settings  # a fixture

from reprise.errors import RepriseError, ServerAway
from reprise.settings import Settings
from reprise.tracking.mlflow_server import Tracker, bare_heading
from reprise.tracking.outbox import Outbox
from reprise.tracking.points import BATCH, Point
from reprise.tracking.unsent import hand_on, left, send_left, take_on


def waiting(settings: Settings) -> int:
    return len(list(left(settings)))


def test_what_a_server_missed_is_sent_when_it_is_back(settings: Settings, tmp_path: Path) -> None:
    server = Server()
    box = stage_box(settings)
    server.away = True
    assert box.open(server) is None
    box.add([Point("loss", 1.0, 0, 5)])
    (tmp_path / "dot.png").write_bytes(b"dot")
    box.keep(tmp_path / "dot.png", "live")
    with pytest.raises(ServerAway):
        box.send_lines(server)
    server.away = False
    box.add([Point("loss", 0.5, 1, 6)])
    assert box.send_lines(server) == 2
    assert box.send_lines(server) == 0
    assert server.said == [
        ("dag_run", "run-1"),
        ("stage_run", "rank"),
        ("metrics", "id-rank", "", [0, 1]),
        ("metrics", "id-run-1", "rank/", [0, 1]),
        ("artifact", "id-rank", "live/dot.png", b"dot"),
    ]


def test_a_process_that_ends_leaves_what_is_unsent_to_the_next(settings: Settings) -> None:
    server = Server()
    server.away = True
    box = stage_box(settings)
    box.add([Point("loss", 1.0, 0, 5)])
    box.note(datasets={"a": "b"})
    box.end("FINISHED")
    box.try_send(server)
    assert waiting(settings) == 0  # its own process still holds it
    box.close()
    send_left(settings, server)
    assert waiting(settings) == 1
    server.away = False
    send_left(settings, server)
    assert server.said[-1] == ("end", "id-rank", "FINISHED")
    assert not any((settings.var / "unsent").iterdir())


def test_what_is_unsent_goes_on_to_another_node(settings: Settings, tmp_path: Path) -> None:
    server = Server()
    box = stage_box(settings)
    box.add([Point("loss", float(i), i, 5) for i in range(3)])
    box.keep(Path(__file__), "live")
    box.send_lines(server)
    box.add([Point("loss", 3.0, 3, 5)])
    box.end("FINISHED")
    box.close()
    stored = tmp_path / "stored"
    assert hand_on(box.folder, lambda file: str(file.rename(stored))) == str(stored)
    assert not list((settings.var / "unsent").glob("*"))
    other = Settings(var=tmp_path / "other")
    take_on(other, box.about["heading"], stored)
    server.said.clear()
    send_left(other, server)
    assert [said for said in server.said if said[0] != "artifact"] == [
        ("metrics", "id-rank", "", [3]),
        ("metrics", "id-run-1", "rank/", [3]),
        ("end", "id-rank", "FINISHED"),
    ]


def test_a_remote_that_refuses_leaves_it_here(settings: Settings) -> None:
    def refuse(_: Path) -> str:
        raise RepriseError("no remote", "dvc push")

    box = stage_box(settings)
    box.close()
    assert hand_on(box.folder, refuse) is None
    assert waiting(settings) == 1


def test_a_killed_process_leaves_a_killed_run(settings: Settings) -> None:
    server = Server()
    box = stage_box(settings)
    box.add([Point("loss", 1.0, 0, 5)])
    with box.points.open("a") as lines:  # killed while it wrote the second
        lines.write('["loss", 0.')
    box.close()
    send_left(settings, server)
    assert ("metrics", "id-rank", "", [0]) in server.said
    assert server.said[-1] == ("end", "id-rank", "KILLED")


def test_a_record_that_was_killed_says_nothing_as_the_next_try_says_all(settings: Settings) -> None:
    box = Outbox.create(settings, bare_heading("words", "words", "run-1"))
    box.add([Point("accuracy", 1.0, 0, 5)])
    box.close()
    server = Server()
    send_left(settings, server)
    assert server.said == []


def test_sending_goes_on_at_the_batch_that_was_not_confirmed(settings: Settings) -> None:
    """The batch whose confirmation was lost goes again: MLflow keeps one of equal points."""
    server = Server()
    box = stage_box(settings)
    box.add([Point("loss", 0.0, i, i) for i in range(2 * BATCH)])
    server.dies_after = 5  # dag_run, stage_run, the first batch for both, the second for the stage's run
    with pytest.raises(ServerAway):
        box.send_lines(server)
    server.away = False
    box.send_lines(server)
    sent = [(said[1], said[3][0]) for said in server.said if said[0] == "metrics"]
    assert sent == [("id-rank", 0), ("id-run-1", 0), ("id-rank", BATCH), ("id-rank", BATCH), ("id-run-1", BATCH)]


def test_what_a_server_refuses_holds_up_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    box = stage_box(settings)
    box.add([Point("refused", 0.0, 0, 0)])
    assert box.send_lines(server) == 1
    box.add([Point("loss", 0.0, 1, 1)])
    box.send_lines(server)
    assert ("metrics", "id-rank", "", [1]) in server.said
    assert "not in MLflow: 1 points" in caplog.text


def test_a_model_that_is_refused_does_not_keep_the_run_from_ending(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, box = Server(), Outbox.create(settings, bare_heading("words", "words", "run-1"))
    (tmp_path / "net.onnx").write_bytes(b"net")
    for name in ("refused", "taken"):
        box.model(name, tmp_path / "net.onnx", "0" * 32, "")
    box.end("FINISHED")
    box.try_send(server)
    assert (box.models, box.refused) == ({"taken": "7"}, {"refused": "refused"})
    assert server.said[-1] == ("finish", "id-run-1", "FINISHED")
    assert "model refused is not registered in MLflow: refused" in caplog.text


def test_a_damaged_outbox_keeps_nobody_from_sending_the_others(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, whole = stage_box(settings), stage_box(settings)
    for box in (damaged, whole):
        box.end("FINISHED")
        box.close()
    (damaged.folder / "sent.json").write_text("")
    server = Server()
    send_left(settings, server)
    assert server.said[-1] == ("end", "id-rank", "FINISHED")
    assert damaged.folder.exists() and not whole.folder.exists()
    assert f"{damaged.folder} is damaged" in caplog.text


def test_another_runs_trouble_is_one_line_and_no_traceback(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(Server):
        def dag_run(self, heading: Any) -> str:
            raise RepriseError("MLflow refused runs/create", "open MLflow")

    for _ in range(3):
        box = stage_box(settings)
        box.end("FINISHED")
        box.close()
    with caplog.at_level("INFO"):
        send_left(settings, Refusing())
    [record] = caplog.records
    assert record.exc_info is None
    assert record.message.startswith("not in MLflow: 3 outboxes of other runs, such as ")
    assert record.message.endswith(": MLflow refused runs/create")
    assert waiting(settings) == 3


def test_a_parameter_that_is_refused_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[str] = []

    class Strict(Tracker):
        def known(self, heading: Any) -> Any:
            return {"info": {"run_id": "m"}, "data": {}}

        def _call(self, method: str, path: str, body: Any) -> dict[str, Any]:
            keys = [pair["key"] for pair in body["params"]]
            if "bad" in keys:
                raise RepriseError("bad is refused", "")
            taken.extend(keys)
            return {}

    heading = bare_heading("words", "words", "run-1")
    heading["params"] = {"bad": "1", "good": "2", "lr(max)": "3"}
    assert Strict("http://127.0.0.1:9").dag_run(heading) == "m"
    assert taken[0] == "good" and taken[1].startswith("lr_max_-")
    assert "parameter bad is not in MLflow: bad is refused" in caplog.text


def test_a_full_disk_while_it_is_handed_on_leaves_it_here(settings: Settings) -> None:
    def full(_: Path) -> str:
        raise OSError(28, "No space left on device")

    box = stage_box(settings)
    box.close()
    assert hand_on(box.folder, full) is None
    assert waiting(settings) == 1


def test_a_failed_run_that_mlflow_never_knew_is_not_made_up(settings: Settings) -> None:
    server = Server()
    box = Outbox.create(settings, bare_heading("words", "words", "run-1"), known_only=True)
    box.end("FAILED")
    box.try_send(server)
    assert server.said == [("known", "run-1")]
    assert not list((settings.var / "unsent").glob("*"))


@pytest.mark.parametrize(
    ("status", "kind"), [(400, RepriseError), (401, ServerAway), (429, ServerAway), (503, ServerAway)]
)
def test_a_wrong_login_drops_nothing(monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]) -> None:
    """What is refused is dropped, so a refusal must be one of what was sent."""
    answer = requests.Response()
    answer.status_code, answer._content = status, b"no"
    monkeypatch.setattr(requests, "request", lambda *_, **__: answer)
    with pytest.raises(RepriseError) as caught:
        Tracker("http://127.0.0.1:9").tags("run", {"a": "b"})
    assert type(caught.value) is kind


def test_the_login_is_that_of_mlflows_own_client(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def answer(*_: Any, **given: Any) -> requests.Response:
        asked.append(given)
        empty = requests.Response()
        empty.status_code, empty._content = 200, b"{}"
        return empty

    monkeypatch.setattr(requests, "request", answer)
    tracker = Tracker("http://127.0.0.1:9")
    tracker.tags("run", {})
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    tracker.tags("run", {})
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw")
    tracker.tags("run", {})
    assert "auth" not in asked[0] and "headers" not in asked[0]
    assert asked[1]["headers"] == {"Authorization": "Bearer t"}
    assert asked[2]["auth"] == ("me", "pw")


def test_what_is_not_mlflow_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    page = requests.Response()
    page.status_code, page._content = 200, b"<html>please log in</html>"
    monkeypatch.setattr(requests, "request", lambda *_, **__: page)
    with pytest.raises(ServerAway, match="is not MLflow"):
        Tracker("http://127.0.0.1:9").dag_run(bare_heading("a", "a", "b"))
