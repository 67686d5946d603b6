"""Curves for a page: SVG as data URIs, equal bytes for equal numbers."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from facelib import verification

INK, TRAINED, PIXELS, UNTRAINED = "#333c45", "#1a7f5a", "#c77d0a", "#8a949e"
STYLE: dict[Any, Any] = {  # matplotlib types its keys one by one
    "svg.hashsalt": "reprise",  # otherwise the ids of an SVG's parts are random
    "font.size": 9,
    "axes.edgecolor": "#b8c0c8",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def _uri(figure: Figure) -> str:
    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(data.getvalue()).decode()


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return figure, axes


def _legend(figure: Figure) -> None:
    """Above the axes: there is always something to lie on inside them."""
    figure.legend(loc="outside upper right", ncols=3, frameon=False)


def curve(rows: Sequence[Mapping[str, float]], lines: Mapping[str, str], ylabel: str) -> str:
    """Columns over `epoch`; `lines` maps column to its name in the legend."""
    figure, axes = _axes("epoch", ylabel)
    for (column, name), colour in zip(lines.items(), (TRAINED, PIXELS, UNTRAINED), strict=False):
        axes.plot([row["epoch"] for row in rows], [row[column] for row in rows], color=colour, label=name)
    if len(lines) > 1:
        _legend(figure)
    return _uri(figure)


def roc(scores: Mapping[str, NDArray[np.floating]], same: NDArray[np.bool_]) -> str:
    """ROC of each score, FAR on a logarithmic axis from one false accept on."""
    figure, axes = _axes("false accept rate", "true accept rate")
    for (name, values), colour in zip(scores.items(), (TRAINED, PIXELS, UNTRAINED), strict=False):
        axes.step(*verification.thinned_roc(values, same), color=colour, label=name, where="post")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    _legend(figure)
    return _uri(figure)


def histogram(scores: NDArray[np.floating], same: NDArray[np.bool_], threshold: float) -> str:
    """Scores of same and different pairs, and the threshold that goes with the model."""
    figure, axes = _axes("cosine of a pair", "pairs")
    bins = np.linspace(min(scores.min(), threshold), max(scores.max(), threshold) + 1e-6, 50)
    axes.hist(scores[~same], bins.tolist(), color=PIXELS, alpha=0.65, label="different people")
    axes.hist(scores[same], bins.tolist(), color=TRAINED, alpha=0.65, label="same person")
    axes.axvline(threshold, color=INK, linewidth=1, linestyle=":", label=f"threshold {threshold:.3f}")
    _legend(figure)
    return _uri(figure)


def calibration(rows: Sequence[Mapping[str, Any]]) -> str:
    """The points of results/calibration.csv: the share of same pairs over the probability that was promised."""
    figure, axes = _axes("probability of one person", "share that is one person")
    found = [row for row in rows if row["series"] == "model"]
    axes.plot((0, 1), (0, 1), color=UNTRAINED, linewidth=1, linestyle=":", label="ideal")
    axes.plot(
        [row["predicted"] for row in found], [row["observed"] for row in found], "o-", color=TRAINED, label="test pairs"
    )
    _legend(figure)
    return _uri(figure)


def growth(dates: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """Counts of each date, by name, summed up over the dates."""
    figure, axes = _axes("", "so far")
    for (name, values), colour in zip(counts.items(), (PIXELS, TRAINED, UNTRAINED), strict=False):
        axes.plot(range(len(dates)), np.cumsum(values), color=colour, label=name, marker="o", markersize=3)
    shown = np.unique(np.linspace(0, len(dates) - 1, min(len(dates), 5)).round().astype(int)).tolist()
    axes.set_xticks(shown, [dates[place] for place in shown])
    axes.set_ylim(bottom=0)
    _legend(figure)
    return _uri(figure)


def measurement(
    kept: NDArray[np.floating],
    dropped: NDArray[np.floating],
    limits: Sequence[float],
    xlabel: str,
    ylabel: str = "faces",
) -> str:
    """Histogram of a measurement over kept and dropped faces, limits as lines; outliers are in the last bar."""
    figure, axes = _axes(xlabel, ylabel)
    values = np.concatenate((kept, dropped))
    top = max([float(np.quantile(values, 0.995)), *limits] if len(values) else [1.0, *limits])
    low = min([float(values.min()), *limits] if len(values) else [0.0, *limits])
    bins = np.linspace(low, top if top > low else low + 1, 41)
    parts = [part.clip(max=bins[-1]) for part in (kept, dropped)]
    axes.hist(parts, bins.tolist(), stacked=True, color=[TRAINED, PIXELS], histtype="stepfilled")
    for limit in limits:
        axes.axvline(limit, color=INK, linewidth=1, linestyle=":", label=f"limit {limit:g}")
    if limits:
        _legend(figure)
    return _uri(figure)
