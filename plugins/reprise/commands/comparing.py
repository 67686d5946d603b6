"""What differs between recorded runs: code, parameters, data, metrics; from git alone."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reprise import git
from reprise.errors import BadInput
from reprise.pipeline import params
from reprise.run.records import Record
from reprise.sources import inbox

ABSENT = "–"
_MOST_FILES = 12


@dataclass(frozen=True)
class Table:
    """Rows of one kind: a name, and a value for each run."""

    title: str
    rows: dict[str, tuple[str, ...]]
    """What differs."""
    alike: dict[str, str]
    """What is the same in all runs."""

    @classmethod
    def of(cls, title: str, rows: dict[str, tuple[str, ...]]) -> "Table":
        """From all rows, those that differ and those that do not."""
        differing = {name: values for name, values in rows.items() if len(set(values)) > 1}
        return cls(title, differing, {n: values[0] for n, values in rows.items() if n not in differing})


def compare(records: Sequence[Record]) -> list[Table]:
    """The runs' tables, in the order people ask: what are they, what was changed, what came of it.

    :raises BadInput: where there are fewer than two, or they are of several pipelines.
    """
    if len({record.commit for record in records}) < 2:
        raise BadInput("it takes two runs to compare", 'make compare RUNS="RUN OTHER", such as make status lists')
    if len(pipelines := {record.pipeline for record in records}) > 1:
        raise BadInput(
            f"these are runs of {len(pipelines)} pipelines: {', '.join(sorted(pipelines))}", "compare runs of one"
        )
    return [
        Table.of("run", _abouts(records)),
        Table.of("code", _code(records)),
        Table.of("parameters", _by_name(records, lambda r: r.params, params.shown)),
        Table.of("data", _data(records)),
        Table.of("metrics", _metrics(records)),
    ]


def _abouts(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    return {
        "record": tuple(record.commit[:12] for record in records),
        "inbox": tuple(record.inbox or ABSENT for record in records),
        "as of": tuple(str(record.about.get("as_of") or "everything") for record in records),
    }


def _code(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Revisions, images, and the files that changed since the first run's revision."""
    revisions = [str(record.about["revision"]) for record in records]
    said = [git.git(records[0].repo, "log", "-1", "--format=%h %s", revision) for revision in revisions]
    changed = [git.git(records[0].repo, "diff", "--name-only", revisions[0], other).split("\n") for other in revisions]
    return {
        "revision": tuple(said),
        **({"files changed since the first": tuple(map(_few, changed))} if any(map(any, changed)) else {}),
        "image": tuple(_few(sorted(set(record.about.get("images", {}).values()))) for record in records),
    }


def _few(names: Sequence[str]) -> str:
    """Names, one a line, the last ones counted where there are many."""
    found = [name for name in names if name]
    more = [f"and {len(found) - _MOST_FILES} more"] if len(found) > _MOST_FILES else []
    return "\n".join(found[:_MOST_FILES] + more) or ABSENT


def _data(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """What was in the inbox, and each output's hash, files and bytes."""
    listed = {"inbox": tuple(_inbox(record) for record in records)}
    return listed | _by_name(records, lambda r: r.outs, _out)


def _inbox(record: Record) -> str:
    total = inbox.total(record.listing)
    return str(total) if total.files else ABSENT


def _out(out: dict[str, Any]) -> str:
    files = f"{out['nfiles']} files, " if "nfiles" in out else ""
    return f"{out.get('md5', ABSENT)[:8]}  {files}{out.get('size', 0):,} bytes"


def _metrics(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """All metrics; behind each but the first run's, how much it differs from the first's."""
    values = [record.metrics for record in records]

    def cell(name: str, run: dict[str, float]) -> str:
        if name not in run:
            return ABSENT
        change = run[name] - values[0][name] if name in values[0] else 0
        return f"{run[name]:.6g}" + (f" ({change:+.3g})" if change and math.isfinite(change) else "")

    return {name: tuple(cell(name, run) for run in values) for name in sorted({n for run in values for n in run})}


def _by_name(
    records: Sequence[Record], of: Callable[[Record], dict[str, Any]], show: Callable[[Any], str]
) -> dict[str, tuple[str, ...]]:
    """Every name that any run has, with each run's value as text."""
    values = [of(record) for record in records]
    names: Iterable[str] = dict.fromkeys(name for run in values for name in run)
    return {name: tuple(show(run[name]) if name in run else ABSENT for run in values) for name in names}
