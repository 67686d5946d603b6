"""Following a stage: its lines become points, for MLflow, TensorBoard and W&B; nothing is lost, nothing is sent twice."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from reprise.errors import RepriseError, ServerAway
from reprise.settings import Settings
from reprise.tracking import usage, wandb_run
from reprise.tracking.live import Live
from reprise.tracking.mlflow_server import Tracker, bare_heading
from reprise.tracking.outbox import Outbox
from reprise.tracking.points import BATCH, Point, Tail, read_points, write_points
from reprise.tracking.tensorboard import Board
from reprise.tracking.unsent import hand_on, left, send_left, take_on


def line(step: Any = 1, name: Any = "loss", value: Any = 0.5, **more: Any) -> str:
    return json.dumps({"step": step, "name": name, "value": value, **more}) + "\n"


def test_lines_become_points_with_their_own_time(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(time=1.5) + line(2, "val/accuracy", "0.75") + line(3)[:-2])
    tail = Tail(file)
    before = int(time.time() * 1000)
    [[first, second]] = tail.batches()
    assert first == Point("loss", 0.5, 1, 1500)
    assert second[:3] == ("val/accuracy", 0.75, 2) and before <= second.time <= time.time() * 1000
    with file.open("a") as lines:  # the rest of the third
        lines.write(line(3)[-2:])
    assert [p.step for batch in tail.batches() for p in batch] == [3]
    assert list(tail.batches()) == []


@pytest.mark.parametrize(
    "bad",
    [
        "no json\n",
        "7\n",
        "null\n",
        line(value="much"),
        line(step=None),
        line(step=math.inf),
        line(step=2**63),
        line(name="a//b"),
        line(name="../b"),
        line(name="50 %"),
        line(name=""),
        line(time="noon"),
        '{"step": 1, "name": "loss"}\n',
        "\udcff\n",
        "x" * 200_000 + "\n",
    ],
)
def test_what_is_no_point_is_passed_over_with_a_warning(
    tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + bad + line(2), errors="surrogateescape")
    assert [p.step for batch in Tail(file).batches() for p in batch] == [1, 2]
    assert "passed over" in caplog.text


def test_nan_and_infinity_are_values(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(value=math.nan) + line(value=-math.inf))
    [points] = Tail(file).batches()
    kept = tmp_path / "points.jsonl"
    write_points(kept, points)
    [([nan, infinite], _)] = read_points(kept)
    assert math.isnan(nan.value) and infinite.value == -math.inf


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + line(2))
    tail = Tail(file)
    list(tail.batches())
    file.write_text(line(7))
    assert [p.step for batch in tail.batches() for p in batch] == [7]


def test_many_lines_come_in_batches(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(line(i) for i in range(2 * BATCH + 1)))
    assert [len(batch) for batch in Tail(file).batches()] == [BATCH, BATCH, 1]


def test_points_are_read_on_from_any_batch_and_half_a_line_is_left(tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    write_points(file, [Point("a", float(i), i, i) for i in range(BATCH + 5)])
    with file.open("a") as lines:
        lines.write('["a", 1')
    batches = list(read_points(file))
    assert [len(points) for points, _ in batches] == [BATCH, 5]
    assert list(read_points(file, batches[0][1])) == batches[1:]
    write_points(file, [Point("b", 0.0, 0, 0), Point("c", 0.0, 0, 0)])  # after a full disk, say
    assert [p.name for points, _ in read_points(file, batches[1][1]) for p in points] == ["c"]


class Server(Tracker):
    """MLflow as far as an outbox knows it; it can be away, and it can die between taking a batch and saying so."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")
        self.away = False
        self.said: list[tuple[Any, ...]] = []
        self.dies_after = -1

    def _answer(self, *said: Any) -> Any:
        if self.away:
            raise ServerAway("away", "wait")
        self.said.append(said)
        self.dies_after -= 1
        if self.dies_after == 0:
            self.away = True
            raise ServerAway("died", "wait")
        return f"id-{said[1]}"

    def dag_run(self, heading: Any) -> str:
        return str(self._answer("dag_run", heading["name"]))

    def known(self, heading: Any) -> Any:
        self._answer("known", heading["name"])
        return None

    def stage_run(self, parent: str, name: str, tags: Any, started: int) -> str:
        return str(self._answer("stage_run", name))

    def metrics(self, run: str, points: Any, prefix: str = "") -> None:
        if any(p.name == "refused" for p in points):
            raise RepriseError("refused", "no way")
        self._answer("metrics", run, prefix, [p.step for p in points])

    def artifact(self, run: str, file: Path, path: str) -> None:
        self._answer("artifact", run, path, file.read_bytes())

    def datasets(self, run: str, hashes: Any) -> None:
        self._answer("datasets", run)

    def end(self, run: str, status: str, ended: int) -> None:
        self._answer("end", run, status)

    def finish(self, run: str, status: str, ended: int) -> None:
        self._answer("finish", run, status)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var=tmp_path / "var")


