"""One real installation for all system tests: a clone with its own Airflow, MLflow, DVC cache and remote."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import page  # noqa: F401 - a fixture of all tests here
from hostile import git_config
from letters import Letters
from repository import commit

from reprise import git
from reprise.airflow_api import Airflow

ROOT = Path(__file__).resolve().parents[2]
WORDS = "pipelines/words"


@dataclass
class Stack:
    """A clone of this repository, with text pipelines added as a user would add one, and its services."""

    root: Path
    env: dict[str, str]

    def cli(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``python -m reprise``."""
        done = subprocess.run(
            [sys.executable, "-m", "reprise", *args],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"reprise {' '.join(args)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def run(self, *args: str, inbox: str = "texts", pipeline: str = WORDS) -> "Run":
        """Trigger a run, follow it to its good end and read what it left."""
        place = inbox if "://" in inbox else str(self.root / "var/inbox" / inbox)
        output = self.cli("run", "--pipeline", pipeline, "--inbox", place, *args).stdout
        return self.read(pipeline.rsplit("/", 1)[-1], output)

    def read(self, dag_id: str, output: str) -> "Run":
        """The run that the command's output tells of."""
        run_id = next(line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("run "))
        tasks = {t["task_id"]: t for t in self.airflow.tasks(dag_id, run_id)}
        stages = {t: self.airflow.xcom(dag_id, run_id, t) for t in tasks if t not in ("open", "record", "gate")}
        return Run(run_id, output, stages, self.airflow.xcom(dag_id, run_id, "record"), tasks)

    @property
    def airflow(self) -> Airflow:
        """The REST API."""
        return Airflow(self.env["REPRISE_AIRFLOW"])

    def wait_for_end(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """How a run ended: success or failed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = self.airflow.run(dag_id, run_id)["state"]
            if state in ("success", "failed"):
                return str(state)
            time.sleep(0.5)
        raise AssertionError(f"{run_id} still {state} after {seconds} s")

    def start(self, run_id: str, overrides: dict[str, object]) -> str:
        """Trigger a run of the text pipeline without following it; returns its id."""
        conf = {**overrides, "inbox": str(self.root / "var/inbox/texts"), "revision": git.resolve(self.root, "HEAD")}
        self.airflow.trigger("words", run_id, conf)
        return run_id

    def wait_for_container(self, run_id: str, seconds: float = 120) -> str:
        """The container of a run's ``rank`` stage, once it runs."""
        deadline = time.monotonic() + seconds
        wanted = [
            f"label=reprise.{key}={value}"
            for key, value in (("run", run_id), ("task", "rank"), ("stack", self.root / "var"))
        ]
        while time.monotonic() < deadline:
            found = docker("ps", "--quiet", *(part for label in wanted for part in ("--filter", label))).split()
            if found:
                return found[0]
            time.sleep(0.2)
        raise AssertionError(f"no container of {run_id} after {seconds} s")

    def containers(self) -> list[str]:
        """This stack's containers, running or not."""
        label = f"label=reprise.stack={self.root / 'var'}"
        return docker("ps", "--all", "--quiet", "--filter", label).split()


@dataclass
class Run:
    """A run that ended well."""

    run_id: str
    output: str
    stages: dict[str, dict[str, Any]]
    record: dict[str, Any]
    tasks: dict[str, dict[str, Any]]

    @property
    def verdicts(self) -> dict[str, str]:
        """Stage → cached or ran."""
        return {name: done["verdict"] for name, done in self.stages.items()}


def docker(*args: str) -> str:
    """Output of a docker command."""
    return subprocess.run(["docker", *args], capture_output=True, text=True, check=True).stdout


def until(true: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for a condition; returns the seconds it took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, f"{what}: not after {seconds} s"
        time.sleep(0.2)
    return time.monotonic() - start


@pytest.fixture(scope="session")
def letters() -> Iterator[Letters]:
    """Where the mails of every DAG go that names nobody."""
    server = Letters(free_port())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, letters: Letters) -> Iterator[Stack]:
    """A running stack; its services are stopped at the end, its logs stay in pytest's folder."""
    root = tmp_path_factory.mktemp("stack") / "clone"
    _clone(root)
    ports = [free_port() for _ in range(3)]
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("REPRISE_", "AIRFLOW"))},
        "PYTHONPATH": str(root / "plugins"),
        "REPRISE_AIRFLOW": f"http://127.0.0.1:{ports[0]}",
        "REPRISE_MLFLOW": f"http://127.0.0.1:{ports[1]}",
        "REPRISE_CONNECTION": str(root / "var/connection.json"),  # read where an inbox is a URL
        "REPRISE_TENSORBOARD": f"http://127.0.0.1:{ports[2]}",
        "REPRISE_MAIL_TO": "team@example.org",
        "GIT_CONFIG_GLOBAL": str(git_config(root.parent / "home")),  # nothing of it may reach a run
        "AIRFLOW_CONN_SMTP_DEFAULT": letters.connection,
        "COLUMNS": "160",
    }
    stack = Stack(root, env)
    try:
        stack.cli("up")
        yield stack
    finally:
        stack.cli("down", check=False)


@pytest.fixture(scope="session")
def first(stack: Stack) -> Run:
    """The first run of the text pipeline, for all tests that look at one: after it, what it made is known."""
    return stack.run()


def _clone(root: Path) -> None:
    """Clone what is in the working tree, so that a change is tested before it is committed."""
    git.git(ROOT, "clone", "--quiet", str(ROOT), str(root))
    for name in git.git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        else:
            (root / name).unlink(missing_ok=True)
    (root / ".venv").symlink_to(ROOT / ".venv")
    for name in ("words", "days", "hostile"):
        shutil.copytree(ROOT / "tests/pipelines" / name, root / "pipelines" / name)
        (root / f"dags/{name}.py").write_text(
            f'"""Texts."""\n\nfrom reprise.dag.render import pipeline_dag\n\ndag = pipeline_dag("pipelines/{name}", schedule="0 0 * * 1")\n'
        )
    (root / "dags/undated.py").write_text(
        '"""By hand only."""\n\nfrom airflow.sdk import DAG\n\ndag = DAG("undated", schedule=None)\n'
    )
    for name in git.git(root, "ls-files").splitlines():
        if (root / name).exists():
            os.utime(root / name, (0, 0))  # older than git's index, or git looks into it again, through Ann's filter
    commit(root, "The text pipelines")
    for date, name, text in (("2026-11-01", "a", "The cat, the dog."), ("2026-11-08", "b", "A dog!")):
        folder = root / "var/inbox/texts" / date / name
        folder.mkdir(parents=True)
        (folder / "text.txt").write_text(text)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
