"""The learning curve of a team's data: for each date data, numbers, and whether its model became champion."""

import csv
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from reprise.errors import BadInput
from reprise.pipeline.stages import Pipeline
from reprise.run import numbers
from reprise.run.champion import ALIAS, RUN
from reprise.run.records import Record
from reprise.sources.inbox import total
from reprise.tracking.mlflow_server import Tracker

MOST = 3
"""Numbers shown where nobody says which."""


@dataclass(frozen=True)
class Row:
    """One date of one inbox: its champion's run, else the last run that saw the data of then."""

    inbox: str
    """Empty where no stage reads one."""
    date: str
    """What had arrived before this moment was seen; of a run without a date, the last arrival date that it saw."""
    run_id: str
    commit: str
    partitions: int
    files: int
    size: int | None
    """Bytes of the files; None if unknown."""
    metrics: dict[str, float]
    state: str
    """``champion``, ``was champion``, ``candidate``; empty where the run registered no model."""


_STATES = ("champion", "was champion")
"""What is shown of a date before its last run, the first before the second."""


def rows(records: Iterable[Record], tracker: Tracker) -> list[Row]:
    """One row a date of each inbox, in their order, of records that come oldest first."""
    found: dict[tuple[str, str], Row] = {}
    versions = tracker.versions() or []
    states = _states(tracker, versions)
    for record in records:
        state = [states.get(model, "candidate") for model in record.models(versions).items()]
        listing = record.listing
        date = str(record.about["as_of"] or max(listing, default=""))[:10]
        held = total(listing)
        row = Row(
            inbox=record.inbox,
            date=date,
            run_id=record.run_id,
            commit=record.commit,
            partitions=held.dates,
            files=held.files,
            size=held.size,
            metrics=dict(record.metrics),
            state=", ".join(state),
        )
        place = (row.inbox, date)
        if place not in found or _rank(row) <= _rank(found[place]):
            found[place] = row
    return [found[place] for place in sorted(found)]


def _rank(row: Row) -> int:
    return next((number for number, state in enumerate(_STATES) if state in row.state.split(", ")), len(_STATES))


def by_inbox(found: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each inbox: numbers of one say nothing of another's."""
    return {inbox: [row for row in found if row.inbox == inbox] for inbox in dict.fromkeys(row.inbox for row in found)}


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


def table(inbox: str, found: Sequence[Row], names: Sequence[str]) -> Table:
    """One inbox's rows for the terminal; three numbers fit into 80 columns."""
    shown = Table(title=inbox, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("date", "dates", "files", "MB", *map(_heading, names), "model"):
        words = column in ("date", "model")
        shown.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=column == "date")
    for row in found:
        values = (f"{row.metrics[name]:.4f}" if name in row.metrics else "" for name in names)
        size = "" if row.size is None else f"{row.size / 1e6:.1f}"
        shown.add_row(row.date, str(row.partitions), str(row.files), size, *values, row.state)
    return shown


def _heading(name: str) -> str:
    """A number's name over several lines, broken behind its underscores."""
    return "\n".join(
        line.replace("_ ", "_") for line in textwrap.wrap(name.replace("_", "_ "), 9, break_long_words=False)
    )


def write_csv(found: Sequence[Row], names: Sequence[str], file: Path) -> None:
    """The table for other programs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["date", "run", "commit", "partitions", "files", "bytes", *names, "model", "inbox"])
        for row in found:
            values = (row.metrics.get(name, "") for name in names)
            about = [row.date, row.run_id, row.commit, row.partitions, row.files, row.size]
            writer.writerow([*about, *values, row.state, row.inbox])


def plot(found: Sequence[Row], names: Sequence[str], title: str, file: Path) -> None:
    """A panel for each number over dates, the files below; a line an inbox; a champion's points are stars.

    A number with an interval (``auc`` with ``auc_low`` and ``auc_high``) has it as a bar.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.2 * len(names) + 2.4), layout="constrained")
    panels = figure.subplots(len(names) + 1, 1, sharex=True, squeeze=False)[:, 0]
    dates = sorted({row.date for row in found})
    inboxes = by_inbox(found)
    for number, (inbox, rows_of) in enumerate(inboxes.items()):
        shift = (number - (len(inboxes) - 1) / 2) * 0.8 / len(inboxes)
        for axes, name in zip(panels, names, strict=False):
            _line(
                axes, [(dates.index(r.date) + shift / 4, r) for r in rows_of if name in r.metrics], name, f"C{number}"
            )
        places = [dates.index(row.date) + shift for row in rows_of]
        panels[-1].bar(places, [row.files for row in rows_of], 0.8 / len(inboxes), color=f"C{number}", label=inbox)
    for axes, name in zip(panels, [*names, "files"], strict=True):
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{title}  (★: its model is or was champion; bars: 95 % interval)")
    panels[-1].set_xticks(range(len(dates)), dates, rotation=30, ha="right")
    if any(inboxes):
        figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def _line(axes: Any, known: Sequence[tuple[float, Row]], name: str, colour: str) -> None:
    """One number of one inbox."""
    axes.plot([place for place, _ in known], [row.metrics[name] for _, row in known], marker="o", color=colour)
    for place, row in known:
        ends = [row.metrics[name + end] for end in numbers.ENDS if name + end in row.metrics]
        if len(ends) == len(numbers.ENDS):
            axes.vlines(place, *ends, color=colour, alpha=0.4)
    stars = [(place, row.metrics[name]) for place, row in known if "champion" in row.state]
    if stars:
        axes.plot(*zip(*stars, strict=True), linestyle="", marker="*", markersize=15, color=colour)
