"""The plots of recorded runs, drawn over one another: what ``dvc.yaml`` declares as plots, at each run's commit."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from reprise import untrusted
from reprise.errors import RepriseError
from reprise.run.records import Record
from reprise.settings import Settings
from reprise.untrusted import Refused
from reprise.workspace import Workspace

Point = tuple[Any, ...]
"""x, y, and the ends of its interval where it has one."""
STYLES = ("-", "--", ":", "-.")
GREY, INK = "0.6", "0.15"
_MOST_BYTES = 10 * 1024**2
"""Of a table that is drawn."""


@dataclass(frozen=True)
class Look:
    """How a file is drawn, as ``dvc.yaml`` and the Vega template that it names say: columns, titles, scales."""

    title: str
    x: str | None
    y: tuple[str, ...]
    x_label: str = ""
    y_label: str = ""
    series: str = ""
    """The column that tells lines apart; empty: one line."""
    panel: str = ""
    """The column that tells panels apart; empty: one panel."""
    low: str = ""
    high: str = ""
    """Columns of the ends of an interval: then there are points, and no lines."""
    across: bool = False
    """Whether the interval is one of x, over names on y."""
    log: bool = False
    step: bool = False

    @classmethod
    def of(cls, path: str, plot: Mapping[str, Any], template: Mapping[str, Any]) -> "Look":
        """:param plot: what dvc.yaml says; :param template: the Vega template's JSON, empty for one of DVC's own."""
        specs = [template, template.get("spec", {})]
        specs += [layer for spec in specs for layer in spec.get("layer", ())]
        found = [spec.get("encoding", {}) for spec in specs]
        channels = {name: channel for encoding in reversed(found) for name, channel in encoding.items()}
        ends = [(e[axis].get("field", ""), e[f"{axis}2"]["field"]) for e in found for axis in "xy" if f"{axis}2" in e]
        low, high = ends[0] if ends else ("", "")
        series = channels.get("color", {}).get("field", "")
        mark = template.get("mark", {})
        y = plot.get("y", [])
        return cls(
            title=plot.get("title") or path,
            x=plot.get("x"),
            y=(y,) if isinstance(y, str) else tuple(y),
            x_label=plot.get("x_label") or plot.get("x") or "step",
            y_label=plot.get("y_label") or (y if isinstance(y, str) else ""),
            series="" if series == "rev" or series.startswith("<") else series,
            panel=template.get("facet", {}).get("row", {}).get("field", ""),
            low=low,
            high=high,
            across=any("x2" in encoding for encoding in found),
            log=channels.get("x", {}).get("scale", {}).get("type") == "log",
            step=str(mark.get("interpolate", "") if isinstance(mark, dict) else "").startswith("step"),
        )


@dataclass(frozen=True)
class Plot:
    """One run's file: its lines by (panel, series)."""

    look: Look
    lines: dict[tuple[str, str], list[Point]] = field(default_factory=dict)


def read(settings: Settings, record: Record) -> dict[str, Plot]:
    """The plots of one run by path, as far as they are tables.

    :raises RepriseError: where neither cache nor remote holds them.
    """
    folder = settings.work / "curves" / uuid4().hex
    workspace = Workspace.create(replace(settings, origin=str(record.repo)), folder, record.pipeline, record.commit)
    try:
        declared = {path: plot for path, plot in workspace.plots().items() if path.endswith((".csv", ".tsv"))}
        workspace.pull(declared)
        found = {}
        for path, plot in declared.items():
            template = folder / ".dvc/plots" / f"{plot.get('template')}.json"
            look = Look.of(path, plot, json.loads(template.read_text()) if template.exists() else {})
            if lines := _lines(workspace.folder / path, look):
                found[path] = Plot(look, lines)
        return found
    finally:
        workspace.remove()


def _lines(file: Path, look: Look) -> dict[tuple[str, str], list[Point]]:
    """The points of a table by panel and series; rows without a finite number are left out.

    :raises RepriseError: it is too large to be drawn, or not a table.
    """
    found: dict[tuple[str, str], list[Point]] = {}
    try:
        rows = list(_rows(file))
    except (Refused, ValueError, csv.Error) as error:
        raise RepriseError(f"plot {file.name}: {error}", "write fewer points, or declare it as an output") from error
    for number, row in enumerate(rows):
        for column in look.y:
            point = (row.get(look.x, "") if look.x else str(number), row.get(column, ""))
            x, y = (value if _named(look, axis) else _number(value) for axis, value in zip("xy", point, strict=True))
            if x is not None and y is not None:
                series = row.get(look.series, "") if len(look.y) == 1 else column
                ends = _number(row.get(look.low)), _number(row.get(look.high))
                found.setdefault((row.get(look.panel, ""), series), []).append((x, y, *ends))
    return found


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with untrusted.opened(file.parent, file.name, _MOST_BYTES) as content:
        text = io.TextIOWrapper(content, encoding="utf-8", newline="")
        yield from csv.DictReader(text, delimiter="," if file.suffix == ".csv" else "\t")


