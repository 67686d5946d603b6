"""``make compare``: what differs between runs, as tables in the terminal and as a page."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from reprise.commands import curves
from reprise.commands.comparing import Table, compare
from reprise.errors import RepriseError
from reprise.folders import slug
from reprise.run import records
from reprise.run.records import Record
from reprise.settings import Settings

_TEMPLATE = Path(__file__).with_name("compare.html.jinja")


def show(settings: Settings, names: Sequence[str], console: Console) -> Path:
    """Compare runs, named by id, record name or commit; returns the page.

    :raises BadInput: where a name is no run's, or they cannot be compared.
    """
    found = [records.find(settings.origin, name) for name in names]
    tables = compare(found)
    for table in tables:
        _print(table, found, console)
    page = settings.var / "compare" / f"{slug('--'.join(record.name for record in found))}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_page(settings, found, tables))
    return page


def _print(table: Table, found: Sequence[Record], console: Console) -> None:
    if table.rows:
        shown = Shown(title=table.title, title_justify="left")
        for column in ("", *(record.name for record in found)):
            shown.add_column(column, overflow="fold")
        for name, values in table.rows.items():
            shown.add_row(name, *values)
        console.print(shown)
    same = f"{len(table.alike)} of {len(table.alike) + len(table.rows)} are the same in all runs"
    console.print(f"{table.title}: {same}\n" if table.alike else "")


def _page(settings: Settings, found: Sequence[Record], tables: Sequence[Table]) -> str:
    import jinja2

    read: list[tuple[str, dict[str, curves.Plot]]] = []
    missing = []
    for record in found:
        try:
            read.append((record.name, curves.read(settings, record)))
        except RepriseError as error:  # the numbers are in git, the plots may be gone with the data
            missing.append(f"no plots of {record.name}: {error}")
    plots = [
        curves.draw([(run, of[path]) for run, of in read if path in of])
        for path in dict.fromkeys(path for _, of in read for path in of)
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_TEMPLATE.read_text()).render(
        pipeline=found[0].pipeline,
        names=[record.name for record in found],
        tables=tables,
        plots=plots,
        missing=missing,
    )
