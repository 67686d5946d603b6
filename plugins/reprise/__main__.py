"""The commands behind the Makefile: ``python -m reprise COMMAND --help``."""

import argparse
import datetime as dt
import os
import shlex
import subprocess
import sys
import time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console

from reprise import git
from reprise.errors import BadInput, RepriseError
from reprise.machine import services
from reprise.messages import GATE, OPEN, RECORD
from reprise.pipeline import manifest, params
from reprise.settings import PIPELINE, ROOT, Settings
from reprise.settings import load as load_settings
from reprise.sources.stores import absolute

# What is printed holds paths and errors, whose brackets are no markup.
console = Console(soft_wrap=True, markup=False, highlight=False)


def main() -> int:
    """Run one command; an error a user can act on is printed without a trace and exits with 1."""
    args = _parser().parse_args()
    try:
        args.call(load_settings(), args)
    except RepriseError as error:
        console.print("error:", style="red", end=" ")
        console.print(str(error))
        return 1
    except KeyboardInterrupt:
        console.print("\nno longer following; the run goes on: make status")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reprise", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, call: Any, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(call=call)
        return command

    add("up", _up, "start Airflow and MLflow")
    add("down", lambda settings, _: services.down(settings), "stop Airflow and MLflow")
    add("clean", _clean, "remove containers that lost tasks left behind")
    add("status", _status, "services, and the latest runs")
    add("tensorboard", _tensorboard, "show the runs' live curves in TensorBoard, until Ctrl-C")
    compare = add("compare", _compare, "what differs between recorded runs")
    compare.add_argument("runs", nargs="*", metavar="RUN", help="run id, name in `.venv/bin/dvc exp show`, or commit")
    logs = add("logs", _logs, "the end of a service's log, or of a failed task's")
    logs.add_argument("service", nargs="?", help="mlflow, api-server, scheduler or dag-processor; default: all")
    _run_arguments(add("run", _run, "trigger a run and follow it"))
    _backfill_arguments(
        add("backfill", _backfill, "run the dates between two days, each on what had arrived by its end")
    )
    history = add("history", _history, "for each date: data, metrics, champion or candidate")
    history.add_argument("--metrics", default="", help="names of the numbers, with commas (default: the headline's)")
    airflow = add("airflow", _airflow, "Airflow's own command line, as the services are set up")
    airflow.add_argument("args", nargs=argparse.REMAINDER, help="such as: backfill create --dag-id faces …")
    listing = add("list", _list, "write a pipeline's source.json from an inbox, for `dvc repro` by hand")
    listing.add_argument("--inbox", required=True, help="folder, object-store URL or list of photographs")
    listing.add_argument("--checkout", type=Path, default=ROOT, help="repository to write into (default: this one)")
    difference = add("datadiff", _datadiff, "what the data of two runs differ in")
    difference.add_argument("runs", nargs="+", help="run ids, names in `.venv/bin/dvc exp show`, or commits")
    gallery = add("gallery", _gallery, "a page of the pictures in a file or folder of data")
    gallery.add_argument("data", help="a path, or an output's such as data/aligned/2026-11-01.parquet")
    gallery.add_argument("--run", help="the run whose output it is (default: what lies on the disk, or the latest run)")
    for command in (history, listing, gallery):
        _pipeline_argument(command)
    return parser


def _pipeline_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--pipeline", default=PIPELINE, help="folder of the pipeline (default: %(default)s)")


def _run_arguments(run: argparse.ArgumentParser) -> None:
    _pipeline_argument(run)
    run.add_argument("--params", default="", help='overrides, such as "train.epochs=5 detect.device=cpu"')
    run.add_argument("--inbox", help="folder, object-store URL or list of photographs, with or without dates")
    run.add_argument("--arrived", help="date on which an inbox without dates arrived")
    run.add_argument("--revision", default="HEAD", help="branch, tag or commit (default: what is checked out)")
    run.add_argument("--as-of", help="see only what had arrived before this date")
    run.add_argument("--ignore-cache", action="store_true", help="run every stage, known or not")


def _backfill_arguments(past: argparse.ArgumentParser) -> None:
    _pipeline_argument(past)
    past.add_argument("--from", dest="first", required=True, help="first date (start of a data interval)")
    past.add_argument("--to", dest="last", required=True, help="last date")
    past.add_argument("--dry-run", action="store_true", help="say which dates would be run, and run none")
    past.add_argument("--again", default="", help="failed: run dates again that failed; all: every date")
    past.add_argument("--parallel", type=int, default=2, help="runs at once (default: %(default)s)")
    past.add_argument("--backward", action="store_true", help="the last date first")
    past.add_argument("--params", default="", help="overrides, as of run")
    past.add_argument("--inbox", help="as of run")
    past.add_argument("--revision", default="HEAD", help="as of run; one for all dates")
    past.set_defaults(as_of=None, arrived=None, ignore_cache=False)