def _named(look: Look, axis: str) -> bool:
    """Whether an axis holds names: points with an interval stand beside one another over them."""
    return bool(look.low) and (axis == "y") == look.across


def _number(text: str | None) -> float | None:
    with suppress(TypeError, ValueError):
        if math.isfinite(number := float(text or "")):
            return number
    return None


@dataclass(frozen=True)
class _Line:
    label: str
    points: list[Point]
    colour: str
    style: str
    faint: bool


def draw(runs: Sequence[tuple[str, Plot]]) -> str:
    """One plot of several runs as SVG: a colour a run, a dash a series; what is the same in all runs once, in grey."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    look = runs[-1][1].look
    panels = list(dict.fromkeys(panel for _, plot in runs for panel, _ in plot.lines))
    figure = Figure(figsize=(6.4, 4.4 if len(panels) == 1 else 1.2 + 1.3 * len(panels)), layout="constrained")
    shown = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axes, panel in zip(shown, panels, strict=True):
        lines = list(_drawn(runs, panel))
        _points(axes, look, lines) if look.low else _curves(axes, look, lines)
        axes.set(ylabel=look.y_label if len(panels) == 1 else "")
        axes.set_title(panel, fontsize="medium", loc="left")
        axes.grid(alpha=0.3)
    shown[-1].set_xlabel(look.x_label)
    figure.suptitle(look.title)
    handles, labels = shown[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": look.title}):  # the same bytes each time
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _drawn(runs: Sequence[tuple[str, Plot]], panel: str) -> Iterator[_Line]:
    """The lines of one panel. The first series is what it is about; the others, to compare it with, are fainter."""
    series = list(dict.fromkeys(name for _, plot in runs for where, name in plot.lines if where == panel))
    for number, name in enumerate(series):
        style = STYLES[number % len(STYLES)]
        found = [(i, run, plot.lines.get((panel, name))) for i, (run, plot) in enumerate(runs)]
        if all(points == found[0][2] for _, _, points in found):
            label = f"{name}, the same in all" if name else "the same in all"
            yield _Line(label, found[0][2] or [], GREY if number else INK, style, False)
            continue
        for place, run, points in found:
            if points:
                yield _Line(f"{run} {name}".strip(), points, f"C{place % 10}", style, number > 0)


def _curves(axes: Any, look: Look, lines: Sequence[_Line]) -> None:
    for line in lines:
        xs, ys = [point[0] for point in line.points], [point[1] for point in line.points]
        axes.plot(
            xs,
            ys,
            label=line.label,
            color=line.colour,
            linestyle=line.style,
            linewidth=1 if line.faint else 1.6,
            alpha=0.7 if line.faint else 1,
            marker="." if len(xs) < 40 else None,
            drawstyle="steps-post" if look.step else "default",
        )
    if look.log:
        axes.set_xscale("log")


def _points(axes: Any, look: Look, lines: Sequence[_Line]) -> None:
    """Points with their intervals, beside one another over each name."""
    along, value = (1, 0) if look.across else (0, 1)
    names = list(dict.fromkeys(point[along] for line in lines for point in line.points))
    for number, line in enumerate(lines):
        shift = (number - (len(lines) - 1) / 2) * 0.7 / len(lines)
        places = [names.index(point[along]) + shift for point in line.points]
        values = [point[value] for point in line.points]
        ends = [
            [0 if p[end] is None else abs(at - p[end]) for at, p in zip(values, line.points, strict=True)]
            for end in (2, 3)
        ]
        axes.errorbar(
            *((values, places) if look.across else (places, values)),
            **{"xerr" if look.across else "yerr": ends},
            label=line.label,
            color=line.colour,
            alpha=0.7 if line.faint else 1,
            fmt="osD^"[STYLES.index(line.style)],
            markersize=4,
        )

    set_ticks, limit = (axes.set_yticks, axes.set_ylim) if look.across else (axes.set_xticks, axes.set_xlim)
    set_ticks(range(len(names)), names)
    limit(-0.5, len(names) - 0.5)
