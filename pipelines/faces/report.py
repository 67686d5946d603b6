"""report: one self-contained page that shows what the run saw, dropped, learned and got wrong.

in   data/ (photos, faces, aligned, rejects, clean, split), results/ (training.csv, metrics.json, pairs.parquet,
     calibration.csv, quality.csv, thresholds.csv, export.json), section `report` of params.yaml
out  results/report.html  opens anywhere: pictures and curves are inside, nothing is fetched
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from facelib import figures, pages, partitions, pictures, sections, verification
from params import load
from params.report import Params

DATA, RESULTS = Path("data"), Path("results")

COLUMNS = {"model": "score", "raw pixels": "score_pixels", "untrained network": "score_untrained"}
"""The scores in results/pairs.parquet, by their names on the page."""

NUMBERS = {
    "verification_accuracy": "accuracy, ten folds",
    "auc": "area under the ROC",
    "eer": "equal error rate",
    **{f"tar_at_far_{limit:g}": f"TAR at FAR {limit:g}" for limit in verification.FARS},
    "rank_1": "rank-1 identification",
    "rank_5": "rank-5 identification",
}
"""The numbers in results/metrics.json that have an interval and baselines, by their names on the page."""

Row = dict[str, Any]


def read_csv(name: str) -> list[Row]:
    """The rows of results/NAME.csv; numbers as float, empty fields as None."""

    def value(text: str) -> str | float | None:
        try:
            return float(text) if text else None
        except ValueError:
            return text

    with (RESULTS / f"{name}.csv").open(newline="") as file:
        return [{column: value(text) for column, text in row.items()} for row in csv.DictReader(file)]


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
    rows = read_csv("training")
    return {
        "loss": figures.curve(rows, {"loss": "loss"}, "training loss"),
        "validation": figures.curve(rows, {"val_auc": "AUC", "val_accuracy": "accuracy"}, "validation pairs"),
        "rate": figures.curve(rows, {"learning_rate": "rate"}, "learning rate"),
        "norm": figures.curve(rows, {"gradient_norm": "norm"}, "gradient norm"),
    }


def numbers_section(metrics: Row) -> list[Row]:
    """The model's numbers with their intervals, beside the baselines'; without those that the pairs cannot say."""
    return [
        {
            "name": name,
            "value": metrics[key],
            "interval": span(metrics.get(f"{key}_low"), metrics.get(f"{key}_high")),
            "pixels": metrics[f"pixels_{key.removeprefix('verification_')}"],
            "untrained": metrics[f"untrained_{key.removeprefix('verification_')}"],
        }
        for key, name in NUMBERS.items()
        if key in metrics
    ]


def span(low: float | None, high: float | None) -> str:
    """An interval in words."""
    return "" if low is None or high is None else f"{low:.3f} – {high:.3f}"


def told(value: float | None) -> float | str:
    """A number, or that there was nothing to make it of."""
    return "no such pairs" if value is None else value


def quality_section() -> list[Row]:
    """The rows of results/quality.csv for people."""
    return [
        {
            "measure": f"{row['measure']}, {row['third']} third",
            "from": f"{row['least']:.3g}",
            "to": f"{row['most']:.3g}",
            "pairs": int(row["pairs"]),
            "AUC": told(row["auc"]),
            "95 % interval": span(row["auc_low"], row["auc_high"]) or "too few people",
            "TAR at the threshold": told(row["tar"]),
            "FAR at the threshold": told(row["far"]),
        }
        for row in read_csv("quality")
    ]


def threshold_section() -> list[Row]:
    """The rows of results/thresholds.csv for people."""
    return [
        {
            "chosen on validation pairs for": "highest accuracy" if row["aim"] is None else f"FAR {row['aim']:g}",
            "threshold": row["threshold"],
            **{
                f"{name} on test pairs": row[key]
                for key, name in (("accuracy", "accuracy"), ("tar", "TAR"), ("far", "FAR"))
            },
        }
        for row in read_csv("thresholds")
    ]


def over_section(metrics: Row) -> list[str]:
    """How much better than the baselines, in words."""
    baselines = {"raw pixels": "auc_over_pixels", "the untrained network": "auc_over_untrained"}
    return [
        f"{metrics[key]:+.3f} above {name}"
        f" ({span(metrics.get(f'{key}_low'), metrics.get(f'{key}_high')) or 'too few people for an interval'})"
        for name, key in baselines.items()
    ]


def one_of_each_couple(rows: list[Row], place: dict[str, Row]) -> list[Row]:
    """The first pair of each two people: one look-alike would fill the page."""
    first: dict[frozenset[str], Row] = {}
    for row in rows:
        first.setdefault(frozenset(place[row[end]]["identity"] for end in ("key_a", "key_b")), row)
    return list(first.values())


def verification_section(params: Params, pairs: list[Row], split: list[Row], metrics: Row) -> Row:
    """Curves and the pairs that the model gets most wrong."""
    same = np.array([row["same"] for row in pairs])
    scores = {name: np.array([row[column] for row in pairs]) for name, column in COLUMNS.items()}
    order = sorted(pairs, key=lambda row: (row["score"], row["key_a"], row["key_b"]))
    place = {row["key"]: row for row in split}
    different = [row for row in reversed(order) if not row["same"]]
    hardest = {
        "same": [row for row in order if row["same"]][: params.pairs],
        "different": one_of_each_couple(different, place)[: params.pairs],
    }
    faces = [place[row[end]] for rows in hardest.values() for row in rows for end in ("key_a", "key_b")]
    images = sections.fetch(DATA / "aligned", "key", faces)

    def shown(row: Row) -> Row:
        ends = [place[row[end]] for end in ("key_a", "key_b")]
        return {
            "pictures": [pictures.face(images[end["partition"], end["key"]], 88) for end in ends],
            "names": list(dict.fromkeys(end["identity"] for end in ends)),
            "score": row["score"],
        }

    return {
        "roc": figures.roc(scores, same),
        "histogram": figures.histogram(scores["model"], same, metrics["threshold"]),
        "calibration": figures.calibration(read_csv("calibration")),
        "over": over_section(metrics),
        "thresholds": threshold_section(),
        "quality": quality_section(),
        "unresolved": [f"{limit:g}" for limit in verification.unresolved(same)],
        "different": int((~same).sum()),
        "hardest": {kind: [shown(row) for row in rows] for kind, rows in hardest.items()},
    }


def main() -> None:
    """Read, choose, draw, fill the template."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "report")
    photos = sections.read_all(DATA / "photos", ["path", "identity"])
    faces = sections.read_all(DATA / "faces", ["path", "face", "box", "landmarks", "probability"])
    aligned = sections.read_all(DATA / "aligned", ["path", "face_px"])
    rejects = sections.read_rejects(DATA)
    clean = list(partitions.read(DATA / "clean.parquet"))
    split = list(partitions.read(DATA / "split.parquet"))
    pairs = list(partitions.read(RESULTS / "pairs.parquet"))
    metrics = json.loads((RESULTS / "metrics.json").read_text())
    table = sections.data_table(photos, faces, clean, rejects)
    page = pages.render(
        "report.html.jinja",
        arrived=sections.arrived(table),
        metrics=metrics,
        numbers=numbers_section(metrics),
        export=json.loads((RESULTS / "export.json").read_text()),
        data=table,
        detections=sections.detections(DATA, photos, faces, aligned, params.photographs, params.seed),
        kept=sections.kept(DATA, clean, params.faces, params.seed),
        rejects=[
            *sections.rejected(DATA, photos, rejects, params.rejects, params.seed),
            *sections.dropped(DATA, clean, params.rejects, params.seed),
        ],
        split=split_section(split),
        training=training_section(),
        verification=verification_section(params, pairs, split, metrics),
    )
    (RESULTS / "report.html").write_text(page, encoding="utf-8")
    print(f"report: results/report.html, {len(page) / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
