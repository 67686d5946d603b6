"""Checkpoints on the node and in the remote; the remote is a folder, through DVC's own file system."""

from pathlib import Path

import pytest
from dvc.fs import LocalFileSystem

from reprise.stage.checkpoints import INSIDE, Checkpoints


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
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


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


def test_a_remote_that_is_away_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    killed(on(tmp_path / "a", blocked / "checkpoints"), "1")
    assert names(tmp_path / "a/checkpoints/key") == ["1"]
    assert "the stage goes on" in caplog.text