def _up(settings: Settings, args: argparse.Namespace) -> None:
    services.up(settings)
    _clean(settings, args)


def _clean(settings: Settings, _: argparse.Namespace) -> None:
    from reprise.stage.janitor import clean

    for line in clean(settings):
        console.print(f"removed what a lost task left: {line}")


def _datadiff(settings: Settings, args: argparse.Namespace) -> None:
    from reprise.commands import tools

    tools.datadiff(settings, args.runs)


def _gallery(settings: Settings, args: argparse.Namespace) -> None:
    from reprise.commands import tools

    tools.gallery(settings, args.pipeline.rstrip("/"), args.data, args.run)


def _list(settings: Settings, args: argparse.Namespace) -> None:
    """A record brings its own listing: what it saw is not to be overwritten by what there is now. So with its champion."""
    from reprise.run import champion
    from reprise.sources import inbox

    pipeline = manifest.load(args.checkout, args.pipeline, settings.var / "manifests")
    champion.bring(settings, pipeline, args.checkout / args.pipeline)
    target = args.checkout / args.pipeline / manifest.LISTING
    if git.git(args.checkout, "ls-files", str(target.relative_to(args.checkout))):
        console.print(f"{target} is part of this commit: kept")
        return
    listing = inbox.look(settings, args.inbox)
    target.write_bytes(inbox.dump(listing))
    console.print(f"{target}: {sum(map(len, listing['partitions'].values()))} files")


def _airflow(settings: Settings, args: argparse.Namespace) -> None:
    command = str(Path(sys.executable).parent / "airflow")
    os.execve(command, [command, *args.args], services.environment(settings))


def _backfill(settings: Settings, args: argparse.Namespace) -> None:
    from reprise.airflow_api import Airflow
    from reprise.commands import backfill
    from reprise.commands.follow import refuse_paused
    from reprise.run.opening import moment

    first, last = moment(args.first, "FROM"), moment(args.last, "TO")
    if first > last:
        raise BadInput(f"FROM={args.first} is after TO={args.last}", f"make backfill FROM={args.last} TO={args.first}")
    request = _request(settings, args)
    _preflight(settings, request)
    services.up(settings)
    airflow = Airflow(settings.airflow)
    _wait_for_dag(settings, airflow, request.pipeline)
    dates = backfill.Dates(request.dag_id, first, last, _conf(request), args.again, args.parallel, args.backward)
    planned = backfill.dry_run(airflow, dates)
    if not planned:
        console.print(f"0 dates: {backfill.nothing(airflow, dates)}")
        return
    console.print(f"{len(planned)} dates: {', '.join(date[:10] for date in planned)}")
    if args.dry_run:
        return
    refuse_paused(airflow, request.dag_id)
    number = backfill.start(airflow, dates)
    console.print(f"backfill {number}: {settings.airflow}/dags/{request.dag_id}/backfills")
    found = backfill.follow(airflow, dates, console)
    console.print(backfill.table(airflow, found))
    error = backfill.failed(dates, found)
    if error:
        raise error


def _history(settings: Settings, args: argparse.Namespace) -> None:
    from reprise.commands import history
    from reprise.run import records
    from reprise.tracking.mlflow_server import Tracker

    pipeline = args.pipeline.rstrip("/")
    found = history.rows(records.every(settings.origin, pipeline), Tracker(settings.mlflow))
    if not found:
        raise BadInput(f"no run of {pipeline} is recorded", "make run, or make backfill FROM=DATE TO=DATE")
    names = history.chosen(found, manifest.load(ROOT, pipeline, settings.var / "manifests"), args.metrics)
    for inbox, shown in history.by_inbox(found).items():
        console.print(history.table(inbox, shown, names))
    name = pipeline.rsplit("/", 1)[-1]
    files = [settings.var / "history" / f"{name}.{kind}" for kind in ("csv", "png")]
    history.write_csv(found, names, files[0])
    history.plot(found, names, name, files[1])
    console.print(f"  table  {os.path.relpath(files[0])}\n  plot   {os.path.relpath(files[1])}")


def _status(settings: Settings, _: argparse.Namespace) -> None:
    from reprise.airflow_api import Airflow
    from reprise.commands.latest import latest
    from reprise.tracking.unsent import left

    if not services.running(settings):
        console.print("services: none is running; start them: make up")
        return
    console.print(services.status(settings).rstrip())
    console.print(f"Airflow {settings.airflow}   MLflow {settings.mlflow}")
    if waiting := len(list(left(settings))):
        console.print(f"{waiting} runs and stages wait to be sent to MLflow; the next run does, or make up")
    console.print(latest(Airflow(settings.airflow)))


def _compare(settings: Settings, args: argparse.Namespace) -> None:
    from reprise.commands.compare import show

    page = show(settings, [name for given in args.runs for name in given.split()], console)
    console.print(f"  page      {os.path.relpath(page)}")