def waiting(settings: Settings) -> int:
    return len(list(left(settings)))


def stage_box(settings: Settings) -> Outbox:
    return Outbox.create(settings, bare_heading("words", "words", "run-1"), "rank", {"try": "1"})


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


def test_a_failed_run_that_mlflow_never_knew_is_not_made_up(settings: Settings) -> None:
    server = Server()
    box = Outbox.create(settings, bare_heading("words", "words", "run-1"), known_only=True)
    box.end("FAILED")
    box.try_send(server)
    assert server.said == [("known", "run-1")]
    assert not list((settings.var / "unsent").glob("*"))


class NoContainer(usage.Usage):
    def __init__(self) -> None:
        pass

    def sample(self) -> dict[str, float]:
        return {"system/cpu_percent": 50.0}


def test_a_stage_is_followed_into_mlflow_and_tensorboard(settings: Settings, tmp_path: Path) -> None:
    folder, board = tmp_path / "live", tmp_path / "board"
    folder.mkdir()
    server, box = Server(), stage_box(settings)
    live = Live(folder, box, server, Board(board), NoContainer(), None)
    live.start()
    (folder / "metrics.jsonl").write_text(line(1, value=0.5, time=100.25) + line(2, value=math.nan))
    Image.new("RGB", (3, 2), (255, 0, 0)).save(folder / "batch.png")
    (folder / "broken.png").write_bytes(b"no picture")
    live.stop()
    box.send_lines(server)
    steps = [said[3] for said in server.said if said[:2] == ("metrics", "id-rank")]
    assert {1, 2} <= {step for batch in steps for step in batch}
    paths = {said[2] for said in server.said if said[0] == "artifact"}
    assert {"live/batch.png"} < paths and any(path.startswith("tensorboard/board/events") for path in paths)
    shown = read_events(board)
    number, nan = shown.Scalars("loss")
    assert (number.step, number.wall_time, number.value) == (1, 100.25, 0.5)
    assert math.isnan(nan.value)
    assert "system/cpu_percent" not in shown.Tags()["scalars"]
    [picture] = shown.Images("batch")
    assert (picture.width, picture.height, picture.step) == (3, 2, 2)


