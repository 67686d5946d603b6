"""Pages below ``/reprise`` on Airflow's API server: a run as a whole, its report, its record.

Plugin routes have no login of their own: every route here asks Airflow's, for the DAG that it shows.
"""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from reprise import untrusted
from reprise.errors import RepriseError
from reprise.pipeline.stages import Artifact
from reprise.run import metrics, numbers, recording
from reprise.settings import load as load_settings
from reprise.sources.inbox import total
from reprise.tracking.mlflow_server import PICTURES, Tracker, bare_heading
from reprise.ui import rundata, runview
from reprise.ui.links import MOUNTED, page_path
from reprise.ui.runview import Facts
from reprise.workspace import read_object

# No API pages: they would answer without a login.
app = FastAPI(title="Reprise", docs_url=None, redoc_url=None, openapi_url=None)

_LOGIN = [Depends(requires_access_dag("GET", entity)) for entity in (DagAccessEntity.RUN, DagAccessEntity.XCOM)]
_TEMPLATES = Path(__file__).with_name("templates")
# A report shows pictures and styles of its own and nothing else: no script, no request, no form.
_REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src 'self';"
    " frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_MOST_BYTES = 200 * 1024**2
_UNREADABLE = (OSError, ValueError, RepriseError, untrusted.Refused)


