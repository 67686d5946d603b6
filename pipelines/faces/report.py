"""report: one self-contained page that shows what the run saw, dropped, learned and got wrong.

in   data/ (photos, faces, aligned, rejects, clean, split), results/ (training.csv, metrics.json, pairs.parquet,
     export.json), section `report` of params.yaml
out  results/report.html  opens anywhere: pictures and curves are inside, nothing is fetched
"""

import argparse
import csv
import json
import math
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from facelib import figures, partitions, pictures, verification
from params import load
from params.report import Params

DATA, RESULTS = Path("data"), Path("results")
PHOTOS, FACES, ALIGNED, REJECTS = DATA / "photos", DATA / "faces", DATA / "aligned", DATA / "rejects"
STAGES_THAT_REJECT = ("download", "detect", "align")

COLUMNS = {"model": "score", "raw pixels": "score_pixels", "untrained network": "score_untrained"}
"""The scores in results/pairs.parquet, by their names on the page."""

Row = dict[str, Any]


def read_all(folder: Path, columns: list[str]) -> list[Row]:
    """Rows of every partition in `folder`, `partition` added; images are never among the columns."""
    return [
        {"partition": name, **row}
        for name in sorted(path.stem for path in folder.glob("*.parquet"))
        for row in partitions.read(partitions.file(folder, name), columns)
    ]


def sample(rows: list[Row], count: int, params: Params) -> list[Row]:
    """`count` of `rows` at random but always the same, in their own order."""
    chosen = random.Random(params.seed).sample(range(len(rows)), min(count, len(rows)))
    return [rows[index] for index in sorted(chosen)]


