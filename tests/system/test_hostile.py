"""Stages that mean harm: nothing of the host gets into MLflow, cache, remote or record, and what is refused is named."""

import os
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import Stack

from reprise import git

HOSTILE = "pipelines/hostile"
REFUSED = {
    "link": "its output 'pipelines/hostile/out/link/data/odd' is a symbolic link",
    "folder-link": "'pipelines/hostile/out/folder-link/data/odd' is a symbolic link",
    "parent-link": "'pipelines/hostile/out/parent-link' is a symbolic link",
    "pipe": "'pipelines/hostile/out/pipe/data/odd' is a named pipe",
    "socket": "'pipelines/hostile/out/socket/data/odd' is a socket",
    "sparse": "'pipelines/hostile/out/sparse/data' claims 10 TB that it does not hold",
    "deep": "is nested more than 64 levels deep",
    "bytes": "has bytes in its name that are not UTF-8",
    "hard-link": "Invalid cross-device link",
    "device": "Operation not permitted",
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host, next to one that is good."""
    (tmp_path / "host/data").mkdir(parents=True)
    (tmp_path / "host/data/odd").touch()
    file = tmp_path / "host/secret"
    file.write_text(f"secret-{uuid4().hex}")
    return file


def with_secret(root: Path, secret: bytes) -> list[Path]:
    """Files below a folder that hold it; holes are not read."""
    found = []
    for folder, _, names in os.walk(root):
        for file in (Path(folder, name) for name in names):
            if file.is_file() and not file.is_symlink() and file.stat().st_size < 10**9 and secret in file.read_bytes():
                found.append(file)
    return found


@pytest.mark.long
def test_nothing_of_the_host_gets_out_and_what_is_refused_is_named(stack: Stack, secret: Path) -> None:
    before = secret.stat()
    given = f"attack.secret={secret}"
    good = stack.read("hostile", stack.cli("run", "--pipeline", HOSTILE, "--params", given).stdout)
    assert set(good.verdicts.values()) == {"ran"}
    assert good.record["metrics"] == {"good": 1.0}
    said = "\n".join(stack.airflow.log("hostile", good.run_id, "live", 1))
    assert "could not see the secret" in said and "COULD" not in said
    assert "'link.png' is a symbolic link" in said and "has 1 TB" in said
    assert "live line passed over" in said and "more than 10,000 files" in said
    stored = {path.name for path in (stack.root / "var/mlflow").rglob("*.png")}
    assert {"good.png"} <= stored <= {"good.png", "swapped.png", "...png", "%2e%2e%2f.png", "x" * 251 + ".png"}

    bad = stack.cli("run", "--pipeline", HOSTILE, "--params", f"{given} attack.outputs=true", check=False)
    assert bad.returncode
    run_id = next(line.split()[1].rstrip(":") for line in bad.stdout.splitlines() if line.startswith("run "))
    tasks = {task["task_id"]: task for task in stack.airflow.tasks("hostile", run_id)}
    assert tasks["live"]["state"] == "success"
    for trick, sentence in REFUSED.items():
        task = f"outputs--{trick}"
        assert (tasks[task]["state"], tasks[task]["try_number"]) == ("failed", 1)  # another try would end the same
        assert sentence in "\n".join(stack.airflow.log("hostile", run_id, task, 1)), trick

    kept = {path.name for path in (stack.root / "var/remote/checkpoints").rglob("*") if path.is_file()}
    assert kept == {"good.ckpt", "...ckpt", "%2e%2e%2f.ckpt"}
    assert with_secret(stack.root / "var", secret.read_bytes()) == []
    everything = git.git(stack.root, "log", "--all", "--patch", "--format=%H")
    assert secret.read_text() not in everything
    assert (secret.stat().st_mtime_ns, secret.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert not [path for path in (stack.root / "var/work").rglob("*") if path.name == "attack.py"]
    assert stack.containers() == []
