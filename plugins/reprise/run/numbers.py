"""A run's numbers as people read them: each with its interval, and those first that the pipeline says matter most.

A stage that writes NAME, NAME_low and NAME_high means one number and its interval.
"""

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from reprise.pipeline.stages import Pipeline, Stage

ENDS = ("_low", "_high")


def as_json(value: float) -> float | str:
    """A number for JSON, which has no NaN and no infinity: ``NaN``, ``Infinity``, ``-Infinity``, as MLflow reads them."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def to_json(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metrics as JSON values."""
    return {name: as_json(value) for name, value in metrics.items()}


def from_json(metrics: Mapping[str, float | str]) -> dict[str, float]:
    """The inverse of :func:`to_json`."""
    return {name: float(value) for name, value in metrics.items()}


def without_ends(names: Iterable[str]) -> list[str]:
    """The names that are no end of another's interval, in their order."""
    known = list(names)
    ends = {name + end for name in _with_interval(known) for end in ENDS}
    return [name for name in known if name not in ends]


def _with_interval(names: Iterable[str]) -> list[str]:
    known = list(names)
    return [name for name in known if {name + end for end in ENDS} <= {*known}]


def headline(pipeline: Pipeline, names: Iterable[str]) -> list[str]:
    """The numbers to look at first: those that stages name in ``meta: headline``, in that order.

    Where there is none of them: those with an interval; where none has one, all.
    """
    known = list(names)
    wanted = [(stage, pattern) for stage in pipeline.stages for pattern in stage.meta.headline]
    shown = without_ends(known)
    named = [name for stage, pattern in wanted for name in shown if fnmatchcase(_own(stage, name), pattern)]
    return list(dict.fromkeys(named)) or _with_interval(known) or without_ends(known)


def _own(stage: Stage, name: str) -> str:
    """What a stage itself calls a number that is recorded as ``FILE:NAME``, since other files have one of this name."""
    file, _, own = name.rpartition(":")
    return own if any(out.path == file for out in stage.outs) else name


def with_interval(metrics: Mapping[str, float], name: str) -> str:
    """A number as people read it, with its interval behind it where it has one: ``0.982 (0.951 to 0.996)``."""
    ends = [metrics[name + end] for end in ENDS if name + end in metrics]
    return f"{metrics[name]:.6g}" + (f" ({ends[0]:.4g} to {ends[1]:.4g})" if len(ends) == len(ENDS) else "")


def lines(pipeline: Pipeline, known: Mapping[str, float], others: str) -> list[str]:
    """A line for each number to look at first, and one for all the others.

    :param others: where they are.
    """
    first = headline(pipeline, known)
    width = max(map(len, first), default=0)
    told = [f"{name:<{width}}  {with_interval(known, name)}" for name in first]
    more = len(without_ends(known)) - len(first)
    return told + ([f"and {more} more: {others}"] if more else [])
