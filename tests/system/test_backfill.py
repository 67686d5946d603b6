"""Past dates of a text pipeline, through Airflow's own backfill: what each sees, what is refused."""

import datetime as dt
import time
from collections.abc import Iterator

import pytest
import requests
from conftest import WORDS, Stack, until

from reprise import git
from reprise.commands import backfill
from reprise.errors import BadInput, RepriseError
from reprise.run import records
from reprise.run.opening import moment

DAYS = "pipelines/days"
FROM, TO = "2026-08-03", "2026-08-10"
"""Mondays; the weeks from then on end after the first and after both arrival dates of the inbox `past`."""


def run(stack: Stack, *args: str, check: bool = True) -> str:
    """``python -m reprise backfill`` of the two weeks; what it printed."""
    inbox = str(stack.root / "var/inbox/past")
    command = ("backfill", "--pipeline", DAYS, "--inbox", inbox, "--from", FROM, "--to", TO, *args)
    return stack.cli(*command, check=check).stdout


@pytest.fixture(scope="module")
def two_weeks(stack: Stack) -> str:
    """Both dates, run; what the command printed."""
    for date, text in (("2026-08-05", "It was summer"), ("2026-08-12", "It was hot")):
        folder = stack.root / "var/inbox/past" / date
        folder.mkdir(parents=True)
        (folder / "text.txt").write_text(text)
    return run(stack)


def test_a_date_sees_what_had_arrived_by_its_end_and_nothing_of_its_future(stack: Stack, two_weeks: str) -> None:
    assert f"2 dates: {FROM}, {TO}" in two_weeks
    head = git.resolve(stack.root, "HEAD")
    seen = ((FROM, "2026-08-10", ["2026-08-05"]), (TO, "2026-08-17", ["2026-08-05", "2026-08-12"]))
    for begin, end, arrived in seen:
        record = records.find(str(stack.root), records.ref_name("pipelines/days", f"backfill__{end}T00:00:00+00:00"))
        assert record.about["as_of"] == f"{end}T00:00:00+00:00"
        assert list(record.listing) == arrived
        assert record.outs["data/texts"]["nfiles"] == len(arrived)
        assert record.about["revision"] == head
        assert _tags(stack, record.about["mlflow_run"])["logical_date"] == f"{begin}T00:00:00+00:00"
    runs = stack.airflow.call("GET", "dags/days/dagRuns", params={"run_type": "backfill"})["dag_runs"]
    # The folder of DAGs has no versions: a run takes dags/ as it is, and the revision that it was given.
    assert {run["bundle_version"] for run in runs} == {None}
    assert {run["conf"]["revision"] for run in runs} == {head}


def _tags(stack: Stack, mlflow_run: str) -> dict[str, str]:
    address = f"{stack.env['REPRISE_MLFLOW']}/api/2.0/mlflow/runs/get"
    found = requests.get(address, params={"run_id": mlflow_run}, timeout=30).json()
    return {tag["key"]: tag["value"] for tag in found["run"]["data"]["tags"]}


def test_both_dates_together_worked_once_on_each_partition(stack: Stack, two_weeks: str) -> None:
    ends = [f"backfill__2026-08-{day}T00:00:00+00:00" for day in (10, 17)]
    for stage in ("take", "count"):
        done = [stack.airflow.xcom("days", end, stage) for end in ends]
        assert sum(one.get("partitions", [0])[0] for one in done) == 2


def test_dates_that_were_run_are_left_alone(stack: Stack, two_weeks: str) -> None:
    first, last = moment(FROM), moment(TO)
    for again in ("", "failed"):
        assert backfill.dry_run(stack.airflow, backfill.Dates("days", first, last, again=again)) == []
    assert f"0 dates: all 2 of days in FROM={FROM} TO={TO} have been run" in run(stack, "--dry-run")
    assert f"2 dates: {TO}, {FROM}" in run(stack, "--again", "all", "--backward", "--dry-run")


def test_history_shows_the_dates(stack: Stack, two_weeks: str) -> None:
    stack.cli("history", "--pipeline", DAYS)
    lines = (stack.root / "var/history/days.csv").read_text().splitlines()
    sizes = {line.split(",")[0]: line.split(",")[3:6] for line in lines}
    assert (sizes["2026-08-10"], sizes["2026-08-17"]) == (["1", "1", "13"], ["2", "2", "23"])
    assert (stack.root / "var/history/days.png").stat().st_size > 1000


def test_what_airflow_refuses(stack: Stack, two_weeks: str) -> None:
    """Over its REST API: dates in the future, and a DAG without any."""
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(days=30)).date().isoformat()
    with pytest.raises(BadInput, match="future dates"):
        backfill.start(stack.airflow, backfill.Dates("days", moment(later), moment(later)))
    first, last = moment(FROM), moment(TO)
    with pytest.raises(BadInput, match="undated has no dates\n  next: give dags/undated.py a schedule"):
        backfill.start(stack.airflow, backfill.Dates("undated", first, last))


def test_a_run_by_hand_has_no_date(stack: Stack) -> None:
    stack.airflow.trigger("undated", "by-hand", {})
    run = stack.airflow.run("undated", "by-hand")
    assert (run["logical_date"], run["data_interval_start"], run["data_interval_end"]) == (None, None, None)


