"""Checkpoints on the node and in the remote, a folder: by DVC's own file system, and on two nodes with all of DVC."""

import os
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from dvc.fs import LocalFileSystem
from repository import commit

from reprise import git, workspace
from reprise.pipeline import manifest
from reprise.settings import Settings
from reprise.stage import checkpoints
from reprise.stage.checkpoints import _ABANDONED_SECONDS, _ALIVE, INSIDE, Checkpoints
from reprise.workspace import Workspace


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "remote" / "checkpoints" / "key"


def on(node: Path, remote: Path, **options: float) -> Checkpoints:
    return Checkpoints(node / "checkpoints" / "key", LocalFileSystem(), str(remote), **options)


def killed(checkpoints: Checkpoints, *names: str) -> None:
    """A try that writes these files and is killed."""
    with pytest.raises(RuntimeError), checkpoints:
        for name in names:
            (checkpoints.folder / name).write_text(name)
        raise RuntimeError


def names(folder: Path) -> list[str]:
    """The checkpoints in a folder, without the file that tells the folder's age."""
    return sorted(path.name for path in folder.iterdir() if path.name != _ALIVE) if folder.is_dir() else []


def test_a_retry_on_another_node_finds_what_was_whole(tmp_path: Path, remote: Path) -> None:
    killed(on(tmp_path / "a", remote), "1", "2", "3.tmp")
    assert names(remote) == ["1", "2"]
    with on(tmp_path / "b", remote) as second:
        assert names(second.folder) == ["1", "2"]
        assert (second.folder / "2").read_text() == "2"
        assert [mount["Target"] for mount in second.mounts] == [INSIDE]
        assert second.environment == {"CHECKPOINTS": INSIDE}
        second.remove()
    assert not second.folder.exists()
    assert not remote.exists()


def test_what_the_stage_has_replaced_leaves_the_remote(tmp_path: Path, remote: Path) -> None:
    killed(on(tmp_path / "a", remote), "1", "2")
    again = on(tmp_path / "a", remote)
    (again.folder / "1").unlink()
    with pytest.raises(RuntimeError), again:
        (again.folder / "1").unlink()  # it came back from the remote
        (again.folder / "3").write_text("3")
        raise RuntimeError
    assert names(remote) == ["2", "3"]


def test_what_could_not_be_fetched_stays_in_the_remote(
    tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(on(tmp_path / "a", remote), "8", "9")
    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "get_file", lambda *_: (_ for _ in ()).throw(OSError("away")))
        killed(on(tmp_path / "b", remote), "1")
    assert names(remote) == ["1", "8", "9"]
    with on(tmp_path / "c", remote) as third:
        assert names(third.folder) == ["1", "8", "9"]  # the stage takes the last


def test_they_are_copied_while_the_stage_runs(tmp_path: Path, remote: Path) -> None:
    with on(tmp_path / "a", remote, every=0.01) as checkpoints:
        (checkpoints.folder / "1").write_text("1")
        for _ in range(1000):
            if names(remote) == ["1"]:
                break
            checkpoints._done.wait(0.01)
    assert names(remote) == ["1"]


def test_a_second_run_of_the_same_stage_keeps_out(tmp_path: Path, remote: Path) -> None:
    with on(tmp_path / "a", remote) as first, on(tmp_path / "a", remote) as second:
        assert second.mounts == []
        assert second.environment == {"CHECKPOINTS": ""}
        second.remove()
        assert first.folder.is_dir()


def aged(folder: Path, seconds: float) -> None:
    """As if everything in a folder had been written this long ago."""
    at = time.time() - seconds
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (at, at))


def test_what_was_abandoned_leaves_the_remote_but_nothing_that_runs(tmp_path: Path, remote: Path) -> None:
    old, young, running = (remote.with_name(name) for name in ("old", "young", "running"))
    for folder in (old, young, running):
        folder.mkdir(parents=True)
        (folder / "1").write_text("1")
        aged(folder, _ABANDONED_SECONDS + 60)
    (young / "2").write_text("2")  # another node has written one since
    with Checkpoints(tmp_path / "b/checkpoints/running", LocalFileSystem(), str(running)):
        killed(on(tmp_path / "a", remote), "1")
    assert [folder.exists() for folder in (old, young, running)] == [False, True, True]