def by_partition(rows: list[Row], column: str) -> dict[str, set[str]]:
    """Values of `column` that are wanted of each partition."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        wanted[row["partition"]].add(row[column])
    return wanted


def data_section(photos: list[Row], faces: list[Row], clean: list[Row], rejects: dict[str, list[Row]]) -> Row:
    """What arrived on each date and what became of it."""
    tables = {
        "photographs": Counter(row["partition"] for row in photos),
        "faces found": Counter(row["partition"] for row in faces),
        "aligned": Counter(row["partition"] for row in clean),
        "kept": Counter(row["partition"] for row in clean if row["keep"]),
        **{f"{stage} rejects": Counter(row["partition"] for row in rows) for stage, rows in rejects.items()},
    }
    names = sorted(set().union(*tables.values()))
    people = {name: len({row["identity"] for row in photos if row["partition"] == name} - {None}) for name in names}
    rows = [
        {"partition": name, "people": people[name], **{key: table[name] for key, table in tables.items()}}
        for name in names
    ]
    total = {"partition": "all", "people": len({row["identity"] for row in photos} - {None})}
    return {"rows": [*rows, {**total, **{key: table.total() for key, table in tables.items()}}]}


def detection_section(params: Params, photos: list[Row], faces: list[Row], aligned: list[Row]) -> list[Row]:
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
    chosen = sample(several, params.photographs // 2, params)
    chosen += sample(one, params.photographs - len(chosen), params)
    images = pictures.fetch(PHOTOS, "path", by_partition(chosen, "path"))
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


def reject_section(params: Params, photos: list[Row], rejects: dict[str, list[Row]]) -> list[Row]:
    """Photographs that a stage could not use, by stage and reason, most frequent first."""
    known = {(row["partition"], row["path"]) for row in photos}
    groups = []
    for stage, rows in rejects.items():
        for reason, count in sorted(
            Counter(row["reason"] for row in rows).items(), key=lambda item: (-item[1], item[0])
        ):
            chosen = sample([row for row in rows if row["reason"] == reason], params.rejects, params)
            shown = [row for row in chosen if (row["partition"], row["path"]) in known]
            images = pictures.fetch(PHOTOS, "path", by_partition(shown, "path"))
            examples = []
            for row in chosen:
                data = images.get((row["partition"], row["path"]))
                picture = pictures.photograph(data, 140) if data else None
                examples.append({"picture": picture, "caption": f"{row['path']}: {row['detail']}"})
            groups.append({"stage": stage, "reason": reason, "count": count, "examples": examples})
    return groups


def clean_section(params: Params, clean: list[Row]) -> tuple[list[str], list[Row]]:
    """A gallery of the kept faces, and the dropped ones by reason with what was measured."""
    gallery = sample([row for row in clean if row["keep"]], params.faces, params)
    images = pictures.fetch(ALIGNED, "key", by_partition(gallery, "key"))
    kept = [pictures.face(images[row["partition"], row["key"]], 72) for row in gallery]
    dropped = [row for row in clean if not row["keep"]]
    groups = []
    for reason, count in sorted(
        Counter(row["reason"] for row in dropped).items(), key=lambda item: (-item[1], item[0])
    ):
        chosen = sample([row for row in dropped if row["reason"] == reason], params.rejects, params)
        images = pictures.fetch(ALIGNED, "key", by_partition(chosen, "key"))
        examples = [
            {
                "picture": pictures.face(images[row["partition"], row["key"]], 96),
                "caption": f"{row['measured']:.3g} (limit {row['threshold']:.3g})",
            }
            for row in chosen
        ]
        groups.append({"stage": "clean", "reason": reason, "count": count, "examples": examples})
    return kept, groups


def split_section(split: list[Row]) -> list[Row]:
    """Identities and faces of each subset."""
    return [
        {
            "subset": subset,
            "people": len({row["identity"] for row in split if row["subset"] == subset}),
            "faces": sum(row["subset"] == subset for row in split),
        }
        for subset in ("train", "val", "test")
    ]


def training_section() -> Row:
    """The curves of results/training.csv."""
    with (RESULTS / "training.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return {
        "loss": figures.curve(rows, {"loss": "loss"}, "training loss"),
        "validation": figures.curve(rows, {"val_auc": "AUC", "val_accuracy": "accuracy"}, "validation pairs"),
        "rate": figures.curve(rows, {"learning_rate": "rate"}, "learning rate"),
        "norm": figures.curve(rows, {"gradient_norm": "norm"}, "gradient norm"),
    }


def verification_section(params: Params, pairs: list[Row], split: list[Row]) -> Row:
    """ROC, histogram and the pairs that the model gets most wrong."""
    same = np.array([row["same"] for row in pairs])
    scores = {name: np.array([row[column] for row in pairs]) for name, column in COLUMNS.items()}
    threshold, _ = verification.best_threshold(scores["model"], same)
    order = sorted(pairs, key=lambda row: (row["score"], row["key_a"], row["key_b"]))
    hardest = {
        "same": [row for row in order if row["same"]][: params.pairs],
        "different": [row for row in reversed(order) if not row["same"]][: params.pairs],
    }
    place = {row["key"]: row for row in split}
    faces = [place[row[end]] for rows in hardest.values() for row in rows for end in ("key_a", "key_b")]
    images = pictures.fetch(ALIGNED, "key", by_partition(faces, "key"))

    def shown(row: Row) -> Row:
        ends = [place[row[end]] for end in ("key_a", "key_b")]
        return {
            "pictures": [pictures.face(images[end["partition"], end["key"]], 88) for end in ends],
            "names": list(dict.fromkeys(end["identity"] for end in ends)),
            "score": row["score"],
        }

    return {
        "roc": figures.roc(scores, same),
        "histogram": figures.histogram(scores["model"], same, threshold),
        "hardest": {kind: [shown(row) for row in rows] for kind, rows in hardest.items()},
    }


def main() -> None:
    """Read, choose, draw, fill the template."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "report")
    photos = read_all(PHOTOS, ["path", "identity"])
    faces = read_all(FACES, ["path", "face", "box", "landmarks", "probability"])
    aligned = read_all(ALIGNED, ["path", "face_px"])
    rejects = {stage: read_all(REJECTS / stage, ["path", "reason", "detail"]) for stage in STAGES_THAT_REJECT}
    clean = list(partitions.read(DATA / "clean.parquet"))
    split = list(partitions.read(DATA / "split.parquet"))
    pairs = list(partitions.read(RESULTS / "pairs.parquet"))
    kept, dropped = clean_section(params, clean)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader("."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        metrics=json.loads((RESULTS / "metrics.json").read_text()),
        export=json.loads((RESULTS / "export.json").read_text()),
        data=data_section(photos, faces, clean, rejects),
        detections=detection_section(params, photos, faces, aligned),
        kept=kept,
        rejects=[*reject_section(params, photos, rejects), *dropped],
        split=split_section(split),
        training=training_section(),
        verification=verification_section(params, pairs, split),
    )
    (RESULTS / "report.html").write_text(page, encoding="utf-8")
    print(f"report: results/report.html, {len(page) / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
