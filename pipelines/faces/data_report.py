"""data_report: one self-contained page about the data, before anything is trained on it.

in   data/ (photos, faces, aligned, rejects, clean), sections `data_report` and `clean` (the limits that are drawn) of
     params.yaml
out  results/data.html  what arrived on each date, how the set grew, what was measured, galleries of faces and rejects
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from facelib import figures, pages, partitions, sections
from facelib.cleaning import RULES
from facelib.partitions import Row
from facelib.whole import measure
from params import load
from params.clean import Params as Limits
from params.data_report import Params

DATA, PAGE = Path("data"), Path("results/data.html")
AXES = {
    "probability": "detector's probability",
    "face_px": "side of the face in the photograph, px",
    "cut_off": "share of the face outside the photograph",
    "brightness": "mean grey of the face",
    "contrast": "deviation of grey",
    "sharpness": "detail as share of the contrast",
    "yaw": "turn to the side, degrees",
    "pitch": "turn up or down, degrees",
}
"""What align measures on a face, as the axis of its histogram names it."""
MISFIT = "misfit of the name (more like another person: > 0)"


def growth(table: list[Row]) -> str:
    """Photographs and kept faces, summed up over the arrival dates."""
    dates = [row["partition"] for row in table[:-1]]
    return figures.growth(dates, {name: [row[name] for row in table[:-1]] for name in ("photographs", "kept")})


def measurements(aligned: list[Row], clean: list[Row], limits: Limits) -> list[str]:
    """A histogram of each measurement, of kept and dropped faces, with the limits of clean as lines."""
    kept = {row["key"] for row in clean if row["keep"]}
    mask = np.array([row["key"] in kept for row in aligned], bool)
    drawn = []
    for name, axis in AXES.items():
        values = np.abs(np.array([row[name] for row in aligned], np.float64))
        lines = sorted({float(getattr(limits, rule.limit)) for rule in RULES if rule.measure == name})
        drawn.append(figures.measurement(values[mask], values[~mask], lines, axis))
    known = [row for row in clean if row["misfit"] is not None]
    parts = [np.array([row["misfit"] for row in known if row["keep"] == keep], np.float64) for keep in (True, False)]
    return [*drawn, figures.measurement(*parts, [limits.max_misfit], MISFIT)]


def faces_per_identity(clean: list[Row]) -> str:
    """How many faces people have left."""
    counts = Counter(row["identity"] for row in clean if row["keep"])
    return figures.measurement(
        np.array(list(counts.values()), np.float64), np.empty(0), [], "kept faces of a person", "people"
    )


def by_date(clean: list[Row], params: Params) -> list[Row]:
    """Galleries of the latest dates' kept faces, the latest first."""
    dates = sorted({row["partition"] for row in clean})[-params.dates :]
    groups = []
    for date in reversed(dates):
        rows = [row for row in clean if row["partition"] == date]
        count = sum(row["keep"] for row in rows)
        groups.append({"title": date, "count": count, "pictures": sections.kept(DATA, rows, params.faces, params.seed)})
    return groups


def main() -> None:
    """Read, choose, draw, fill the template."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params, limits = load(Params, "data_report"), load(Limits, "clean")
    photos = sections.read_all(DATA / "photos", ["path", "identity"])
    faces = sections.read_all(DATA / "faces", ["path", "face", "box", "landmarks", "probability"])
    aligned = sections.read_all(DATA / "aligned", ["key", "path", *AXES])
    clean = list(partitions.read(DATA / "clean.parquet", batch=4096))
    rejects = sections.read_rejects(DATA)
    table = sections.data_table(photos, faces, clean, rejects)
    page = pages.render(
        "data.html.jinja",
        measured=measure(clean, sum(map(len, rejects.values()))),
        table=table,
        arrived=sections.arrived(table),
        growth=[growth(table), faces_per_identity(clean)],
        measurements=measurements(aligned, clean, limits),
        detections=sections.detections(DATA, photos, faces, aligned, params.photographs, params.seed),
        dates=by_date(clean, params),
        rejects=sections.rejected(DATA, photos, rejects, params.rejects, params.seed),
        dropped=sections.dropped(DATA, clean, params.rejects, params.seed),
    )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print(f"data_report: {PAGE}, {len(page) / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
