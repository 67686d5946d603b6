"""datadiff: what two runs' data differ in, as a table and as a page with pictures.

usage: python datadiff.py BEFORE AFTER --out datadiff.html

BEFORE and AFTER are this pipeline's folder as two runs left it: source.json, data/rejects, data/clean.parquet, and of
data/photos the partitions of which pictures are shown. Where some are not there, the exit status is 3 and the files
that are needed stand on standard output, one a line.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from facelib import differences, pages, partitions, pictures
from facelib.differences import Change, Photos
from facelib.needs import need
from facelib.partitions import Row


def tables(folder: Path) -> list[Path]:
    """The small files that a comparison reads of a run."""
    names = sorted(json.loads((folder / "source.json").read_text())["partitions"])
    folders = [folder / "data/rejects" / stage for stage in partitions.STAGES_THAT_REJECT]
    return [folder / "data/clean.parquet", *(partitions.file(place, name) for place in folders for name in names)]


def counts(before: Photos, after: Photos, kinds: dict[str, list[Change]]) -> list[Row]:
    """A row for each arrival date, and one for all: photographs before and after, and changes of each kind."""
    by_kind = {kind: Counter(change.photo.partition for change in changes) for kind, changes in kinds.items()}
    was, now = (Counter(partition for partition, _ in photos) for photos in (before, after))
    shown = {"before": was, "after": now, **{kind: count for kind, count in by_kind.items() if count}}
    rows: list[Row] = [
        {"partition": name, **{kind: count[name] for kind, count in shown.items()}} for name in sorted({*was, *now})
    ]
    return [*rows, {"partition": "all", **{kind: count.total() for kind, count in shown.items()}}]


def caption(change: Change) -> str:
    """The photograph, and what is different about it."""
    before, after, photo = change.before, change.after, change.photo
    parts = [photo.path]
    if before and after and before.identity != after.identity:
        parts.append(f"{before.identity or 'no name'} → {after.identity or 'no name'}")
    if before and after and before.verdict != after.verdict:
        parts.append(f"{before.verdict or 'kept'} → {after.verdict or 'kept'}")
        parts.append(after.detail)
    elif photo.verdict and not (before and after):
        parts.append(photo.verdict)
    return "; ".join(part for part in parts if part)


def home(change: Change, folders: tuple[Path, Path]) -> Path | None:
    """The file that holds the picture; None where download did not take it."""
    photo = change.photo
    if photo.verdict.startswith("download: "):
        return None
    return partitions.file(folders[1 if change.after else 0] / "data/photos", photo.partition)


def groups(kinds: dict[str, list[Change]], folders: tuple[Path, Path], most: int) -> list[Row]:
    """Examples of each kind of change, with pictures."""
    chosen = {kind: evenly(changes, most) for kind, changes in kinds.items() if changes}
    need(file for changes in chosen.values() for change in changes if (file := home(change, folders)))
    wanted: dict[Path, set[str]] = {}
    for changes in chosen.values():
        for change in changes:
            if file := home(change, folders):
                wanted.setdefault(file, set()).add(change.photo.path)
    images = {
        (file, path): image
        for file, paths in wanted.items()
        for (_, path), image in pictures.fetch(file.parent, "path", {file.stem: paths}).items()
    }
    result = []
    for kind, changes in chosen.items():
        examples = []
        for change in changes:
            file = home(change, folders)
            image = images.get((file, change.photo.path)) if file else None
            examples.append({"picture": pictures.photograph(image, 140) if image else None, "caption": caption(change)})
        result.append({"title": kind, "count": len(kinds[kind]), "examples": examples})
    return result


def evenly(changes: list[Change], most: int) -> list[Change]:
    """At most so many of them, from the first to the last."""
    step = max(1, -(-len(changes) // most))
    return changes[::step]


def printed(rows: list[Row]) -> str:
    """The rows as a table of plain text."""
    lines = [[str(name) for name in rows[0]], *([str(value) for value in row.values()] for row in rows)]
    first, *widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))])
        for name, *cells in lines
    )


def named(people: list[str]) -> str:
    """The first of some people, and how many more."""
    first = people[:12]
    more = f" and {len(people) - len(first)} more" if len(people) > len(first) else ""
    return f": {', '.join(first)}{more}" if people else ""


def main() -> None:
    """Read both, compare, print, fill the template."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--names", nargs=2, default=("before", "after"), help="what the two are called on the page")
    parser.add_argument("--out", type=Path, required=True, help="the page to write")
    parser.add_argument("--most", type=int, default=24, help="pictures of each kind of change (24)")
    args = parser.parse_args()
    folders = args.before, args.after
    need(folder / "source.json" for folder in folders)  # it names the tables
    need(file for folder in folders for file in tables(folder))
    before, after = (differences.read(folder) for folder in folders)
    kinds = differences.compare(before, after)
    rows, shown = counts(before, after, kinds), groups(kinds, folders, args.most)
    were, are = differences.people(before), differences.people(after)
    people = {"added": sorted(are - were), "removed": sorted(were - are)}
    page = pages.render("datadiff.html.jinja", names=args.names, rows=rows, people=people, groups=shown)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page, encoding="utf-8")
    print(printed(rows))
    for what, names in people.items():
        print(f"people {what}: {len(names)}{named(names)}")
    print(f"datadiff: {args.out}", flush=True)


if __name__ == "__main__":
    main()
