"""What is wrong is said before anything is started: the thing, the reason, the next command."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WORDS, Stack

from reprise import git


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
    assert "rank.top cannot be 0 (allowed: integer, 1 to 1000)" in said
    assert 'next: make run PARAMS="rank.top=1"' in said


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


def test_less_disk_than_needed(stack: Stack, inbox: tuple[str, str], tmp_path: Path) -> None:
    """On a file system of 64 MB, in a mount namespace of its own."""
    command = [sys.executable, "-m", "reprise", "run", "--pipeline", WORDS, *inbox]
    script = f'mount -t tmpfs -o size=64m tmpfs "{tmp_path}" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command],
        cwd=stack.root,
        env={**stack.env, "REPRISE_VAR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert f"only 0.1 GB are free below {tmp_path}, a run needs 2.1" in " ".join(done.stdout.split())


@pytest.fixture
def other(stack: Stack) -> str:
    """A revision that has a stage more than what is checked out, on no branch: Airflow never sees its dvc.yaml."""
    more = (stack.root / WORDS / "dvc.yaml").read_text() + "  shout:\n    cmd: 'true > loud'\n    outs: [loud]\n"
    return git.commit_files(stack.root, git.resolve(stack.root, "HEAD"), {f"{WORDS}/dvc.yaml": more.encode()}, "More")


def test_revision_with_other_stages(stack: Stack, inbox: tuple[str, str], other: str) -> None:
    wanted = f"revision {other[:10]} has other stages or edges than the DAG (shout)"
    assert wanted in refused(stack, *inbox, "--revision", other)
    stack.airflow.trigger("words", "other", {"revision": other, inbox[0].strip("-"): inbox[1]})
    assert stack.wait_for_end("words", "other") == "failed"
    assert wanted in "\n".join(stack.airflow.log("words", "other", "open", 1))


def test_taken_port(stack: Stack, tmp_path: Path) -> None:
    other = Stack(stack.root, {**stack.env, "REPRISE_VAR": str(tmp_path)})
    done = other.cli("up", check=False)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    for name in ("AIRFLOW", "MLFLOW"):
        address = stack.env[f"REPRISE_{name}"]
        assert f"port {address.rsplit(':', 1)[1]} for {name.lower()}" in said
    assert "taken by another program" in said and "next: REPRISE_AIRFLOW=" in said


def test_unknown_key_in_a_trigger_is_refused_by_open(stack: Stack) -> None:
    """Airflow itself accepts any key silently."""
    stack.airflow.trigger("words", "typo", {"rank.tpo": 3, "inbox": str(stack.root / "var/inbox/texts")})
    assert stack.wait_for_end("words", "typo") == "failed"
    log = "\n".join(stack.airflow.log("words", "typo", "open", 1))
    assert "unknown parameter 'rank.tpo'" in log
    assert stack.containers() == []
