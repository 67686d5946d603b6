"""The learning curve, from records and the registry; and what a backfill asks of Airflow."""

import io
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reprise.airflow_api import Airflow
from reprise.commands import backfill, history
from reprise.errors import BadInput, RepriseError
from reprise.pipeline.stages import Meta, Pipeline, Stage
from reprise.run.opening import moment


@dataclass
class Record:
    """As records.Record, without git."""

    run_id: str
    as_of: str | None
    auc: float
    version: str
    dates: tuple[str, ...]
    commit: str = "c"
    inbox: str = ""
    about: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.about = {
            "as_of": self.as_of,
            "models": {"net": self.version} if self.version else {},
            "metrics": {"auc": self.auc, "compare.gain": 0.0},
        }

    @property
    def metrics(self) -> dict[str, float]:
        return self.about["metrics"]

    @property
    def listing(self) -> dict[str, list[dict[str, Any]]]:
        return {date: [{"path": f"{date}/a", "size": 500_000}] * 2 for date in self.dates}

    def models(self, versions: list[dict[str, str]]) -> dict[str, str]:
        assert len(versions) == 4
        return self.about["models"]


class Registry:
    def versions(self) -> list[dict[str, str]]:
        ours = [{"version": "1", "champion.run": "a"}, {"version": "2"}, {"version": "3", "champion.run": "d"}]
        return [{**version, "name": "net"} for version in ours] + [
            {"name": "other", "version": "2", "champion.run": "x"}
        ]

    def alias(self, name: str, alias: str) -> dict[str, str]:
        return {"version": "3"} if name == "net" else {}


PIPELINE = Pipeline("pipelines/p", (Stage("evaluate", ("e",), meta=Meta(headline=("auc",))),))
RECORDS = [
    Record("late", "2026-11-16T00:00:00+00:00", 0.9, "2", ("2026-11-01", "2026-11-08")),
    Record("a", "2026-11-09T00:00:00+00:00", 0.7, "", ("2026-11-01",)),
    Record("again", "2026-11-09T00:00:00+00:00", 0.8, "1", ("2026-11-01",)),
    Record("d", None, 0.95, "3", ("2026-11-01", "2026-11-08", "2026-11-22")),
]


def test_a_row_a_date_the_champion_before_the_last_run() -> None:
    found = history.rows(RECORDS, Registry())
    assert [(row.date, row.run_id, row.partitions, row.files, row.size, row.state) for row in found] == [
        ("2026-11-09", "again", 1, 2, 1_000_000, "was champion"),
        ("2026-11-16", "late", 2, 4, 2_000_000, "candidate"),
        ("2026-11-22", "d", 3, 6, 3_000_000, "champion"),
    ]
    later = Record("e", None, 0.5, "2", ("2026-11-22",))
    last = Record("last", "2026-11-16T00:00:00+00:00", 0.5, "2", ("2026-11-01",))
    assert [row.run_id for row in history.rows([*RECORDS, later, last], Registry())] == ["again", "last", "d"]
    assert history.chosen(found, PIPELINE, "") == ["auc"]
    assert history.chosen(found, PIPELINE, "compare.gain, auc") == ["compare.gain", "auc"]
    with pytest.raises(BadInput, match="no run has a metric 'acu'"):
        history.chosen(found, PIPELINE, "acu")


