"""Numbers with an interval: a stage that writes NAME, NAME_low and NAME_high means one number and its span."""

from collections.abc import Iterable, Mapping

ENDS = ("_low", "_high")


def without_ends(names: Iterable[str]) -> list[str]:
    """The names that are no end of another's span, in their order."""
    known = list(names)
    spans = {name: {name + end for end in ENDS} for name in known}
    ends = set().union(*(span for span in spans.values() if span <= spans.keys()))
    return [name for name in known if name not in ends]


def joined(metrics: Mapping[str, float]) -> dict[str, str]:
    """Each number as people read it, with its span behind it where it has one: ``0.982 (0.951 to 0.996)``."""
    told = {}
    for name in without_ends(metrics):
        span = [metrics[name + end] for end in ENDS if name + end in metrics]
        told[name] = f"{metrics[name]:.6g}" + (f" ({span[0]:.4g} to {span[1]:.4g})" if len(span) == 2 else "")
    return told
