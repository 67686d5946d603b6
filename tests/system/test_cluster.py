"""The cluster profile: CeleryExecutor on PostgreSQL and Redis, two workers with nothing in common but remote and origin."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
import requests
import yaml
from conftest import WORDS, Run, Stack, free_port, until
from repository import commit

from reprise import git
from reprise.airflow_api import Airflow
from reprise.errors import RepriseError

_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (_POSTGRES and shutil.which("redis-server") and importlib.util.find_spec("celery")),
        reason="make test-long installs PostgreSQL, Redis and the group `cluster`",
    ),
]
_TOKEN_SECONDS = 45
_STAGE_SECONDS = 60


@dataclass
class Node:
    """A machine of the cluster: a clone with a ``var/`` and a DVC cache of its own."""

    root: Path
    env: dict[str, str]

    @contextmanager
    def service(self, name: str, *command: str) -> Iterator[None]:
        """Run a command of Airflow's on this node; its log is in the node's ``var/logs``."""
        (self.root / "var/logs").mkdir(parents=True, exist_ok=True)
        with (
            (self.root / f"var/logs/{name}.log").open("wb") as log,
            running([str(Path(sys.executable).parent / "airflow"), *command], log, self.env, self.root),
        ):
            yield

    def has(self, md5: str) -> bool:
        """Whether an object lies in this node's cache."""
        return (self.root / "var/cache/files/md5" / md5[:2] / md5[2:]).exists()


@contextmanager
def running(
    command: list[str], log: IO[bytes] | int, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[None]:
    """A process and all below it, ended with the block."""
    process = subprocess.Popen(command, env=env, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@contextmanager
def postgres() -> Iterator[str]:
    """Debian's PostgreSQL on a folder of its own; it refuses to run as root. Yields its address."""
    folder, port = Path(tempfile.mkdtemp(prefix="reprise-postgres-")), free_port()
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres")
    programs = _POSTGRES[-1]
    try:
        initdb = [*user, str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "airflow", "-N"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/")
        settings = [f"port={port}", f"unix_socket_directories={folder}", "listen_addresses=127.0.0.1", "fsync=off"]
        serve = [*user, str(programs / "postgres"), "-D", str(folder / "data")]
        with running([*serve, *(part for s in settings for part in ("-c", s))], subprocess.DEVNULL, cwd=Path("/")):
            until(lambda: _listens(port), 60, "PostgreSQL answers")
            yield f"127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _nodes(stack: Stack, tmp_path: Path, shared: dict[str, str]) -> list[Node]:
    """Clones of one origin that know each other by remote and origin only."""
    git.git(stack.root, "clone", "--quiet", str(stack.root), str(tmp_path / "author"))
    definition = tmp_path / "author" / WORDS / "dvc.yaml"
    stages = yaml.safe_load(definition.read_text())
    stages["stages"]["count"]["meta"] = {"queue": "cpu"}
    stages["stages"]["rank"]["meta"] = {"queue": "gpu", "gpus": 1}
    definition.write_text(yaml.safe_dump(stages, sort_keys=False))
    commit(tmp_path / "author", "Queues")
    git.git(tmp_path, "clone", "--quiet", "--bare", str(tmp_path / "author"), str(tmp_path / "origin.git"))
    nodes = []
    for name in ("head", "cpu", "gpu"):
        root = tmp_path / name
        git.git(tmp_path, "clone", "--quiet", str(tmp_path / "origin.git"), str(root))
        dvc = [sys.executable, "-m", "dvc", "remote", "modify", "--local", "storage", "url", str(tmp_path / "remote")]
        subprocess.run(dvc, cwd=root, check=True, capture_output=True)
        shutil.copytree(stack.root / "var/keys", root / "var/keys")
        env = {
            **stack.env,
            **shared,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(root / "plugins"),
            "AIRFLOW_HOME": str(root),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "REPRISE_VAR": str(root / "var"),
            "REPRISE_ORIGIN": str(tmp_path / "origin.git"),
        }
        nodes.append(Node(root, env))
    return nodes


@contextmanager
def cluster(stack: Stack, folder: Path) -> Iterator[tuple[Airflow, list[Node]]]:
    """PostgreSQL, Redis, a node with Airflow's services and two with a worker each: its API, and the three nodes."""
    port, redis = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as up:
        database = up.enter_context(postgres())
        up.enter_context(
            running(["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", ""], subprocess.DEVNULL)
        )
        shared = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://airflow@{database}",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://airflow@{database}",
            "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": str(_TOKEN_SECONDS),
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": url,
            "REPRISE_AIRFLOW": url,
        }
        nodes = head, cpu, gpu = _nodes(stack, folder, shared)
        migrate = [str(Path(sys.executable).parent / "airflow"), "db", "migrate"]
        subprocess.run(migrate, env=head.env, cwd=head.root, check=True, capture_output=True)
        for service in ("api-server", "scheduler", "dag-processor"):
            up.enter_context(head.service(service, service))
        for node, queues in ((cpu, "default,cpu"), (gpu, "gpu")):
            worker = ("celery", "worker", "--queues", queues, "--concurrency", "2", "--skip-serve-logs")
            up.enter_context(node.service("worker", *worker, "--celery-hostname", f"{node.root.name}@%h"))
        until(lambda: _ready(url), 240, "the cluster's DAG is there")
        yield Airflow(url), nodes


def test_two_workers_make_the_laptops_bytes(stack: Stack, first: Run, tmp_path: Path) -> None:
    """And a stage that runs for longer than its token lives keeps its task."""
    conf = {"inbox": str(stack.root / "var/inbox/texts"), "revision": "HEAD", "rank.seconds": _STAGE_SECONDS}
    with cluster(stack, tmp_path) as (airflow, (head, cpu, gpu)):
        airflow.trigger("words", "cluster", conf)
        until(lambda: airflow.run("words", "cluster")["state"] in ("success", "failed"), 400, "the run ends")
        assert airflow.run("words", "cluster")["state"] == "success", airflow.log("words", "cluster", "open", 1)[-20:]
        made = {name: airflow.xcom("words", "cluster", name) for name in first.stages}
        tasks = {task["task_id"]: task for task in airflow.tasks("words", "cluster")}
        recorded = airflow.xcom("words", "cluster", "record")
    assert {name: done["verdict"] for name, done in made.items()} == dict.fromkeys(made, "ran")
    assert outputs(made) == outputs(first.stages)
    assert {name: tasks[name]["queue"] for name in ("take", "count", "rank")} == {
        "take": "default",
        "count": "cpu",
        "rank": "gpu",
    }
    assert {task["try_number"] for task in tasks.values()} == {1}
    hashes = outputs(made)
    texts = hashes["data/texts"]
    assert cpu.has(texts)
    assert not gpu.has(texts)  # it needs the counts alone
    assert gpu.has(hashes["data/counts.json"])
    assert not head.has(hashes["data/counts.json"])
    assert git.resolve(tmp_path / "origin.git", recorded["ref"]) == recorded["commit"]


def outputs(stages: dict[str, dict[str, object]]) -> dict[str, str]:
    """Path → md5 of all that the stages wrote."""
    return {out["path"]: out["md5"] for done in stages.values() for out in done["entry"]["outs"]}  # type: ignore[index]


def _ready(url: str) -> bool:
    try:
        return Airflow(url).shape("words") is not None
    except (requests.RequestException, RepriseError):  # it is only starting
        return False