def test_a_list_of_urls_has_no_sizes(tmp_path: Path) -> None:
    """Nobody knows the size of a URL before it is fetched; a sum of the known ones would be wrong."""

    class Urls(Record):
        @property
        def listing(self) -> dict[str, list[dict[str, Any]]]:
            return {"undated": [{"path": "https://a/b.jpg", "url": "https://a/b.jpg"}, {"path": "c.jpg", "size": 9}]}

    found = history.rows([Urls("web", None, 0.5, "", ())], Registry())
    assert [(row.partitions, row.files, row.size) for row in found] == [(1, 2, None)]
    console = Console(width=80, file=io.StringIO())
    console.print(history.table("list.csv", found, ["auc"]))
    [row] = [line for line in console.file.getvalue().splitlines() if "0.5000" in line]  # type: ignore[attr-defined]
    assert row.split() == ["undated", "1", "2", "0.5000"]
    history.write_csv(found, ["auc"], tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == "undated,web,c,1,2,,0.5,,"


def test_inboxes_are_told_apart() -> None:
    other = Record("o", None, 0.5, "2", ("2026-11-22",), inbox="lfw")
    found = history.rows([*RECORDS, other], Registry())
    told = {inbox: [row.run_id for row in shown] for inbox, shown in history.by_inbox(found).items()}
    assert told == {"": ["again", "late", "d"], "lfw": ["o"]}


def test_the_table_is_readable_in_80_columns() -> None:
    names = ["verification_accuracy", "auc", "tar_at_far_0.01"]
    found = history.rows(RECORDS, Registry())
    for row in found:
        row.metrics.update(dict.fromkeys(names, 0.1234))
    console = Console(width=80, file=io.StringIO())
    console.print(history.table("var/inbox/synthetic", found, names))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    for said in (
        "var/inbox/synthetic",
        "2026-11-09",
        "0.1234",
        "was champion",
        "verification_",
        "accuracy",
        "far_0.01",
    ):
        assert said in text


def test_table_and_plot(tmp_path: Path) -> None:
    found = history.rows(RECORDS, Registry())
    history.write_csv(found, ["auc"], tmp_path / "h/x.csv")
    assert (tmp_path / "h/x.csv").read_text().splitlines()[1] == "2026-11-09,again,c,1,2,1000000,0.8,was champion,"
    history.plot(found, ["auc"], "p", tmp_path / "h/x.png")
    plain = (tmp_path / "h/x.png").read_bytes()
    assert plain.startswith(b"\x89PNG")
    for row in found:
        row.metrics.update(auc_low=row.metrics["auc"] - 0.1, auc_high=row.metrics["auc"] + 0.05)
    history.plot(found, ["auc"], "p", tmp_path / "h/x.png")
    assert (tmp_path / "h/x.png").read_bytes() != plain  # the interval is drawn


def test_what_a_backfill_asks_for() -> None:
    dates = backfill.Dates("p", moment("2026-11-01"), moment("2026-11-22"), {"revision": "c"}, "failed")
    assert dates.body()["from_date"] == "2026-11-01T00:00:00+00:00"
    assert (dates.body()["reprocess_behavior"], dates.body()["max_active_runs"]) == ("failed", 2)
    with pytest.raises(BadInput, match="AGAIN=failed or AGAIN=all"):
        backfill.Dates("p", dates.first, dates.last, again="some").body()
    with pytest.raises(BadInput, match="as_of=yesterday is no date"):
        moment("yesterday")


def test_the_ids_of_a_backfill_are_whole_in_80_columns() -> None:
    class Tasks:
        def tasks(self, *_: str) -> list[dict[str, str]]:
            return [{"task_id": "a"}, {"task_id": "b"}]

        def xcom(self, _dag: str, _run: str, task: str) -> dict[str, Any]:
            return {"verdict": "ran" if task == "a" else "cached", "entry": {}}

    ends = {"logical_date": "2026-11-02T00:00:00Z", "data_interval_end": "2026-11-09T00:00:00Z"}
    run_id = "backfill__2026-11-02T00:00:00+00:00"
    console = Console(width=80, file=io.StringIO())
    console.print(backfill.table(Tasks(), [{"dag_id": "p", "dag_run_id": run_id, "state": "success", **ends}]))
    row = next(line for line in console.file.getvalue().splitlines() if "backfill__" in line)  # type: ignore[attr-defined]
    assert row.split() == ["2026-11-02", "2026-11-09", run_id, "success", "1", "1"]


def test_more_dates_than_a_page_holds() -> None:
    class Paging(Airflow):
        def call(self, method: str, path: str, params: dict[str, Any]) -> Any:
            rest = range(params["offset"], min(params["offset"] + params["limit"], 250))
            return {"dag_runs": [{"n": n} for n in rest], "total_entries": 250}

    dates = backfill.Dates("p", moment("2026-11-01"), moment("2026-11-22"))
    assert [run["n"] for run in backfill.runs(Paging("http://airflow"), dates)] == list(range(250))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Airflow refused POST backfills: p has a non-periodic schedule that does not support backfills", "no dates"),
        ("Airflow refused POST backfills: There is already a running backfill for dag p", "there can be one"),
        ("Airflow refused POST backfills: Backfill cannot be executed for future dates.", "future dates"),
    ],
)
def test_refusals_say_what_to_do(said: str, told: str) -> None:
    class Refusing(Airflow):
        def call(self, method: str, path: str, **_: Any) -> Any:
            if method == "GET":
                return {"backfills": [], "total_entries": 0}
            raise RepriseError(said, "make logs")

    dates = backfill.Dates("p", moment("2026-11-01"), moment("2026-11-22"))
    with pytest.raises(BadInput, match=told):
        backfill.start(Refusing("http://airflow"), dates)


def test_failed_dates_are_named_with_the_way_to_run_them_again() -> None:
    dates = backfill.Dates("p", moment("2026-11-01"), moment("2026-11-22"))
    runs = [
        {"logical_date": f"2026-11-{day}T00:00:00Z", "state": s} for day, s in (("02", "failed"), ("09", "success"))
    ]
    error = backfill.failed(dates, runs)
    assert error is not None
    assert "1 of 2 dates failed: 2026-11-02" in str(error)
    assert error.fix == "make backfill FROM=2026-11-01 TO=2026-11-22 AGAIN=failed"
    assert backfill.failed(dates, runs[1:]) is None


def test_make_hands_its_variables_on() -> None:
    root = Path(__file__).resolve().parents[3]
    asked = [
        "backfill",
        "FROM=2026-11-01",
        "TO=2026-11-22",
        "DRY=1",
        "AGAIN=failed",
        "BACKWARD=1",
        "PARALLEL=3",
        "--dry-run",
    ]
    shown = subprocess.run(["make", *asked], cwd=root, capture_output=True, text=True, check=True).stdout
    told = " ".join(shown.replace("\\\n", " ").split())
    assert '--from "2026-11-01" --to "2026-11-22" --dry-run --again "failed" --parallel "3" --backward' in told
