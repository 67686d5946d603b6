"""The run's page, record and pictures, without Airflow's database: what they escape, refuse and link to."""

from collections.abc import Iterator
from typing import Any

import pytest
from airflow.api_fastapi.common.db.common import _get_session
from fastapi.testclient import TestClient
from test_runview import done, facts

from reprise.errors import ServerAway
from reprise.tracking.mlflow_server import Tracker
from reprise.ui import web
from reprise.ui.runview import Facts, Task

MLFLOW_RUN = "0123456789abcdef" * 2
RUN = "/runs/p/r"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Of somebody who may see everything."""
    allowed = {login.dependency: lambda: None for login in web._LOGIN} | {_get_session: lambda: None}
    monkeypatch.setattr(web.app, "dependency_overrides", allowed)
    monkeypatch.setattr(web.rundata, "load_before", lambda *_: None)
    yield TestClient(web.app, raise_server_exceptions=False)


def show(monkeypatch: pytest.MonkeyPatch, run: Facts) -> None:
    monkeypatch.setattr(web.rundata, "load", lambda *_: run)


def opened(*tasks: Task, **recorded: Any) -> Facts:
    run = facts({task.task_id: task for task in tasks}, {"a": done()})
    assert run.opened
    run.opened.update(mlflow=None, listing=None, inbox=None, revision="c" * 40, as_of=None)  # type: ignore[typeddict-item]
    known: Any = {"commit": "d" * 40, "ref": "refs/exps/dd/d/r", "metrics": {}, "models": {}, **recorded}
    return Facts("p", "r", "running", tasks=run.tasks, opened=run.opened, done=run.done, recorded=known)


def test_what_a_task_says_is_text(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, opened(Task("a", "failed", problem="<script>alert(1)</script>")))
    page = client.get(RUN)
    assert page.status_code == 200
    assert "&lt;script&gt;alert(1)" in page.text and "<script>alert" not in page.text
    assert "script-src 'nonce-" in page.headers["Content-Security-Policy"]


def test_a_failed_stage_says_why_before_anything_is_opened(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "stage a failed with exit code 1; last lines:\nread 3\nValueError: no faces"
    show(monkeypatch, opened(Task("a", "failed", problem=problem)))
    page = client.get(RUN).text
    assert "<summary>ValueError: no faces</summary>" in page and f"<pre>{problem}</pre>" in page


def test_links_name_no_host_and_keep_a_proxys_prefix(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes as localhost is not logged in at 127.0.0.1."""
    show(monkeypatch, opened(Task("a", "success")))
    for root_path, prefix in (("/reprise", ""), ("/team/reprise", "/team")):
        page = TestClient(web.app, root_path=root_path).get(RUN).text
        assert f'href="{prefix}/reprise/runs/p/r/record"' in page
        assert f'href="{prefix}/dags/p/runs/r/tasks/a"' in page


def test_the_headline_comes_first_and_the_rest_on_demand(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"accuracy": 0.5, "auc": 0.9, "auc_low": 0.8, "auc_high": 0.95}
    show(monkeypatch, opened(Task("a", "success"), metrics=metrics))
    page = client.get(RUN).text
    assert page.index("0.9 (0.8 to 0.95)") < page.index("and 1 more") < page.index("<td>accuracy</td>")


@pytest.mark.parametrize(
    "forged",
    [{"commit": "--output=/tmp/x"}, {"ref": "--upload-pack=touch x"}, {"commit": "HEAD"}],
)
def test_a_record_is_a_commit_and_nothing_that_git_takes_for_an_option(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, forged: dict[str, str]
) -> None:
    show(monkeypatch, opened(**forged))
    monkeypatch.setattr(web.recording.git, "git", lambda *_: pytest.fail("git was asked"))
    answer = client.get(f"{RUN}/record")
    assert answer.status_code == 502
    assert "is no record" in answer.json()["detail"]


def test_an_mlflow_that_is_away_is_not_one_that_knows_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise ServerAway("MLflow does not answer", "make status")

    for known, status, said in ((away, 502, "does not answer"), (lambda *_: None, 404, "knows no run")):
        monkeypatch.setattr(Tracker, "known", known)
        answer = client.get("/mlflow/p/r")
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True)


def test_pictures_of_running_stages_and_no_other_file(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    link = f"http://127.0.0.1:5000/#/runs/{MLFLOW_RUN}"
    show(monkeypatch, opened(Task("a", "success", mlflow=link), Task("b--1", "running", mlflow=link)))
    monkeypatch.setattr(Tracker, "files", lambda *_: ["batch 1.png", "notes.html"])
    monkeypatch.setattr(Tracker, "content", lambda _, run, path: f"{run} {path}".encode())
    assert "Pictures of b--1, as they come" in client.get(RUN).text
    frame = client.get(f"{RUN}/live").text
    assert 'src="/reprise/runs/p/r/live/b--1/batch%201.png"' in frame
    assert "notes.html" not in frame and "live/a/" not in frame
    shown = client.get(f"{RUN}/live/b--1/batch%201.png")
    assert (shown.headers["Content-Type"], shown.text) == ("image/png", f"{MLFLOW_RUN} live/batch 1.png")
    for path in ("b--1/other.png", "b--1/notes.html", "a/batch%201.png", "b--1/..%2f..%2fbatch%201.png"):
        assert client.get(f"{RUN}/live/{path}").status_code == 404, path


def test_a_link_that_an_xcom_forges_is_none() -> None:
    assert web.rundata._address("javascript:alert(1)") == web.rundata._address(None) == ""
    assert web.rundata._address("https://mlflow/#/x") == "https://mlflow/#/x"


def test_a_report_inside_an_output_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = b'[{"md5": "aa", "relpath": "index.html"}, {"md5": "bb", "relpath": "data/a.txt"}]'
    monkeypatch.setattr(web, "read_object", lambda md5, most: {"site.dir": listed}[md5])
    web._files.cache_clear()
    written = {"site": "site.dir", "model.onnx": "cc"}
    assert [web._inside(written, path) for path in ("site/data/a.txt", "site/b", "other/x")] == ["bb", "", ""]
