"""A new day costs a day: partitioned stages through Airflow, containers and the remote."""

import shutil
from pathlib import Path

import pytest
from conftest import Run, Stack

DAYS = "pipelines/days"
TEXTS = {"2026-11-01": "The cat", "2026-11-08": "A dog!", "2026-11-15": "the horse", "2026-11-22": "Two dogs, two cats"}


def _arrive(stack: Stack, days: slice) -> None:
    for day, text in list(TEXTS.items())[days]:
        folder = stack.root / "var/inbox/days" / day
        folder.mkdir(parents=True)
        (folder / "text.txt").write_text(text)


def _objects(stack: Stack) -> dict[str, bytes]:
    """The remote's content by name."""
    files = stack.root / "var/remote/files/md5"
    return {path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()}


def _partitions(run: Run) -> dict[str, list[int]]:
    """Stage → how many partitions it worked on, how many there are."""
    return {name: done["partitions"] for name, done in run.stages.items() if "partitions" in done}


@pytest.fixture(scope="module")
def three(stack: Stack) -> Run:
    """A run on three days."""
    _arrive(stack, slice(0, 3))
    return stack.run(inbox="days", pipeline=DAYS)


def test_a_fourth_day_costs_a_day_on_a_node_whose_cache_is_empty(stack: Stack, three: Run) -> None:
    assert _partitions(three) == {"take": [3, 3], "count": [3, 3]}
    before = _objects(stack)
    _arrive(stack, slice(3, 4))
    for folder in ("cache", "work"):
        shutil.rmtree(stack.root / "var" / folder, ignore_errors=True)
    four = stack.run(inbox="days", pipeline=DAYS)
    assert _partitions(four) == {"take": [1, 4], "count": [1, 4]}
    assert "ran 1 of 4" in four.output
    said = "\n".join(stack.airflow.log("days", four.run_id, "count", 1))
    assert "3 of 4 partitions known, 1 to do: 2026-11-22" in said
    assert [line for line in said.splitlines() if "counted" in line] == ["counted 2026-11-22"]
    # Of the old days the remote got nothing again, and the node asked for no text or longest word of them.
    pushed = {name: content for name, content in _objects(stack).items() if name not in before}
    folders = {content for name, content in pushed.items() if name.endswith(".dir")}
    assert len(folders) == 3 and len(pushed) == 3 + 3 + 2  # lists and files of three outputs, metrics, source.json
    cached = [path.read_bytes() for path in (stack.root / "var/cache/files").rglob("*") if path.is_file()]
    assert b'{"2026-11-22/text.txt": "Two dogs, two cats"}' in cached
    assert not any(b"text.txt" in content and b"horse" in content for content in cached)


def test_an_earlier_date_takes_known_days_and_starts_no_container_for_them(stack: Stack, three: Run) -> None:
    two = stack.run("--as-of", "2026-11-09", inbox="days", pipeline=DAYS)
    assert two.verdicts == {"take": "cached", "count": "cached", "total": "ran"}
    assert two.record["metrics"]["days"] == 2
    assert Path(stack.root / "var/remote/memo").is_dir()
