"""A remote without room, then another remote: no task is green, and no record made, whose bytes it does not hold."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, Stack
from test_faults import tasks


@pytest.fixture
def other_remote(stack: Stack, first: Run) -> Iterator[Path]:
    """An empty remote of four pages in the place of the stack's own, until it is unmounted."""
    remote, kept = stack.root / "var/remote", stack.root / "var/remote.kept"
    remote.rename(kept)
    remote.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(remote)]
    mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        if not mounted:
            pytest.skip("only root may mount a small file system")
        yield remote
    finally:
        subprocess.run(["umount", str(remote)], capture_output=True, check=False)
        subprocess.run(["rm", "-r", str(remote)], check=True)
        kept.rename(remote)


def absent(remote: Path, stages: dict[str, Any]) -> list[str]:
    """Outputs that are not in a remote."""
    md5s = {out["path"]: out["md5"] for done in stages.values() for out in done["entry"]["outs"]}
    return [path for path, md5 in md5s.items() if not (remote / "files/md5" / md5[:2] / md5[2:]).exists()]


def test_what_a_full_remote_refused_is_pushed_once_there_is_room(stack: Stack, other_remote: Path) -> None:
    run_id = stack.start("full", {})
    assert stack.wait_for_end("words", run_id) == "failed", "every stage is known here, and none of it is there"
    found = tasks(stack, run_id)
    assert found["record"][0] == "upstream_failed"
    refused = [name for name, (state, _) in found.items() if state == "failed"]
    assert refused
    assert found[refused[0]][1] > 1, "another try may find room"
    subprocess.run(["umount", str(other_remote)], check=True)
    body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
    stack.airflow.call("POST", "dags/words/clearTaskInstances", json=body)
    assert stack.wait_for_end("words", run_id) == "success"
    stages = {name: stack.airflow.xcom("words", run_id, name) for name in ("take", "count", "rank")}
    assert {done["verdict"] for done in stages.values()} == {"cached"}, "no container, it is pushed from the cache"
    assert absent(other_remote, stages) == []
