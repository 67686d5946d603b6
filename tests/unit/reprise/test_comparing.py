"""Two records side by side: what differs in code, parameters, data and metrics."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from repository import commit

from reprise import git
from reprise.commands.comparing import ABSENT, compare
from reprise.commands.curves import GREY, Look, Plot, _drawn, _lines, draw
from reprise.errors import BadInput, RepriseError
from reprise.run.records import Record


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git.git(tmp_path, "init", "--quiet", "--initial-branch=main")
    edit(tmp_path, "train.py", "1")
    return tmp_path


def edit(repo: Path, name: str, text: str) -> str:
    (repo / name).write_text(text)
    return commit(repo, f"{name} {text}")


def record(
    repo: Path,
    run: str,
    rate: float,
    md5: str,
    metrics: dict[str, Any],
    pipeline: str = "p",
    listed: list[dict[str, Any]] | None = None,
) -> Record:
    """A record of a run at HEAD."""
    about: dict[str, Any] = {"run_id": run, "revision": git.resolve(repo, "HEAD"), "metrics": metrics}
    about |= {"images": {"train": "stages:1"}, "as_of": None, "inbox": "/inbox", "mlflow_run": "m"}
    outs = f"[{{path: model, md5: {md5}, size: 1234}}, {{path: faces, md5: f.dir, size: 9, nfiles: 3}}]"
    files = {
        f"{pipeline}/run.json": json.dumps(about),
        f"{pipeline}/params.yaml": f"train: {{rate: {rate}, epochs: null}}\n",
        f"{pipeline}/dvc.lock": f"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs: {outs}\n",
    }
    if listed:
        files[f"{pipeline}/source.json"] = json.dumps({"partitions": {"2026-11-01": listed}})
    made = git.commit_files(repo, str(about["revision"]), {k: v.encode() for k, v in files.items()}, run)
    return Record(repo, made, f"refs/exps/aa/bb/{run}", pipeline)


def test_what_differs_is_told_apart_from_what_does_not(repo: Path) -> None:
    first = record(repo, "run-1", 0.1, "aaaaaaaaaaaa", {"auc": 0.9, "loss": 1.0})
    second = record(repo, "run-2", 0.2, "bbbbbbbbbbbb", {"auc": 0.95, "loss": 1.0, "eer": 0.1})
    tables = {table.title: table for table in compare([first, second])}
    assert tables["code"].rows == {} and set(tables["code"].alike) == {"revision", "image"}
    assert tables["parameters"].rows == {"train.rate": ("0.1", "0.2")}
    assert tables["parameters"].alike == {"train.epochs": "default"}
    assert tables["data"].rows == {"model": ("aaaaaaaa  1,234 bytes", "bbbbbbbb  1,234 bytes")}
    assert set(tables["data"].alike) == {"inbox", "faces"}
    assert tables["metrics"].rows == {"auc": ("0.9", "0.95 (+0.05)"), "eer": (ABSENT, "0.1")}
    assert tables["metrics"].alike == {"loss": "1"}


def test_a_list_of_urls_has_no_size(repo: Path) -> None:
    url = {"path": "https://a/b.jpg", "url": "https://a/b.jpg"}
    first = record(repo, "run-1", 0.1, "a", {}, listed=[{"path": "b.jpg", "size": 1000}])
    second = record(repo, "run-2", 0.1, "a", {}, listed=[url])
    rows = {table.title: table.rows for table in compare([first, second])}["data"]
    assert rows["inbox"] == ("1 dates, 1 files, 1,000 bytes", "1 dates, 1 files, size unknown")


def test_code_is_named_by_its_commits_and_changed_files(repo: Path) -> None:
    first = record(repo, "run-1", 0.1, "a", {})
    edit(repo, "train.py", "2")
    rows = {table.title: table.rows for table in compare([first, record(repo, "run-2", 0.1, "a", {})])}["code"]
    assert [said.split(" ", 1)[1] for said in rows["revision"]] == ["train.py 1", "train.py 2"]
    assert rows["files changed since the first"] == (ABSENT, "train.py")


def test_one_run_or_two_pipelines_are_refused(repo: Path) -> None:
    first, other = record(repo, "run-1", 0.1, "a", {}), record(repo, "run-1", 0.1, "a", {}, pipeline="q")
    with pytest.raises(BadInput, match="it takes two runs"):
        compare([first, first])
    with pytest.raises(BadInput, match="runs of 2 pipelines: p, q"):
        compare([first, other])


LINES = {"encoding": {"color": {"field": "series"}, "x": {"scale": {"type": "log"}}}, "mark": {"type": "line"}}
THIRDS = {
    "facet": {"row": {"field": "measure"}},
    "spec": {
        "encoding": {"color": {"field": "rev"}},
        "layer": [
            {"encoding": {"x": {"field": "low"}, "x2": {"field": "high"}}},
            {"encoding": {"x": {"field": "auc"}}},
        ],
    },
}


def plot(folder: Path, text: str, declared: dict[str, Any], template: dict[str, Any]) -> Plot:
    (folder / "plot.csv").write_text(text)
    look = Look.of("plot.csv", declared, template)
    return Plot(look, _lines(folder / "plot.csv", look))


def test_a_line_for_each_series_and_once_what_is_the_same_in_all_runs(tmp_path: Path) -> None:
    declared = {"x": "far", "y": "tar", "title": "ROC", "y_label": "true accept rate"}
    rows = "far,tar,series\n0.1,{},model\n0.2,nan,model\n0.3,,model\n0.4,0.9,model\n0.1,0.5,pixels\n"
    one, two = (plot(tmp_path, rows.format(tar), declared, LINES) for tar in (0.7, 0.8))
    assert one.lines["", "model"] == [(0.1, 0.7, None, None), (0.4, 0.9, None, None)]
    assert one.look.log and not one.look.step
    drawn = list(_drawn([("run-1", one), ("run-2", two)], ""))
    assert [line.label for line in drawn] == ["run-1 model", "run-2 model", "pixels, the same in all"]
    assert drawn[0].colour != drawn[1].colour and drawn[2].colour == GREY and drawn[2].style != drawn[0].style
    page = draw([("run-1", one), ("run-2", two)])
    assert page.startswith("<svg") and page == draw([("run-1", one), ("run-2", two)])
    for said in ("ROC", "true accept rate", "run-2 model", "pixels, the same in all"):
        assert f"<!-- {said} -->" in page


def test_points_with_intervals_over_names(tmp_path: Path) -> None:
    rows = "measure,third,auc,low,high\nyaw,lowest,0.9,0.8,1\nyaw,highest,0.7,,\npx,lowest,0.9,0.8,1\n"
    found = plot(tmp_path, rows, {"x": "auc", "y": "third"}, THIRDS)
    assert found.lines["yaw", ""] == [(0.9, "lowest", 0.8, 1.0), (0.7, "highest", None, None)]
    page = draw([("run-1", found), ("run-2", replace(found, lines={("yaw", ""): [(0.5, "lowest", None, None)]}))])
    for said in ("yaw", "px", "lowest", "highest", "plot.csv"):
        assert f"<!-- {said} -->" in page


def test_columns_of_a_template_of_dvcs_own_are_lines(tmp_path: Path) -> None:
    found = plot(tmp_path, "epoch,loss,val\n1,0.5,0.6\n2,0.25,0.5\n", {"x": "epoch", "y": ["loss", "val"]}, {})
    assert found.lines["", "val"] == [(1.0, 0.6, None, None), (2.0, 0.5, None, None)]
    assert plot(tmp_path, "loss\n0.5\n", {"y": "loss"}, {}).lines["", ""] == [(0.0, 0.5, None, None)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x,y\n" + b"1,2\n" * 3_000_000, "has 12 MB, more than"),
        (b"x,y\n1," + b"2" * 200_000 + b"\n", "field larger than field limit"),
        (b"x,y\n\xff,2\n", "can't decode byte 0xff"),
    ],
)
def test_a_table_that_no_plot_can_hold_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "plot.csv").write_bytes(content)
    with pytest.raises(RepriseError, match=f"plot plot.csv: .*{said}"):
        _lines(tmp_path / "plot.csv", Look("t", "x", ("y",)))
