"""gallery: a page with the pictures of a Parquet file (or folder of them) that a stage of the data wrote.

usage: python gallery.py data/aligned/2026-11-01.parquet --out gallery.html

Shows photos, faces, aligned, rejects/STAGE, clean and split, whatever the columns tell. A table that has no pictures
itself (faces, rejects, clean, split) takes them from data/photos or data/aligned beside it; where they are not there,
the exit status is 3 and the files that are needed stand on standard output, one a line.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq

from facelib import pages, partitions, pictures, sections
from facelib.needs import need
from facelib.partitions import Row

NOT_SHOWN = {"image", "texture", "fingerprint"}


def tables(path: Path) -> list[Path]:
    """The Parquet files that `path` names. Raises SystemExit where there is none."""
    found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not found or not all(file.is_file() for file in found):
        raise SystemExit(f"{path} is no Parquet file and no folder of them; see data/ for what there is")
    return found


def read(files: list[Path]) -> tuple[list[Row], set[str]]:
    """Their rows without pictures, each with its `partition`, and the columns they have."""
    columns: set[str] = set(pq.ParquetFile(files[0]).schema_arrow.names)
    wanted = sorted(columns - NOT_SHOWN)
    rows = [{"partition": file.stem, **row} for file in files for row in partitions.read(file, wanted, batch=4096)]
    return rows, columns


def data_folder(path: Path) -> Path:
    """The folder data/ that the table lies in, or the folder above it where nothing is called so."""
    return next((parent for parent in path.resolve().parents if parent.name == "data"), path.resolve().parent)


def source(path: Path, columns: set[str]) -> tuple[Path, str]:
    """The folder that has the pictures of a table's rows, and the column that finds them there."""
    if "image" in columns:
        return (path if path.is_dir() else path.parent), "key" if "key" in columns else "path"
    return (data_folder(path) / "aligned", "key") if "key" in columns else (data_folder(path) / "photos", "path")


def group_of(row: Row) -> str:
    """Under which title a row is shown: why it was rejected or dropped, its subset or its person."""
    if row.get("reason"):
        return str(row["reason"])
    return str(row.get("subset") or row.get("identity") or "no name")


def caption(row: Row) -> str:
    """What is known of a row that has no group of its own to say it."""
    parts = [row.get("path", "").rsplit("/", 1)[-1], row.get("detail") or ""]
    if row.get("measured") is not None:
        parts.append(sections.decision(row))
    parts += [f"{name} {row[name]:.3g}" for name in ("probability", "sharpness", "yaw") if row.get(name) is not None]
    return ", ".join(part for part in parts if part)


def one_per_picture(rows: list[Row]) -> list[Row]:
    """A photograph with several faces is one row that has them all as `found`."""
    if not rows or "box" not in rows[0]:
        return rows
    by_photo: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_photo[row["partition"], row["path"]].append(row)
    return [{**found[0], "found": found} for found in by_photo.values()]


def groups(rows: list[Row], folder: Path, column: str) -> list[Row]:
    """The rows with their pictures, in groups, those of one reason or person together."""
    images = sections.fetch(folder, column, rows)
    by_group: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        image = images.get((row["partition"], row[column]))
        by_group[group_of(row)].append({"picture": picture(row, image, column), "caption": caption(row)})
    return [{"title": title, "count": len(shown), "examples": shown} for title, shown in sorted(by_group.items())]


def picture(row: Row, image: bytes | None, column: str) -> str | None:
    """The row's picture as a data URI; None where there is none, or none that can be decoded."""
    if image is None:
        return None
    return pictures.face(image, 96) if column == "key" else pictures.photograph(image, 180, row.get("found", ()))


def main() -> None:
    """Read, see that the pictures are there, choose, fill the template."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a Parquet file, or a folder of them")
    parser.add_argument("--out", type=Path, required=True, help="the page to write")
    parser.add_argument("--name", help="what the page calls them (their path)")
    parser.add_argument("--most", type=int, default=300, help="show so many rows at most, evenly chosen (300)")
    args = parser.parse_args()
    rows, columns = read(tables(args.data))
    if not columns & {"key", "path"}:
        raise SystemExit(f"{args.data} has neither key nor path: its rows are no faces and no photographs")
    folder, column = source(args.data, columns)
    rows = one_per_picture(rows)
    shown = sections.sample(rows, args.most, 1)
    need(partitions.file(folder, row["partition"]) for row in shown)
    page = pages.render(
        "gallery.html.jinja", name=args.name or str(args.data), count=len(rows), groups=groups(shown, folder, column)
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page, encoding="utf-8")
    print(f"gallery: {args.out}, {len(shown)} of {len(rows)} pictures, {len(page) / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