def test_outputs_are_assets_with_their_hashes(stack: Stack, two_weeks: str) -> None:
    """Of whichever date came first: of the other's outputs the memo may have known all."""
    wanted = {"source_dag_id": "days", "limit": 100}
    events = stack.airflow.call("GET", "assets/events", params=wanted)["asset_events"]
    told = {event["source_run_id"]: event["extra"] for event in events if event["name"] == "days/data/texts"}
    assert told
    for run_id, extra in told.items():
        outs = stack.airflow.xcom("days", run_id, "take")["entry"]["outs"]
        [out] = [o for o in outs if o["path"] == "data/texts"]
        assert extra == {
            **{key: out[key] for key in ("md5", "size", "nfiles")},
            "revision": git.resolve(stack.root, "HEAD"),
            "as_of": stack.airflow.xcom("days", run_id, "open")["as_of"],
        }


@pytest.mark.long
def test_airflows_own_command_line(stack: Stack, two_weeks: str) -> None:
    args = ("--dag-id", "days", "--from-date", FROM, "--to-date", TO)
    done = stack.cli("airflow", "backfill", "create", *args, "--reprocess-behavior", "completed", "--dry-run")
    assert f"{FROM} 00:00:00" in done.stdout and f"{TO} 00:00:00" in done.stdout
    before = stack.airflow.run("days", "backfill__2026-08-10T00:00:00+00:00")["start_date"]
    until(lambda: not _open_backfills(stack), 60, "Airflow has noticed that the last backfill ended")
    stack.cli("airflow", "backfill", "create", *args)  # nothing to do: both dates were run
    assert stack.airflow.run("days", "backfill__2026-08-10T00:00:00+00:00")["start_date"] == before


def _open_backfills(stack: Stack) -> list[dict]:
    backfills = stack.airflow.call("GET", "backfills", params={"dag_id": "days"})["backfills"]
    return [one for one in backfills if not one["completed_at"]]


@pytest.mark.long
def test_a_date_by_hand_gives_its_interval_and_there_is_one_run_of_it(stack: Stack, two_weeks: str) -> None:
    conf = {"inbox": str(stack.root / "var/inbox/past"), "revision": "HEAD"}
    body = {"dag_run_id": "dated", "logical_date": "2026-08-24T00:00:00Z", "conf": conf}
    run = stack.airflow.call("POST", "dags/days/dagRuns", json=body)
    assert run["data_interval_end"] == "2026-08-24T00:00:00Z"
    with pytest.raises(RepriseError, match="Unique constraint"):
        stack.airflow.call("POST", "dags/days/dagRuns", json={**body, "dag_run_id": "other"})
    deadline = time.monotonic() + 300
    while stack.airflow.run("days", "dated")["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert stack.airflow.xcom("days", "dated", "open")["as_of"] == "2026-08-24T00:00:00+00:00"


@pytest.mark.long
def test_failed_dates_are_run_again_and_only_they(stack: Stack) -> None:
    """The second date's text is no text; corrected, AGAIN=failed runs that date and no other."""
    folder = stack.root / "var/inbox/mended"
    for date, text in (("2026-09-01", b"good"), ("2026-09-08", b"\xff\xfe\xff")):
        (folder / date / "a").mkdir(parents=True)
        (folder / date / "a/text.txt").write_bytes(text)
    command = ("backfill", "--pipeline", WORDS, "--inbox", str(folder), "--from", "2026-08-31", "--to", "2026-09-07")
    done = stack.cli(*command, "--parallel", "1", "--backward", check=False)
    assert done.returncode == 1
    assert "1 of 2 dates failed: 2026-09-07" in done.stdout
    assert "make backfill FROM=2026-08-31 TO=2026-09-07 AGAIN=failed" in " ".join(done.stdout.split())
    began = {r["logical_date"]: r["start_date"] for r in _september(stack)}
    assert began["2026-09-07T00:00:00Z"] < began["2026-08-31T00:00:00Z"]  # backward, one by one
    (folder / "2026-09-08/a/text.txt").write_bytes(b"good too")
    again = stack.cli(*command, "--again", "failed")
    assert "1 dates: 2026-09-07" in again.stdout
    assert {r["state"] for r in _september(stack)} == {"success"}
    after = {r["logical_date"]: r["start_date"] for r in _september(stack)}
    assert after["2026-08-31T00:00:00Z"] == began["2026-08-31T00:00:00Z"]


def _september(stack: Stack) -> list[dict]:
    wanted = {"logical_date_gte": "2026-08-31T00:00:00Z", "logical_date_lte": "2026-09-07T00:00:00Z"}
    return stack.airflow.call("GET", "dags/words/dagRuns", params=wanted)["dag_runs"]


@pytest.fixture
def slow(stack: Stack) -> Iterator[backfill.Dates]:
    """A backfill that takes a while; cancelled at the end."""
    week = moment("2026-11-16")
    conf = {"rank.seconds": 60, "inbox": str(stack.root / "var/inbox/texts"), "revision": "HEAD"}
    dates = backfill.Dates("words", week, week, conf)
    number = backfill.start(stack.airflow, dates)
    yield dates
    stack.airflow.call("PUT", f"backfills/{number}/cancel")


@pytest.mark.long
def test_one_backfill_at_a_time(stack: Stack, slow: backfill.Dates) -> None:
    other = moment("2026-11-09")
    with pytest.raises(BadInput, match="a backfill of words is running, there can be one"):
        backfill.start(stack.airflow, backfill.Dates("words", other, other))
    with pytest.raises(RepriseError, match="backfills"):
        stack.airflow.call("POST", "backfills", json=slow.body())