def read_events(folder: Path) -> Any:
    """TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def test_a_stage_that_says_nothing_leaves_no_event_files(settings: Settings, tmp_path: Path) -> None:
    live = Live(tmp_path, stage_box(settings), Server(), Board(tmp_path / "board"), NoContainer(), None)
    live.start()
    live.stop()
    assert not (tmp_path / "board").exists()


class OneContainer:
    """As much of Docker as is asked: a container whose processor time grows by as much as the clock."""

    def containers(self, **_: Any) -> list[dict[str, str]]:
        return [{"Id": "c"}]

    def stats(self, *_: Any, **__: Any) -> dict[str, Any]:
        used = int(time.monotonic() * 1e9)
        memory = {"usage": 3 * 1024**2, "stats": {"inactive_file": 1024**2}}
        return {"cpu_stats": {"cpu_usage": {"total_usage": used}}, "memory_stats": memory}


def test_load_is_measured_between_two_samples() -> None:
    load = usage.Usage(OneContainer(), {}, gpus=False)  # type: ignore[arg-type]
    assert load.sample() == {"system/memory_mib": 2.0}
    time.sleep(0.05)
    assert load.sample()["system/cpu_percent"] == pytest.approx(100, rel=0.2)


def test_what_is_not_mlflow_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    page = requests.Response()
    page.status_code, page._content = 200, b"<html>please log in</html>"
    monkeypatch.setattr(requests, "request", lambda *_, **__: page)
    with pytest.raises(ServerAway, match="is not MLflow"):
        Tracker("http://127.0.0.1:9").dag_run(bare_heading("a", "a", "b"))


def test_gpus_are_read_from_nvidia_smi() -> None:
    said = "0, 97, 40536\n1, [N/A], 3\n"
    assert usage.parse_gpus(said) == {
        "system/gpu_0_percent": 97.0,
        "system/gpu_0_memory_mib": 40536.0,
        "system/gpu_1_memory_mib": 3.0,
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"WANDB_MODE": "offline"}, True),
        ({"WANDB_API_KEY": "k"}, True),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, False),
    ],
)
def test_wandb_is_asked_for_by_key_or_mode(environment: dict[str, str], expected: bool) -> None:
    assert wandb_run.wanted(environment) is expected


TAGS = {"dag": "words", "run_id": "run-1", "revision": "abc"}


def test_wandb_offline_holds_points_and_config(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = wandb_run.WandbRun(settings, TAGS, "rank", 1, {"rank.top": 10})
    points = tmp_path / "points.jsonl"
    write_points(points, [Point("loss", 0.5, 1, 1), Point("rate", 0.1, 1, 1)])
    run.start(points)
    write_points(points, [Point("loss", 0.25, 2, 2)])
    assert run.finish() == run.id
    [file] = (settings.var / "wandb").rglob("*.wandb")
    assert run.id in file.name
    records = read_wandb(file)
    rows = [
        {item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json) for item in r.history.item}
        for r in records
        if r.WhichOneof("record_type") == "history"
    ]
    shown = [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]
    assert shown == [{"step": 1, "loss": 0.5, "rate": 0.1}, {"step": 2, "loss": 0.25}]
    [started] = [r.run for r in records if r.WhichOneof("record_type") == "run"]
    assert (started.run_id, started.run_group, started.job_type) == (run.id, "run-1", "rank")
    assert {u.key: u.value_json for u in started.config.update}["rank.top"] == "10"


def read_wandb(file: Path) -> list[Any]:
    """The records of an offline run: LevelDB's log format (32 KiB blocks, headers of 7 bytes) behind a header of 7."""
    from wandb.proto import wandb_internal_pb2

    content, records, parts = file.read_bytes(), [], b""
    place = 7
    while place < len(content):
        rest = 32768 - place % 32768
        if rest < 7:
            place += rest
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


def test_a_failing_wandb_is_a_warning(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    run = wandb_run.WandbRun(settings, TAGS, None, 1, {})
    run.start(tmp_path / "points.jsonl")
    assert run.finish() is None
    assert "the run goes on without it" in caplog.text


def test_each_try_and_stage_is_a_wandb_run_of_its_own(settings: Settings) -> None:
    runs = [wandb_run.WandbRun(settings, TAGS, stage, attempt, {}).id for stage in (None, "rank") for attempt in (1, 2)]
    assert len(set(runs)) == 4
    assert wandb_run.WandbRun(settings, TAGS, "rank", 2, {}).id == runs[3]


def test_tensorboard_without_event_files_says_so(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reprise", "tensorboard"],
        env={"PYTHONPATH": "plugins", "REPRISE_VAR": str(settings.var), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no event files" in done.stdout and "next: make run" in done.stdout
