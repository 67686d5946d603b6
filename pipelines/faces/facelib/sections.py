"""Parts of a page about the data: what arrived, what was found in it, what was dropped and why.

`data` is the folder that holds photos/, faces/, aligned/, rejects/ and clean.parquet. An example is a picture (data
URI, None where there is none) and its caption; a group is examples under a title, with the number of all there are.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from facelib import partitions, pictures
from facelib.partitions import Row


def read_all(folder: Path, columns: list[str]) -> list[Row]:
    """Rows of every partition in `folder`, `partition` added; images are never among the columns."""
    return [
        {"partition": name, **row}
        for name in sorted(path.stem for path in folder.glob("*.parquet"))
        for row in partitions.read(partitions.file(folder, name), columns, batch=4096)
    ]


def read_rejects(data: Path) -> dict[str, list[Row]]:
    """The reject tables of all stages that have one, by stage."""
    return {
        stage: read_all(data / "rejects" / stage, ["path", "reason", "detail"])
        for stage in partitions.STAGES_THAT_REJECT
    }


def sample(rows: list[Row], count: int, seed: int) -> list[Row]:
    """`count` of `rows` at random but always the same, in their own order."""
    chosen = random.Random(seed).sample(range(len(rows)), min(count, len(rows)))
    return [rows[index] for index in sorted(chosen)]


def fetch(folder: Path, column: str, rows: Iterable[Row]) -> dict[tuple[str, str], bytes]:
    """The encoded images in `folder` of `rows`, by (partition, value of `column`)."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        wanted[row["partition"]].add(row[column])
    return pictures.fetch(folder, column, wanted)


def by_reason(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Rows by their `reason`, the most frequent first."""
    counts = Counter(row["reason"] for row in rows)
    order = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return [(reason, [row for row in rows if row["reason"] == reason]) for reason in order]


def data_table(photos: list[Row], faces: list[Row], clean: list[Row], rejects: Mapping[str, list[Row]]) -> list[Row]:
    """What arrived on each date and what became of it, and all together."""
    tables = {
        "photographs": Counter(row["partition"] for row in photos),
        "faces found": Counter(row["partition"] for row in faces),
        "aligned": Counter(row["partition"] for row in clean),
        "kept": Counter(row["partition"] for row in clean if row["keep"]),
        **{f"{stage} rejects": Counter(row["partition"] for row in rows) for stage, rows in rejects.items()},
    }
    people: dict[str, set[str | None]] = defaultdict(set)
    for row in photos:
        people[row["partition"]].add(row["identity"])
    rows: list[Row] = []
    seen: set[str | None] = {None}
    for name in sorted(set().union(*tables.values())):
        new = people[name] - seen
        seen |= new
        counts = {"people": len(people[name] - {None}), "new people": len(new)}
        rows.append({"partition": name, **counts, **{key: table[name] for key, table in tables.items()}})
    everyone = {"people": len(seen) - 1, "new people": len(seen) - 1}
    return [*rows, {"partition": "all", **everyone, **{key: table.total() for key, table in tables.items()}}]


def arrived(table: list[Row]) -> str:
    """What a `data_table` is of, in words."""
    dates = [row["partition"] for row in table[:-1]]
    when = f"on {len(dates)} dates, {dates[0]} to {dates[-1]}" if len(dates) > 1 else "".join(dates)
    count = table[-1]["photographs"] + table[-1]["download rejects"]
    return f"{count:,} photographs that arrived {when}".strip()


def detections(data: Path, photos: list[Row], faces: list[Row], aligned: list[Row], count: int, seed: int) -> list[Row]:
    """Photographs with their boxes: half with several faces where there are any."""
    side = {(row["partition"], row["path"]): row["face_px"] for row in aligned}
    found = defaultdict(list)
    for row in faces:
        found[row["partition"], row["path"]].append(row)
    for place in side.keys() & found.keys():
        # align notes the size of the box it took, not its number
        min(found[place], key=lambda face: abs(box_side(face["box"]) - side[place]))["labelled"] = True
    with_faces = [row for row in photos if (row["partition"], row["path"]) in found]
    several = [row for row in with_faces if len(found[row["partition"], row["path"]]) > 1]
    one = [row for row in with_faces if len(found[row["partition"], row["path"]]) == 1]
    chosen = sample(several, count // 2, seed)
    chosen += sample(one, count - len(chosen), seed)
    images = fetch(data / "photos", "path", chosen)
    examples = []
    for row in chosen:
        key = row["partition"], row["path"]
        probabilities = ", ".join(f"{face['probability']:.3f}" for face in found[key])
        caption = f"{row['identity'] or 'no name'}: {probabilities}"
        examples.append({"picture": pictures.photograph(images[key], 280, found[key]), "caption": caption})
    return examples


def box_side(box: list[float]) -> float:
    """Root of the area of a box, px."""
    x1, y1, x2, y2 = box
    return math.sqrt(max(0.0, x2 - x1) * max(0.0, y2 - y1))


def rejected(data: Path, photos: list[Row], rejects: Mapping[str, list[Row]], each: int, seed: int) -> list[Row]:
    """Groups of photographs that a stage could not use, by stage and reason, most frequent first."""
    known = {(row["partition"], row["path"]) for row in photos}
    groups = []
    for stage, rows in rejects.items():
        for reason, all_rows in by_reason(rows):
            chosen = sample(all_rows, each, seed)
            images = fetch(data / "photos", "path", [r for r in chosen if (r["partition"], r["path"]) in known])
            examples = []
            for row in chosen:
                image = images.get((row["partition"], row["path"]))
                picture = pictures.photograph(image, 140) if image else None
                examples.append({"picture": picture, "caption": f"{row['path']}: {row['detail']}"})
            groups.append({"title": f"{stage}: {reason}", "count": len(all_rows), "examples": examples})
    return groups


def dropped(data: Path, clean: list[Row], each: int, seed: int) -> list[Row]:
    """Groups of faces that clean dropped, by reason, with what was measured."""
    groups = []
    for reason, rows in by_reason([row for row in clean if not row["keep"]]):
        chosen = sample(rows, each, seed)
        images = fetch(data / "aligned", "key", chosen)
        examples = [
            {"picture": pictures.face(images[row["partition"], row["key"]], 96), "caption": decision(row)}
            for row in chosen
        ]
        groups.append({"title": f"clean: {reason}", "count": len(rows), "examples": examples})
    return groups


def decision(row: Row) -> str:
    """The number that a face was dropped for, as far as its reason has one."""
    if row["measured"] is None:
        return row["identity"] or "no name"
    measured, limit = row["measured"], row["threshold"]
    for digits in range(3, 8):  # 29.97 is not to read as 30 beside a limit of 30
        number, beside = f"{measured:.{digits}g}", f"{limit:.{digits}g}"
        if number != beside or measured == limit:
            break
    return f"{number} (limit {limit:.7g})"


def kept(data: Path, clean: list[Row], count: int, seed: int) -> list[str]:
    """Pictures of faces that clean kept."""
    gallery = sample([row for row in clean if row["keep"]], count, seed)
    images = fetch(data / "aligned", "key", gallery)
    return [pictures.face(images[row["partition"], row["key"]], 72) for row in gallery]
