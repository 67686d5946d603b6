"""Look at records' data with a pipeline's own tools: here the files are brought, there it is known what rows mean.

A tool is a script in the pipeline's folder (gallery.py, datadiff.py) that takes files of a run. Where some are not
there it ends with exit status 3 and names them on standard output; they are pulled, and it is started again.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from reprise.errors import BadInput, RepriseError
from reprise.folders import clear, slug
from reprise.run import records
from reprise.run.records import Record
from reprise.settings import ROOT, Settings
from reprise.workspace import Workspace

LACKING = 3
MOST_ROUNDS = 4


def datadiff(settings: Settings, runs: Sequence[str]) -> Path:
    """Print what the data of two records (run ids, names or commits) differ in; returns the page with pictures.

    :raises BadInput: where they are not two records of one pipeline, or the pipeline has no datadiff.py.
    """
    if len(runs) != 2:
        raise BadInput(
            f"datadiff compares two runs, not {len(runs)}", 'make datadiff RUNS="RUN RUN"; .venv/bin/dvc exp show'
        )
    found = [records.find(settings.origin, run) for run in runs]
    if found[0].pipeline != found[1].pipeline:
        raise BadInput(f"{found[0].name} and {found[1].name} are runs of two pipelines", ".venv/bin/dvc exp show")
    names = [record.name for record in found]
    page = settings.var / "pages" / f"{slug(f'datadiff-{names[0]}-{names[1]}')}.html"
    with _clones(settings, found) as clones:
        arguments = [*(str(clone.folder) for clone in clones), "--names", *names, "--out", str(page)]
        _run(found[0].pipeline, "datadiff.py", arguments, clones)
    return page


def gallery(settings: Settings, pipeline: str, data: str, run: str | None) -> Path:
    """Make a page of the pictures in a file or folder of data: as a run left it, else as it lies on the disk.

    :param data: path of a file or folder, or of an output relative to the pipeline's folder; the latest record's where
        neither is on the disk and no run is named.
    :raises BadInput: where it is nowhere, or the pipeline has no gallery.py.
    """
    if not data:
        raise BadInput("DATA= names no data to show", _example(settings, pipeline, run))
    pages = settings.var / "pages"
    here = [path for path in (Path(data), ROOT / pipeline / data) if path.exists()]
    if here and not run:
        page = pages / f"{slug(f'gallery-{data}')}.html"
        _run(pipeline, "gallery.py", [str(here[0].resolve()), "--name", data, "--out", str(page)], [])
        return page
    record = records.find(settings.origin, run) if run else next(iter(_latest(settings, pipeline)), None)
    if record is None or not any(_below(data, path) for path in record.outs):
        known = f"; {record.name} has {', '.join(sorted(record.outs))}" if record else ", and there is no run yet"
        raise BadInput(f"{data} is neither on the disk nor an output of a run{known}", "make gallery DATA=PATH RUN=RUN")
    page = pages / f"{slug(f'gallery-{record.name}-{data}')}.html"
    with _clones(settings, [record]) as clones:
        _refuse_missing(clones[0], record, data)
        clones[0].pull([data])
        arguments = [str(clones[0].folder / data), "--name", f"{data} of {record.name}", "--out", str(page)]
        _run(record.pipeline, "gallery.py", arguments, clones)
    return page


def _example(settings: Settings, pipeline: str, run: str | None) -> str:
    """A command that shows a table of the run, or of the latest."""
    record = records.find(settings.origin, run) if run else next(iter(_latest(settings, pipeline)), None)
    if record is None:
        return "make run, then make gallery DATA=PATH"
    shown = next((path for path in sorted(record.outs) if "nfiles" in record.outs[path]), "PATH")
    dates = sorted(record.listing)
    return f"make gallery DATA={shown}{f'/{dates[-1]}.parquet' if dates else ''} RUN={record.name}"


def _refuse_missing(clone: Workspace, record: Record, data: str) -> None:
    """A file in a folder of the record is there, or the ones that are there are named."""
    out = next(path for path in record.outs if _below(data, path))
    inside = data.rstrip("/").removeprefix(out).lstrip("/")
    if not inside:
        return
    names = sorted(clone.files(record.outs[out]["md5"])) if "nfiles" in record.outs[out] else []
    if not any(_below(name, inside) for name in names):
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        raise BadInput(
            f"{record.name} has no {data}; in {out} there are {shown}" if names else f"{out} is a file, not a folder",
            f"make gallery DATA={out}{f'/{names[-1]}' if names else ''} RUN={record.name}",
        )


def _latest(settings: Settings, pipeline: str) -> list[Record]:
    return list(records.every(settings.origin, pipeline))[-1:]


def _below(path: str, out: str) -> bool:
    return path.rstrip("/") == out or path.startswith(f"{out}/")


@contextmanager
def _clones(settings: Settings, found: Sequence[Record]) -> Iterator[list[Workspace]]:
    """A clone at each record, removed afterwards."""
    folder = settings.work / "tools" / uuid4().hex
    clones: list[Workspace] = []
    try:
        for number, record in enumerate(found):
            local = replace(settings, origin=str(record.repo))
            path = folder / f"{number}-{record.commit[:12]}"
            clones.append(Workspace.create(local, path, record.pipeline, record.commit))
        yield clones
    finally:
        for clone in clones:
            clone.remove()
        clear(folder)


def _run(pipeline: str, tool: str, arguments: Sequence[str], clones: Sequence[Workspace]) -> None:
    """Start the tool as it is checked out, bring what it lacks, start it again; its output goes to ours.

    :raises RepriseError: with what the tool said, where it fails.
    """
    script = ROOT / pipeline / tool
    if not script.exists():
        raise BadInput(f"{pipeline} has no {tool}", f"write one; pipelines/faces/{tool} is an example")
    for _ in range(MOST_ROUNDS):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != LACKING:
            break
        lacking = done.stdout.splitlines()
        for clone in clones:
            clone.pull(str(Path(f).relative_to(clone.folder)) for f in lacking if Path(f).is_relative_to(clone.folder))
        if not clones:
            raise BadInput(f"{tool} needs {', '.join(lacking)}", "name a run that has them: RUN=RUN")
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise RepriseError(f"{tool}: {said[-1]}", f".venv/bin/python {script.relative_to(ROOT)} --help")
    print(done.stdout, end="")
