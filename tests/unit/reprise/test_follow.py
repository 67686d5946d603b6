"""What is shown of a run while it goes on, and where it failed."""

from typing import Any

import pytest

from reprise.commands.follow import last_line, why_failed

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
