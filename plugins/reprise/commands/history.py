"""The learning curve of a team's data: for each date data, numbers, and whether its model became champion."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from reprise.errors import BadInput
from reprise.pipeline.stages import Pipeline
from reprise.run import numbers
from reprise.run.champion import ALIAS, RUN
from reprise.run.records import Record
from reprise.tracking.mlflow_server import Tracker

MOST = 3
"""Numbers shown where nobody says which."""


@dataclass(frozen=True)
class Row:
    """One date: the last run that saw the data of then."""

    date: str
    """What had arrived before this moment was seen; of a run without a date, the last arrival date that it saw."""
    run_id: str
    commit: str
    partitions: int
    files: int
    size: int
    """Bytes of the files."""
    metrics: dict[str, float]
    state: str
    """``champion``, ``was champion``, ``candidate``; empty where the run registered no model."""


def rows(records: Iterable[Record], tracker: Tracker) -> list[Row]:
    """One row a date, in their order, of records that come oldest first."""
    found: dict[str, Row] = {}
    versions = tracker.versions() or []
    states = _states(tracker, versions)
    for record in records:
        state = [states.get(model, "candidate") for model in record.models(versions).items()]
        listing = record.listing
        date = str(record.about["as_of"] or max(listing, default=""))[:10]
        files = [file for part in listing.values() for file in part]
        found[date] = Row(
            date=date,
            run_id=record.run_id,
            commit=record.commit,
            partitions=len(listing),
            files=len(files),
            size=sum(file["size"] for file in files),
            metrics=dict(record.about["metrics"]),
            state=", ".join(state),
        )
    return [found[date] for date in sorted(found)]


def _states(tracker: Tracker, versions: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str]:
    """(model, version) → what it is or was; unknown ones, and all where MLflow is away, are candidates."""
    states = {(v["name"], v["version"]): "was champion" for v in versions if RUN in v}
    for name in sorted({v["name"] for v in versions}):
        if held := tracker.alias(name, ALIAS):
            states[name, held["version"]] = "champion"
    return states


def chosen(found: Sequence[Row], pipeline: Pipeline, asked: str) -> list[str]:
    """The numbers to show: those asked for (separated by commas), else the pipeline's first ones.

    :raises BadInput: where no run has one that is asked for.
    """
    known = sorted({name for row in found for name in row.metrics})
    if not asked:
        return numbers.headline(pipeline, known)[:MOST]
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in known:
            raise BadInput(f"no run has a metric {name!r}", f"choose of {', '.join(known)}")
    return names


def table(found: Sequence[Row], names: Sequence[str]) -> Table:
    """For the terminal."""
    shown = Table()
    for column in ("date", "arrival dates", "files", "MB", *names, "model"):
        shown.add_column(column, justify="left" if column in ("date", "model") else "right")
    for row in found:
        values = (f"{row.metrics[name]:.4f}" if name in row.metrics else "" for name in names)
        shown.add_row(row.date, str(row.partitions), str(row.files), f"{row.size / 1e6:.1f}", *values, row.state)
    return shown


def write_csv(found: Sequence[Row], names: Sequence[str], file: Path) -> None:
    """The table for other programs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["date", "run", "commit", "partitions", "files", "bytes", *names, "model"])
        for row in found:
            values = (row.metrics.get(name, "") for name in names)
            writer.writerow([row.date, row.run_id, row.commit, row.partitions, row.files, row.size, *values, row.state])


def plot(found: Sequence[Row], names: Sequence[str], title: str, file: Path) -> None:
    """Numbers over dates as lines, files as bars below; a champion's points are stars.

    A number with an interval (``auc`` with ``auc_low`` and ``auc_high``) has it shaded.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    places = range(len(found))
    for name in names:
        known = [(place, row) for place, row in enumerate(found) if name in row.metrics]
        [line] = upper.plot([p for p, _ in known], [r.metrics[name] for _, r in known], marker="o", label=name)
        ends = [(p, r.metrics.get(f"{name}_low"), r.metrics.get(f"{name}_high")) for p, r in known]
        band = [end for end in ends if None not in end]
        if band:
            upper.fill_between(*zip(*band, strict=True), color=line.get_color(), alpha=0.15, linewidth=0)
        stars = [(p, r.metrics[name]) for p, r in known if "champion" in r.state]
        if stars:
            upper.plot(*zip(*stars, strict=True), linestyle="", marker="*", markersize=15, color=line.get_color())
    upper.set_title(f"{title}  (★: its model became champion)")
    upper.grid(alpha=0.3)
    if names:
        upper.legend()
    lower.bar(places, [row.files for row in found], color="0.7")
    lower.set_ylabel("files")
    lower.set_xticks(list(places), [row.date for row in found], rotation=30, ha="right")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
