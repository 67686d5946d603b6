"""Following a stage: its lines, pictures and load, into MLflow's outbox and TensorBoard's files."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tracked import Server, line, stage_box
from tracked import settings as settings  # a fixture

from reprise import untrusted
from reprise.settings import Settings
from reprise.tracking import live as live_module
from reprise.tracking import usage
from reprise.tracking.live import Live
from reprise.tracking.tensorboard import Board


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
    (folder / "a-broken.png").write_bytes(b"no picture")  # before the others
    (folder / "z-secret.png").symlink_to(__file__)
    live.stop()
    box.send_lines(server)
    steps = [said[3] for said in server.said if said[:2] == ("metrics", "id-rank")]
    assert {1, 2} <= {step for batch in steps for step in batch}
    paths = {said[2] for said in server.said if said[0] == "artifact"}
    assert "live/batch.png" in paths and "live/z-secret.png" not in paths
    assert any(path.startswith("tensorboard/board/events") for path in paths)
    shown = read_events(board)
    number, nan = shown.Scalars("loss")
    assert (number.step, number.wall_time, number.value) == (1, 100.25, 0.5)
    assert math.isnan(nan.value)
    assert "system/cpu_percent" not in shown.Tags()["scalars"]
    [picture] = shown.Images("batch")
    assert (picture.width, picture.height, picture.step) == (3, 2, 2)


def follow(settings: Settings, folder: Path, board: Path) -> list[tuple[str, bytes]]:
    """What MLflow has of a live folder in the end: (path, content)."""
    server, box = Server(), stage_box(settings)
    live = Live(folder, box, server, Board(board), NoContainer(), None)
    live.start()
    live.stop()
    box.send_lines(server)
    return [(said[2], said[3]) for said in server.said if said[0] == "artifact"]


def test_pictures_that_are_none_or_too_large_are_left_out_and_named(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "live"
    folder.mkdir()
    Image.new("L", (3, 2)).save(folder / "good.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "huge.png").touch()
    os.truncate(folder / "huge.png", 10**12)
    Image.new("1", (10_000, 10_000)).save(folder / "bomb.png")  # a few kB that stand for 300 MB
    (folder / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    (folder / "a\nb.png").touch()
    (folder / os.fsdecode(b"\xff.png")).touch()
    (folder / "link").symlink_to(tmp_path)
    kept = {path for path, _ in follow(settings, folder, tmp_path / "board")}
    assert "live/good.png" in kept
    assert not kept & {"live/pipe.png", "live/huge.png", "live/a\nb.png"}
    for said in ("'pipe.png' is a named pipe", "'huge.png' has 1 TB", "10000 × 10000 pixels", "'a\\nb.png'", "xff"):
        assert said.replace("xff", "udcff") in caplog.text
    assert "cannot identify image file" in caplog.text  # the script, which is not run
    assert read_events(tmp_path / "board").Tags()["images"] == ["good"]


def test_what_mlflow_gets_of_a_picture_is_no_second_name_of_it(settings: Settings, tmp_path: Path) -> None:
    """Its container may still write to it, or to what takes its place."""
    folder = tmp_path / "live"
    folder.mkdir()
    Image.new("L", (3, 2)).save(folder / "good.png")
    box = stage_box(settings)
    live = Live(folder, box, Server(), Board(tmp_path / "board"), NoContainer(), None)
    live.start()
    live.stop()
    [kept] = box.folder.rglob("good.png")
    assert kept.stat().st_ino != (folder / "good.png").stat().st_ino
    assert kept.stat().st_nlink == 1


def test_a_live_folder_of_too_many_files_costs_a_warning(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_module, "_MOST_PICTURES", 3)
    folder = tmp_path / "live"
    folder.mkdir()
    for number in range(5):
        Image.new("L", (3, 2)).save(folder / f"{number}.png")
    kept = [path for path, _ in follow(settings, folder, tmp_path / "board") if path.startswith("live/")]
    assert kept == ["live/0.png", "live/1.png", "live/2.png"]
    assert "'3.png' and what comes after the first 3 pictures" in caplog.text
    monkeypatch.setattr(live_module, "_LOOKED_AT", untrusted.Limits(entries=4, depth=1))
    (folder / "metrics.jsonl").write_text(line())
    follow(settings, folder, tmp_path / "board")
    assert "more than 4 files and folders" in caplog.text
    assert read_events(tmp_path / "board").Tags()["scalars"] == ["loss"]


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


def test_gpus_are_read_from_nvidia_smi() -> None:
    said = "Warning: infoROM is corrupted\n0, 97, 40536\n1, [N/A], 3\n"
    assert usage.parse_gpus(said) == {
        "system/gpu_0_percent": 97.0,
        "system/gpu_0_memory_mib": 40536.0,
        "system/gpu_1_memory_mib": 3.0,
    }


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
