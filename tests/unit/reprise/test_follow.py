"""What is shown of a run while it goes on, and where it failed."""

import io
from typing import Any

import pytest
from rich.console import Console

from reprise.commands import backfill, follow
from reprise.commands.follow import last_line, refuse_paused, why_failed
from reprise.errors import BadInput
from reprise.pipeline.stages import Pipeline
from reprise.run.opening import moment

FAILED = "Task failed with exception\nAirflowFailException: stage s failed with exit code 1; last lines:\n{}"


def test_the_last_whole_line_is_shown() -> None:
    assert last_line(["s: 10 of 20", "::endgroup::", FAILED.format("Traceback"), " "]) == "s: 10 of 20"
    assert last_line([FAILED.format("Traceback")]) == ""
    assert last_line(["word " * 40], most=12) == "word word …"


class Server:
    """Answers with a run whose one task failed, saying this."""

    url = "http://127.0.0.1:8080"

    def __init__(self, said: str) -> None:
        self.said = said

    def tasks(self, *_: str) -> list[dict[str, Any]]:
        return [{"task_id": "s", "state": "failed", "try_number": 1, "end_date": "2026-11-22"}]

    def log(self, *_: object) -> list[str]:
        return ["s: 10 of 20", FAILED.format(self.said), "Pushing xcom"]


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ('s: too few\n  next: make run PARAMS="s.least=1"', 'make run PARAMS="s.least=1"'),
        (
            "ModuleNotFoundError: No module named 'pandas'",
            "where pandas is a file of yours, add it to the stage's deps",
        ),
        ("ZeroDivisionError: division by zero", "correct the code, git commit, and make run; or another parameter: "),
    ],
)
def test_a_failed_stages_own_next_command_comes_first(said: str, fix: str) -> None:
    error = why_failed(Server(said), "p", "r")  # type: ignore[arg-type]
    assert error.fix.startswith(fix)
    assert error.problem.startswith("p: s failed: stage s failed with exit code 1; last lines:\n")
    assert error.problem.endswith("\n  page: http://127.0.0.1:8080/dags/p/runs/r/plugin/reprise")


class Paused(Server):
    """A run whose DAG somebody has paused, until he is asked the third time."""

    def __init__(self) -> None:
        super().__init__("")
        self.asked = 0

    def paused(self, dag_id: str) -> bool:
        return dag_id == "p"

    def run(self, *_: str) -> dict[str, Any]:
        self.asked += 1
        return {"state": "success" if self.asked == 3 else "queued"}

    def tasks(self, *_: str) -> list[dict[str, Any]]:
        return []

    def every(self, *_: Any) -> list[dict[str, Any]]:
        return [{"dag_run_id": "r", "logical_date": "2026-11-02T00:00:00Z", "duration": 1, **self.run()}]


def test_a_run_of_a_paused_dag_is_refused_with_the_way_on() -> None:
    with pytest.raises(BadInput, match="DAG p is paused in Airflow") as caught:
        refuse_paused(Paused(), "p")  # type: ignore[arg-type]
    assert caught.value.fix.startswith('make airflow ARGS="dags unpause p"')
    refuse_paused(Paused(), "q")  # type: ignore[arg-type]


def test_a_dag_that_is_paused_meanwhile_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(follow, "_PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(backfill, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(backfill, "_POLLS_TO_PAUSED", 1)
    dates = backfill.Dates("p", moment("2026-11-01"), moment("2026-11-22"))
    for case in (
        lambda console: follow.follow(Paused(), Pipeline("p", ()), "r", console),  # type: ignore[arg-type]
        lambda console: backfill.follow(Paused(), dates, console),  # type: ignore[arg-type]
    ):
        console = Console(width=200, file=io.StringIO())
        case(console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert text.count("was paused in Airflow") == 1 and "dags unpause p" in text
