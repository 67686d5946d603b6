"""The plots of recorded runs, drawn over one another: what ``dvc.yaml`` declares as plots, at each run's commit."""

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reprise.run.records import Record
from reprise.settings import Settings
from reprise.workspace import Workspace

Curve = tuple[list[float], list[float]]
"""Values of x and of y, of equal length."""


def read(settings: Settings, record: Record) -> dict[str, Curve]:
    """The curves of one run by name (file and column), as far as they are CSV files with a named ``x`` and ``y``.

    :raises RepriseError: where neither cache nor remote holds them.
    """
    folder = settings.work / "curves" / f"{os.getpid()}-{record.commit[:12]}"
    workspace = Workspace.create(replace(settings, origin=str(record.repo)), folder, record.pipeline, record.commit)
    try:
        declared = workspace.plots()
        workspace.pull(declared)
        found: dict[str, Curve] = {}
        for path, plot in declared.items():
            columns = plot.get("y", [])
            for column in [columns] if isinstance(columns, str) else columns:
                curve = _columns(workspace.folder / path, plot.get("x"), column)
                if curve[0]:
                    found[f"{path}: {column} by {plot['x']}"] = curve
        return found
    finally:
        workspace.remove()


def _columns(file: Path, x: str | None, y: str) -> Curve:
    """Two columns' numbers; rows where either is none are left out."""
    xs, ys = [], []
    if x and file.suffix in (".csv", ".tsv"):
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines, delimiter="," if file.suffix == ".csv" else "\t"):
                try:
                    point = float(row[x]), float(row[y])
                except (KeyError, TypeError, ValueError):
                    continue
                if all(map(math.isfinite, point)):
                    xs.append(point[0])
                    ys.append(point[1])
    return xs, ys


def draw(name: str, runs: Sequence[tuple[str, Curve]]) -> str:
    """One plot as SVG, a line a run."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes: Any = figure.add_subplot()
    for run, (xs, ys) in runs:
        axes.plot(xs, ys, label=run, marker="." if len(xs) < 40 else None)
    y, _, x = name.split(": ", 1)[-1].partition(" by ")
    axes.set(xlabel=x, ylabel=y, title=name.split(": ", 1)[0])
    axes.grid(alpha=0.3)
    axes.legend()
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # the same bytes each time
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
