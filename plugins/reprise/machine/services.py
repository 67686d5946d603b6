"""The laptop profile: Airflow and MLflow as services of this machine, started, watched and stopped by supervisord."""

import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import requests

from reprise.errors import RepriseError
from reprise.settings import ROOT, Settings, remember, remembered
from reprise.tracking.mlflow_server import Tracker
from reprise.tracking.unsent import send_left

_CONF = Path(__file__).with_name("supervisord.conf")
_BIN = Path(sys.executable).parent
_START_SECONDS = 300


def environment(settings: Settings) -> dict[str, str]:
    """The environment every service and every task runs in."""
    airflow = urlparse(settings.airflow)
    var = settings.var
    return {
        **os.environ,
        "PATH": f"{_BIN}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT / "plugins"),
        "AIRFLOW_HOME": str(ROOT),
        "AIRFLOW__API__PORT": str(airflow.port),
        "AIRFLOW__API__BASE_URL": settings.airflow,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow}/execution/",
        # Log servers listen on all interfaces at one fixed port by default.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
        "REPRISE_VAR": str(var),
        "REPRISE_SOCKET": str(_socket(settings)),
        "REPRISE_MLFLOW": settings.mlflow,
        "REPRISE_AIRFLOW": settings.airflow,
        "REPRISE_MLFLOW_PORT": str(urlparse(settings.mlflow).port),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # starts a dozen processes we have no use for
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"])),
    }


def up(settings: Settings) -> None:
    """Start what is not running and wait until all answer.

    :raises RepriseError: where a port is taken, they run at other addresses, or a service does not come up; its log's
        end is in the message.
    """
    if running(settings):
        _refuse_other_addresses(settings)
    else:
        _refuse_taken_ports(settings)
        _prepare(settings)
        remember(settings)
        env = environment(settings)
        print("services: creating Airflow's database", flush=True)
        _call([_BIN / "airflow", "db", "migrate"], env, settings.var / "logs/db-migrate.log")
        _call([_BIN / "supervisord", "-c", _CONF], env, settings.var / "logs/supervisord.log")
    _wait(settings)
    send_left(settings, Tracker(settings.mlflow), float("inf"))


def down(settings: Settings) -> None:
    """Stop all services and wait for their end.

    :raises RepriseError: where some do not end.
    """
    if not running(settings):
        print("services: none is running")
        return
    _control(settings, "shutdown")
    deadline = time.monotonic() + 60
    while _socket(settings).exists():
        if time.monotonic() > deadline:
            raise RepriseError(f"services still run after 60 s: {status(settings)}", "make down, which waits again")
        time.sleep(0.2)
    print("services: stopped")


def status(settings: Settings) -> str:
    """supervisord's own table, a line a service; empty where none runs."""
    return _control(settings, "status") if running(settings) else ""


def running(settings: Settings) -> bool:
    """Whether supervisord answers."""
    return _socket(settings).exists() and _control(settings, "pid").strip().isdigit()


def _socket(settings: Settings) -> Path:
    """Unix sockets must have short paths, so it does not lie below a deep var/."""
    import hashlib
    import tempfile

    name = hashlib.sha256(settings.stack.encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"reprise-{name}.sock"


def _control(settings: Settings, *args: str) -> str:
    done = subprocess.run(
        [_BIN / "supervisorctl", "-s", f"unix://{_socket(settings)}", *args],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def _prepare(settings: Settings) -> None:
    for folder in ("logs", "keys", "mlflow", "work"):
        (settings.var / folder).mkdir(parents=True, exist_ok=True)
    for name in ("jwt", "session"):
        key = settings.var / "keys" / name
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_urlsafe(48))


def _refuse_taken_ports(settings: Settings) -> None:
    taken = {name: urlparse(url).port or 80 for name, url in settings.servers.items() if _taken(url)}
    if taken:
        given = " ".join(f"REPRISE_{name.upper()}=http://127.0.0.1:{port + 1}" for name, port in taken.items())
        raise RepriseError(
            f"taken by another program: {' and '.join(f'port {port} for {name}' for name, port in taken.items())}",
            f"{given} make up (or `make down` in the clone that uses it)",
        )


def _taken(url: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", urlparse(url).port or 80))
        except OSError:
            return True
    return False


def _refuse_other_addresses(settings: Settings) -> None:
    there = remembered(settings.var)
    other = {name: url for name, url in settings.servers.items() if there.get(name, url) != url}
    if other:
        places = " and ".join(f"{name} at {there[name]}, not at {url}" for name, url in other.items())
        names = " ".join(f"REPRISE_{name.upper()}" for name in other)
        raise RepriseError(f"the services run: {places}", f"unset {names}, or: make down")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _call(command: list[Path | str], env: dict[str, str], log: Path) -> None:
    with log.open("ab") as out:
        done = subprocess.run([str(c) for c in command], env=env, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RepriseError(f"{' '.join(map(str, command))} exited {done.returncode}: {_tail(log)}", f"less {log}")


def _wait(settings: Settings) -> None:
    checks = {
        "mlflow": f"{settings.mlflow}/health",
        "api-server": f"{settings.airflow}/api/v2/monitor/health",
    }
    start = time.monotonic()
    waiting = dict(checks)
    while waiting:
        for name, url in list(waiting.items()):
            if _healthy(name, url):
                print(f"services: {name} answers after {time.monotonic() - start:.0f} s", flush=True)
                del waiting[name]
        if waiting and time.monotonic() - start > _START_SECONDS:
            name = next(iter(waiting))
            log = settings.var / f"logs/{name}.log"
            raise RepriseError(f"{name} does not answer after {_START_SECONDS} s: {_tail(log)}", f"less {log}")
        time.sleep(0.5)


def _healthy(name: str, url: str) -> bool:
    try:
        answer = requests.get(url, timeout=5)
    except requests.RequestException:
        return False
    if name != "api-server":
        return answer.ok
    parts = answer.json() if answer.ok else {}
    return all(
        parts.get(part, {}).get("status") == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")
    )


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"