@app.get("/runs/{dag_id}/{run_id}", dependencies=_LOGIN)
def run_page(request: Request, dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The run: stages and why they ran, metrics, model, data, environment, report. Also while it runs."""
    run = _run(session, dag_id, run_id)
    before = rundata.load_before(session, run)
    settings = load_settings()
    mlflow = run.opened["mlflow"] if run.opened else None
    return _page(
        "run.html.jinja",
        run=run,
        before=before,
        url=_url(request, dag_id, run_id),
        task_url=f"{_airflow(request)}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}/tasks/",
        mlflow_url=Tracker(settings.mlflow).url(mlflow) if mlflow else "",
        mlflow=settings.mlflow,
        rows=runview.stage_rows(run, before),
        metrics=_metrics(run, before),
        running=list(_running(run)),
        models=_artifacts(run, "model"),
        reports=_artifacts(run, "report"),
        environment=runview.environment(run),
        changed_params=runview.changed_params(run, before),
        listing=_listing(run),
        listing_before=_listing(before) if before else None,
    )


@app.get("/runs/{dag_id}/{run_id}/artifacts/{name}", dependencies=_LOGIN)
def artifact(dag_id: str, run_id: str, name: str, session: SessionDep) -> Response:
    """A report that the run has written, as far as it came; dvc.yaml says which file it is."""
    run = _run(session, dag_id, run_id)
    for found, md5 in _artifacts(run, "report"):
        if found.name == name and md5:
            headers = {"Content-Security-Policy": _REPORT_POLICY, "X-Content-Type-Options": "nosniff"}
            return HTMLResponse(_object(md5), headers=headers)
    raise HTTPException(404, f"{dag_id}/{run_id} has written no {name!r} yet")


@app.get("/runs/{dag_id}/{run_id}/live", dependencies=_LOGIN)
def live(request: Request, dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The pictures of the stages that run now, in a frame of the run's page.

    By way of MLflow, which has them from whichever node the stage runs on; so trouble there is in the frame only.
    """
    run = _run(session, dag_id, run_id)
    pictures = {task_id: _pictures(mlflow_run) for task_id, mlflow_run in _running(run).items()}
    return _page("live.html.jinja", pictures=pictures, url=_url(request, dag_id, run_id))


@app.get("/runs/{dag_id}/{run_id}/live/{task_id}/{name}", dependencies=_LOGIN)
def picture(dag_id: str, run_id: str, task_id: str, name: str, session: SessionDep) -> Response:
    """One of these pictures."""
    mlflow_run = _running(_run(session, dag_id, run_id)).get(task_id, "")
    if not mlflow_run or name not in _pictures(mlflow_run):
        raise HTTPException(404, f"{task_id} shows no {name!r} now")
    with _mlflow() as tracker:
        content = tracker.content(mlflow_run, f"{PICTURES}/{name}")
    return Response(content, media_type="image/png", headers={"X-Content-Type-Options": "nosniff"})


@app.get("/runs/{dag_id}/{run_id}/record", dependencies=_LOGIN)
def record(request: Request, dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The run's commit: its message and what it changes against the revision."""
    run = _run(session, dag_id, run_id)
    if not run.recorded:
        raise HTTPException(404, f"{dag_id}/{run_id} is not recorded: its `record` task has not ended well")
    try:
        shown = recording.show(load_settings(), run.recorded["commit"], run.recorded["ref"])
    except RepriseError as error:  # the origin is away, or the record was removed from it
        raise HTTPException(502, str(error)) from error
    return _page("record.html.jinja", run=run, url=_url(request, dag_id, run_id), shown=shown)


@app.get("/mlflow/{dag_id}/{run_id}", dependencies=_LOGIN)
def mlflow_run(dag_id: str, run_id: str) -> HTMLResponse:
    """The tab on a DAG run that leads to its MLflow run, also while it runs.

    A page with a link and not a redirect: Airflow shows it in a frame, and MLflow refuses to be framed.
    """
    with _mlflow() as tracker:
        found = tracker.known(bare_heading(dag_id, dag_id, run_id))
    if not found:
        raise HTTPException(
            404, f"MLflow at {tracker.uri} knows no run of {dag_id}/{run_id}; has its `open` task ended?"
        )
    return _page("mlflow.html.jinja", run_id=run_id, url=tracker.url(found["info"]["run_id"]))


@contextmanager
def _mlflow() -> Iterator[Tracker]:
    """Ask MLflow; where it does not answer, the page says so."""
    try:
        yield Tracker(load_settings().mlflow)
    except RepriseError as error:
        raise HTTPException(502, str(error)) from error


def _running(run: Facts) -> dict[str, str]:
    """Task → MLflow run, of the stages that run now."""
    ids = {t.task_id: t.mlflow.rsplit("/", 1)[-1] for t in run.tasks.values() if t.state == "running"}
    return {task_id: found for task_id, found in sorted(ids.items()) if re.fullmatch("[0-9a-f]{32}", found)}


def _pictures(mlflow_run: str) -> list[str]:
    with _mlflow() as tracker:
        return [name for name in tracker.files(mlflow_run, PICTURES.as_posix()) if name.endswith(".png")]


def _run(session: Any, dag_id: str, run_id: str) -> Facts:
    run = rundata.load(session, dag_id, run_id)
    if run is None:
        raise HTTPException(404, f"no run {run_id!r} of {dag_id!r}")
    return run


def _airflow(request: Request) -> str:
    """What stands before Airflow's own pages, behind a proxy say; empty as a rule.

    Addresses in a page name no host: who comes as localhost is not logged in at 127.0.0.1.
    """
    return str(request.scope.get("root_path", "")).removesuffix(MOUNTED)


def _url(request: Request, dag_id: str, run_id: str) -> str:
    return _airflow(request) + page_path(dag_id, run_id)


def _page(template: str, **values: Any) -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    headers = {"Content-Security-Policy": _PAGE_POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    return HTMLResponse(_environment().get_template(template).render(nonce=nonce, **values), headers=headers)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _artifacts(run: Facts, kind: str) -> list[tuple[Artifact, str]]:
    """The pipeline's artifacts of one type, each with its hash; empty where the run has not written it."""
    written = runview.outputs(run)
    found = run.pipeline.artifacts if run.pipeline else ()
    return [(a, written.get(a.path, "") or _inside(written, a.path)) for a in found if a.type == kind]


def _inside(written: dict[str, str], path: str) -> str:
    """The hash of a file inside an output that is a folder; empty if there is none."""
    for folder, md5 in written.items():
        if path.startswith(f"{folder}/") and md5.endswith(".dir"):
            with suppress(*_UNREADABLE):
                return _files(md5).get(path.removeprefix(f"{folder}/"), "")
    return ""


@lru_cache(maxsize=100)
def _files(md5: str) -> dict[str, str]:
    """Path → hash, of a folder by its own hash."""
    return {file["relpath"]: file["md5"] for file in json.loads(read_object(md5, most=_MOST_BYTES))}


def _object(md5: str) -> bytes:
    try:
        return read_object(md5, most=_MOST_BYTES)
    except _UNREADABLE as error:
        raise HTTPException(404, f"{md5} cannot be read from cache or remote: {error}") from error


def _metrics(run: Facts, before: Facts | None) -> list[dict[str, tuple[str, float, float | None]]]:
    """Name → (now with its interval, now, before), of the numbers to look at first and of the others.

    Also of a run that is not recorded.
    """
    then = numbers.from_json(before.recorded["metrics"]) if before and before.recorded else {}
    now = numbers.from_json(run.recorded["metrics"]) if run.recorded else _written_metrics(run)
    first = numbers.headline(run.pipeline, now) if run.pipeline else []
    others = [name for name in numbers.without_ends(sorted(now)) if name not in first]
    return [{n: (numbers.with_interval(now, n), now[n], then.get(n)) for n in names} for names in (first, others)]


def _written_metrics(run: Facts) -> dict[str, float]:
    written = runview.outputs(run)
    stages = run.pipeline.stages if run.pipeline else ()
    paths = [out.path for stage in stages for out in stage.outs if out.kind == "metric" and out.path in written]
    found = {}
    for path in paths:
        with suppress(*_UNREADABLE):  # a page shows what there is
            found[path] = metrics.numbers(metrics.parse(path, read_object(written[path], most=_MOST_BYTES)))
    return metrics.join(found)


def _listing(run: Facts) -> dict[str, Any] | None:
    """Dates, files and bytes of what the run's inbox held."""
    md5 = run.opened["listing"] if run.opened else None
    try:
        return _summary(md5) if md5 else None
    except _UNREADABLE:
        return None


@lru_cache(maxsize=100)
def _summary(md5: str) -> dict[str, Any]:
    """A page that is open asks every three seconds, and a listing may name a million files."""
    parts = json.loads(read_object(md5, most=_MOST_BYTES))["partitions"]
    return {"md5": md5, **asdict(total(parts))}
