"""What is wrong is said before anything is started: the thing, the reason, the next command."""

from pathlib import Path

import pytest
from conftest import WORDS, Stack


def refused(stack: Stack, *args: str) -> str:
    """What ``run`` says; it must fail within its checks."""
    done = stack.cli("run", "--pipeline", WORDS, *args, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "next:" in done.stdout
    assert "run words-" not in done.stdout
    return " ".join(done.stdout.split())


@pytest.fixture
def inbox(stack: Stack) -> tuple[str, str]:
    return "--inbox", str(stack.root / "var/inbox/texts")


def test_unknown_parameter_names_its_neighbours(stack: Stack, inbox: tuple[str, str]) -> None:
    assert "unknown parameter 'rank.tpo' next: use one of rank.top" in refused(stack, *inbox, "--params", "rank.tpo=3")


def test_value_out_of_range_names_the_range(stack: Stack, inbox: tuple[str, str]) -> None:
    said = refused(stack, *inbox, "--params", "rank.top=0")
    assert "rank.top: 0 is less than the minimum of 1 (allowed: 1 to 1000)" in said


def test_revision_that_does_not_exist(stack: Stack, inbox: tuple[str, str]) -> None:
    assert "revision 'nowhere' does not exist" in refused(stack, *inbox, "--revision", "nowhere")


def test_missing_and_empty_inbox(stack: Stack, tmp_path: Path) -> None:
    assert "does not exist" in refused(stack, "--inbox", str(tmp_path / "none"))
    assert "holds no files" in refused(stack, "--inbox", str(tmp_path))


def test_uncommitted_changes_are_named(stack: Stack, inbox: tuple[str, str]) -> None:
    changed = stack.root / WORDS / "new.py"
    changed.write_text("print()\n")
    try:
        assert f"uncommitted changes would not be in the run: {WORDS}/new.py" in refused(stack, *inbox)
    finally:
        changed.unlink()


def test_docker_not_reachable(stack: Stack, inbox: tuple[str, str]) -> None:
    away = Stack(stack.root, {**stack.env, "DOCKER_HOST": "unix:///nonexistent.sock"})
    assert "Docker" in refused(away, *inbox)


def test_remote_that_cannot_be_written(stack: Stack, inbox: tuple[str, str]) -> None:
    local = stack.root / ".dvc/config.local"
    local.write_text("['remote \"storage\"']\n    url = /dev/null/remote\n")
    try:
        assert "the DVC remote /dev/null/remote/files/md5 cannot be written" in refused(stack, *inbox)
    finally:
        local.unlink()


def test_taken_port(stack: Stack, tmp_path: Path) -> None:
    other = Stack(stack.root, {**stack.env, "REPRISE_VAR": str(tmp_path)})
    done = other.cli("up", check=False)
    assert done.returncode == 1
    assert "is taken" in done.stdout and "next:" in done.stdout


def test_unknown_key_in_a_trigger_is_refused_by_open(stack: Stack) -> None:
    """Airflow itself accepts any key silently."""
    from test_runs import _wait_for_end

    stack.airflow.trigger("words", "typo", {"rank.tpo": 3, "inbox": str(stack.root / "var/inbox/texts")})
    assert _wait_for_end(stack, "typo") == "failed"
    log = "\n".join(stack.airflow.log("words", "typo", "open", 1))
    assert "unknown parameter 'rank.tpo'" in log
    assert stack.containers() == []
