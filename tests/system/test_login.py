"""Our pages ask Airflow's login: with passwords switched on nobody else sees a run."""

import json
import subprocess
import sys

from conftest import Run, Stack

# An API server with passwords, asked in its own process: the stack's runs without, on the same database.
_ASK = """
import json, sys
from pathlib import Path
from airflow.api_fastapi.app import create_app
from airflow.configuration import conf
from fastapi.testclient import TestClient

paths = json.loads(sys.argv[1])
with TestClient(create_app(apps="core")) as client:
    anonymous = [client.get(path).status_code for path in paths]
    client.cookies.set("_token", "forged.token.here")
    forged = [client.get(path).status_code for path in paths]
    client.cookies.clear()
    password = json.loads(Path(conf.get("core", "simple_auth_manager_passwords_file")).read_text())["viewer"]
    token = client.post("/auth/token", json={"username": "viewer", "password": password}).json()["access_token"]
    client.cookies.set("_token", token)  # as a browser has it after the login page, in a frame too
    known = [client.get(path) for path in paths]
print("answers", json.dumps([anonymous, forged, [a.status_code for a in known], [a.text for a in known]]))
"""


def test_only_who_is_logged_in_sees_a_run(stack: Stack, first: Run) -> None:
    page = f"/reprise/runs/words/{first.run_id}"
    paths = [page, f"{page}/record", f"{page}/artifacts/report", f"/reprise/mlflow/words/{first.run_id}"]
    env = {
        **stack.env,
        "AIRFLOW_HOME": str(stack.root),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "viewer:viewer",
    }
    command = [sys.executable, "-c", _ASK, json.dumps(paths)]
    done = subprocess.run(command, cwd=stack.root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = next(line for line in done.stdout.splitlines() if line.startswith("answers "))
    anonymous, forged, known, texts = json.loads(answer.removeprefix("answers "))
    assert anonymous == [401] * 4
    assert set(forged) <= {401, 403}
    assert known == [200] * 4
    assert first.run_id in texts[0]
    assert first.record["commit"] in texts[1]
    assert "Most frequent words" in texts[2]


def test_no_page_of_the_interface_answers_without_a_login(stack: Stack) -> None:
    """FastAPI's own pages would; nor is anything else served."""
    for path in (
        "docs",
        "openapi.json",
        "redoc",
        "runs/words/x/artifacts/..%2f..%2fparams.yaml",
    ):
        answer = stack.airflow.session.get(f"{stack.env['REPRISE_AIRFLOW']}/reprise/{path}", timeout=30)
        assert answer.status_code == 404, path