def test_ages_are_by_the_remotes_clock(tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = remote.with_name("other")
    other.mkdir(parents=True)
    (other / "1").write_text("1")
    ahead = time.time() + 2 * _ABANDONED_SECONDS
    monkeypatch.setattr(time, "time", lambda: ahead)
    killed(on(tmp_path / "a", remote), "1")
    assert names(other) == ["1"]


def test_a_stage_that_runs_for_months_keeps_its_folder(
    tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + _ABANDONED_SECONDS + 60
    monkeypatch.setattr(checkpoints.time, "time", lambda: later)
    with on(tmp_path / "a", remote) as first:
        (first.folder / "1").write_text("1")
        other = Checkpoints(tmp_path / "a/checkpoints/other", LocalFileSystem(), str(remote.with_name("other")))
        killed(other, "1")
        assert names(first.folder) == ["1"]
    first._lock.close()  # type: ignore[union-attr]
    killed(other.__class__(other.folder, other.remote, other.path), "2")
    assert not first.folder.exists()


def test_a_remote_that_is_away_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    killed(on(tmp_path / "a", blocked / "checkpoints"), "1")
    assert names(tmp_path / "a/checkpoints/key") == ["1"]
    assert "the stage goes on" in caplog.text


def test_only_files_of_its_own_reach_the_remote(tmp_path: Path, remote: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    with pytest.raises(RuntimeError), on(tmp_path / "a", remote) as checkpoints:
        folder = checkpoints.folder
        (folder / "1").write_text("1")
        (folder / "link").symlink_to(secret)
        os.mkfifo(folder / "pipe")
        (folder / "sub").mkdir()
        (folder / "huge").touch()
        os.truncate(folder / "huge", 10**12)
        for odd in ("a\nb", "n" * 250, os.fsdecode(b"\xff")):
            (folder / odd).touch()
        raise RuntimeError
    assert names(remote) == ["1"]
    assert "'huge' has 1 TB, more than" in caplog.text
    assert caplog.text.count("its name is too long or no plain text") == 3


def test_never_a_byte_of_the_secret_while_checkpoints_are_exchanged_for_links(tmp_path: Path, remote: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    ours, ended = on(tmp_path / "a", remote, every=3600), threading.Event()

    def swap() -> None:
        while not ended.is_set():
            (folder / "1.tmp").symlink_to(secret)
            (folder / "1.tmp").rename(folder / "1")
            (folder / "1.tmp").write_text("1")
            (folder / "1.tmp").rename(folder / "1")

    with ours:
        folder = ours.folder
        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            copied = 0
            for _ in range(500):
                ours._copy()
                if (remote / "1").exists():
                    copied += 1
                    assert (remote / "1").read_text() == "1"
                    (remote / "1").unlink()
        finally:
            ended.set()
            swapper.join()
        assert copied


def test_what_comes_from_the_remote_is_written_through_no_link(tmp_path: Path, remote: Path) -> None:
    """An earlier try may leave a link under the name of a draft."""
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    killed(on(tmp_path / "a", remote), "1")
    again = on(tmp_path / "b", remote)
    again.folder.mkdir(parents=True)
    (again.folder / "1.tmp").symlink_to(secret)
    (again.folder / "1").symlink_to(secret)
    with again:
        assert (again.folder / "1").read_text() == "1"
        assert not (again.folder / "1").is_symlink()
    assert secret.read_text() == "of the host"


def test_abandoned_ones_are_removed_whatever_date_a_container_gave_them(
    tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "a/checkpoints/old"
    old.mkdir(parents=True)
    (old / "1").touch()
    os.utime(old, (2**33, 2**33))
    later = time.time() + 31 * 24 * 3600
    monkeypatch.setattr(checkpoints.time, "time", lambda: later)
    with on(tmp_path / "a", remote):
        assert not old.exists()


TRAIN = """
import os
from pathlib import Path

kept, rate = Path(os.environ["CHECKPOINTS"]), int(Path("data.txt").read_text())
last = max(kept.glob("step-*.txt"), default=None)
step, sum = map(int, last.read_text().split()) if last else (0, 0)
print(f"goes on after {step}")
while step < 9:
    step, sum = step + 1, sum + rate * (step + 1)
    (kept / "step.tmp").write_text(f"{step} {sum}")
    (kept / "step.tmp").rename(kept / f"step-{step}.txt")
    if step == int(os.environ.get("KILL_AT", 0)):
        (kept / "half.tmp").write_text("half a check")
        os.kill(os.getpid(), 9)
Path("model.txt").write_text(str(sum))
"""


class Node:
    """A machine with a DVC cache and a `var` of its own; origin and remote are all that two have in common."""

    def __init__(self, place: Path, name: str) -> None:
        self.place, self.folder = place, place / name

    def train(self, kill_at: int = 0, anew: str = "") -> tuple[str, Path]:
        """A try of the stage, as the stage operator makes it, with a process in the container's place.

        Returns what it printed, and the folder of its checkpoints; raises CalledProcessError where it was killed.
        """
        origin = self.place / "origin"
        (origin / ".dvc/config.local").write_text(f"[cache]\ndir = {self.folder}/cache\n")
        settings = replace(Settings(origin=str(origin)), var=self.folder / "var")
        work = Workspace.create(settings, self.folder / "work", "p", git.resolve(origin, "HEAD"))
        pipeline = manifest.read(work.path, "p")
        [stage] = pipeline.stages
        checkpoints = Checkpoints.of(settings, work, pipeline, stage, {}, anew)
        assert checkpoints
        with checkpoints:
            environment = {**os.environ, "CHECKPOINTS": str(checkpoints.folder), "KILL_AT": str(kill_at)}
            command = [sys.executable, *shlex.split(stage.cmd[0])[1:]]
            done = subprocess.run(
                command, cwd=work.folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
        work.push(stage.name, work.commit(stage.name))
        checkpoints.remove()
        return done.stdout.strip(), checkpoints.folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An origin with one long stage, and a remote."""
    origin = tmp_path / "origin"
    (origin / "p").mkdir(parents=True)
    (origin / "p/train.py").write_text(TRAIN)
    (origin / "p/data.txt").write_text("7")
    stage = "cmd: python train.py\n    deps: [train.py, data.txt]\n    outs: [model.txt]\n    meta: {checkpoints: true}"
    (origin / "p/dvc.yaml").write_text(f"stages:\n  train:\n    {stage}\n")
    (origin / ".dvc").mkdir()
    (origin / ".dvc/config").write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {tmp_path}/remote\n")
    git.git(origin, "init", "--quiet", "--initial-branch=main")
    commit(origin)
    monkeypatch.setattr(workspace, "ROOT", origin)
    return tmp_path


def test_a_training_killed_on_one_node_goes_on_on_another_whose_cache_is_empty(place: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as killed:
        Node(place, "one").train(kill_at=4)
    assert killed.value.returncode == -9
    [kept] = (place / "remote/checkpoints").iterdir()
    assert names(kept) == [f"step-{step}.txt" for step in (1, 2, 3, 4)]  # and no half one
    said, folder = Node(place, "two").train()
    assert said == "goes on after 4"
    assert (place / "two/work/p/model.txt").read_text() == str(7 * 45)
    assert folder.is_relative_to(place / "two") and not folder.exists() and not kept.exists()


def test_another_input_or_a_run_that_wants_all_anew_does_not_go_on(place: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        Node(place, "one").train(kill_at=4)
    assert Node(place, "two").train(anew="run-2")[0] == "goes on after 0"
    (place / "origin/p/data.txt").write_text("8")
    commit(place / "origin")
    assert Node(place, "two").train()[0] == "goes on after 0"
    assert (place / "two/work/p/model.txt").read_text() == str(8 * 45)