def _tensorboard(settings: Settings, _: argparse.Namespace) -> None:
    from reprise.tracking.tensorboard import serve

    serve(settings)


def _logs(settings: Settings, args: argparse.Namespace) -> None:
    found = sorted((settings.var / "logs").glob(f"{args.service or '*'}.log"))
    if not found:
        named = sorted(file.stem for file in (settings.var / "logs").glob("*.log"))
        if not named:
            raise BadInput(f"there are no logs below {settings.var / 'logs'}: nothing was started yet", "make up")
        meant = get_close_matches(args.service, named, n=1, cutoff=0) or named
        raise BadInput(
            f"there is no service {args.service}; there are {', '.join(named)}", f"make logs SERVICE={meant[0]}"
        )
    subprocess.run(["tail", "-n", "40", *map(str, found)], check=False)


def _run(settings: Settings, args: argparse.Namespace) -> None:
    from reprise.airflow_api import Airflow
    from reprise.commands import result
    from reprise.commands.follow import follow, refuse_paused, stage_table, why_failed

    request = _request(settings, args)
    pipeline = _preflight(settings, request)
    services.up(settings)
    airflow = Airflow(settings.airflow)
    _wait_for_dag(settings, airflow, request.pipeline)
    refuse_paused(airflow, request.dag_id)
    conf = _conf(request)
    if args.as_of:
        conf["as_of"] = args.as_of
    start = time.monotonic()
    airflow.trigger(request.dag_id, request.run_id, conf)
    console.print(f"run {request.run_id}: {settings.airflow}/dags/{request.dag_id}/runs/{request.run_id}")
    if follow(airflow, pipeline, request.run_id, console) != "success":
        raise why_failed(airflow, request.dag_id, request.run_id)
    recorded, judged = (airflow.xcom(request.dag_id, request.run_id, task) for task in (RECORD, GATE))
    console.print(stage_table(airflow, pipeline, request.run_id))
    result.say(console, settings, request, pipeline, recorded, judged, time.monotonic() - start)


def _conf(request: Any) -> dict[str, Any]:
    """A request as the form would send it."""
    return {
        **request.overrides,
        "revision": request.revision,
        **({"inbox": request.inbox} if request.inbox else {}),
        **({"arrived": request.arrived} if request.arrived else {}),
        **({"ignore_cache": True} if request.ignore_cache else {}),
    }


def _request(settings: Settings, args: argparse.Namespace) -> Any:
    """The command line as a request; its revision is pinned now, so that a commit made meanwhile changes nothing."""
    from reprise.run.opening import Request, moment

    changed = git.uncommitted(ROOT)
    if args.revision == "HEAD" and changed:
        shown = ", ".join(changed[:8]) + (f" and {len(changed) - 8} more" if len(changed) > 8 else "")
        raise BadInput(
            f"uncommitted changes would not be in the run: {shown}",
            f"git add {' '.join(map(shlex.quote, changed[:8]))} && git commit"
            "   (or `make run REVISION=HEAD~0` without them)",
        )
    name = args.pipeline.rstrip("/").rsplit("/", 1)[-1]
    return Request(
        pipeline=args.pipeline.rstrip("/"),
        dag_id=name,
        run_id=f"{name}-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}",
        revision=git.resolve(ROOT, args.revision),
        overrides=params.parse_overrides(args.params),
        inbox=absolute(args.inbox) if args.inbox else None,
        arrived=args.arrived,
        as_of=moment(args.as_of, "AS_OF") if args.as_of else None,
        ignore_cache=args.ignore_cache,
    )


def _preflight(settings: Settings, request: Any) -> Any:
    """What `open` will check, before anything is started: the answer comes in a second."""
    from reprise.folders import clear, task_folder
    from reprise.run.opening import check

    folder = task_folder(settings, request.dag_id, request.run_id, "preflight")
    try:
        rendered = manifest.load(ROOT, request.pipeline, settings.var / "manifests").shape()
        return check(settings, request, folder, rendered).pipeline
    finally:
        clear(folder)


def _wait_for_dag(settings: Settings, airflow: Any, path: str, seconds: float = 90) -> None:
    """Wait until Airflow shows dvc.yaml as it is checked out: it reads a changed file within half a minute."""
    pipeline = manifest.load(ROOT, path, settings.var / "manifests")
    wanted = pipeline.downstream()
    deadline = time.monotonic() + seconds
    while True:
        shown = airflow.shape(pipeline.name) or {}
        stages = {task: after - {RECORD} for task, after in shown.items() if task not in (OPEN, RECORD, GATE)}
        if stages == wanted:
            return
        if time.monotonic() > deadline:
            raise RepriseError(
                f"Airflow does not show {path}/dvc.yaml after {seconds:.0f} s. {airflow.import_error(pipeline.name)}",
                f"see that dags/ has a file for {path}; make logs SERVICE=dag-processor",
            )
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
